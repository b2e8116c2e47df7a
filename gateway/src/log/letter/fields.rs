//! A letter as a record: its key, its fields and its value, and back. What is read back may have
//! been written by anybody.

use std::fmt::Write as _;

use bytes::Bytes;

use super::{Letter, NoPlace, Original, Place, Reason};
use crate::event::MessageId;

const REASON: &str = "reason";
const DETAIL: &str = "detail";
const POD: &str = "pod";
const AT: &str = "at";
const ORIGINAL_KEY: &str = "original_key";
const ORIGINAL_TIMESTAMP: &str = "original_timestamp";
const LEFT_OUT: &str = "left_out";
const REPLAYED: &str = "replayed";
/// What the original's fields begin with.
const TEXT_NAME: &str = "o.";
/// The same for names that are not UTF-8, which no header can have as they are.
const HEX_NAME: &str = "x.";

/// Something that is to be kept under a letter's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The record's key.
    pub key: String,
    /// Its fields.
    pub fields: Vec<(String, Bytes)>,
    /// Its value.
    pub value: Option<Bytes>,
}

/// That a letter was published again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The id of the event.
    pub message_id: MessageId,
    /// The pod that published it.
    pub pod: Box<str>,
    /// When, by that pod's clock, in milliseconds since the Unix epoch.
    pub at: i64,
}

/// What a record of the dead letters is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A letter.
    Letter(Letter),
    /// A letter's marker.
    Replayed(Place, Replay),
}

impl Entry {
    /// The key.
    #[must_use]
    pub fn place(&self) -> &Place {
        match self {
            Self::Letter(letter) => &letter.place,
            Self::Replayed(place, _) => place,
        }
    }
}

/// Why a record among the dead letters is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// No key, or one that is no place.
    #[error("its key is no place: {0}")]
    Key(#[from] NoPlace),
    /// A field that every letter or marker has is not there.
    #[error("it has no field {0}")]
    Missing(&'static str),
    /// A field that cannot be read.
    #[error("its field {0} cannot be read")]
    Field(&'static str),
}

impl Letter {
    /// The record that keeps it.
    #[must_use]
    pub fn parcel(&self) -> Parcel {
        let Original { key, fields, value, timestamp, left_out } = &self.record;
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let number = |number: i128| Bytes::from(number.to_string());
        let mut packed: Vec<(String, Bytes)> = Vec::with_capacity(8 + fields.len());
        let mut put = |name: &str, value: Bytes| packed.push((name.to_owned(), value));
        put(REASON, text(self.reason.as_str()));
        put(DETAIL, text(&self.detail));
        put(POD, text(&self.pod));
        put(AT, number(self.at.into()));
        if let Some(key) = key {
            put(ORIGINAL_KEY, key.clone());
        }
        put(ORIGINAL_TIMESTAMP, number((*timestamp).into()));
        if *left_out > 0 {
            put(LEFT_OUT, number((*left_out).into()));
        }
        for (name, value) in fields {
            packed.push((packed_name(name), value.clone()));
        }
        Parcel { key: self.place.to_string(), fields: packed, value: value.clone() }
    }
}

impl Replay {
    /// The record that marks the letter at `place`.
    #[must_use]
    pub fn parcel(&self, place: &Place) -> Parcel {
        let field = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
        Parcel {
            key: place.to_string(),
            fields: vec![
                field(REPLAYED, self.message_id.to_string()),
                field(POD, self.pod.to_string()),
                field(AT, self.at.to_string()),
            ],
            value: None,
        }
    }
}

impl Parcel {
    /// Reads a record of the dead letters.
    ///
    /// # Errors
    /// [`LetterError`] for what is neither letter nor marker.
    pub fn open<'f>(
        key: Option<&[u8]>,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        value: Option<&[u8]>,
    ) -> Result<Entry, LetterError> {
        let place: Place =
            key.and_then(|key| std::str::from_utf8(key).ok()).ok_or(NoPlace)?.parse()?;
        let mut said = Said::default();
        let mut original =
            Original { value: value.map(Bytes::copy_from_slice), ..Original::default() };
        for (name, value) in fields {
            if let Some(name) = original_name(name) {
                original.fields.push((name?, Bytes::copy_from_slice(value)));
            } else {
                said.take(name, value);
            }
        }
        let at = said.number(AT)?.ok_or(LetterError::Missing(AT))?;
        let pod = said.text(POD)?.ok_or(LetterError::Missing(POD))?.into();
        if let Some(message_id) = said.text(REPLAYED)? {
            let message_id = MessageId::parse(message_id).ok_or(LetterError::Field(REPLAYED))?;
            return Ok(Entry::Replayed(place, Replay { message_id, pod, at }));
        }
        let reason = said.text(REASON)?.ok_or(LetterError::Missing(REASON))?;
        original.key = said.get(ORIGINAL_KEY).map(Bytes::copy_from_slice);
        original.timestamp =
            said.number(ORIGINAL_TIMESTAMP)?.ok_or(LetterError::Missing(ORIGINAL_TIMESTAMP))?;
        original.left_out = said.number(LEFT_OUT)?.unwrap_or(0);
        Ok(Entry::Letter(Letter {
            place,
            reason: Reason::parse(reason).ok_or(LetterError::Field(REASON))?,
            detail: said.text(DETAIL)?.unwrap_or_default().into(),
            pod,
            at,
            record: original,
        }))
    }
}

const OWN: [&str; 8] =
    [REASON, DETAIL, POD, AT, ORIGINAL_KEY, ORIGINAL_TIMESTAMP, LEFT_OUT, REPLAYED];

/// What is said about a record: of each name the first.
#[derive(Default)]
struct Said<'f>([Option<&'f [u8]>; OWN.len()]);

impl<'f> Said<'f> {
    /// A name that is not known is a later release's.
    fn take(&mut self, name: &[u8], value: &'f [u8]) {
        if let Some(at) = OWN.iter().position(|own| own.as_bytes() == name) {
            self.0[at].get_or_insert(value);
        }
    }

    fn get(&self, name: &'static str) -> Option<&'f [u8]> {
        OWN.iter().position(|own| *own == name).and_then(|at| self.0[at])
    }

    fn text(&self, name: &'static str) -> Result<Option<&'f str>, LetterError> {
        let text = self.get(name).map(std::str::from_utf8).transpose();
        text.map_err(|_| LetterError::Field(name))
    }

    fn number<N: std::str::FromStr>(&self, name: &'static str) -> Result<Option<N>, LetterError> {
        let number = self.text(name)?.map(str::parse).transpose();
        number.map_err(|_| LetterError::Field(name))
    }
}

fn packed_name(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) => format!("{TEXT_NAME}{name}"),
        Err(_) => name.iter().fold(HEX_NAME.to_owned(), |mut hex, byte| {
            // Writing into a String does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
    }
}

/// The name of the original's field; `None` for what is said about it.
fn original_name(name: &[u8]) -> Option<Result<Bytes, LetterError>> {
    if let Some(name) = name.strip_prefix(TEXT_NAME.as_bytes()) {
        return Some(Ok(Bytes::copy_from_slice(name)));
    }
    let hex = name.strip_prefix(HEX_NAME.as_bytes())?;
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    let name: Option<Vec<u8>> = hex.chunks(2).map(byte).collect();
    Some(name.map(Bytes::from).ok_or(LetterError::Field("x.")))
}
