//! Tidegate: a Kafka-first gateway from a log to server-sent event streams.
//!
//! Data runs one way, and so do imports:
//!
//! ```text
//! http::publish -> log -> consumer -> hub -> connection -> socket
//! ```
//!
//! A publish never touches the hub directly, not even on the embedded log: one path, one order.
//! `gateway/ARCHITECTURE.md` says the rest.

// Vocabulary: pure values.
pub mod auth;
pub mod cursor;
pub mod disconnect;
pub mod event;
pub mod json;
pub mod problem;
pub mod wire;
// State: no I/O, no await.
pub mod hub;
// In.
pub mod consumer;
pub mod log;
// Out.
pub mod connection;
pub mod http;
pub mod outlet;
pub mod replay;
pub mod undelivered;
// Around.
pub mod clock;
pub mod config;
pub mod gateway;
pub mod health;
pub mod kubernetes;
pub mod shutdown;
pub mod telemetry;
// The other end of the wire.
pub mod cli;
pub mod client;
