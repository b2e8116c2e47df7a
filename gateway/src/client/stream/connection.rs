//! One connection of a stream, from its answer's head to its end.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use super::Lost;
use crate::client::chain;
use crate::client::parser::{Item, ParseError, Parser};

/// What came of a connection.
#[derive(Debug)]
pub(super) enum Heard {
    Item(Item),
    /// It is over; a part of an event is forgotten.
    Lost(Lost),
}

#[derive(Debug)]
pub(super) struct Connection {
    response: Response,
    parser: Parser,
    /// What has come and is not parsed.
    chunk: Bytes,
    silence: Duration,
    heard_at: Instant,
    heard_any: bool,
}

impl Connection {
    /// A connection that is given up when nothing comes for `silence`.
    pub(super) fn new(response: Response, parser: Parser, silence: Duration) -> Self {
        Self {
            response,
            parser,
            chunk: Bytes::new(),
            silence,
            heard_at: Instant::now(),
            heard_any: false,
        }
    }

    /// The id of the last complete block, or what the parser began with.
    pub(super) fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Whether any byte has come.
    pub(super) fn heard_any(&self) -> bool {
        self.heard_any
    }

    /// The silence that is borne from now on.
    pub(super) fn bear_silence(&mut self, silence: Duration) {
        self.silence = silence;
    }

    /// Cancelling it loses nothing: bytes are parsed in the same poll that took them.
    pub(super) async fn next(&mut self) -> Result<Heard, ParseError> {
        loop {
            let mut rest = &self.chunk[..];
            let item = self.parser.next(&mut rest)?;
            let left = rest.len();
            self.chunk.advance(self.chunk.len() - left);
            if let Some(item) = item {
                return Ok(Heard::Item(item));
            }
            let Some(deadline) = self.heard_at.checked_add(self.silence) else {
                // Centuries: a server that says so does not want to be watched.
                self.silence = Duration::from_secs(86_400);
                continue;
            };
            match timeout_at(deadline, self.response.chunk()).await {
                Err(_) => return Ok(Heard::Lost(Lost::Silent(self.silence))),
                Ok(Err(error)) => {
                    return Ok(Heard::Lost(Lost::Broken(chain(&error.without_url()))));
                }
                Ok(Ok(None)) => return Ok(Heard::Lost(Lost::Ended)),
                Ok(Ok(Some(chunk))) => {
                    self.chunk = chunk;
                    self.heard_at = Instant::now();
                    self.heard_any = true;
                }
            }
        }
    }
}
