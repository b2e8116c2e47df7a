//! The integration tests, in one binary: librdkafka links slowly.
#![expect(unreachable_pub, reason = "a test binary has no public items")]

mod auth;
mod batch;
mod cli;
mod clients;
mod codings;
mod console;
mod cors;
mod dashboards;
mod dead_letters;
mod drain;
mod faults;
mod foreign;
mod handoff;
mod history;
mod hostile;
mod kafka_log;
mod kubernetes;
mod limits;
mod log_contract;
mod memory;
mod metrics;
mod openapi;
mod publish;
mod redis_log;
mod slow;
mod subscribe;
mod support;
mod tidy;
mod tls;
mod top;
mod traces;
mod undelivered;
mod versions;
mod ways;
