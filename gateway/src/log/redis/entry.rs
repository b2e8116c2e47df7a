//! Entries of a stream: their ids as offsets, themselves as records.

use std::borrow::Cow;

use redis::Value;

use super::link::{bytes, items, text, unexpected};
use crate::cursor::{Offset, Shard, Tag};
use crate::event::MessageId;
use crate::log::record::{Parts, Record, RecordWriter, field};

/// The field that carries the record's key.
pub(super) const KEY: &str = "key";
/// The field that carries the record's value.
pub(super) const DATA: &str = "data";

/// The offset of the entry with this id: `ms-seq` as `ms << 64 | seq`.
#[must_use]
pub fn offset(id: &str) -> Option<Offset> {
    let (ms, seq) = id.split_once('-')?;
    let (ms, seq) = (ms.parse::<u64>().ok()?, seq.parse::<u64>().ok()?);
    Some(Offset(u128::from(ms) << 64 | u128::from(seq)))
}

/// The id of the entry at this offset.
#[must_use]
pub fn id(offset: Offset) -> String {
    format!("{}-{}", millis(offset), offset.0 & u128::from(u64::MAX))
}

/// The id of the last place before `next`: what `XREAD` begins after.
pub(super) fn before(next: Offset) -> String {
    id(Offset(next.0.saturating_sub(1)))
}

/// The entry's time, in milliseconds since the Unix epoch.
pub(super) fn millis(offset: Offset) -> u64 {
    // The upper half of 128 bits fits into 64.
    (offset.0 >> 64) as u64
}

/// Turns entries of one stream into records.
#[derive(Debug, Default)]
pub struct Copier {
    writer: RecordWriter,
}

impl Copier {
    /// Copies one entry, `[id, [field, value, …]]`.
    ///
    /// # Errors
    /// What the answer has instead of an entry.
    pub fn record(
        &mut self,
        entry: &Value,
        shard: Shard,
        source: &str,
        tag: Tag,
    ) -> Result<Record, String> {
        let [entry_id, fields] = items(entry)? else { return Err(unexpected(entry)) };
        let entry_id = text(entry_id)?;
        let offset = offset(entry_id).ok_or_else(|| format!("{entry_id:?} is no entry's id"))?;
        let mut key = None;
        let mut value = None;
        let mut named = false;
        let mut others: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::with_capacity(8);
        for pair in items(fields)?.chunks_exact(2) {
            let (name, content) = (bytes(&pair[0])?, bytes(&pair[1])?);
            if name == KEY.as_bytes() {
                key = Some(content);
            } else if name == DATA.as_bytes() {
                value = Some(content);
            } else if name == field::MESSAGE_ID.as_bytes() {
                // A foreign entry's that is no UUID counts as absent.
                let valid = std::str::from_utf8(content).ok().and_then(MessageId::parse).is_some();
                if valid && !named {
                    named = true;
                    others.push((name, content.into()));
                }
            } else {
                others.push((name, content.into()));
            }
        }
        if !named {
            // Always the same one: of the place, which on Redis is the entry's id.
            let of_place = MessageId::from_place(source, shard.index, entry_id).to_string();
            others.push((field::MESSAGE_ID.as_bytes(), of_place.into_bytes().into()));
        }
        let timestamp = i64::try_from(millis(offset)).unwrap_or(i64::MAX);
        let parts = Parts { shard, offset, timestamp, tag: Some(tag), key, value };
        Ok(self.writer.write(parts, others.iter().map(|(name, content)| (*name, &**content))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::SourceId;

    #[test]
    fn an_entrys_id_is_its_offset_and_back() {
        for text in ["0-0", "0-1", "1763700000000-0", "1763700000000-18446744073709551615"] {
            assert_eq!(id(offset(text).expect(text)), text);
        }
        assert_eq!(offset("5-3"), Some(Offset(5 << 64 | 3)));
        for none in ["", "5", "5-", "-3", "5-3-1", "a-b", "-1-1", "18446744073709551616-0"] {
            assert_eq!(offset(none), None, "{none}");
        }
    }

    #[test]
    fn reading_begins_after_the_last_place_before() {
        assert_eq!(before(Offset(0)), "0-0");
        assert_eq!(before(offset("7-4").expect("an id")), "7-3");
        assert_eq!(before(offset("7-0").expect("an id")), "6-18446744073709551615");
    }

    fn entry(fields: &[(&str, &str)]) -> Value {
        let string = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = fields.iter().flat_map(|(name, value)| [string(name), string(value)]);
        Value::Array(vec![string("5-3"), Value::Array(fields.collect())])
    }

    fn record(fields: &[(&str, &str)]) -> Record {
        let shard = Shard { source: SourceId::of("t:{events}"), index: 1 };
        let copied = Copier::default().record(&entry(fields), shard, "t:{events}", Tag(7));
        copied.expect("a record")
    }

    fn message_id(record: &Record) -> String {
        let name = field::MESSAGE_ID.as_bytes();
        let ids: Vec<_> = record.fields().filter(|(n, _)| *n == name).collect();
        assert_eq!(ids.len(), 1);
        String::from_utf8(ids[0].1.to_vec()).expect("text")
    }

    #[test]
    fn an_entry_is_a_record_whatever_the_order_of_its_fields() {
        let id = "9a37dc83-3d0c-8d29-9f82-0e979d68b087";
        let record =
            record(&[("data", "{}"), ("message_id", id), ("event_type", "t"), ("key", "a")]);
        assert_eq!((record.key(), record.value().as_deref()), (Some(&b"a"[..]), Some(&b"{}"[..])));
        assert_eq!((record.offset, record.timestamp, record.tag), (Offset(5 << 64 | 3), 5, Tag(7)));
        assert_eq!(record.fields().count(), 2);
        assert_eq!(message_id(&record), id);
    }

    #[test]
    fn an_entry_without_a_usable_message_id_gets_the_one_of_its_place() {
        let of_place = MessageId::from_place("t:{events}", 1, "5-3").to_string();
        assert_eq!(message_id(&record(&[("key", "a"), ("data", "1")])), of_place);
        assert_eq!(message_id(&record(&[("message_id", "no"), ("data", "1")])), of_place);
    }

    #[test]
    fn an_entry_without_key_or_data_is_a_record_without_them() {
        let record = record(&[("event_type", "t")]);
        assert_eq!((record.key(), record.value()), (None, None));
    }
}
