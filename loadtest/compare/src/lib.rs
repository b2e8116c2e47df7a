//! The gateway beside the floor and its peers: the same load, in turn, in one run.
//!
//! A [`row`] is a load and what it has to reach. For each pair every [`server`] is started afresh and
//! loaded by `swarm`; [`figures`] are read from its JSON, and [`stats`] makes of the pairs a median
//! with an interval, which [`table`] prints. Absolute figures are the machine's; the ratios of a pair
//! are the server's.

pub mod figures;
pub mod row;
pub mod run;
pub mod server;
pub mod stats;
pub mod table;
