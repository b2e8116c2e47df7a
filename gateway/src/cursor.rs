//! Cursors: what a stream's `id:` means.
//!
//! A cursor is a vector of next offsets, one for every shard that can feed the stream. It holds no
//! clock reading and no list index, so any pod of any release can read it. It comes back from
//! clients and is hostile input until [`Cursor::parse`] has bounded it; what it may reach is
//! checked again against the rooms that were authorised.
//!
//! The bytes, in base64url without padding:
//!
//! ```text
//! 0x1F           version 1 in the high half; flags in the low one (1: complete)
//! then, once a source, ascending:
//!   u32 LE       the source's id: CRC-32C of its name
//!   varint       how many shards follow
//!   then for each, ascending:
//!     varint     the shard's index
//!     varint     the next offset
//!     varint     the tag (0: unknown)
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest cursor that is looked at, in characters: twice what is made, as room for a
/// successor's.
pub const MAX_CURSOR_CHARS: usize = 4096;
/// The longest cursor that is made, in characters: a stream whose vector needs more is not opened.
pub const LONGEST_CHARS: usize = 2048;
/// The most components that a cursor may have. Sixty-four `any` partitions, and what several rooms
/// can name in 2,048 characters.
pub const MAX_COMPONENTS: usize = 512;

const VERSION: u8 = 1;
const FLAG_COMPLETE: u8 = 1;

/// A source of events, named by the CRC-32C of its topic's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

impl SourceId {
    /// The id of the source called `name`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(crc32c::crc32c(name.as_bytes()))
    }
}

/// One ordered part of a source: a Kafka partition, a Redis stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard {
    /// The source it is a part of.
    pub source: SourceId,
    /// Its number in the source.
    pub index: u32,
}

/// A place in a shard. Kafka's offsets as they are; a Redis entry id `ms-seq` is `ms << 64 | seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(pub u128);

impl Offset {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells one incarnation of a log from another. For Kafka 16 bits of a hash of the record
/// before the position, 0 if that is not known; for the others 32 bits of the log's epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tag(pub u32);

impl Tag {
    /// No record is known at the position before.
    pub const UNKNOWN: Self = Self(0);

    /// The tag of a position that follows this record: the low 16 bits of CRC-32C over its key,
    /// its timestamp (i64 LE), its value's length (u32 LE) and its `message_id` header.
    #[must_use]
    pub fn of_record(key: &[u8], timestamp: i64, value_len: usize, message_id: &[u8]) -> Self {
        let time = timestamp.to_le_bytes();
        let len = u32::try_from(value_len).unwrap_or(u32::MAX).to_le_bytes();
        let parts = [key, &time, &len, message_id];
        // In one piece: every record that a pod reads has one made, and each call costs as much as
        // some dozen bytes.
        let mut gathered = Gathered([0; 128]);
        let gathered = &mut gathered.0;
        let mut whole = 0;
        for part in parts {
            let Some(place) = gathered.get_mut(whole..whole + part.len()) else {
                let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
                return Self(crc & 0xFFFF);
            };
            place.copy_from_slice(part);
            whole += part.len();
        }
        Self(crc32c::crc32c(&gathered[..whole]) & 0xFFFF)
    }

    /// The tag of a log that draws a random epoch when it begins. The top bit sets it apart from
    /// the 16-bit tags of records.
    #[must_use]
    pub fn of_epoch(epoch: u32) -> Self {
        Self(epoch | 1 << 31)
    }

    /// Whether the tag is a log's epoch, which every position of that log has.
    #[must_use]
    pub fn is_epoch(self) -> bool {
        self.0 >> 31 == 1
    }

    /// Whether two tags of one place can be of one log. An unknown one says nothing.
    #[must_use]
    pub fn agrees(self, other: Self) -> bool {
        self == Self::UNKNOWN || other == Self::UNKNOWN || self == other
    }
}

/// Bytes that begin at a word: those before the first one would be taken one at a time.
#[repr(align(8))]
struct Gathered([u8; 128]);

/// The next offset of a shard, and the tag of the record before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// The next offset to read.
    pub next: Offset,
    /// Of the record before `next`, or of the log.
    pub tag: Tag,
}

/// Why a text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// More characters than any cursor has.
    #[error("a cursor has at most {MAX_CURSOR_CHARS} characters")]
    TooLong,
    /// Not base64url.
    #[error("a cursor is base64url without padding")]
    NotBase64,
    /// A format that this release does not read.
    #[error("the cursor's version is not one that this release reads")]
    Version,
    /// The bytes end early, go on too long or are out of order.
    #[error("the cursor's bytes are not well formed")]
    Malformed,
}

/// A vector of next offsets, ascending by shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The stream that it resumes has had its final event: there is nothing to come back for.
    pub complete: bool,
    components: Vec<(Shard, Position)>,
}

impl Cursor {
    /// A cursor with these components, in any order; of a shard given twice the later wins.
    #[must_use]
    pub fn new(components: impl IntoIterator<Item = (Shard, Position)>) -> Self {
        let mut cursor = Self::default();
        for (shard, position) in components {
            cursor.set(shard, position);
        }
        cursor
    }

    /// The same positions, flagged complete or not.
    #[must_use]
    pub fn flagged(mut self, complete: bool) -> Self {
        self.complete = complete;
        self
    }

    /// The components, ascending by shard.
    #[must_use]
    pub fn components(&self) -> &[(Shard, Position)] {
        &self.components
    }

    /// The position in `shard`, if the cursor names it.
    #[must_use]
    pub fn get(&self, shard: Shard) -> Option<Position> {
        let at = self.components.binary_search_by_key(&shard, |c| c.0).ok()?;
        Some(self.components[at].1)
    }

    /// Sets the position in `shard`.
    pub fn set(&mut self, shard: Shard, position: Position) {
        match self.components.binary_search_by_key(&shard, |c| c.0) {
            Ok(at) => self.components[at].1 = position,
            Err(at) => self.components.insert(at, (shard, position)),
        }
    }

    /// Keeps the components of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Shard) -> bool) {
        self.components.retain(|component| keep(component.0));
    }

    /// Moves `shard` forward to `position`, never back.
    pub fn advance(&mut self, shard: Shard, position: Position) {
        match self.components.binary_search_by_key(&shard, |c| c.0) {
            Ok(at) if self.components[at].1.next < position.next => {
                self.components[at].1 = position;
            }
            Ok(_) => {}
            Err(at) => self.components.insert(at, (shard, position)),
        }
    }

    /// Moves every component forward to `other`'s: the component-wise maximum.
    pub fn advance_all(&mut self, other: &Self) {
        for &(shard, position) in &other.components {
            self.advance(shard, position);
        }
    }

    /// Whether this cursor is at or past `other` in every component of `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other
            .components
            .iter()
            .all(|&(shard, position)| self.get(shard).is_some_and(|p| p.next >= position.next))
    }

    /// How many characters the cursor has at most while the offsets grow: as if each had six bytes
    /// already, which takes four thousand billion records, and each position a record's tag.
    #[must_use]
    pub fn grown_chars(&self) -> usize {
        let varint = |value: u128| value.checked_ilog2().unwrap_or(0) as usize / 7 + 1;
        let components = self.components.iter().map(|(shard, position)| {
            varint(shard.index.into())
                + varint(position.next.0).max(6)
                + varint(position.tag.0.into()).max(3)
        });
        let sources = self.components.chunk_by(|a, b| a.0.source == b.0.source);
        let bytes = 1
            + sources.map(|group| 4 + varint(group.len() as u128)).sum::<usize>()
            + components.sum::<usize>();
        (bytes * 4).div_ceil(3)
    }

    /// Whether the cursor names any shard of `source`.
    #[must_use]
    pub fn names_source(&self, source: SourceId) -> bool {
        self.components.iter().any(|c| c.0.source == source)
    }

    /// Reads what a client sent. The work is bounded by [`MAX_CURSOR_CHARS`].
    ///
    /// # Errors
    /// [`CursorError`] if `text` is not a cursor of a known version.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_CURSOR_CHARS {
            return Err(CursorError::TooLong);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::NotBase64)?;
        let (&first, mut rest) = bytes.split_first().ok_or(CursorError::Malformed)?;
        if first >> 4 != VERSION {
            return Err(CursorError::Version);
        }
        let flags = first & 0x0F;
        if flags & !FLAG_COMPLETE != 0 {
            return Err(CursorError::Version);
        }
        let mut components: Vec<(Shard, Position)> = Vec::new();
        while !rest.is_empty() {
            let (source, tail) = rest.split_first_chunk::<4>().ok_or(CursorError::Malformed)?;
            rest = tail;
            let source = SourceId(u32::from_le_bytes(*source));
            let count = take_u32(&mut rest)?;
            // A source in two groups would be a second spelling.
            if count == 0 || components.last().is_some_and(|last| last.0.source >= source) {
                return Err(CursorError::Malformed);
            }
            for _ in 0..count {
                let index = take_u32(&mut rest)?;
                let next = Offset(take_varint(&mut rest)?);
                let tag = Tag(take_u32(&mut rest)?);
                let shard = Shard { source, index };
                // Ascending and once each: one position has one spelling.
                if components.last().is_some_and(|last| last.0 >= shard)
                    || components.len() == MAX_COMPONENTS
                {
                    return Err(CursorError::Malformed);
                }
                components.push((shard, Position { next, tag }));
            }
        }
        Ok(Self { complete: flags & FLAG_COMPLETE != 0, components })
    }

    /// Writes the cursor as the `id:` line has it.
    pub fn write_to(&self, out: &mut String) {
        let mut bytes = Vec::with_capacity(1 + self.components.len() * 12);
        bytes.push(VERSION << 4 | if self.complete { FLAG_COMPLETE } else { 0 });
        for group in self.components.chunk_by(|a, b| a.0.source == b.0.source) {
            bytes.extend_from_slice(&group[0].0.source.0.to_le_bytes());
            put_varint(&mut bytes, group.len() as u128);
            for (shard, position) in group {
                put_varint(&mut bytes, shard.index.into());
                put_varint(&mut bytes, position.next.0);
                put_varint(&mut bytes, position.tag.0.into());
            }
        }
        URL_SAFE_NO_PAD.encode_string(&bytes, out);
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(64);
        self.write_to(&mut text);
        f.write_str(&text)
    }
}

/// LEB128, seven bits a byte, the lowest first.
fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take_varint(bytes: &mut &[u8]) -> Result<u128, CursorError> {
    let mut value = 0u128;
    let mut shift = 0;
    loop {
        let (&byte, tail) = bytes.split_first().ok_or(CursorError::Malformed)?;
        *bytes = tail;
        let low = u128::from(byte & 0x7F);
        // The top byte of 128 bits has two of them; a last byte of 0 would be a second spelling.
        if shift > 126 || (shift == 126 && low > 3) || (byte == 0 && shift > 0) {
            return Err(CursorError::Malformed);
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, CursorError> {
    u32::try_from(take_varint(bytes)?).map_err(|_| CursorError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_is_the_same_however_long_the_records_names_are() {
        for length in [0, 1, 7, 8, 80, 115, 116, 117, 256] {
            let key = vec![b'k'; length];
            for id in [&b""[..], b"0191e6a4-7b1c-7def-8000-000000000000"] {
                let whole = [&key[..], &5_i64.to_le_bytes(), &7_u32.to_le_bytes(), id].concat();
                let tag = Tag::of_record(&key, 5, 7, id);
                assert_eq!(tag, Tag(crc32c::crc32c(&whole) & 0xFFFF), "{length}");
            }
        }
    }

    fn any_cursor() -> impl Strategy<Value = Cursor> {
        let component = (any::<u32>(), any::<u32>(), any::<u128>(), any::<u32>());
        (any::<bool>(), proptest::collection::vec(component, 0..20)).prop_map(
            |(complete, parts)| {
                let mut cursor =
                    Cursor::new(parts.into_iter().map(|(source, index, next, tag)| {
                        let shard = Shard { source: SourceId(source), index };
                        (shard, Position { next: Offset(next), tag: Tag(tag) })
                    }));
                cursor.complete = complete;
                cursor
            },
        )
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back_as_it_was_written(cursor in any_cursor()) {
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }

        #[test]
        fn a_cursor_is_never_longer_than_it_can_grow(cursor in any_cursor()) {
            let grown = cursor.grown_chars();
            prop_assert!(cursor.to_string().len() <= grown);
            prop_assert!(grown <= cursor.to_string().len() + cursor.components().len() * 10 + 2);
        }

        #[test]
        fn no_text_makes_the_parser_panic_and_each_cursor_has_one_spelling(text in "[A-Za-z0-9_-]{0,120}") {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Cursor::parse(&String::from_utf8_lossy(&bytes));
            let mut forged = vec![VERSION << 4];
            forged.extend(bytes);
            let _ = Cursor::parse(&URL_SAFE_NO_PAD.encode(forged));
        }
    }

    #[test]
    fn a_cursor_of_the_usual_room_is_short() {
        let tag = Tag(0xFFFF);
        let at = |name, index, next| {
            (Shard { source: SourceId::of(name), index }, Position { next: Offset(next), tag })
        };
        let cursor =
            Cursor::new([at("tidegate.events", 11, 1 << 40), at("tidegate.broadcast", 0, 1 << 40)]);
        assert!(cursor.to_string().len() < 50, "{cursor}");
    }

    #[test]
    fn the_format_of_version_one_does_not_change() {
        let shard = |index| Shard { source: SourceId(0x0403_0201), index };
        let mut cursor = Cursor::new([
            (shard(1), Position { next: Offset(300), tag: Tag(5) }),
            (shard(0), Position { next: Offset(0), tag: Tag::UNKNOWN }),
        ]);
        cursor.complete = true;
        assert_eq!(
            URL_SAFE_NO_PAD.decode(cursor.to_string()).expect("base64"),
            [0x11, 1, 2, 3, 4, 2, 0, 0, 0, 1, 0xAC, 0x02, 5]
        );
    }

    #[test]
    fn a_source_is_named_once() {
        let shard = |index| Shard { source: SourceId(7), index };
        let at = Position { next: Offset(1), tag: Tag::UNKNOWN };
        let one = [VERSION << 4, 7, 0, 0, 0, 2, 0, 1, 0, 1, 1, 0];
        let cursor = Cursor::new([(shard(0), at), (shard(1), at)]);
        assert_eq!(Cursor::parse(&URL_SAFE_NO_PAD.encode(one)), Ok(cursor));
        let two = [VERSION << 4, 7, 0, 0, 0, 1, 0, 1, 0, 7, 0, 0, 0, 1, 1, 1, 0];
        assert_eq!(Cursor::parse(&URL_SAFE_NO_PAD.encode(two)), Err(CursorError::Malformed));
    }

    #[test]
    fn a_longer_text_than_any_cursor_is_not_even_decoded() {
        assert_eq!(Cursor::parse(&"A".repeat(1 << 20)), Err(CursorError::TooLong));
    }

    #[test]
    fn advancing_never_moves_a_component_back() {
        let shard = Shard { source: SourceId(1), index: 0 };
        let at = |next| Position { next: Offset(next), tag: Tag::UNKNOWN };
        let mut cursor = Cursor::new([(shard, at(7))]);
        cursor.advance(shard, at(5));
        assert_eq!(cursor.get(shard), Some(at(7)));
        assert!(cursor.covers(&Cursor::new([(shard, at(7))])));
        assert!(!cursor.covers(&Cursor::new([(shard, at(8))])));
    }
}
