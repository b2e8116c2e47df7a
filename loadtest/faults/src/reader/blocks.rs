//! The blocks of an event stream, with all that a browser takes from them.

use std::time::Duration;

use tidegate_swarm::sse::{Kind, Lines, kind};

/// One block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    /// Who it comes from.
    pub kind: Kind,
    /// Its `id:`.
    pub id: Option<String>,
    /// Its `retry:`.
    pub retry: Option<Duration>,
    /// Its `data:`; a block without any is no event.
    pub data: Option<String>,
}

/// Longer than any event that is published here.
const LINE_BYTES: usize = 1 << 20;

/// Reads one connection.
#[derive(Debug)]
pub struct Blocks {
    lines: Lines,
    block: Block,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { lines: Lines::keeping(LINE_BYTES), block: Block::default() }
    }
}

impl Blocks {
    /// Reads some bytes and adds every block that they complete.
    pub fn feed(&mut self, bytes: &[u8], complete: &mut Vec<Block>) {
        let block = &mut self.block;
        self.lines.feed(bytes, |line| {
            if line.is_empty() {
                complete.push(std::mem::take(block));
                return;
            }
            let line = String::from_utf8_lossy(line);
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => block.kind = kind(value.as_bytes()),
                "id" => block.id = Some(value.to_owned()),
                "retry" => block.retry = value.parse().ok().map(Duration::from_millis),
                "data" => block.data.get_or_insert_default().push_str(value),
                // A comment, or what a browser skips.
                _ => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_when_it_is_complete() {
        let mut blocks = Blocks::default();
        let mut complete = Vec::new();
        for bytes in ["retry: 70\nid: a\nevent: tidegate.gap\nda", "ta: {}\n", "\nid: b\ndata: 1\n"]
        {
            blocks.feed(bytes.as_bytes(), &mut complete);
        }
        let gap = Block {
            kind: Kind::Gap,
            id: Some("a".to_owned()),
            retry: Some(Duration::from_millis(70)),
            data: Some("{}".to_owned()),
        };
        assert_eq!(complete, [gap]);
    }
}
