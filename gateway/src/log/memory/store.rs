//! What the embedded log holds. No I/O, no clock, no lock: the log around it has those.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::millis;
use crate::config::Memory;
use crate::cursor::{Offset, Shard, Tag};
use crate::log::record::{Parts, Record, RecordWriter};
use crate::log::{Receipt, Role, Source, Span, Stretch};

/// The name of the rooms' source.
const EVENTS: &str = "tidegate.events";
/// The name of the broadcasts' source.
const BROADCAST: &str = "tidegate.broadcast";
/// The source called `name`, whatever its number of shards.
#[must_use]
pub fn source_of(name: &str) -> Option<Source> {
    let role = match name {
        EVENTS => Role::Events,
        BROADCAST => Role::Broadcast,
        _ => return None,
    };
    Some(Source::new(name, role, 1))
}

/// How many records are handed on at once.
pub(super) const BATCH_RECORDS: usize = 256;
/// How many bytes are handed on at once; one record always is. Records of a batch are kept alive
/// by it when the log has let go of them.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;
/// The most records that are read back at once: nobody publishes meanwhile.
const READ_RECORDS: usize = 4096;
/// What a field's lengths take up in a record.
const FIELD_BYTES: usize = 8;

/// One shard: where its records lie among those of all shards.
#[derive(Debug)]
struct Slot {
    shard: Shard,
    /// The offset of its oldest record.
    start: u64,
    /// The arrival of each of its records, oldest first. Offsets have no holes here, so the nth is
    /// that of offset `start + n`.
    arrivals: VecDeque<u64>,
}

impl Slot {
    /// The offset that its next record gets.
    fn end(&self) -> u64 {
        self.start + self.arrivals.len() as u64
    }
}

/// The records of all shards in the order of their arrival, bounded in bytes and age.
#[derive(Debug)]
pub(super) struct Store {
    sources: [Source; 2],
    slots: Vec<Slot>,
    records: VecDeque<Record>,
    /// The arrival of the first record in `records`.
    first: u64,
    writer: RecordWriter,
    tag: Tag,
    bytes: usize,
    most_bytes: usize,
    most_age_ms: i64,
}

/// How far a reader has come.
#[derive(Debug)]
pub(super) struct Reader {
    /// The arrival of the next record.
    arrival: u64,
    /// The next offset, by slot.
    next: Vec<u64>,
}

impl Store {
    pub(super) fn new(settings: &Memory, tag: Tag) -> Self {
        let sources = [
            Source::new(EVENTS, Role::Events, settings.shards.max(1)),
            Source::new(BROADCAST, Role::Broadcast, 1),
        ];
        let shards = sources
            .iter()
            .flat_map(|source| (0..source.shards).map(|index| Shard { source: source.id, index }));
        let slots = shards.map(|shard| Slot { shard, start: 0, arrivals: VecDeque::new() });
        Self {
            slots: slots.collect(),
            sources,
            records: VecDeque::new(),
            first: 0,
            writer: RecordWriter::default(),
            tag,
            bytes: 0,
            most_bytes: settings.max_bytes,
            most_age_ms: millis(settings.max_age),
        }
    }

    pub(super) fn sources(&self) -> &[Source; 2] {
        &self.sources
    }

    pub(super) fn tag(&self) -> Tag {
        self.tag
    }

    /// The shards and the first offset that each still has.
    pub(super) fn starts(&self) -> impl Iterator<Item = (Shard, u64)> {
        self.slots.iter().map(|slot| (slot.shard, slot.start))
    }

    /// Appends a record at `now`, which is never less than it was, and lets go of as many of the
    /// oldest as it takes.
    ///
    /// # Errors
    /// The record's bytes, if it is larger than the whole log may be.
    pub(super) fn append<'f>(
        &mut self,
        role: Role,
        key: &[u8],
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        value: &[u8],
        now: i64,
    ) -> Result<Receipt, usize> {
        let fields_bytes: usize =
            fields.clone().map(|(name, value)| FIELD_BYTES + name.len() + value.len()).sum();
        let bytes = key.len() + fields_bytes + value.len() + size_of::<Record>() + size_of::<u64>();
        if bytes > self.most_bytes {
            return Err(bytes);
        }
        // Before the record is made, or the log would be over its bound for a moment.
        self.trim(now, self.most_bytes - bytes);
        let source = match role {
            Role::Events => &self.sources[0],
            Role::Broadcast => &self.sources[1],
        };
        let shard = source.shard_of(key);
        let slot = self.slot_of(shard);
        let offset = Offset(self.slots[slot].end().into());
        let parts = Parts {
            shard,
            offset,
            timestamp: now,
            tag: Some(self.tag),
            key: Some(key),
            value: Some(value),
        };
        let record = self.writer.write(parts, fields);
        self.bytes += cost(&record);
        self.slots[slot].arrivals.push_back(self.first + self.records.len() as u64);
        self.records.push_back(record);
        Ok(Receipt { shard, offset, tag: self.tag, timestamp: now, duplicate: None })
    }

    /// Lets go of what is older than it may be.
    pub(super) fn expire(&mut self, now: i64) {
        self.trim(now, self.most_bytes);
    }

    /// Lets go of the oldest until none is too old and all others have at most `most_bytes`.
    fn trim(&mut self, now: i64, most_bytes: usize) {
        let oldest = now.saturating_sub(self.most_age_ms);
        while let Some(record) = self.records.front()
            && (self.bytes > most_bytes || record.timestamp < oldest)
        {
            self.bytes -= cost(record);
            let slot = self.slot_of(record.shard);
            let slot = &mut self.slots[slot];
            slot.arrivals.pop_front();
            slot.start += 1;
            // One that was busy once would hold its memory for ever, beyond the log's bound.
            give_back(&mut slot.arrivals);
            self.records.pop_front();
            self.first += 1;
        }
        give_back(&mut self.records);
    }

    /// A reader that has read nothing yet.
    pub(super) fn reader(&self) -> Reader {
        Reader { arrival: self.first, next: self.slots.iter().map(|slot| slot.start).collect() }
    }

    /// Takes the next records into `batch`, in the order of their arrival, and returns the shards
    /// that the reader has missed records of, with the offset at which it goes on.
    pub(super) fn take(&self, reader: &mut Reader, batch: &mut Vec<Record>) -> Vec<(Shard, u64)> {
        let mut restarted = Vec::new();
        if reader.arrival < self.first {
            reader.arrival = self.first;
            for (slot, next) in self.slots.iter().zip(&mut reader.next) {
                if *next < slot.start {
                    *next = slot.start;
                    restarted.push((slot.shard, slot.start));
                }
            }
        }
        let mut bytes = 0;
        for record in self.records.range(self.index_of(reader.arrival)..).take(BATCH_RECORDS) {
            bytes += record.bytes();
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            reader.arrival += 1;
            reader.next[self.slot_of(record.shard)] += 1;
            batch.push(record.clone());
        }
        restarted
    }

    /// How far `reader` is behind, shard by shard.
    pub(super) fn lags(&self, reader: &Reader) -> impl Iterator<Item = (Shard, u64)> {
        let behind = |(slot, next): (&Slot, &u64)| (slot.shard, slot.end().saturating_sub(*next));
        self.slots.iter().zip(&reader.next).map(behind)
    }

    /// What the log has of `span`; `None` if there is no such shard.
    pub(super) fn read(&self, span: &Span) -> Option<Stretch> {
        let slot = self.slots.iter().find(|slot| slot.shard == span.shard)?;
        let nth = |offset: Offset| {
            let skip = offset.0.saturating_sub(slot.start.into());
            usize::try_from(skip).unwrap_or(usize::MAX).min(slot.arrivals.len())
        };
        let (first, last) = (nth(span.from), nth(span.until));
        let mut bytes = 0;
        let mut records = Vec::new();
        for arrival in slot.arrivals.range(first..last.max(first)).take(READ_RECORDS) {
            let record = &self.records[self.index_of(*arrival)];
            bytes += record.bytes();
            if bytes > span.most_bytes && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        let is_all = first + records.len() >= last;
        let (start, end) = (Offset(slot.start.into()), Offset(slot.end().into()));
        Some(Stretch::new(span, records, is_all, start, end))
    }

    /// The offset of the first record of `shard` that is not older than `time`.
    pub(super) fn seek(&self, shard: Shard, time: i64) -> Option<Offset> {
        let slot = self.slots.iter().find(|slot| slot.shard == shard)?;
        // The log's clock never steps back.
        let older = |arrival: &u64| self.records[self.index_of(*arrival)].timestamp < time;
        let older = slot.arrivals.partition_point(older) as u64;
        Some(Offset((slot.start + older).into()))
    }

    fn slot_of(&self, shard: Shard) -> usize {
        let [events, broadcast] = &self.sources;
        let before = if shard.source == broadcast.id { events.shards } else { 0 };
        (before + shard.index) as usize
    }

    /// Where in `records` the record of this arrival lies, one past the last at most.
    fn index_of(&self, arrival: u64) -> usize {
        let after = arrival.saturating_sub(self.first);
        usize::try_from(after).unwrap_or(usize::MAX).min(self.records.len())
    }
}

/// What a record takes up in the log, in bytes.
fn cost(record: &Record) -> usize {
    record.bytes() + size_of::<u64>()
}

/// So much room is kept for good: a queue that fills and empties would allocate every time.
const KEPT: usize = 64;

/// Gives the room of a queue back that has become much too large.
fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > KEPT && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(queue.len() * 2);
    }
}

/// How often what has become too old is looked for, so that a log nobody writes to empties too.
pub(super) fn expire_every(settings: &Memory) -> Duration {
    (settings.max_age / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
