use std::io::Read as _;

use flate2::read::GzDecoder;
use flate2::{Decompress, FlushDecompress};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::chunk_around;

/// What is put into a stream.
#[derive(Debug, Clone)]
enum Put {
    Block(String),
    /// An event's body, and the reader's own id line if it has one.
    Frame(String, Option<String>),
}

fn put() -> impl Strategy<Value = Put> {
    let text = || prop_oneof!["[a-e]{1,100}", "[a-e]{400,3000}"];
    prop_oneof![
        text().prop_map(Put::Block),
        (text(), proptest::option::of("id: [a-z]{0,80}\n")).prop_map(|(b, id)| Put::Frame(b, id)),
    ]
}

const SHARED_ID: &str = "id: shared\n";

/// The body that a chunked one carries, and whether its last chunk has come.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while !bytes.is_empty() {
        let at = bytes.windows(2).position(|two| two == b"\r\n").expect("a size");
        let size = std::str::from_utf8(&bytes[..at]).expect("hexadecimal");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let (data, rest) = bytes[at + 2..].split_at(size);
        bytes = rest.strip_prefix(b"\r\n").expect("the chunk's end");
        body.extend_from_slice(data);
        if size == 0 {
            assert!(bytes.is_empty());
            return (body, true);
        }
    }
    (body, false)
}

proptest! {
    #[test]
    fn a_stream_is_its_blocks_in_every_coding_and_each_is_there_when_it_has_come(
        puts in vec(put(), 0..12),
        is_chunked: bool,
        coding in prop::sample::select(&Coding::ALL),
    ) {
        let framing = if is_chunked { Framing::Chunks } else { Framing::ByLibrary };
        let mut encoder = Encoder::new(coding, framing);
        let mut out = VecDeque::new();
        let (mut wire, mut expected) = (Vec::new(), Vec::<u8>::new());
        let mut inflater = Decompress::new(false);
        let mut inflated = Vec::new();
        let mut inflate_from = 10;
        encoder.put_start(&mut out);
        for put in &puts {
            match put {
                Put::Block(block) => {
                    expected.extend_from_slice(block.as_bytes());
                    encoder.put_block(block.clone().into(), &mut out);
                }
                Put::Frame(body, id) => {
                    expected.extend_from_slice(id.as_deref().unwrap_or(SHARED_ID).as_bytes());
                    expected.extend_from_slice(body.as_bytes());
                    let plain = chunk_around(SHARED_ID.as_bytes(), &[body.as_bytes()]);
                    let id = id.clone().map(Bytes::from);
                    let before: usize = out.iter().map(Bytes::len).sum();
                    let bytes = encoder.put_frame(&plain.coded(coding), id.as_ref(), &mut out);
                    let put = out.iter().map(Bytes::len).sum::<usize>() - before;
                    let framing = if is_chunked { 1..12 } else { 0..1 };
                    prop_assert!(framing.contains(&(put - bytes)), "{} of {}", bytes, put);
                }
            }
            wire.extend(out.drain(..).flatten());
            let body = if is_chunked { unchunked(&wire).0 } else { wire.clone() };
            if coding == Coding::Gzip {
                inflated.reserve(expected.len() - inflated.len() + 64);
                let fresh = &body[inflate_from..];
                inflater
                    .decompress_vec(fresh, &mut inflated, FlushDecompress::Sync)
                    .expect("deflate");
                inflate_from = body.len();
                prop_assert!(inflated == expected);
            }
        }
        encoder.put_end(&mut out);
        wire.extend(out.drain(..).flatten());
        let (body, is_ended) = if is_chunked { unchunked(&wire) } else { (wire, true) };
        prop_assert!(is_ended);
        let decoded = match coding {
            Coding::Identity => body,
            Coding::Gzip => {
                let mut decoded = Vec::new();
                GzDecoder::new(&body[..]).read_to_end(&mut decoded).expect("one member");
                decoded
            }
            // The crate takes nothing for a frame that is missing.
            Coding::Zstd if body.is_empty() => body,
            Coding::Zstd => ::zstd::decode_all(&body[..]).expect("frames"),
        };
        prop_assert!(decoded == expected);
    }
}
