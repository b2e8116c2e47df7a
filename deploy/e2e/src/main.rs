//! The chart and the gateway on a real cluster, as one command: install, disturb, measure, uninstall.
//!
//! A [`site::Site`] is a real Kafka beside the cluster, two namespaces and the main
//! [`release::Release`]; each [`scenario::Scenario`] writes what it has seen into its
//! [`notes::Notes`], and [`report`] makes a page of them. Readers, publishers and their accounts are
//! those of the fault harness (`tidegate-faults`).

mod batch;
mod cli;
mod delay;
mod disturb;
mod groups;
mod inventory;
mod kube;
mod nginx;
mod notes;
mod pod;
mod release;
mod report;
mod scenario;
mod site;
mod stream;
mod suite;
mod values;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    match suite::run(cli::Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody left to tell if this fails too.
            let _ = writeln!(std::io::stderr(), "e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}
