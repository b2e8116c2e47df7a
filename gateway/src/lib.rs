//! Tidegate: a gateway from a log to server-sent event streams.
#![allow(missing_docs, reason = "skeleton")]

pub mod config;
pub mod cursor;
pub mod event;
pub mod log;
