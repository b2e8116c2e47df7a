//! `faults`: see the crate's documentation.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tidegate_faults::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    // Ended by a signal, the processes that were started end as well: their supervisors read the
    // end of their input.
    match cli::run(Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody left to tell if this fails too.
            let _ = writeln!(std::io::stderr(), "faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}
