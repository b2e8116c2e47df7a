//! A request's body as lines, bounded in length and silence.

use std::time::Duration;

use axum::body::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::problem::{Problem, ProblemKind};

/// A line with something in it.
#[derive(Debug)]
pub struct Line {
    /// Its number, from 1, empty ones counted.
    pub number: u64,
    /// Its text without its end, or why there is none.
    pub text: Result<Bytes, Problem>,
}

/// The lines of a body.
#[derive(Debug)]
pub struct Lines {
    body: Body,
    /// What came after the last line's end.
    buffer: BytesMut,
    /// How much of the buffer holds no line end.
    searched: usize,
    most: usize,
    number: u64,
    /// The line is longer than it may be: what follows up to its end is thrown away.
    skipping: bool,
    ended: bool,
}

impl Lines {
    /// The lines of `body`, each of at most `most` bytes without its end.
    #[must_use]
    pub fn new(body: Body, most: usize) -> Self {
        let buffer = BytesMut::new();
        Self { body, buffer, searched: 0, most, number: 0, skipping: false, ended: false }
    }

    /// Whether no line has been begun.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.buffer.is_empty() && !self.skipping
    }

    /// The next line; `None` at the end. Keeps what it has if it is dropped while it waits.
    ///
    /// # Errors
    /// `idle-timeout` if nothing comes for `idle`, `bad-request` if the body breaks off.
    pub async fn next(&mut self, idle: Duration) -> Result<Option<Line>, Problem> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            self.fill(idle).await?;
        }
    }

    /// Waits for the next part of the body, or its end.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn fill(&mut self, idle: Duration) -> Result<(), Problem> {
        match timeout(idle, self.body.frame()).await {
            Err(_) => {
                let detail = format!("no line came for {idle:?} (limits.batch_idle)");
                return Err(Problem::new(ProblemKind::IdleTimeout, detail));
            }
            Ok(None) => self.ended = true,
            Ok(Some(Err(error))) => {
                let detail = format!("the batch broke off: {error}");
                return Err(Problem::new(ProblemKind::BadRequest, detail));
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    self.buffer.extend_from_slice(&data);
                }
            }
        }
        Ok(())
    }

    /// Takes a line that is here.
    fn take(&mut self) -> Option<Line> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|b| *b == b'\n');
            let (text, rest) = match end {
                Some(at) => (self.searched + at, self.searched + at + 1),
                None if self.ended && !self.is_between() => (self.buffer.len(), self.buffer.len()),
                None => {
                    self.searched = self.buffer.len();
                    // One more: the last byte may turn out to be a CR.
                    if self.buffer.len() > self.most + 1 {
                        self.skipping = true;
                    }
                    if self.skipping {
                        self.buffer.clear();
                        self.searched = 0;
                    }
                    return None;
                }
            };
            let mut line = self.buffer.split_to(rest);
            line.truncate(text);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            self.searched = 0;
            self.number += 1;
            let too_long = std::mem::take(&mut self.skipping) || line.len() > self.most;
            if too_long {
                let detail =
                    format!("the line has more than {} bytes (limits.body_bytes)", self.most);
                let text = Err(Problem::new(ProblemKind::TooLarge, detail));
                return Some(Line { number: self.number, text });
            }
            if line.chunk().iter().all(u8::is_ascii_whitespace) {
                if self.ended && self.buffer.is_empty() {
                    return None;
                }
                continue;
            }
            return Some(Line { number: self.number, text: Ok(line.freeze()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;

    fn lines_of(pieces: Vec<Vec<u8>>, most: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let pieces = pieces.into_iter().map(|p| Ok::<_, std::convert::Infallible>(Bytes::from(p)));
        let body = Body::from_stream(stream::iter(pieces));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let mut lines = Lines::new(body, most);
            let mut all = Vec::new();
            while let Some(line) = lines.next(Duration::from_secs(9)).await.expect("a line") {
                all.push((line.number, line.text.ok().map(|t| t.to_vec())));
            }
            all
        })
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_body_is_cut(
            text in "[ab\\n\\r ]{0,60}",
            cuts in proptest::collection::vec(0..60usize, 0..6),
            most in 1..10usize,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| *c < text.len()).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(text.as_bytes()[from..cut].to_vec());
                from = cut;
            }
            pieces.push(text.as_bytes()[from..].to_vec());
            let expected: Vec<(u64, Option<Vec<u8>>)> = text
                .split('\n')
                .zip(1..)
                .map(|(line, n)| (n, line.strip_suffix('\r').unwrap_or(line)))
                .filter(|(_, line)| line.len() > most || !line.trim_ascii().is_empty())
                .map(|(n, line)| (n, (line.len() <= most).then(|| line.as_bytes().to_vec())))
                .collect();
            prop_assert_eq!(lines_of(pieces, most), expected);
        }
    }
}
