//! CloudEvents 1.0 in the two modes that their Kafka binding knows (protocol binding 1.0.2).
//!
//! *Structured*: `content-type` is `application/cloudevents+json` and the value is the event.
//! *Binary*: attributes are headers `ce_<name>` in plain UTF-8 (nothing is percent-decoded: that is
//! the HTTP binding's), `content-type` is the attribute `datacontenttype`, and the value is the
//! data. Either way it becomes the same [`CloudEvent`], and so the same event.
//!
//! Both modes are read as far as they are clear, and no further: an attribute may be a number or a
//! boolean, `"subject": null` is no subject; but what lacks a required attribute, is of another
//! major version (0.3 and before had other rules for the data) or is a batch is refused.

mod body;
mod error;

use std::borrow::Cow;

pub use error::CloudEventError;

use super::{Malformed, data, text};
use crate::event::{MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS, MessageId};
use crate::json::{self, Kind, Scanner};
use crate::log::mapping::{Format, Mapping, Part, is_attribute_name};
use crate::log::record::Record;
use body::Body;

/// What the headers of binary mode start with, and those of the envelope that repeat attributes.
const PREFIX: &str = "ce_";
const CONTENT_TYPE: &[u8] = b"content-type";
const DATA_TYPE: &str = "datacontenttype";
const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch";
/// What the media types of all event formats start with.
const ANY_FORMAT: &str = "application/cloudevents";
/// The attributes that come first among an envelope's headers; the others follow by name.
const FIRST: [&str; 7] = ["id", "source", "type", "subject", "time", "dataschema", DATA_TYPE];
/// What readers need not be told. The trace context stays in the record.
const UNTOLD: [&str; 3] = ["specversion", "traceparent", "tracestate"];

/// A CloudEvent as a record carries it.
#[derive(Debug)]
pub(super) struct CloudEvent<'a> {
    /// Its attributes in the order in which they were met: of several with one name the last
    /// counts, and `None` is JSON's null.
    attributes: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
    body: Body<'a>,
}

/// The event in `record`, whose value is `value`, if `mapping` says that it has one.
pub(super) fn of<'a>(
    record: &'a Record,
    value: &'a [u8],
    mapping: Option<&Mapping>,
) -> Result<Option<CloudEvent<'a>>, Malformed> {
    match mapping.map(|mapping| mapping.format) {
        Some(Format::CloudEvents) => CloudEvent::read(record, value).map(Some),
        Some(Format::Mapped) | None => Ok(None),
    }
}

impl<'a> CloudEvent<'a> {
    fn read(record: &'a Record, value: &'a [u8]) -> Result<Self, Malformed> {
        let content_type =
            record.fields().filter(|h| h.0.eq_ignore_ascii_case(CONTENT_TYPE)).last();
        let content_type = content_type.map(|h| text("content-type", h.1)).transpose()?;
        let essence = content_type.map(essence).unwrap_or_default();
        let event = if !essence.starts_with(ANY_FORMAT) {
            Self::binary(record, value, content_type)?
        } else if essence == STRUCTURED {
            Self::structured(value)?
        } else if essence.starts_with(BATCH) {
            return Err(CloudEventError::Batch.into());
        } else {
            return Err(CloudEventError::Format(shown(&essence)).into());
        };
        event.checked()
    }

    fn binary(
        record: &'a Record,
        value: &'a [u8],
        content_type: Option<&'a str>,
    ) -> Result<Self, Malformed> {
        let mut attributes = Vec::with_capacity(8);
        for (name, value) in record.fields() {
            let Some(name) = name.strip_prefix(PREFIX.as_bytes()) else { continue };
            if let Some(name) = std::str::from_utf8(name).ok().filter(|n| is_attribute_name(n)) {
                attributes.push((name.into(), Some(text("ce_ header", value)?.into())));
            }
        }
        if let Some(content_type) = content_type {
            attributes.push((DATA_TYPE.into(), Some(content_type.into())));
        }
        Ok(Self { attributes, body: Body::Value(value) })
    }

    fn structured(value: &'a [u8]) -> Result<Self, Malformed> {
        let value = json::utf8(value).map_err(data::not_json)?;
        let mut scanner = Scanner::new(value, json::MAX_DEPTH);
        match scanner.peek().map_err(data::not_json)? {
            Kind::Object => scanner.open_object().map_err(data::not_json)?,
            other => return Err(CloudEventError::NoObject(other).into()),
        }
        let mut attributes = Vec::with_capacity(8);
        let (mut member, mut base64) = (None, None);
        let mut first = true;
        while let Some(name) = scanner.next_name(&mut first).map_err(data::not_json)? {
            let spelled = scanner.skip().map_err(data::not_json)?;
            // Half of a character is in no attribute's name.
            let Ok(name) = json::unescape(name) else { continue };
            if name == "data" {
                member = Some(spelled);
            } else if name == "data_base64" {
                base64 = Some(spelled);
            } else if is_attribute_name(&name) {
                let value =
                    data::scalar(spelled).map_err(|_| CloudEventError::Attribute(shown(&name)))?;
                attributes.push((name, value));
            }
        }
        scanner.end().map_err(data::not_json)?;
        let body = match (member, base64.filter(|base64| *base64 != "null")) {
            (Some(_), Some(_)) => return Err(CloudEventError::TwoData.into()),
            (Some(data), None) => Body::Member(data),
            (None, Some(base64)) => {
                let inside = base64.strip_prefix('"').and_then(|b| b.strip_suffix('"'));
                Body::Base64(inside.ok_or(CloudEventError::Base64)?)
            }
            (None, None) => Body::Absent,
        };
        Ok(Self { attributes, body })
    }

    /// Refuses what is no event of this version, or has no identity.
    fn checked(self) -> Result<Self, Malformed> {
        let structured = !matches!(self.body, Body::Value(_));
        match self.get("specversion") {
            Some(version) if version.starts_with("1.") => {}
            Some(version) => return Err(CloudEventError::Version(shown(version)).into()),
            None if structured => return Err(CloudEventError::Missing("specversion").into()),
            None => return Err(CloudEventError::Neither.into()),
        }
        for name in ["id", "source", "type"] {
            let value = self.required(name);
            if value.is_empty() {
                return Err(CloudEventError::Missing(name).into());
            }
            // The identity is hashed with NUL between its parts.
            if value.chars().any(char::is_control) {
                return Err(CloudEventError::Control(name).into());
            }
        }
        Ok(self)
    }

    /// The attribute of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().rev().find(|a| a.0 == name)?.1.as_deref()
    }

    fn required(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// What `source` and `id` make.
    pub(super) fn message_id(&self) -> MessageId {
        MessageId::from_cloud_event(self.required("source"), self.required("id"))
    }

    /// Appends the attributes as `ce_<name>`, as many and as long as a publisher's own headers may
    /// be. Left out are those that the envelope has in another place.
    pub(super) fn put_headers(&self, mapping: &Mapping, headers: &mut Vec<(Box<str>, Box<str>)>) {
        let is_told = |name: &str| match name {
            "type" => !matches!(&mapping.event_type, Part::Attribute(part) if **part == *name),
            DATA_TYPE => !self.is_json(mapping.value),
            _ => !UNTOLD.contains(&name),
        };
        let rank = |name: &str| FIRST.iter().position(|first| *first == name);
        let mut attributes: Vec<_> = self
            .attributes
            .iter()
            .map(|(name, value)| (rank(name).unwrap_or(FIRST.len()), &**name, value.as_deref()))
            .collect();
        // Stable: the last of several with one name stays the last.
        attributes.sort_by_key(|&(rank, name, _)| (rank, name));
        for same in attributes.chunk_by(|a, b| a.1 == b.1) {
            if headers.len() >= MAX_HEADERS {
                break;
            }
            if let Some(&(_, name, Some(value))) = same.last()
                && is_told(name)
                && PREFIX.len() + name.len() <= MAX_HEADER_NAME_BYTES
                && value.len() <= MAX_HEADER_VALUE_BYTES
            {
                headers.push((format!("{PREFIX}{name}").into(), value.into()));
            }
        }
    }
}

/// A media type without its parameters, in lower case.
fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// The beginning of a text for a message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
