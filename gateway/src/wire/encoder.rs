//! How one stream's blocks become the bytes of its body: its content coding, and around that who
//! frames them. It is all that a stream keeps for it: a few bytes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::checksum::{Checksum, Piece};
use super::chunk::Framing;
use super::content::Coding;
use super::{Frame, gzip};

/// A stream's encoder.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    coding: Coding,
    framing: Framing,
    /// Of what was put so far, before its coding; only gzip needs it.
    sum: Checksum,
}

impl Encoder {
    /// That of a stream of which nothing is written.
    #[must_use]
    pub fn new(coding: Coding, framing: Framing) -> Self {
        Self { coding, framing, sum: Checksum::default() }
    }

    /// Its content coding.
    #[must_use]
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// Puts what a stream begins with.
    pub fn put_start(&self, out: &mut VecDeque<Bytes>) {
        match self.coding {
            Coding::Identity | Coding::Zstd => {}
            Coding::Gzip => self.framing.put_block(Bytes::from_static(&gzip::HEADER), out),
        }
    }

    /// Puts a block that is of this stream alone.
    pub fn put_block(&mut self, block: Bytes, out: &mut VecDeque<Bytes>) {
        if self.coding == Coding::Gzip {
            self.sum.read(&block);
        }
        self.framing.put_block(self.coding.block(block), out);
    }

    /// Puts an event, which is in the stream's coding, with an `id:` line of the reader's own instead
    /// of the shared one if there is one. Returns how many bytes its block has.
    pub fn put_frame(
        &mut self,
        frame: &Frame,
        id_line: Option<&Bytes>,
        out: &mut VecDeque<Bytes>,
    ) -> usize {
        let (Coding::Gzip | Coding::Zstd, Some(line)) = (self.coding, id_line) else {
            if self.coding == Coding::Gzip {
                self.sum.pass(frame.block_piece());
            }
            return self.framing.put_frame(frame, id_line, out);
        };
        self.sum.read(line);
        self.sum.pass(frame.body_piece());
        self.framing.put_frame(frame, Some(&self.coding.line(line)), out)
    }

    /// What everything that was put is to the sum of another stream to which the same bytes are
    /// written.
    #[must_use]
    pub fn piece(&self) -> Piece {
        self.sum.piece()
    }

    /// Takes note that bytes were written which another encoder of this kind has put.
    pub fn pass(&mut self, piece: &Piece) {
        if self.coding == Coding::Gzip {
            self.sum.pass(piece);
        }
    }

    /// Puts what a stream that ends by itself ends with.
    pub fn put_end(&self, out: &mut VecDeque<Bytes>) {
        match self.coding {
            Coding::Identity | Coding::Zstd => {}
            Coding::Gzip => {
                let end = [&gzip::END[..], &self.sum.trailer()].concat();
                self.framing.put_block(end.into(), out);
            }
        }
        self.framing.put_end(out);
    }
}

#[cfg(test)]
mod tests;
