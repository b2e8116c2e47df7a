//! `swarm`: see the crate's documentation.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use tidegate_swarm::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nobody left to tell if this fails too.
            let _ = writeln!(std::io::stderr(), "swarm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
