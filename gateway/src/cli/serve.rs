//! `tidegate serve`, and `tidegate` alone: the gateway.

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Command};

use crate::{gateway, telemetry};

/// How long work that cannot be cancelled, such as a look-up of a name, may hold up the end.
const LAST_WORK: Duration = Duration::from_secs(1);

pub(super) fn command() -> Command {
    Command::new("serve")
        .about("Runs the gateway; so does tidegate without a command")
        .after_help(super::AFTER_HELP)
}

pub(super) fn run(matches: &[&ArgMatches]) -> anyhow::Result<ExitCode> {
    let loaded = super::load(matches)?;
    let log_level = telemetry::init(&loaded.config.telemetry)?;
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(gateway::run(loaded.config, log_level));
    runtime.shutdown_timeout(LAST_WORK);
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            // A line like the others, for whoever collects them.
            tracing::error!("the gateway cannot run: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}
