//! Why a record is no CloudEvent.

use super::STRUCTURED;
use crate::json::Kind;

/// Why a record is no CloudEvent that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// Nothing says that it is one.
    #[error("it has neither a ce_specversion header nor the content-type {STRUCTURED}")]
    Neither,
    /// Several events in one record, which no Kafka binding knows.
    #[error("it is a batch; write each event as a record of its own")]
    Batch,
    /// Structured in another way than JSON.
    #[error("the event format {0:?} is not read; write {STRUCTURED}, or use the binary mode")]
    Format(String),
    /// The value of structured mode is something else than an object.
    #[error("the value is {}, not an object with the event's attributes", .0.as_str())]
    NoObject(Kind),
    /// Another major version.
    #[error("specversion is {0:?}; only 1.0 is read")]
    Version(String),
    /// A required attribute is missing or empty.
    #[error("it has no attribute {0}, which every CloudEvent has")]
    Missing(&'static str),
    /// An attribute that is no text.
    #[error("its attribute {0:?} is neither a string of whole characters, a number nor a boolean")]
    Attribute(String),
    /// An attribute of its identity has what no attribute may have.
    #[error("its attribute {0} has a control character")]
    Control(&'static str),
    /// `data` and `data_base64`.
    #[error("it has both data and data_base64")]
    TwoData,
    /// `data_base64` is something else.
    #[error("its data_base64 is no string of base64")]
    Base64,
    /// A string with half of a character, in data that is text.
    #[error("its data has half of a surrogate pair")]
    Surrogate,
    /// Data that is no JSON, where the topic says that all is.
    #[error("its data is {0:?}, not JSON; set the source's value kind text or base64")]
    MediaType(String),
}
