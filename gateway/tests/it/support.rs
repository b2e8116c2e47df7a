//! What the tests start, and how they wait.

pub mod api_server;
pub mod collector;
pub mod config;
pub mod decoding;
pub mod gateway;
pub mod http;
pub mod http2;
pub mod pod;
pub mod proxy;
pub mod recording;
pub mod stream;
pub mod tls;
pub mod ways;

pub use tidegate_rig::{eventually, kafka, redis};
