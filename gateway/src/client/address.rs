//! The gateway's addresses, and the headers that say who asks.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::event::{Audience, Pattern};

/// RFC 3986's unreserved characters go as they are and everything else is encoded: a `/` or `%` of
/// an id would make another path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the signature goes when there is one.
const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-signature");
const USER_HEADER: HeaderName = HeaderName::from_static("x-user");

/// Why no request can be made.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The gateway's address is none.
    #[error("{text:?} is not the address of a gateway: {reason}")]
    Base {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header cannot carry the value.
    #[error("{what} holds a character that an HTTP header cannot carry")]
    Header {
        /// Which value.
        what: &'static str,
    },
}

/// Reads a gateway's address: `http` or `https`, a host, perhaps a path that a proxy adds.
///
/// # Errors
/// [`AddressError::Base`].
pub fn parse_base(text: &str) -> Result<Url, AddressError> {
    let refuse = |reason: &str| AddressError::Base { text: text.into(), reason: reason.into() };
    let mut url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("it begins with http:// or https://"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it ends before the ? and the #"));
    }
    // So that joining adds to the path instead of replacing its last part.
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// One segment of a path, or a value of a query, with nothing in it that means anything.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Where to subscribe to `rooms`, with further query parameters. One room has an address of its
/// own; several share one stream.
#[must_use]
pub fn subscribe_url(base: &Url, rooms: &[Pattern], params: &[(&str, &str)]) -> Url {
    let mut query = Vec::new();
    let path = match rooms {
        [room] => room_path("v1/subscribe/events", room.id.as_str(), room.kind_text()),
        rooms => {
            query.extend(rooms.iter().map(|room| format!("room={}", encode(&room.to_string()))));
            "v1/subscribe".to_owned()
        }
    };
    query.extend(params.iter().map(|(name, value)| format!("{name}={}", encode(value))));
    let mut url = under(base, &path);
    if !query.is_empty() {
        url.set_query(Some(&query.join("&")));
    }
    url
}

/// Where to publish for `audience`.
#[must_use]
pub fn publish_url(base: &Url, audience: &Audience) -> Url {
    match audience {
        Audience::Room(room) => {
            under(base, &room_path("v1/sse/events", room.id.as_str(), room.kind.as_str()))
        }
        Audience::Broadcast(kind) => {
            under(base, &format!("v1/sse/broadcast/types/{}", encode(kind.as_str())))
        }
    }
}

fn room_path(prefix: &str, id: &str, kind: &str) -> String {
    // The `*` of a subscription is the gateway's own and not a name.
    let kind = if kind == "*" { "*".to_owned() } else { encode(kind) };
    format!("{prefix}/{}/types/{kind}", encode(id))
}

fn under(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path()));
    url
}

/// Puts a signature and a user where the gateway looks for them first.
///
/// # Errors
/// [`AddressError::Header`] for what a header cannot carry.
pub fn identify(
    headers: &mut HeaderMap,
    signature: Option<&str>,
    user: Option<&str>,
) -> Result<(), AddressError> {
    if let Some(signature) = signature {
        let mut value = header("the signature", signature)?;
        value.set_sensitive(true);
        headers.insert(SIGNATURE_HEADER, value);
    }
    if let Some(user) = user {
        headers.insert(USER_HEADER, header("the user", user)?);
    }
    Ok(())
}

/// A header's value, as raw UTF-8: it need not be ASCII.
///
/// # Errors
/// [`AddressError::Header`], about `what`, for control characters.
pub(super) fn header(what: &'static str, text: &str) -> Result<HeaderValue, AddressError> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| AddressError::Header { what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventType, Room};

    fn base(text: &str) -> Url {
        parse_base(text).expect("an address")
    }

    fn room(id: &str, kind: &str) -> Pattern {
        Pattern::new(id, kind).expect("names")
    }

    #[test]
    fn a_name_is_one_segment_whatever_it_holds() {
        let url = |id, kind| subscribe_url(&base("http://h:1"), &[room(id, kind)], &[]).to_string();
        assert_eq!(url("cart-1", "cart"), "http://h:1/v1/subscribe/events/cart-1/types/cart");
        assert_eq!(url("a/b", "*"), "http://h:1/v1/subscribe/events/a%2Fb/types/*");
        assert_eq!(
            url("50% ?#&+", "ä\\"),
            "http://h:1/v1/subscribe/events/50%25%20%3F%23%26%2B/types/%C3%A4%5C"
        );
        assert_eq!(url("%2e%2e", "x"), "http://h:1/v1/subscribe/events/%252e%252e/types/x");
    }

    #[test]
    fn several_rooms_share_one_address() {
        let url = subscribe_url(
            &base("http://h/gate"),
            &[room("a/b", "t"), room("c&d", "*")],
            &[("from", "2026-01-01T00:00:00+01:00")],
        );
        assert_eq!(
            url.as_str(),
            "http://h/gate/v1/subscribe?room=a%2Fb%2Ft&room=c%26d%2F%2A&from=2026-01-01T00%3A00%3A00%2B01%3A00"
        );
    }

    #[test]
    fn a_publish_goes_to_its_room_or_to_everybody() {
        let kind = EventType::new("k d").expect("type");
        let to_room =
            Audience::Room(Room { id: EventId::new("i/d").expect("id"), kind: kind.clone() });
        assert_eq!(
            publish_url(&base("https://h/p/"), &to_room).as_str(),
            "https://h/p/v1/sse/events/i%2Fd/types/k%20d"
        );
        assert_eq!(
            publish_url(&base("https://h"), &Audience::Broadcast(kind)).as_str(),
            "https://h/v1/sse/broadcast/types/k%20d"
        );
    }

    #[test]
    fn what_is_no_gateway_is_refused_with_its_reason() {
        for bad in ["localhost:30000", "ftp://h", "http://", "http://h/?a=b", "http://h/#f", ""] {
            let error = parse_base(bad).expect_err(bad);
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn a_user_goes_as_utf_8_and_a_line_end_goes_nowhere() {
        let mut headers = HeaderMap::new();
        identify(&mut headers, Some("v1.k.1.ab"), Some("jürgen")).expect("headers");
        assert_eq!(headers["x-user"].as_bytes(), "jürgen".as_bytes());
        assert!(headers["x-signature"].is_sensitive());
        assert!(identify(&mut headers, None, Some("a\r\nb: c")).is_err());
        assert!(identify(&mut headers, Some("a\nb"), None).is_err());
    }
}
