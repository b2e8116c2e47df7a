//! What a request names: the rooms of its path and query.

use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate::event::{Audience, Pattern};
use tidegate::http::target::{self, Query};

use super::{checks, request};
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Pieces of paths and queries.
pub const TOKENS: &[&str] = &[
    "/",
    "?",
    "&",
    "=",
    "room=",
    "%2F",
    "%",
    "%00",
    "%0A",
    "%FF",
    "%F0%9F%98%80",
    "*",
    ".",
    "..",
    "+",
    "#",
    "/v1/subscribe/events/a/types/t",
    "/v1/subscribe?room=a/t",
    "from=",
    "types",
    "%2",
];

/// The most rooms of a stream.
const MOST_ROOMS: usize = 8;

/// A target of one of the routes.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut name = || {
        let name = make::name(dice);
        make::percent(dice, &name)
    };
    let (id, kind) = (name(), name());
    let text = match dice.below(4) {
        0 => format!("/v1/subscribe/events/{id}/types/{kind}"),
        1 => format!("/v1/sse/events/{id}/types/{kind}?x={id}"),
        2 => format!("/v1/sse/broadcast/types/{kind}"),
        _ => {
            let mut rooms = vec![format!("room={id}%2F{kind}")];
            for _ in 0..dice.below(9) {
                let (id, kind) = (make::name(dice), make::name(dice));
                rooms.push(format!(
                    "room={}/{}",
                    make::percent(dice, &id),
                    make::percent(dice, &kind)
                ));
            }
            format!("/v1/subscribe?{}", rooms.join("&"))
        }
    };
    text.into_bytes()
}

/// Names are names, and a room that is written into a target again is read as the same one.
pub fn check(input: &[u8]) -> Outcome {
    let Some((uri, _)) = request::read(input) else { return Outcome::Refused("http") };
    let read = if uri.path().starts_with("/v1/subscribe/") {
        target::pattern(&uri, 4).map(|room| vec![room])
    } else if uri.path().starts_with("/v1/sse/events/") {
        target::publish_room(&uri).map(rooms_of)
    } else if uri.path().starts_with("/v1/sse/broadcast/") {
        target::broadcast_type(&uri).map(rooms_of)
    } else {
        Query::parse(&uri).and_then(|query| target::rooms(&query, MOST_ROOMS))
    };
    let rooms = match read {
        Ok(rooms) => rooms,
        Err(problem) => return Outcome::Refused(checks::problem(&problem)),
    };
    assert!(rooms.len() <= MOST_ROOMS);
    for room in &rooms {
        assert!(checks::is_one_line(room.id.as_str()) && checks::is_one_line(room.kind_text()));
        assert!(!room.kind_text().contains('/'));
        let [id, kind] = [room.id.as_str(), room.kind_text()]
            .map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC).to_string());
        let path = format!("/v1/subscribe/events/{id}/types/{kind}");
        assert_eq!(pattern(&path).as_ref(), Some(room));
        let query: Uri = format!("/v1/subscribe?room={id}%2F{kind}").parse().expect("a target");
        let again = Query::parse(&query).and_then(|query| target::rooms(&query, 1));
        assert_eq!(again.as_deref().ok(), Some(std::slice::from_ref(room)));
    }
    Outcome::Accepted
}

fn rooms_of(audience: Audience) -> Vec<Pattern> {
    match audience {
        Audience::Room(room) => vec![Pattern { id: room.id, kind: Some(room.kind) }],
        Audience::Broadcast(_) => Vec::new(),
    }
}

fn pattern(path: &str) -> Option<Pattern> {
    target::pattern(&path.parse().ok()?, 4).ok()
}
