//! The settings as flags.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use crate::config::{SETTINGS, Setting, Shape, Sources};

/// The argument that names the file.
const FILE: &str = "config";

/// A flag for the file and one for each setting; those of sections that are not listed work all the
/// same.
pub(super) fn args(is_listed: fn(&str) -> bool) -> Vec<Arg> {
    let file = Arg::new(FILE)
        .long(FILE)
        .value_name("FILE")
        .value_parser(ValueParser::path_buf())
        .help("Reads settings from this file, TOML or YAML");
    let settings = SETTINGS.iter().map(|setting| arg(setting).hide(!is_listed(setting.section)));
    std::iter::once(file).chain(settings).collect()
}

fn arg(setting: &Setting) -> Arg {
    let arg = Arg::new(setting.key)
        .long(setting.flag())
        .value_name(setting.traits.placeholder)
        .help_heading(setting.section)
        .help(match setting.default {
            "" => setting.doc.to_owned(),
            default => format!("{} [default: {default}]", setting.doc),
        });
    match setting.traits.shape {
        Shape::One | Shape::Fraction | Shape::Tables => arg,
        Shape::Switch => arg.num_args(0..=1).default_missing_value("true"),
        Shape::List | Shape::Map => arg.action(ArgAction::Append),
    }
}

/// Turns `--kafka-options-a-b v` into `--kafka-options a.b=v`: there is no end of librdkafka's
/// names, and a parser wants to know all flags.
pub(super) fn gather_options(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let maps: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| setting.traits.shape == Shape::Map)
        .map(|setting| format!("--{}", setting.flag()))
        .collect();
    let mut gathered = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            gathered.push(arg);
            break;
        }
        let option = arg.to_str().and_then(|text| {
            maps.iter().find_map(|map| Some((map, text.strip_prefix(&**map)?.strip_prefix('-')?)))
        });
        let Some((map, option)) = option.filter(|(_, option)| !option.is_empty()) else {
            gathered.push(arg);
            continue;
        };
        let (name, mut value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (option, None),
        };
        let mut whole = OsString::from(format!("{map}={}", name.replace('-', ".")));
        value = value.or_else(|| args.next());
        // Without a value it is complained of like any other option that has none.
        if let Some(value) = value {
            whole.push("=");
            whole.push(value);
        }
        gathered.push(whole);
    }
    gathered.extend(args);
    gathered
}

/// Where the settings come from, the flags of the program before those of its command.
pub(super) fn sources(matches: &[&ArgMatches]) -> Sources {
    let mut sources = Sources::of_process();
    for matches in matches {
        if let Some(file) = matches.get_one::<PathBuf>(FILE) {
            sources = sources.with_file(Some(file.clone()));
        }
        sources = sources.with_flags(SETTINGS.iter().flat_map(|setting| given(setting, matches)));
    }
    sources
}

/// Whether any of them is given.
pub(super) fn are_given(matches: &ArgMatches) -> bool {
    let mut keys = SETTINGS.iter().map(|setting| setting.key).chain([FILE]);
    keys.any(|key| matches.value_source(key) == Some(ValueSource::CommandLine))
}

fn given(setting: &'static Setting, matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let Some(values) = matches.get_many::<String>(setting.key) else { return Vec::new() };
    let values: Vec<_> = values.map(String::as_str).collect();
    match setting.traits.shape {
        Shape::Map => values.into_iter().map(|value| (setting.key, value.to_owned())).collect(),
        _ => vec![(setting.key, values.join(","))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(args: &[&str]) -> Vec<String> {
        let args = args.iter().map(OsString::from);
        gather_options(args).into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    #[test]
    fn options_of_librdkafka_may_be_flags_of_their_own() {
        assert_eq!(
            gather(&["t", "--kafka-options-socket-timeout-ms", "5", "--pod-name", "a"]),
            ["t", "--kafka-options=socket.timeout.ms=5", "--pod-name", "a"]
        );
        assert_eq!(gather(&["--kafka-options-a-b=c=d"]), ["--kafka-options=a.b=c=d"]);
        assert_eq!(gather(&["--kafka-options-a", "-1"]), ["--kafka-options=a=-1"]);
        assert_eq!(gather(&["--kafka-options-a"]), ["--kafka-options=a"]);
    }

    #[test]
    fn other_arguments_stay_as_they_are() {
        let args =
            ["t", "--kafka-options", "a.b=c", "--kafka-options-", "--", "--kafka-options-a", "b"];
        assert_eq!(gather(&args), args);
    }
}
