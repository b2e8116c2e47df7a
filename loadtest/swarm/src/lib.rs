//! Tens of thousands of event-stream readers, and publishers to feed them, from part of a core.
//!
//! [`scenario`] runs [`subscribers`] and [`publishers`], each an epoll loop of its own, against a
//! loopback [`target`], reads the server's CPU time and memory from `/proc` ([`usage`]) and prints
//! a [`report`]. [`floor`] is the least server that can serve the same streams: what a gateway
//! costs above it is its own doing.

pub mod adapter;
pub mod cli;
pub mod clock;
pub mod floor;
pub mod http;
pub mod inflate;
pub mod publishers;
pub mod report;
pub mod resume;
pub mod scenario;
pub mod sequence;
pub mod sockets;
pub mod sse;
pub mod stats;
pub mod subscribers;
pub mod target;
pub mod usage;
