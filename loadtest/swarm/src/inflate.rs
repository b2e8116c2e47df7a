//! A gzip stream as it comes, in any split.

use flate2::{Decompress, FlushDecompress, Status};

use crate::http::Malformed;

/// How much is decoded at a time.
const STEP_BYTES: usize = 8 * 1024;

/// What takes the coding off one stream: some 48 KB.
#[derive(Debug)]
pub struct Inflater {
    raw: Decompress,
    ended: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { raw: Decompress::new_gzip(15), ended: false }
    }
}

impl Inflater {
    /// Decodes all that can be known with these bytes.
    ///
    /// # Errors
    /// When they are not gzip, the sum at the end is wrong, or something follows it.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        mut on_plain: impl FnMut(&[u8]),
    ) -> Result<(), Malformed> {
        let mut plain = [0; STEP_BYTES];
        loop {
            if self.ended {
                return if bytes.is_empty() { Ok(()) } else { Err(Malformed::Gzip) };
            }
            let before = (self.raw.total_in(), self.raw.total_out());
            let status = self
                .raw
                .decompress(bytes, &mut plain, FlushDecompress::Sync)
                .map_err(|_| Malformed::Gzip)?;
            let taken = usize::try_from(self.raw.total_in() - before.0).unwrap_or(usize::MAX);
            let made = usize::try_from(self.raw.total_out() - before.1).unwrap_or(usize::MAX);
            bytes = &bytes[taken..];
            if made > 0 {
                on_plain(&plain[..made]);
            }
            self.ended = status == Status::StreamEnd;
            if !self.ended && made < plain.len() && (bytes.is_empty() || taken == 0) {
                return if bytes.is_empty() { Ok(()) } else { Err(Malformed::Gzip) };
            }
        }
    }

    /// Whether the stream has come to its end, and its sum is right.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn coded(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        for part in plain.chunks(1_000) {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    fn take(parts: &[&[u8]]) -> Result<(Vec<u8>, bool), Malformed> {
        let mut inflater = Inflater::default();
        let mut plain = Vec::new();
        for part in parts {
            inflater.take(part, |more| plain.extend_from_slice(more))?;
        }
        Ok((plain, inflater.is_complete()))
    }

    #[test]
    fn a_stream_decodes_the_same_in_any_split() {
        let plain: Vec<u8> = (0..40_000u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        let coded = coded(&plain);
        assert_eq!(take(&[&coded]).unwrap(), (plain.clone(), true));
        for step in [1, 7, 1_000] {
            let parts: Vec<&[u8]> = coded.chunks(step).collect();
            assert_eq!(take(&parts).unwrap(), (plain.clone(), true));
        }
        let (most, complete) = take(&[&coded[..coded.len() - 8]]).unwrap();
        assert!(most == plain && !complete);
    }

    #[test]
    fn what_is_not_gzip_or_has_another_sum_is_refused() {
        let mut wrong = coded(b"abc");
        let at = wrong.len() - 5;
        wrong[at] ^= 1;
        let more = [coded(b"abc"), b"x".to_vec()].concat();
        for bytes in [&b"data: 1\n\n data: 2\n\n"[..], &wrong, &more] {
            assert_eq!(take(&[bytes]), Err(Malformed::Gzip));
        }
    }
}
