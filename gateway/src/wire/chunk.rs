//! HTTP/1.1 chunks (RFC 9112, 7.1), for streams that are written to their sockets without a library
//! between. An event's chunk is part of the bytes that all its readers share.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;

use super::Frame;

/// What follows the data of a chunk.
const CHUNK_END: &str = "\r\n";
/// What a chunked body ends with.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Who frames a stream's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The library that writes them, as its protocol needs it.
    ByLibrary,
    /// The stream itself: each block is one chunk, and the end is the last one.
    Chunks,
}

impl Framing {
    /// Puts a block that is of this stream alone.
    pub fn put_block(self, block: Bytes, out: &mut VecDeque<Bytes>) {
        match self {
            Self::ByLibrary => out.push_back(block),
            Self::Chunks => {
                let mut chunk = Vec::with_capacity(block.len() + 20);
                chunk.extend_from_slice(size_line(block.len()).as_bytes());
                chunk.extend_from_slice(&block);
                chunk.extend_from_slice(CHUNK_END.as_bytes());
                out.push_back(chunk.into());
            }
        }
    }

    /// Puts an event, with an `id:` line of the reader's own instead of the shared one if there is
    /// one. Returns how many bytes its block has.
    pub fn put_frame(
        self,
        frame: &Frame,
        id_line: Option<&Bytes>,
        out: &mut VecDeque<Bytes>,
    ) -> usize {
        let length =
            id_line.map_or_else(|| frame.block_len(), |line| line.len() + frame.body_len());
        match (self, id_line) {
            (Self::ByLibrary, None) => out.push_back(frame.block()),
            (Self::ByLibrary, Some(line)) => out.extend([line.clone(), frame.body()]),
            (Self::Chunks, None) => out.push_back(frame.chunk()),
            (Self::Chunks, Some(line)) => {
                let mut head = size_line(length).into_bytes();
                head.extend_from_slice(line);
                out.extend([head.into(), frame.rest_of_chunk()]);
            }
        }
        length
    }

    /// Puts what a stream that ends by itself ends with.
    pub fn put_end(self, out: &mut VecDeque<Bytes>) {
        match self {
            Self::ByLibrary => {}
            Self::Chunks => out.push_back(Bytes::from_static(LAST_CHUNK)),
        }
    }
}

fn size_line(bytes: usize) -> String {
    let mut line = String::with_capacity(96);
    // Writing to a string cannot fail.
    let _ = write!(line, "{bytes:x}\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chunk_around;

    fn put(framing: Framing, id_line: Option<&Bytes>) -> (Vec<u8>, usize) {
        let frame = chunk_around(b"id: X\n", &[b"data: 1\n\n"]);
        let mut out = VecDeque::new();
        let length = framing.put_frame(&frame, id_line, &mut out);
        (out.iter().flatten().copied().collect(), length)
    }

    #[test]
    fn an_event_is_one_chunk_with_either_id() {
        let own = Bytes::from_static(b"id: OWN\n");
        assert_eq!(put(Framing::Chunks, None), (b"f\r\nid: X\ndata: 1\n\n\r\n".to_vec(), 15));
        assert_eq!(
            put(Framing::Chunks, Some(&own)),
            (b"11\r\nid: OWN\ndata: 1\n\n\r\n".to_vec(), 17)
        );
        assert_eq!(put(Framing::ByLibrary, None), (b"id: X\ndata: 1\n\n".to_vec(), 15));
        assert_eq!(put(Framing::ByLibrary, Some(&own)), (b"id: OWN\ndata: 1\n\n".to_vec(), 17));
    }

    #[test]
    fn a_block_is_a_chunk_and_the_end_the_last_one() {
        for (framing, expected) in [
            (Framing::Chunks, &b"3\r\n:\n\n\r\n0\r\n\r\n"[..]),
            (Framing::ByLibrary, &b":\n\n"[..]),
        ] {
            let mut out = VecDeque::new();
            framing.put_block(Bytes::from_static(b":\n\n"), &mut out);
            framing.put_end(&mut out);
            assert_eq!(out.iter().flatten().copied().collect::<Vec<u8>>(), expected);
        }
    }
}
