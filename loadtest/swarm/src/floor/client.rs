//! Requests, read in the least way: what this crate's own generator writes, and curl.

use memchr::memmem;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// A stream of the room.
    Subscribe(&'a [u8]),
    /// One event for the room.
    Publish(&'a [u8], &'a [u8]),
    /// NDJSON.
    Batch(&'a [u8]),
    /// Something else.
    Unknown,
}

/// The longest request.
const REQUEST_BYTES: usize = 16 * 1024 * 1024;

/// What stands at the start of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A request and its length.
    Complete(Request<'a>, usize),
    /// More bytes are needed.
    Partial,
    /// It will never become a request.
    Broken,
}

/// Takes the first request apart. A room is the `{id}/types/{type}` of its path.
pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > 16 * 1024 { Parsed::Broken } else { Parsed::Partial };
    };
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let mut lines = head.split(|&b| b == b'\n').map(|line| line.trim_ascii());
    let mut words = lines.next().unwrap_or_default().split(|&b| b == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split(|&b| b == b'?').next().unwrap_or_default();
    let length = lines
        .filter_map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            let is_length = line[..colon].eq_ignore_ascii_case(b"content-length");
            is_length.then(|| crate::http::digits(line[colon + 1..].trim_ascii()))
        })
        .next()
        .unwrap_or(Some(0));
    let Some(length) = length.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= REQUEST_BYTES)
    else {
        return Parsed::Broken;
    };
    let Some(body) = rest.get(..length) else { return Parsed::Partial };
    let request = match method {
        b"GET" => path.strip_prefix(b"/v1/subscribe/events/").map(Request::Subscribe),
        b"POST" if path == b"/v1/sse/batch" => Some(Request::Batch(body)),
        b"POST" => path.strip_prefix(b"/v1/sse/events/").map(|room| Request::Publish(room, body)),
        _ => None,
    };
    Parsed::Complete(request.unwrap_or(Request::Unknown), end + 4 + length)
}

/// The `data` of a publish body or a batch line that ends with it; otherwise the whole.
pub(super) fn data(body: &[u8]) -> &[u8] {
    const DATA: &[u8] = b"\"data\":";
    match (memmem::find(body, DATA), body.strip_suffix(b"}")) {
        (Some(at), Some(inner)) => &inner[at + DATA.len()..],
        _ => body,
    }
}

/// The room of a batch line, as in a path.
pub(super) fn line_room(line: &[u8]) -> Option<Vec<u8>> {
    let value = |name: &[u8]| {
        let rest = &line[memmem::find(line, name)? + name.len()..];
        Some(&rest[..memchr::memchr(b'"', rest)?])
    };
    let (id, event_type) = (value(b"\"event_id\":\"")?, value(b"\"event_type\":\"")?);
    Some([id, event_type].join(&b"/types/"[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_the_other() {
        let head = b"POST /v1/sse/events/a/types/t HTTP/1.1\r\ncontent-length: 5\r\n\r\n";
        let two = [&head[..], b"hello", &head[..], b"world"].concat();
        let len = head.len() + 5;
        let publish = |body| Request::Publish(b"a/types/t", body);
        assert_eq!(parse(&two), Parsed::Complete(publish(b"hello"), len));
        assert_eq!(parse(&two[len..]), Parsed::Complete(publish(b"world"), len));
        let get = b"GET /v1/subscribe/events/a/types/t?x=y HTTP/1.1\r\n\r\n";
        assert_eq!(parse(get), Parsed::Complete(Request::Subscribe(b"a/types/t"), get.len()));
        for cut in 0..get.len() {
            assert_eq!(parse(&get[..cut]), Parsed::Partial);
        }
        assert_eq!(parse(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), Parsed::Broken);
    }

    #[test]
    fn the_data_is_found_in_bodies_and_lines() {
        assert_eq!(data(b"{\"data\":{\"seq\":1}}"), b"{\"seq\":1}");
        assert_eq!(data(b"{\"seq\":1}"), b"{\"seq\":1}");
        let line = b"{\"event_id\":\"r\",\"event_type\":\"t\",\"data\":[1]}";
        assert_eq!(data(line), b"[1]");
        assert_eq!(line_room(line).as_deref(), Some(&b"r/types/t"[..]));
        assert_eq!(line_room(b"{}"), None);
    }
}
