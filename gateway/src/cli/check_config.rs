//! `tidegate check-config`: what the gateway would run with, or why it would not.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::output::{line, note};
use crate::config::markdown_table;

pub(super) fn command() -> Command {
    Command::new("check-config")
        .about("Prints the effective settings, or everything that is wrong with them")
        .long_about(
            "Prints the effective settings as a TOML file, each with where it comes from behind \
             it and secrets masked, or everything that is wrong with them.",
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Prints them as JSON, as the admin port's /v1/config does"),
        )
        .arg(
            Arg::new("markdown")
                .long("markdown")
                .action(ArgAction::SetTrue)
                .conflicts_with("json")
                .help("Prints the table of all settings and their defaults instead"),
        )
        .after_help("Exit codes: 0 the settings are good, 2 wrong use, 78 they are not.")
}

pub(super) fn run(matches: &[&ArgMatches]) -> anyhow::Result<ExitCode> {
    let is_given = |name| matches.last().is_some_and(|matches| matches.get_flag(name));
    let text = if is_given("markdown") {
        markdown_table()
    } else {
        let loaded = super::load(matches)?;
        for warning in &loaded.warnings {
            note(&mut std::io::stderr(), format_args!("warning: {warning}"));
        }
        if is_given("json") {
            serde_json::to_string_pretty(&loaded.config.to_json_masked())?
        } else {
            loaded.config.to_toml_masked()
        }
    };
    // Who reads only the first lines has what they want.
    let _ = line(&mut std::io::stdout(), text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
