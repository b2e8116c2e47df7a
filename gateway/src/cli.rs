//! The commands beside the gateway itself.

pub mod output;
pub mod publish;
pub mod tail;
pub mod target;
