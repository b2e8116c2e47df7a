//! The CRC-32 and the length that a gzip stream ends with (RFC 1952), put together from pieces: what
//! all readers share is looked at once, and each connection only moves its own sum past it.

/// The CRC's polynomial, its bits reversed: bit 31 is x⁰.
const POLYNOMIAL: u32 = 0xedb8_8320;
const ONE: u32 = 1 << 31;

/// x to the powers 2⁰, 2¹, … 2³¹; then it begins again.
const SQUARES: [u32; 32] = {
    let mut squares = [ONE >> 1; 32];
    let mut n = 1;
    while n < 32 {
        squares[n] = product(squares[n - 1], squares[n - 1]);
        n += 1;
    }
    squares
};

/// The product of two polynomials modulo the CRC's. Without branches: its bits are as good as random.
const fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        sum ^= b & 0_u32.wrapping_sub((a >> bit) & 1);
        b = (b >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(b & 1));
    }
    sum
}

/// What a piece of a stream does to the sums of the streams that it is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    crc: u32,
    bytes: u32,
    /// What the CRC before it is multiplied by: x to the power of its bits.
    shift: u32,
}

impl Piece {
    /// That of nothing.
    pub const EMPTY: Self = Self { crc: 0, bytes: 0, shift: ONE };

    /// That of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = Checksum::default();
        sum.read(bytes);
        sum.piece()
    }

    /// That of this piece and then `next`.
    #[must_use]
    pub fn and(self, next: Self) -> Self {
        Self {
            crc: product(next.shift, self.crc) ^ next.crc,
            bytes: self.bytes.wrapping_add(next.bytes),
            shift: product(next.shift, self.shift),
        }
    }
}

/// The sum of all that was written to one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksum {
    crc: u32,
    bytes: u32,
}

impl Checksum {
    /// Moves it past a piece. It takes as long for a large one as for a small one, some 30 ns.
    pub fn pass(&mut self, piece: &Piece) {
        self.crc = product(piece.shift, self.crc) ^ piece.crc;
        self.bytes = self.bytes.wrapping_add(piece.bytes);
    }

    /// Moves it past bytes that are of this stream alone.
    pub fn read(&mut self, bytes: &[u8]) {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.crc);
        hasher.update(bytes);
        self.crc = hasher.finalize();
        self.bytes = self.bytes.wrapping_add(wrapped(bytes.len()));
    }

    /// The piece that all of it is, if it began with nothing and is shorter than 4 GiB.
    #[must_use]
    pub fn piece(self) -> Piece {
        let mut shift = ONE;
        let mut rest = self.bytes;
        let mut square = 3;
        while rest > 0 {
            if rest & 1 == 1 {
                shift = product(SQUARES[square % 32], shift);
            }
            rest >>= 1;
            square += 1;
        }
        Piece { crc: self.crc, bytes: self.bytes, shift }
    }

    /// As a gzip stream ends with it.
    #[must_use]
    pub fn trailer(self) -> [u8; 8] {
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&self.crc.to_le_bytes());
        trailer[4..].copy_from_slice(&self.bytes.to_le_bytes());
        trailer
    }
}

/// A length as the format counts it: modulo 2³².
#[expect(clippy::cast_possible_truncation, reason = "the format counts so")]
fn wrapped(bytes: usize) -> u32 {
    bytes as u32
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sum_of_pieces_is_that_of_the_whole(
            parts in vec((vec(any::<u8>(), 0..3_000), any::<bool>()), 0..20),
        ) {
            let mut sum = Checksum::default();
            let mut piece = Piece::EMPTY;
            for (part, is_shared) in &parts {
                if *is_shared {
                    sum.pass(&Piece::of(part));
                } else {
                    sum.read(part);
                }
                piece = piece.and(Piece::of(part));
            }
            let whole: Vec<u8> = parts.iter().flat_map(|(part, _)| part).copied().collect();
            prop_assert_eq!(sum.crc, crc32fast::hash(&whole));
            prop_assert_eq!(sum.bytes as usize, whole.len());
            prop_assert_eq!(piece, Piece::of(&whole));
        }
    }
}
