//! The program's commands. Without one it is the gateway.

pub mod output;
pub mod publish;
pub mod tail;
pub mod target;

mod check_config;
mod dlq;
mod serve;
mod settings;
mod sign;
mod signals;
mod top;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

use crate::config::{Config, Loaded};
use output::{Shown, note};

/// What a wrong use of the program ends with.
const USAGE: u8 = 2;
/// What bad settings end with: `EX_CONFIG` of sysexits(3).
const BAD_SETTINGS: u8 = 78;

const ABOUT: &str = "A gateway from Kafka to server-sent event streams";

const AFTER_HELP: &str = "\
Every setting can also be in the file (section.some_key) and in the environment \
(TIDEGATE_SECTION_SOME_KEY); a flag wins over the environment, and that over the file. Durations \
are written 500ms, 15s, 10m, 1h or 2d, sizes 64KiB or 1MB, lists with commas.

Exit codes: 0 done, 1 failed, 2 wrong use, 78 bad settings.";

/// Runs the command that `args` (the program's own name first) ask for, to its end.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut command = command();
    let args = settings::gather_options(args);
    let result = command.try_get_matches_from_mut(args).map_err(anyhow::Error::from);
    match result.and_then(|matches| dispatch(&mut command, &matches)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

/// The program and its commands.
fn command() -> Command {
    with_settings(Command::new("tidegate"), |_| true)
        .about(ABOUT)
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_precedence_over_arg(true)
        .subcommand(with_settings(serve::command(), |_| true))
        .subcommand(publish::command())
        .subcommand(tail::command())
        .subcommand(with_settings(sign::command(), |section| section == "auth"))
        .subcommand(dlq::command())
        .subcommand(top::command())
        .subcommand(with_settings(check_config::command(), |_| true))
        .after_help(AFTER_HELP)
}

/// The command with a flag for every setting. Help lists those of the sections that matter to it.
fn with_settings(command: Command, is_listed: fn(&str) -> bool) -> Command {
    command.args(settings::args(is_listed))
}

fn dispatch(command: &mut Command, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let Some((name, of_command)) = matches.subcommand() else {
        return serve::run(&[matches]);
    };
    let all = &[matches, of_command];
    match name {
        "serve" => serve::run(all),
        "check-config" => check_config::run(all),
        "sign" => client(sign::run(all)),
        "dlq" => client(dlq::run(all)),
        "top" => client(top::run(all)),
        _ if settings::are_given(matches) => {
            let message = format!("{name} takes no settings of the gateway's");
            Err(command.error(ErrorKind::ArgumentConflict, message).into())
        }
        "publish" => client(publish::run(of_command)),
        "tail" => client(tail::run(of_command)),
        other => anyhow::bail!("there is no command {other}"),
    }
}

/// Runs a command that is a client of a gateway.
fn client(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    // Not dropped: a read of standard input that nobody ends would hold that up for ever.
    runtime.shutdown_background();
    result
}

/// The settings of the file, the environment and these flags.
fn load(matches: &[&ArgMatches]) -> anyhow::Result<Loaded> {
    Ok(Config::load(&settings::sources(matches))?)
}

/// Tells why the program ends, and with which code.
fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // Help and version are "errors", too; a closed pipe is nobody to tell.
        let _ = usage.print();
        return u8::try_from(usage.exit_code()).unwrap_or(USAGE).into();
    }
    let mut err = std::io::stderr();
    if let Some(problems) = error.downcast_ref::<crate::config::Problems>() {
        for problem in &problems.0 {
            note(&mut err, format_args!("error: {}", Shown(&problem.to_string())));
        }
        return BAD_SETTINGS.into();
    }
    note(&mut err, format_args!("error: {}", Shown(&format!("{error:#}"))));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_declared_without_contradiction() {
        command().debug_assert();
    }

    #[test]
    fn a_flag_for_every_setting_is_in_the_help() {
        let help = command().render_long_help().to_string();
        for setting in crate::config::SETTINGS {
            assert!(
                help.contains(&format!("--{} ", setting.flag()))
                    || help.contains(&format!("--{}\n", setting.flag())),
                "{}",
                setting.key
            );
            let words: Vec<_> = setting.doc.split_whitespace().collect();
            assert!(help.contains(words[0]), "{}", setting.key);
        }
        assert!(help.contains("78 bad settings"));
    }
}
