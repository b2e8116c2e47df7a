//! A zstd stream as many frames (RFC 8878), each for itself. Browsers and curl read on after the first;
//! some libraries do not, so an operator has to want it.

use std::cell::RefCell;

use bytes::{BufMut as _, Bytes, BytesMut};
use zstd::bulk::Compressor;

use super::gzip::MIN_BYTES;

/// What a frame begins with, and then: its content's size follows in four bytes and is the window.
const HEADER: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];
/// The most bytes of a block.
const BLOCK_BYTES: usize = 128 * 1024;
/// Compresses four times as fast as gzip's usual level, and about as well.
const LEVEL: i32 = 3;

thread_local! {
    /// Its tables are up to 1.5 MB; each thread that ever needs one keeps it.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// `bytes` as they are.
pub(super) fn stored(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(stored_len(bytes.len()));
    out.put_slice(&HEADER);
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let last = bytes.len().div_ceil(BLOCK_BYTES).max(1) - 1;
    // An empty frame has one block, too.
    for n in 0..=last {
        let block = &bytes[n * BLOCK_BYTES..bytes.len().min((n + 1) * BLOCK_BYTES)];
        let size = u32::try_from(block.len()).unwrap_or(u32::MAX);
        // 21 bits of size, two of the kind, which is raw, and whether it is the last.
        out.put_uint_le(u64::from(size << 3 | u32::from(n == last)), 3);
        out.put_slice(block);
    }
    out.freeze()
}

/// `bytes` compressed if that pays.
pub(super) fn frame(bytes: &[u8]) -> Bytes {
    if bytes.len() >= MIN_BYTES
        && let Some(frame) = compressed(bytes)
        && frame.len() < stored_len(bytes.len())
    {
        return Bytes::copy_from_slice(&frame);
    }
    stored(bytes)
}

fn stored_len(bytes: usize) -> usize {
    bytes + HEADER.len() + 4 + 3 * bytes.div_ceil(BLOCK_BYTES).max(1)
}

fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            None => compressor.insert(Compressor::new(LEVEL).ok()?),
        };
        compressor.compress(bytes).ok()
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_sequence_of_frames_is_what_it_was_made_of(
            parts in vec((vec(any::<u8>(), 0..2_000), 1..200_usize, any::<bool>()), 1..6),
        ) {
            let mut stream = Vec::new();
            let mut expected: Vec<u8> = Vec::new();
            for (part, times, is_shared) in parts {
                let part = part.repeat(times);
                let coded = if is_shared { frame(&part) } else { stored(&part) };
                prop_assert!(coded.len() <= stored_len(part.len()));
                stream.extend(coded);
                expected.extend(part);
            }
            prop_assert!(zstd::decode_all(&stream[..]).expect("frames") == expected);
        }
    }

    #[test]
    fn what_does_not_pay_is_stored() {
        assert_eq!(frame(&[b'x'; MIN_BYTES - 1]), stored(&[b'x'; MIN_BYTES - 1]));
        assert!(frame(&[b'x'; MIN_BYTES]).len() < 40);
        assert_eq!(stored(b"").len(), stored_len(0));
    }
}
