//! What the records of a topic mean that others write: where an event's room and user come from,
//! and how the value becomes its `data`.

use std::fmt;
use std::str::FromStr;

use crate::event::{EventId, EventType, NameError, User};
use crate::json::{JsonPointer, PointerError};

/// Where a part of an event comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The record's key. Of a CloudEvent without one: its attribute `subject`.
    Key,
    /// The record's header of this name; of several the last.
    Header(Box<str>),
    /// The topic's name.
    Topic,
    /// A string, number or boolean in the value; in a CloudEvent in its `data`.
    Pointer(JsonPointer),
    /// Always this.
    Constant(Box<str>),
    /// An attribute of a CloudEvent.
    Attribute(Box<str>),
}

/// What a [`Part`] that is a JSON pointer may start with; needed for the empty pointer only.
const VALUE_PREFIX: &str = "value:";
/// The attributes of a CloudEvent that its `data` is carried in.
const DATA_MEMBERS: [&str; 2] = ["data", "data_base64"];

/// Why a text is no [`Part`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// It is none of the forms.
    #[error(
        "{0:?} is none of key, header:NAME, topic, /json/pointer, constant:TEXT, attribute:NAME"
    )]
    Unknown(String),
    /// `header:` without a name.
    #[error("header: needs the header's name, as in header:tenant")]
    HeaderName,
    /// A name that no attribute can have.
    #[error("{0:?} is no attribute of a CloudEvent: its name is lower-case letters and digits")]
    AttributeName(String),
    /// A JSON pointer that is none.
    #[error(transparent)]
    Pointer(#[from] PointerError),
}

impl FromStr for Part {
    type Err = PartError;

    fn from_str(text: &str) -> Result<Self, PartError> {
        match text {
            "key" => return Ok(Self::Key),
            "topic" => return Ok(Self::Topic),
            _ if text.starts_with('/') => return Ok(Self::Pointer(text.parse()?)),
            _ => {}
        }
        if let Some(pointer) = text.strip_prefix(VALUE_PREFIX) {
            Ok(Self::Pointer(pointer.parse()?))
        } else if let Some(name) = text.strip_prefix("header:") {
            if name.is_empty() { Err(PartError::HeaderName) } else { Ok(Self::Header(name.into())) }
        } else if let Some(constant) = text.strip_prefix("constant:") {
            Ok(Self::Constant(constant.into()))
        } else if let Some(name) = text.strip_prefix("attribute:") {
            if is_attribute_name(name) {
                Ok(Self::Attribute(name.into()))
            } else {
                Err(PartError::AttributeName(name.to_owned()))
            }
        } else {
            Err(PartError::Unknown(text.to_owned()))
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("key"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Topic => f.write_str("topic"),
            Self::Pointer(pointer) => {
                let text = pointer.to_string();
                f.write_str(if text.is_empty() { VALUE_PREFIX } else { &text })
            }
            Self::Constant(text) => write!(f, "constant:{text}"),
            Self::Attribute(name) => write!(f, "attribute:{name}"),
        }
    }
}

/// Whether a CloudEvent can have an attribute of this name (CloudEvents 1.0.2, naming conventions).
#[must_use]
pub fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && !DATA_MEMBERS.contains(&name)
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// How a record's value becomes the event's `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueKind {
    /// It is JSON.
    #[default]
    Json,
    /// It is UTF-8 text, which becomes a JSON string.
    Text,
    /// It is any bytes, which become the JSON string of their base64.
    Base64,
}

/// What a topic's records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Records whose parts a mapping names.
    #[default]
    Mapped,
    /// CloudEvents 1.0 in Kafka's binary or structured mode.
    CloudEvents,
}

/// Declares the words of a closed set.
macro_rules! words {
    ($name:ident, $expected:literal, $($variant:ident = $word:literal),+) => {
        impl $name {
            /// As the settings spell it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { word: text.to_owned(), expected: $expected }),
                }
            }
        }
    };
}

words!(ValueKind, "json, text or base64", Json = "json", Text = "text", Base64 = "base64");
words!(Format, "mapped or cloudevents", Mapped = "mapped", CloudEvents = "cloudevents");

/// A word that is none of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not one of {expected}")]
pub struct UnknownWord {
    word: String,
    expected: &'static str,
}

/// Why parts make no mapping. Its text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// A constant that every record would be refused for.
    #[error("{what}: no event can have the constant {text:?}: {error}")]
    Constant {
        /// Which part it was.
        what: &'static str,
        /// The constant.
        text: Box<str>,
        /// What is wrong with it.
        error: NameError,
    },
    /// An attribute of something that has none.
    #[error(
        "{what}: only CloudEvents have attributes; set the format cloudevents, or take {name:?} from a header or a JSON pointer"
    )]
    NoAttributes {
        /// Which part it was.
        what: &'static str,
        /// The attribute's name.
        name: Box<str>,
    },
    /// A JSON pointer into what is not read as JSON.
    #[error(
        "{what}: the JSON pointer {pointer} needs a value that is JSON; set the value kind json, or take {what} from the key or a header"
    )]
    NotJson {
        /// Which part it was.
        what: &'static str,
        /// The part.
        pointer: Part,
    },
}

/// What the records of one topic mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// What they are.
    pub format: Format,
    /// The room's id.
    pub event_id: Part,
    /// The room's type.
    pub event_type: Part,
    /// The only user who gets the event. A record that lacks this part is for everybody.
    pub to_user: Option<Part>,
    /// What the value is; of CloudEvents that of data whose media type is no JSON.
    pub value: ValueKind,
}

impl Mapping {
    /// Records whose parts are named.
    ///
    /// # Errors
    /// [`MappingError`] if no record could be read by it.
    pub fn mapped(
        event_id: Part,
        event_type: Part,
        to_user: Option<Part>,
        value: ValueKind,
    ) -> Result<Self, MappingError> {
        Self { format: Format::Mapped, event_id, event_type, to_user, value }.checked()
    }

    /// CloudEvents. The room's id is by default the record's key, or else the event's `subject`;
    /// the type is its `type`; and everybody gets it.
    ///
    /// # Errors
    /// [`MappingError`] if no record could be read by it.
    pub fn cloud_events(
        event_id: Option<Part>,
        event_type: Option<Part>,
        to_user: Option<Part>,
        value: ValueKind,
    ) -> Result<Self, MappingError> {
        let event_id = event_id.unwrap_or(Part::Key);
        let event_type = event_type.unwrap_or_else(|| Part::Attribute("type".into()));
        Self { format: Format::CloudEvents, event_id, event_type, to_user, value }.checked()
    }

    /// Whether the room's id is the record's key, so that murmur2 of it says where a room lies.
    /// Otherwise its records can lie on any partition.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.event_id == Part::Key
    }

    /// The parts with their names.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &Part)> {
        let first = [("event_id", &self.event_id), ("event_type", &self.event_type)];
        first.into_iter().chain(self.to_user.as_ref().map(|part| ("to_user", part)))
    }

    fn checked(self) -> Result<Self, MappingError> {
        for (what, part) in self.parts() {
            match part {
                Part::Constant(text) => {
                    let checked = match what {
                        "event_id" => EventId::new(text).map(drop),
                        "event_type" => EventType::new(text).map(drop),
                        _ => User::new(text).map(drop),
                    };
                    checked.map_err(|error| MappingError::Constant {
                        what,
                        text: text.clone(),
                        error,
                    })?;
                }
                Part::Attribute(name) if self.format == Format::Mapped => {
                    return Err(MappingError::NoAttributes { what, name: name.clone() });
                }
                Part::Pointer(_)
                    if self.format == Format::Mapped && self.value != ValueKind::Json =>
                {
                    return Err(MappingError::NotJson { what, pointer: part.clone() });
                }
                Part::Key
                | Part::Header(_)
                | Part::Topic
                | Part::Pointer(_)
                | Part::Attribute(_) => {}
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
