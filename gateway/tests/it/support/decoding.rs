//! A stream's content coding as a client takes it off: what has come is decoded at once.

use std::io::Write as _;

use flate2::write::GzDecoder;

/// What decodes one stream.
pub enum Decoder {
    Identity,
    Gzip(Box<GzDecoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Decoder<'static, Vec<u8>>),
}

impl Decoder {
    /// That of a stream with this `Content-Encoding`.
    pub fn of(coding: Option<&str>) -> Self {
        match coding {
            None => Self::Identity,
            Some("gzip") => Self::Gzip(GzDecoder::new(Vec::new()).into()),
            Some("zstd") => {
                Self::Zstd(zstd::stream::write::Decoder::new(Vec::new()).expect("a decoder"))
            }
            Some(other) => panic!("nobody asked for {other}"),
        }
    }

    /// All that can be known by now.
    pub fn decode(&mut self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Identity => data.to_vec(),
            Self::Gzip(decoder) => {
                decoder.write_all(data).expect("gzip");
                decoder.flush().expect("flushed");
                std::mem::take(decoder.get_mut())
            }
            Self::Zstd(decoder) => {
                decoder.write_all(data).expect("zstd");
                decoder.flush().expect("flushed");
                std::mem::take(decoder.get_mut())
            }
        }
    }

    /// Asserts that the stream was whole: in gzip, that its sum is right.
    pub fn expect_end(&mut self) {
        if let Self::Gzip(decoder) = self {
            decoder.try_finish().expect("the sum is right");
            assert!(decoder.get_ref().is_empty());
        }
    }
}

/// Text that no coding makes much shorter.
pub fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + u8::try_from(state >> 58).expect("six bits")).max('#')
    };
    (0..length).map(next).filter(|c| *c != '\\').collect()
}
