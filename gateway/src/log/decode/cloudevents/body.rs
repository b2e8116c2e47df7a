//! The data of a CloudEvent: what it is, and how it becomes that of an event.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::super::Malformed;
use super::super::data::{self, Data};
use super::{CloudEvent, CloudEventError, DATA_TYPE, essence, shown};
use crate::json;
use crate::log::mapping::ValueKind;

/// Where the data is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    /// The record's value.
    Value(&'a [u8]),
    /// The member `data`, as it is spelled.
    Member(&'a str),
    /// The member `data_base64`, as it is spelled between its quotes.
    Base64(&'a str),
    /// There is none.
    Absent,
}

/// The data, decoded as far as the mode needs it.
enum Content<'a> {
    /// JSON as it is spelled.
    Json(&'a str),
    /// Bytes of the data's media type.
    Bytes(Cow<'a, [u8]>),
    /// None.
    Absent,
}

impl<'a> CloudEvent<'a> {
    /// Whether data that is bytes is JSON: as its media type says, or else the topic.
    pub(super) fn is_json(&self, kind: ValueKind) -> bool {
        match (self.get(DATA_TYPE), self.body) {
            (Some(media_type), _) => is_json_type(media_type),
            (None, Body::Member(_) | Body::Absent) => true,
            (None, Body::Value(_) | Body::Base64(_)) => kind == ValueKind::Json,
        }
    }

    fn content(&self) -> Result<Content<'a>, Malformed> {
        Ok(match self.body {
            Body::Absent => Content::Absent,
            Body::Value(value) => Content::Bytes(value.into()),
            Body::Base64(spelled) => {
                let base64 = json::unescape(spelled).map_err(|_| CloudEventError::Base64)?;
                let bytes = STANDARD.decode(&*base64).map_err(|_| CloudEventError::Base64)?;
                Content::Bytes(bytes.into())
            }
            Body::Member(spelled) => match spelled.strip_prefix('"') {
                // Of a media type that is no JSON, the string holds the data.
                Some(rest) if self.get(DATA_TYPE).is_some_and(|t| !is_json_type(t)) => {
                    let inside = rest.strip_suffix('"').unwrap_or_default();
                    let data = json::unescape(inside).map_err(|_| CloudEventError::Surrogate)?;
                    Content::Bytes(match data {
                        Cow::Borrowed(data) => data.as_bytes().into(),
                        Cow::Owned(data) => data.into_bytes().into(),
                    })
                }
                _ => Content::Json(spelled),
            },
        })
    }

    /// The data as JSON text that is yet to be checked; `None` if it is something else.
    pub(in crate::log::decode) fn json(
        &self,
        kind: ValueKind,
    ) -> Result<Option<Cow<'a, str>>, Malformed> {
        Ok(match self.content()? {
            Content::Absent => Some("null".into()),
            Content::Json(spelled) => Some(spelled.into()),
            Content::Bytes(bytes) if !self.is_json(kind) => {
                drop(bytes);
                None
            }
            Content::Bytes(bytes) if bytes.is_empty() => Some("null".into()),
            Content::Bytes(Cow::Borrowed(bytes)) => {
                Some(json::utf8(bytes).map_err(data::not_json)?.into())
            }
            Content::Bytes(Cow::Owned(bytes)) => {
                let bytes = String::from_utf8(bytes).map_err(|e| e.utf8_error());
                Some(bytes.map_err(|_| Malformed::NotUtf8("data"))?.into())
            }
        })
    }

    /// The event's `data`. `value` is the record's value, whose memory is shared where it can be.
    pub(in crate::log::decode) fn data(
        &self,
        value: &Bytes,
        kind: ValueKind,
        depth: usize,
    ) -> Result<Data, Malformed> {
        match self.content()? {
            Content::Absent => Ok(Data::null()),
            Content::Json(spelled) => data::json(&value.slice_ref(spelled.as_bytes()), depth),
            Content::Bytes(bytes) if self.is_json(kind) => match bytes {
                bytes if bytes.is_empty() => Ok(Data::null()),
                Cow::Borrowed(bytes) => data::json(&value.slice_ref(bytes), depth),
                Cow::Owned(bytes) => data::json(&bytes.into(), depth),
            },
            Content::Bytes(bytes) => match kind {
                ValueKind::Text => data::of_text(&bytes),
                ValueKind::Base64 => Ok(data::of_bytes(&bytes)),
                ValueKind::Json => {
                    Err(CloudEventError::MediaType(shown(self.required(DATA_TYPE))).into())
                }
            },
        }
    }
}

/// Whether it is JSON as CloudEvents have it: `*/json` or `*/*+json` (JSON format, 3.1.1).
fn is_json_type(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence
        .split_once('/')
        .is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}
