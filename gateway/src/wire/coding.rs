//! Codings of a payload inside the envelope. Each is made once an event, whoever asks.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lz4_flex::frame::{FrameEncoder, FrameInfo};

/// What the envelope's `encoding` says of a payload that is [`lz4_base64`].
pub const LZ4: &str = "lz4";
/// What it says of a payload that is the base64 of the bytes that the record holds.
pub const BASE64: &str = "base64";
/// What it says of [`lz4_base64`] over that: what comes out of it is the JSON string of the base64.
pub const BASE64_LZ4: &str = "base64+lz4";

/// `data` as an LZ4 frame (with its content's size, so that a reader can bound what it decodes)
/// in base64.
#[must_use]
pub fn lz4_base64(data: &[u8]) -> String {
    let info = FrameInfo::new().content_size(Some(data.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(data.len() / 2 + 64));
    // Writing to memory fails only if more than the announced size is written.
    let written = encoder.write_all(data).map(|()| encoder.finish());
    match written {
        Ok(Ok(frame)) => STANDARD.encode(frame),
        Ok(Err(_)) | Err(_) => {
            debug_assert!(false, "an LZ4 frame is written to memory");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_decodes_to_what_it_was_made_of(data in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let frame = STANDARD.decode(lz4_base64(&data)).expect("base64");
            let mut decoded = Vec::new();
            lz4_flex::frame::FrameDecoder::new(&frame[..]).read_to_end(&mut decoded).expect("LZ4");
            prop_assert_eq!(decoded, data);
        }
    }
}
