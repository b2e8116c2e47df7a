//! A gzip stream as one member (RFC 1952) whose deflate blocks (RFC 1951) are made independently of
//! each other. Each part ends at a whole byte and refers to nothing before it, so any sequence of
//! them between [`HEADER`] and [`END`] with the sum is a valid stream.
//!
//! Members of their own for each event would be simpler, and most clients stop after the first.

use std::cell::RefCell;

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};

/// What a stream begins with: deflate, no time, no name, of an unknown system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The last block, which is empty. The sum follows.
pub(super) const END: [u8; 2] = [3, 0];

/// An empty stored block. At it decoders hand over what they have; some of them (Go's) not at the end
/// of one that has something in it.
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];
/// The most bytes of a stored block.
const STORED_BYTES: usize = 0xffff;
/// Less than this is not compressed: it gains a third at most.
pub(super) const MIN_BYTES: usize = 512;

/// Seven hundredths less at most than the usual six, for half the time where an event is large: all
/// readers wait for it.
const LEVEL: u32 = 3;

thread_local! {
    /// A compressor is some 300 KB; each thread that ever needs one keeps it.
    static COMPRESSOR: RefCell<Option<Compress>> = const { RefCell::new(None) };
}

/// `bytes` as they are. More has to follow before a decoder hands them over.
pub(super) fn stored(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(stored_len(bytes.len()));
    put_stored(bytes, &mut out);
    out.freeze()
}

/// `bytes` as they are, handed over at their end.
pub(super) fn stored_and_flushed(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(stored_len(bytes.len()) + FLUSH.len());
    put_stored(bytes, &mut out);
    out.put_slice(&FLUSH);
    out.freeze()
}

/// `bytes` compressed if that pays, handed over at their end.
pub(super) fn segment(bytes: &[u8]) -> Bytes {
    if bytes.len() >= MIN_BYTES
        && let Some(deflated) = deflated(bytes)
        && deflated.len() < stored_len(bytes.len()) + FLUSH.len()
    {
        // Without what the compressor had room for.
        return Bytes::copy_from_slice(&deflated);
    }
    stored_and_flushed(bytes)
}

fn stored_len(bytes: usize) -> usize {
    bytes + 5 * bytes.div_ceil(STORED_BYTES)
}

fn put_stored(bytes: &[u8], out: &mut BytesMut) {
    for block in bytes.chunks(STORED_BYTES) {
        let [low, high] = u16::try_from(block.len()).unwrap_or(u16::MAX).to_le_bytes();
        out.put_slice(&[0, low, high, !low, !high]);
        out.put_slice(block);
    }
}

/// `bytes` as blocks that end with an empty stored one; `None` if that takes more room than they do.
fn deflated(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(stored_len(bytes.len()) + 64);
    COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor =
            compressor.get_or_insert_with(|| Compress::new(Compression::new(LEVEL), false));
        // Whatever it was used for before: nothing may refer to that.
        compressor.reset();
        compressor.compress_vec(bytes, &mut out, FlushCompress::Sync).ok()?;
        let is_whole = compressor.total_in() == bytes.len() as u64 && out.ends_with(&FLUSH[1..]);
        (is_whole && out.len() < out.capacity()).then_some(out)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use flate2::{Decompress, FlushDecompress, Status};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::checksum::{Checksum, Piece};

    /// Text that compresses, and bytes that do not, of sizes around what is decided by.
    fn part() -> impl Strategy<Value = Vec<u8>> {
        let sizes = prop_oneof![0..700_usize, Just(STORED_BYTES), 65_000..140_000_usize];
        (sizes, any::<bool>(), any::<u32>()).prop_map(|(size, is_text, seed)| {
            let mut state = seed | 1;
            let next = |_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state.to_le_bytes()[0]
            };
            let bytes = (0..size).map(next);
            if is_text {
                bytes.map(|b| b"{\"aeinrt,"[usize::from(b % 9)]).collect()
            } else {
                bytes.collect()
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_sequence_of_parts_is_one_member_and_each_is_there_when_it_has_come(
            parts in vec((part(), 0..3_u8), 0..8),
        ) {
            let mut stream = HEADER.to_vec();
            let mut raw = Decompress::new(false);
            let mut sum = Checksum::default();
            let mut decoded = Vec::new();
            let mut expected: Vec<u8> = Vec::new();
            for (part, kind) in &parts {
                let coded = match kind {
                    0 => segment(part),
                    1 => stored_and_flushed(part),
                    _ => [stored(b"id: 1\n"), segment(part)].concat().into(),
                };
                if *kind > 1 {
                    expected.extend(b"id: 1\n");
                    sum.read(b"id: 1\n");
                }
                expected.extend(part);
                sum.pass(&Piece::of(part));
                decoded.reserve(part.len() + 100);
                let status = raw.decompress_vec(&coded, &mut decoded, FlushDecompress::Sync);
                prop_assert_eq!(status.expect("deflate"), Status::Ok);
                prop_assert!(decoded == expected, "all of it, at once");
                stream.extend(coded);
            }
            stream.extend(END);
            stream.extend(sum.trailer());
            let mut whole = Vec::new();
            let mut decoder = GzDecoder::new(&stream[..]);
            decoder.read_to_end(&mut whole).expect("a valid member, its sum right");
            prop_assert!(whole == expected);
            prop_assert!(decoder.into_inner().is_empty());
        }
    }

    #[test]
    fn what_does_not_pay_is_stored() {
        let random: Vec<u8> = (0..2_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n).to_le_bytes())
            .collect();
        for bytes in [&[b'x'; MIN_BYTES - 1][..], &random] {
            assert_eq!(segment(bytes), stored_and_flushed(bytes));
        }
        let text = [b'x'; MIN_BYTES];
        assert!(segment(&text).len() < 40);
        assert!(segment(&text).ends_with(&FLUSH[1..]));
        assert_eq!(segment(b""), FLUSH[..]);
    }
}
