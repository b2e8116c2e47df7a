//! Reading dead letters, from the first to what is the last when reading begins.

use std::fmt;
use std::str::FromStr;

use tokio::time::Instant;

use super::{Entry, LetterError};
use crate::cursor::Offset;
use crate::log::{kafka, memory, redis};

/// Where a dead letter lies among the others; ascending in the order of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spot {
    /// The partition.
    pub shard: u32,
    /// The offset in it.
    pub offset: Offset,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.shard, self.offset)
    }
}

/// A text is no spot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not the next of a page of dead letters")]
pub struct NoSpot;

impl FromStr for Spot {
    type Err = NoSpot;

    fn from_str(text: &str) -> Result<Self, NoSpot> {
        let (shard, offset) = text.split_once('.').ok_or(NoSpot)?;
        let shard = shard.parse().map_err(|_| NoSpot)?;
        Ok(Self { shard, offset: Offset(offset.parse().map_err(|_| NoSpot)?) })
    }
}

/// Something that lies among the dead letters.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub spot: Spot,
    /// What; anybody can write there.
    pub entry: Result<Entry, LetterError>,
}

/// A reading that is under way.
#[derive(Debug)]
pub enum Scan<'l> {
    /// Of the embedded log's ring.
    Memory(memory::LetterScan<'l>),
    /// Of a topic.
    Kafka(kafka::LetterScan),
    /// Of a stream.
    Redis(redis::LetterScan<'l>),
}

impl Scan<'_> {
    /// The next ones; `None` at the end.
    ///
    /// # Errors
    /// The log cannot be read, or not by `deadline`. The reading is over then.
    pub async fn next(&mut self, deadline: Instant) -> Result<Option<Vec<Found>>, String> {
        match self {
            Self::Memory(scan) => Ok(scan.next()),
            Self::Kafka(scan) => scan.next(deadline).await,
            Self::Redis(scan) => scan.next(deadline).await,
        }
    }
}

/// Which dead letters to remove for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// All that there are.
    All,
    /// Those that were written before this, by the log's time, in milliseconds since the Unix
    /// epoch.
    Before(i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spot_is_read_as_it_is_written() {
        let spot = Spot { shard: 2, offset: Offset(5 << 64 | 3) };
        assert_eq!(spot.to_string().parse(), Ok(spot));
        for bad in ["", ".", "1", "1.", ".1", "a.1", "1.-1", "1.2.3"] {
            assert_eq!(bad.parse::<Spot>(), Err(NoSpot), "{bad:?}");
        }
    }
}
