//! Requests as text: a target on the first line, then a header a line, bytes as they are.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Uri};

/// The head of a request; `None` if hyper would not let it through.
pub(crate) fn read(input: &[u8]) -> Option<(Uri, HeaderMap)> {
    let mut lines = input.split(|b| *b == b'\n');
    let uri = Uri::try_from(lines.next()?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|b| *b == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some((uri, headers))
}
