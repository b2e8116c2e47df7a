//! Real gateways on a real Kafka or Redis, faults at random, publishers that retry and readers that
//! reconnect like browsers; each reader counts what it gets of every room.
//!
//! [`run::Run`] starts a [`cluster::Cluster`] (gateways, the log's server, a [`link::Link`] on each
//! side of every gateway), puts a [`load::Load`] on it, lets [`fault::Fault`]s strike, and adds up a
//! [`report::Outcome`]. A seed decides all that is left to chance here; what the machine does meanwhile
//! is not repeatable.

pub mod cli;
pub mod clocks;
pub mod cluster;
pub mod disk;
pub mod door;
pub mod fault;
pub mod gateway;
pub mod link;
pub mod load;
pub mod memory;
pub mod network;
pub mod plan;
pub mod publisher;
pub mod reader;
pub mod report;
pub mod rollout;
pub mod run;
pub mod shell;
pub mod store;
pub mod table;
pub mod wire;
