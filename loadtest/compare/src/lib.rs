//! The gateway beside the floor and its peers: the same load, in turn, in one run.
//!
//! A [`row`] is a load and what the gateway has to reach under it; [`rows`] are all of them. For each
//! pair every [`server`] is started afresh and loaded by `swarm` ([`run`]); [`figures`] are read from
//! its JSON, an [`outcome`] is what the pairs say together, [`stats`] makes of them a median with an
//! interval, and [`table`] prints it. Absolute figures are the machine's; the ratios of a pair are the
//! server's.

pub mod figures;
pub mod outcome;
pub mod row;
pub mod rows;
pub mod run;
pub mod server;
pub mod stats;
pub mod table;
