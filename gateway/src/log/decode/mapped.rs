//! The head of a record that others wrote, by its topic's mapping.

use std::borrow::Cow;

use bytes::Bytes;

use super::cloudevents::{self, CloudEvent};
use super::data::{self, NotScalar};
use super::{Head, Malformed, text};
use crate::event::{Audience, EventId, EventType, Room, User};
use crate::json;
use crate::log::mapping::{Mapping, Part};
use crate::log::record::{Record, field};
use crate::log::{Role, Source};

const MISSING: &str = "which the record does not have";
const NOT_SCALAR: &str = "which is neither a string of whole characters, a number nor a boolean";
const NO_JSON: &str = "but the CloudEvent's data is not JSON";

/// The record's header of this name; of several the last, as Kafka's clients have it.
pub(super) fn header<'a>(record: &'a Record, name: &str) -> Option<&'a [u8]> {
    record.fields().filter(|header| header.0 == name.as_bytes()).last().map(|header| header.1)
}

/// The head of `record` as `mapping` reads it.
pub(super) fn head(record: &Record, source: &Source, mapping: &Mapping) -> Result<Head, Malformed> {
    let value = record.value().ok_or(Malformed::NullValue)?;
    let cloud_event = cloudevents::of(record, &value, Some(mapping))?;
    let from = From { record, source, cloud_event: cloud_event.as_ref() };
    let wanted = [
        // A broadcast has no id.
        (source.role == Role::Events).then_some(("event_id", &mapping.event_id)),
        Some(("event_type", &mapping.event_type)),
        mapping.to_user.as_ref().map(|part| ("to_user", part)),
    ];
    let [id, kind, user] = from.read(wanted, &value, mapping)?;
    let kind = EventType::new(&needed("event_type", &mapping.event_type, kind)?)?;
    let audience = match source.role {
        Role::Broadcast => Audience::Broadcast(kind),
        Role::Events => {
            let id = EventId::new(&needed("event_id", &mapping.event_id, id)?)?;
            Audience::Room(Room { id, kind })
        }
    };
    let to_user = user.map(|user| User::new(&user)).transpose()?;
    let is_final = header(record, field::FINAL) == Some(b"true");
    let mut fields = record.fields();
    let within = fields.find(|(name, _)| *name == field::DELIVER_WITHIN.as_bytes());
    let deadline = within.and_then(|(_, value)| super::deadline_of(record, value));
    Ok(Head { audience, to_user, is_final, deadline })
}

fn needed<'a>(
    what: &'static str,
    part: &Part,
    found: Option<Cow<'a, str>>,
) -> Result<Cow<'a, str>, Malformed> {
    found.ok_or_else(|| refused(what, part, MISSING))
}

fn refused(what: &'static str, part: &Part, why: &'static str) -> Malformed {
    Malformed::Mapping { what, part: part.to_string(), why }
}

/// A part with its name.
type Wanted<'a> = Option<(&'static str, &'a Part)>;

/// What parts are read from.
#[derive(Clone, Copy)]
struct From<'a> {
    record: &'a Record,
    source: &'a Source,
    cloud_event: Option<&'a CloudEvent<'a>>,
}

impl<'a> From<'a> {
    /// Reads the parts, all that lie in the value in one pass over it.
    fn read<const N: usize>(
        self,
        wanted: [Wanted<'a>; N],
        value: &'a Bytes,
        mapping: &Mapping,
    ) -> Result<[Option<Cow<'a, str>>; N], Malformed> {
        let pointers = wanted.map(|wanted| match wanted {
            Some((_, Part::Pointer(pointer))) => Some(pointer),
            _ => None,
        });
        let first = wanted.into_iter().flatten().find(|w| matches!(w.1, Part::Pointer(_)));
        let document: Cow<'a, str> = match (first, self.cloud_event) {
            (None, _) => "".into(),
            (Some(_), None) => json::utf8(value).map_err(data::not_json)?.into(),
            (Some((what, part)), Some(event)) => {
                event.json(mapping.value)?.ok_or_else(|| refused(what, part, NO_JSON))?
            }
        };
        let spelled = match first {
            Some(_) => json::find(&document, pointers, json::MAX_DEPTH).map_err(data::not_json)?,
            None => [None; N],
        };
        let mut found = [const { None }; N];
        for (found, (wanted, spelled)) in found.iter_mut().zip(wanted.into_iter().zip(spelled)) {
            if let Some((what, part)) = wanted {
                *found = self.part(what, part, spelled)?;
            }
        }
        Ok(found)
    }

    fn part(
        self,
        what: &'static str,
        part: &'a Part,
        spelled: Option<&str>,
    ) -> Result<Option<Cow<'a, str>>, Malformed> {
        let bytes = match part {
            Part::Key => match (self.record.key(), self.cloud_event) {
                (None, Some(event)) => return Ok(event.get("subject").map(Cow::Borrowed)),
                (key, _) => key,
            },
            Part::Header(name) => header(self.record, name),
            Part::Topic => return Ok(Some((&*self.source.name).into())),
            Part::Constant(text) => return Ok(Some((&**text).into())),
            Part::Attribute(name) => {
                return Ok(self.cloud_event.and_then(|e| e.get(name)).map(Cow::Borrowed));
            }
            Part::Pointer(_) => {
                let text = spelled.map(data::scalar).transpose();
                let text = text.map_err(|NotScalar| refused(what, part, NOT_SCALAR))?;
                return Ok(text.flatten().map(|text| text.into_owned().into()));
            }
        };
        bytes.map(|bytes| text(what, bytes).map(Cow::Borrowed)).transpose()
    }
}
