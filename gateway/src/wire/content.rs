//! Content codings of a whole stream, spliced of parts that are coded for themselves. A part is the
//! same bytes in every stream, so that of an event is made once for all who read it.

use bytes::Bytes;

use super::checksum::Piece;
use super::{gzip, zstd};

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Coding {
    /// None.
    #[default]
    Identity,
    /// One member of many blocks.
    Gzip,
    /// Many frames.
    Zstd,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Zstd];

    /// As HTTP and the metrics spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// A line that is followed by more of its block, and small.
    pub(super) fn line(self, line: &[u8]) -> Bytes {
        match self {
            Self::Identity => Bytes::copy_from_slice(line),
            Self::Gzip => gzip::stored(line),
            Self::Zstd => zstd::stored(line),
        }
    }

    /// A block, or what follows a line of it, that is of one stream alone: not worth a compressor.
    /// A reader who has it all has all of it at once.
    pub(super) fn block(self, block: Bytes) -> Bytes {
        match self {
            Self::Identity => block,
            Self::Gzip => gzip::stored_and_flushed(&block),
            Self::Zstd => zstd::stored(&block),
        }
    }

    /// The same for what many will read: compressed if that pays.
    pub(super) fn shared(self, block: &[u8]) -> Bytes {
        match self {
            Self::Identity => Bytes::copy_from_slice(block),
            Self::Gzip => gzip::segment(block),
            Self::Zstd => zstd::frame(block),
        }
    }

    /// What a stream's sum needs of this piece, if the coding ends with a sum.
    pub(super) fn piece(self, bytes: &[u8]) -> Piece {
        match self {
            Self::Identity | Self::Zstd => Piece::EMPTY,
            Self::Gzip => Piece::of(bytes),
        }
    }
}
