//! From a record's value to the `data` of an event.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Malformed, text};
use crate::json::{self, JsonError, Kind, Scanner};
use crate::log::mapping::ValueKind;

/// The `data` of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data {
    /// JSON text on one line.
    pub(super) json: Bytes,
    /// It is the string of the value's base64.
    pub(super) is_base64: bool,
}

impl Data {
    /// What there is where nothing is.
    pub(super) fn null() -> Self {
        Self { json: Bytes::from_static(b"null"), is_base64: false }
    }
}

/// A value that is JSON. Its memory is shared if nothing has to be taken out.
pub(super) fn json(value: &Bytes, depth: usize) -> Result<Data, Malformed> {
    let json = json::minify_bytes(value, depth).map_err(not_json)?;
    Ok(Data { json, is_base64: false })
}

/// A value of one of the kinds.
pub(super) fn of_kind(value: &Bytes, kind: ValueKind, depth: usize) -> Result<Data, Malformed> {
    match kind {
        ValueKind::Json => json(value, depth),
        ValueKind::Text => of_text(value),
        ValueKind::Base64 => Ok(of_bytes(value)),
    }
}

/// UTF-8 as a JSON string.
pub(super) fn of_text(value: &[u8]) -> Result<Data, Malformed> {
    let text = text("value", value)?;
    let json = serde_json::to_vec(text).map_err(|e| Malformed::NotJson(e.to_string()))?;
    Ok(Data { json: json.into(), is_base64: false })
}

/// Any bytes as the JSON string of their base64.
pub(super) fn of_bytes(value: &[u8]) -> Data {
    let mut json = String::with_capacity(value.len().div_ceil(3) * 4 + 2);
    json.push('"');
    STANDARD.encode_string(value, &mut json);
    json.push('"');
    Data { json: json.into(), is_base64: true }
}

pub(super) fn not_json(error: JsonError) -> Malformed {
    Malformed::NotJson(error.to_string())
}

/// A container, or a string with half of a character: it can be no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotScalar;

/// The text of the value that is spelled `raw`: of a string what it means, of a number or boolean
/// its spelling. `None` for null.
pub(super) fn scalar(raw: &str) -> Result<Option<Cow<'_, str>>, NotScalar> {
    match Scanner::new(raw, 0).peek() {
        Ok(Kind::String) => {
            let inside = raw.get(1..raw.len() - 1).unwrap_or_default();
            json::unescape(inside).map(Some).map_err(|_| NotScalar)
        }
        Ok(Kind::Number | Kind::Bool) => Ok(Some(raw.into())),
        Ok(Kind::Null) => Ok(None),
        Ok(Kind::Object | Kind::Array) | Err(_) => Err(NotScalar),
    }
}
