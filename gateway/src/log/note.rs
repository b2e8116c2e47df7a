//! Notes: what pods tell one another of events that have a time to be delivered in.
//!
//! A note is a record of a source of its own (Kafka: the topic `kafka.deliveries_topic`; Redis: the
//! stream `<prefix>:{deliveries}`; the embedded log, which has one pod, needs none). Its key is the
//! event's place, `source/shard/offset`, and it has two fields: `delivery`, which is `promised`,
//! `written` or `undelivered`, and `deadline`, in milliseconds since the Unix epoch. On Redis they
//! are kept for eight days, a day longer than the longest time to deliver in; on Kafka the topic's
//! retention decides, which should not be less than the times that publishers ask for.

use std::time::Duration;

use super::letter::Place;
use super::record::Record;

/// The field that says what became of the event.
pub(super) const DELIVERY: &str = "delivery";
/// The field with the time by which the event is to be written, in ms since the Unix epoch.
pub(super) const DEADLINE: &str = "deadline";
/// How far back notes are read, and how long Redis keeps them.
pub const KEPT: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It was published, and its time is long: pods that start later would not know of it.
    Promised,
    /// A pod wrote it to an open stream.
    Written,
    /// No pod did in time, and it has become a dead letter.
    Undelivered,
}

impl Delivery {
    fn as_str(self) -> &'static str {
        match self {
            Self::Promised => "promised",
            Self::Written => "written",
            Self::Undelivered => "undelivered",
        }
    }
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The source's name.
    pub source: String,
    /// The shard's number in it.
    pub shard: u32,
    /// The offset there.
    pub offset: u128,
    /// What became of it.
    pub delivery: Delivery,
    /// By when it is to be written, in milliseconds since the Unix epoch.
    pub deadline: i64,
}

impl Note {
    /// The record's key.
    pub(super) fn key(&self) -> String {
        Place::new(&self.source, self.shard, &self.offset.to_string()).to_string()
    }

    /// The record's fields.
    pub(super) fn fields(&self) -> [(&'static str, String); 2] {
        [(DELIVERY, self.delivery.as_str().to_owned()), (DEADLINE, self.deadline.to_string())]
    }

    /// Reads a note. `None`: the record is none, and is passed over.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let place: Place = std::str::from_utf8(record.key()?).ok()?.parse().ok()?;
        let offset = place.offset().parse().ok()?;
        let (source, shard) = (place.source().to_owned(), place.shard());
        let mut delivery = None;
        let mut deadline = None;
        for (name, value) in record.fields() {
            if name == DELIVERY.as_bytes() {
                delivery = [Delivery::Promised, Delivery::Written, Delivery::Undelivered]
                    .into_iter()
                    .find(|delivery| delivery.as_str().as_bytes() == value);
            } else if name == DEADLINE.as_bytes() {
                deadline = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
        }
        Some(Self { source, shard, offset, delivery: delivery?, deadline: deadline? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cursor::{Offset, Shard, SourceId};
    use crate::log::record::{Parts, RecordWriter};

    fn record(key: &[u8], fields: &[(&[u8], &[u8])]) -> Record {
        let parts = Parts {
            shard: Shard { source: SourceId(1), index: 0 },
            offset: Offset(0),
            timestamp: 0,
            tag: None,
            key: Some(key),
            value: None,
        };
        RecordWriter::default().write(parts, fields.iter().copied())
    }

    proptest! {
        #[test]
        fn a_note_is_read_as_it_was_written(
            source in "[a-z.{}:/]{1,20}",
            shard in any::<u32>(),
            offset in any::<u128>(),
            deadline in any::<i64>(),
            which in 0..3usize,
        ) {
            let delivery = [Delivery::Promised, Delivery::Written, Delivery::Undelivered][which];
            let note = Note { source, shard, offset, delivery, deadline };
            let fields = note.fields();
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            prop_assert_eq!(Note::of(&record(note.key().as_bytes(), &fields)), Some(note));
        }

        #[test]
        fn no_record_makes_the_parser_panic(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            delivery in proptest::collection::vec(any::<u8>(), 0..12),
            deadline in proptest::collection::vec(any::<u8>(), 0..24),
        ) {
            let fields: [(&[u8], &[u8]); 2] = [(b"delivery", &delivery), (b"deadline", &deadline)];
            let _ = Note::of(&record(&key, &fields));
        }
    }
}
