//! A room: its log of frames, and who reads it.

use std::io::Write;

/// Bytes that some reader may still need, and the readers.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// What stands before `/types/` in its path, and what behind.
    event_id: String,
    event_type: String,
    log: Vec<u8>,
    /// The place of the log's first byte, counted from the room's beginning.
    start: u64,
    /// Events so far.
    events: u64,
    /// Readers, as tokens.
    pub(super) members: Vec<u32>,
    /// Waits for the end of the loop's turn.
    pub(super) dirty: bool,
    scratch: Vec<u8>,
}

impl Room {
    pub(super) fn new(path: &[u8]) -> Self {
        let path = String::from_utf8_lossy(path);
        let (id, event_type) = path.split_once("/types/").unwrap_or((&path, ""));
        Self { event_id: id.into(), event_type: event_type.into(), ..Self::default() }
    }

    /// Appends an event as one chunk, in the envelope that a gateway would write.
    pub(super) fn append(&mut self, data: &[u8], at_ms: u64) {
        let n = self.events;
        self.events += 1;
        let Self { event_id, event_type, scratch, .. } = self;
        scratch.clear();
        // Writing to memory does not fail.
        let _ = write!(
            scratch,
            "id: {n:016x}\nevent: {event_type}\ndata: {{\"message_id\":\"{at_ms:012x}-7000-8000-{n:012x}\",\
             \"event_id\":\"{event_id}\",\"event_type\":\"{event_type}\",\"data\":"
        );
        scratch.extend_from_slice(data);
        let _ = write!(scratch, ",\"published_at\":{at_ms}}}\n\n");
        let _ = write!(self.log, "{:x}\r\n", scratch.len());
        self.log.extend_from_slice(scratch);
        self.log.extend_from_slice(b"\r\n");
    }

    /// The place behind the last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.log.len() as u64
    }

    /// What lies from a place on; `None` if its start was dropped.
    pub(super) fn pending(&self, place: u64) -> Option<&[u8]> {
        let skip = usize::try_from(place.checked_sub(self.start)?).ok()?;
        self.log.get(skip..)
    }

    /// Drops what nobody needs: all of it, or when some lag, the older half of a log that is too
    /// long. `true` if a reader may have lost its place.
    pub(super) fn trim(&mut self, behind: bool, most: usize) -> bool {
        if !behind {
            self.start = self.end();
            self.log.clear();
            return false;
        }
        if self.log.len() <= most {
            return false;
        }
        let cut = self.log.len() - most / 2;
        self.log.drain(..cut);
        self.start += cut as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_good_until_its_bytes_are_dropped() {
        let mut room = Room::new(b"r/types/t");
        room.append(b"{\"seq\":0}", 1);
        let text = String::from_utf8(room.pending(0).unwrap().to_vec()).unwrap();
        let (size, rest) = text.split_once("\r\n").unwrap();
        assert_eq!(usize::from_str_radix(size, 16).unwrap(), rest.len() - 2);
        assert!(
            rest.contains("\"event_id\":\"r\",\"event_type\":\"t\",\"data\":{\"seq\":0}"),
            "{rest}"
        );

        let middle = room.end();
        room.append(b"1", 1);
        assert!(!room.trim(true, 1_000));
        assert!(room.trim(true, 100));
        assert_eq!(room.pending(0), None);
        assert!(room.pending(room.end()).unwrap().is_empty());
        assert!(middle < room.end());
        room.trim(false, 100);
        assert!(room.log.is_empty());
    }
}
