//! What a request names: the rooms in its path and query, and its parameters. Hostile input until
//! it is parsed here.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode_str;

use crate::clock::millis;
use crate::config::parse_duration;
use crate::event::{Audience, EventType, NameError, Pattern, Room};
use crate::hub::Since;
use crate::problem::{Problem, ProblemKind};

/// The most parameters that a query may have.
const MAX_PARAMETERS: usize = 256;

/// Decodes one percent-encoded piece.
fn decode<'a>(what: &str, text: &'a str) -> Result<Cow<'a, str>, Problem> {
    percent_decode_str(text).decode_utf8().map_err(|_| {
        Problem::new(ProblemKind::BadRequest, format!("{what} is not percent-encoded UTF-8"))
    })
}

/// The names between the fixed parts of a path, decoded: `/v1/a/{}/b/{}` has two.
///
/// # Errors
/// `bad-request` if a name is not UTF-8.
pub fn path_names<const N: usize>(uri: &Uri, first: usize) -> Result<[Cow<'_, str>; N], Problem> {
    let segments: Vec<&str> = uri.path().split('/').collect();
    let mut names = [const { Cow::Borrowed("") }; N];
    for (n, name) in names.iter_mut().enumerate() {
        let segment = segments.get(first + 2 * n).copied().unwrap_or_default();
        *name = decode("the path", segment)?;
    }
    Ok(names)
}

/// A request's query, decoded, in its order.
#[derive(Debug, Default)]
pub struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads the query of `uri`.
    ///
    /// # Errors
    /// `bad-request` if a name or value is not UTF-8, or there are too many.
    pub fn parse(uri: &'a Uri) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                let detail = format!("the query has more than {MAX_PARAMETERS} parameters");
                return Err(Problem::new(ProblemKind::BadRequest, detail));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode("the query", name)?, decode_value(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// All values of `name`, in their order.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_ref())
    }

    /// All parameters, in their order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The value of `name` among `allowed`, the first of which is the default.
    ///
    /// # Errors
    /// `bad-request` that lists what is allowed.
    pub fn choice<T: Copy>(&self, name: &str, allowed: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let found = allowed.iter().find(|(spelling, _)| *spelling == value);
        if let Some((_, choice)) = found {
            return Ok(Some(*choice));
        }
        let spellings: Vec<&str> = allowed.iter().map(|(spelling, _)| *spelling).collect();
        let detail = format!("{name}= takes {}, not {value:?}", spellings.join(" or "));
        Err(Problem::new(ProblemKind::BadRequest, detail))
    }
}

/// Decodes a value. A `+` is a blank, as forms and `URLSearchParams` write it.
fn decode_value(value: &str) -> Result<Cow<'_, str>, Problem> {
    if !value.contains('+') {
        return decode("the query", value);
    }
    let blanks = value.replace('+', " ");
    Ok(decode("the query", &blanks)?.into_owned().into())
}

/// A name in a URL that is none.
fn bad_name(error: &NameError) -> Problem {
    Problem::new(ProblemKind::BadRequest, error.to_string())
}

/// The room of `/v1/subscribe/events/{event_id}/types/{event_type}` and its like, `*` allowed.
///
/// # Errors
/// `bad-request` if a name is none.
pub fn pattern(uri: &Uri, first: usize) -> Result<Pattern, Problem> {
    let [id, kind] = path_names::<2>(uri, first)?;
    Pattern::new(&id, &kind).map_err(|e| bad_name(&e))
}

/// The rooms of `?room=E/T&room=…`; each splits at its last `/`.
///
/// # Errors
/// `bad-request` if there is none or one is no room, `too-many-rooms` beyond `most`.
pub fn rooms(query: &Query<'_>, most: usize) -> Result<Vec<Pattern>, Problem> {
    let mut rooms: Vec<Pattern> = Vec::new();
    for room in query.all("room") {
        let (id, kind) = room.rsplit_once('/').ok_or_else(|| {
            let detail = format!("room={room:?} is not of the form event_id/event_type");
            Problem::new(ProblemKind::BadRequest, detail)
        })?;
        if rooms.len() == most {
            let detail = format!("a stream has at most {most} rooms; open a second stream");
            return Err(Problem::new(ProblemKind::TooManyRooms, detail));
        }
        rooms.push(Pattern::new(id, kind).map_err(|e| bad_name(&e))?);
    }
    if rooms.is_empty() {
        let detail = "name at least one room: ?room=event_id/event_type";
        return Err(Problem::new(ProblemKind::BadRequest, detail));
    }
    Ok(rooms)
}

/// Where `from=` asks history to begin: `earliest`, a time as RFC 3339 writes it, or a duration back
/// from `now`, in milliseconds since the Unix epoch.
///
/// # Errors
/// `bad-request` that lists what is accepted.
pub fn since(query: &Query<'_>, now: i64) -> Result<Option<Since>, Problem> {
    let Some(text) = query.get("from") else { return Ok(None) };
    if text == "earliest" {
        return Ok(Some(Since::Earliest));
    }
    if let Ok(back) = parse_duration(text) {
        return Ok(Some(Since::Time(now.saturating_sub(millis(back)))));
    }
    // The `+` of an offset is a blank in a query that was not percent-encoded.
    let time: jiff::Timestamp = text.replace(' ', "+").parse().map_err(|_| {
        let detail = format!(
            "from= takes earliest, a time such as 2026-01-31T12:00:00Z (RFC 3339) or a duration \
             such as 15m (ms, s, m, h, d), not {text:?}"
        );
        Problem::new(ProblemKind::BadRequest, detail)
    })?;
    // Up to the next millisecond: the log's times have no finer ones, and none before is meant.
    let mut millis = time.as_millisecond();
    if jiff::Timestamp::from_millisecond(millis).is_ok_and(|whole| whole < time) {
        millis += 1;
    }
    Ok(Some(Since::Time(millis)))
}

/// The room that `POST /v1/sse/events/{event_id}/types/{event_type}` publishes to.
///
/// # Errors
/// `bad-request` if a name is none.
pub fn publish_room(uri: &Uri) -> Result<Audience, Problem> {
    let pattern = pattern(uri, 4)?;
    match pattern.kind {
        Some(kind) => Ok(Audience::Room(Room { id: pattern.id, kind })),
        None => Err(bad_name(&NameError::Reserved { what: "event_type", name: "*".to_owned() })),
    }
}

/// The type that `POST /v1/sse/broadcast/types/{event_type}` publishes to.
///
/// # Errors
/// `bad-request` if the name is none.
pub fn broadcast_type(uri: &Uri) -> Result<Audience, Problem> {
    let [kind] = path_names::<1>(uri, 5)?;
    Ok(Audience::Broadcast(EventType::new(&kind).map_err(|e| bad_name(&e))?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("uri")
    }

    #[test]
    fn names_are_taken_after_percent_decoding() {
        let uri = uri("/v1/subscribe/events/a%2Fb%20%C3%84/types/t?x=1");
        let pattern = pattern(&uri, 4).expect("pattern");
        assert_eq!((pattern.id.as_str(), pattern.kind_text()), ("a/b Ä", "t"));
    }

    #[test]
    fn a_room_parameter_splits_at_its_last_slash() {
        let uri = uri("/v1/subscribe?room=a%2Fb/t&room=c/*&room=d+e/u");
        let rooms = rooms(&Query::parse(&uri).expect("query"), 3).expect("rooms");
        let rooms: Vec<String> = rooms.iter().map(ToString::to_string).collect();
        assert_eq!(rooms, ["a/b/t", "c/*", "d e/u"]);
    }

    #[test]
    fn history_begins_at_the_earliest_a_time_or_a_duration_back() {
        let since = |text: &str| {
            let uri = uri(&format!("/v1/subscribe?from={text}"));
            since(&Query::parse(&uri).expect("query"), 1_000_000)
        };
        assert_eq!(since("earliest"), Ok(Some(Since::Earliest)));
        assert_eq!(since("15m"), Ok(Some(Since::Time(100_000))));
        assert_eq!(since("0"), Ok(Some(Since::Time(1_000_000))));
        assert_eq!(since("1970-01-01T00:16:40Z"), Ok(Some(Since::Time(1_000_000))));
        assert_eq!(since("1970-01-01T00:16:40.0001Z"), Ok(Some(Since::Time(1_000_001))));
        assert_eq!(since("1970-01-01t01:16:40%2B01:00"), Ok(Some(Since::Time(1_000_000))));
        assert_eq!(since("1970-01-01T01:16:40+01:00"), Ok(Some(Since::Time(1_000_000))));
        for bad in ["", "latest", "15", "-5m", "2026-01-31", "2026-01-31T12:00:00", "1.5h"] {
            let problem = since(bad).expect_err(bad);
            assert_eq!(problem.kind, ProblemKind::BadRequest);
            assert!(problem.detail.contains("earliest") && problem.detail.contains("RFC 3339"));
        }
    }

    #[test]
    fn too_many_rooms_have_a_problem_of_their_own() {
        let uri = uri("/v1/subscribe?room=a/t&room=b/t");
        let problem = rooms(&Query::parse(&uri).expect("query"), 1).expect_err("too many");
        assert_eq!(problem.kind, ProblemKind::TooManyRooms);
    }

    proptest! {
        #[test]
        fn no_query_makes_the_parser_panic(text in "[!-~]{0,200}") {
            if let Ok(uri) = format!("/v1/subscribe?{text}").parse::<Uri>()
                && let Ok(query) = Query::parse(&uri)
            {
                let _ = rooms(&query, 4);
            }
        }

        #[test]
        fn no_path_makes_the_parser_panic(text in "[!-~]{0,200}") {
            if let Ok(uri) = format!("/{text}").parse::<Uri>() {
                let _ = pattern(&uri, 4);
                let _ = broadcast_type(&uri);
            }
        }
    }
}
