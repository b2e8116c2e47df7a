//! A sink for tests that look at what a log keeps, not at what it hands on.

use super::record::Record;
use super::{KeysOnly, Sink, Source};
use crate::cursor::{Offset, Position, Shard};

/// Takes everything and does nothing with it.
pub(crate) struct Nobody;

impl Sink for Nobody {
    fn sources(&mut self, _: &[Source]) {}
    fn start(&mut self, _: Shard, _: Position, _: Offset, _: Option<KeysOnly>) {}
    fn records(&mut self, _: &mut Vec<Record>) {}
    fn lag(&mut self, _: Shard, _: &str, _: u64) {}
    fn caught_up(&mut self) {}
    fn reachable(&mut self, _: Result<(), String>) {}
}
