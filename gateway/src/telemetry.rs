//! What the gateway says of itself: log lines on standard error, series in [`metrics`], and spans in
//! [`traces`].
//!
//! Log lines are written when something ends, with their facts as fields. Per event they are
//! `trace`, per connection `debug`; `error` only if someone should act. Neither a secret nor a
//! signature is in any of them.

pub mod metrics;
pub mod traces;

use std::fmt;
use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{Directive, EnvFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt as lines, reload};

use crate::config::{LogFormat, Telemetry};

/// Reads which log lines are to be written: a level, and others for parts of the program, as in
/// `info,tidegate::hub=debug`.
///
/// # Errors
/// What is wrong with it, in words for the one who wrote it.
pub fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut filter = EnvFilter::builder().parse("off").map_err(|error| error.to_string())?;
    for part in parts(text) {
        // The library takes a lone word that is no level for a part of the program, and writes all
        // of its lines: `inof` would silence everything but a part that does not exist.
        if !part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err() {
            return Err(format!("{part:?} is neither a level nor part=level"));
        }
        let directive: Directive =
            part.parse().map_err(|error| format!("{part:?} is not understood: {error}"))?;
        filter = filter.add_directive(directive);
    }
    Ok(filter)
}

/// The directives of a filter: what stands between the commas that are not in brackets.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let comma = move |c: char| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(comma).map(str::trim).filter(|part| !part.is_empty())
}

/// Changes which log lines are written while the gateway runs.
#[derive(Clone)]
pub struct LevelHandle(Option<reload::Handle<EnvFilter, Registry>>);

impl LevelHandle {
    /// From now on writes the lines that `filter` lets through: see [`parse_filter`].
    ///
    /// # Errors
    /// What is wrong with the filter, which is then not used.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let filter = parse_filter(filter)?;
        let Some(handle) = &self.0 else {
            return Err("the log lines of this process were not set up here".to_owned());
        };
        handle.reload(filter).map_err(|error| error.to_string())?;
        follow_in_log();
        Ok(())
    }

    /// One that changes nothing but `layer`, which has to live as long.
    #[cfg(test)]
    pub(crate) fn of_layer(layer: &reload::Layer<EnvFilter, Registry>) -> Self {
        Self(Some(layer.handle()))
    }

    /// Which log lines are written now.
    #[must_use]
    pub fn get(&self) -> String {
        let current =
            self.0.as_ref().and_then(|handle| handle.with_current(EnvFilter::to_string).ok());
        current.unwrap_or_default()
    }
}

impl fmt::Debug for LevelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LevelHandle").field(&self.get()).finish()
    }
}

/// Begins to write log lines to standard error as `settings` say, those of libraries that use `log`
/// and those of panics among them. A second call in a process changes nothing.
///
/// # Errors
/// A level that is none.
pub fn init(settings: &Telemetry) -> anyhow::Result<LevelHandle> {
    let filter = parse_filter(&settings.log_level).map_err(anyhow::Error::msg)?;
    let (filter, handle) = reload::Layer::new(filter);
    let layer = lines::layer().with_writer(std::io::stderr);
    let layer = match settings.log_format {
        LogFormat::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    if tracing_subscriber::registry().with(filter).with(layer).try_init().is_err() {
        return Ok(LevelHandle(None));
    }
    follow_in_log();
    std::panic::set_hook(Box::new(log_panic));
    Ok(LevelHandle(Some(handle)))
}

/// Lets the libraries that use `log` skip what is not written. They ask a level of their own, which
/// a new filter does not move by itself.
fn follow_in_log() {
    log::set_max_level(match LevelFilter::current() {
        LevelFilter::OFF => log::LevelFilter::Off,
        LevelFilter::ERROR => log::LevelFilter::Error,
        LevelFilter::WARN => log::LevelFilter::Warn,
        LevelFilter::INFO => log::LevelFilter::Info,
        LevelFilter::DEBUG => log::LevelFilter::Debug,
        LevelFilter::TRACE => log::LevelFilter::Trace,
    });
}

/// A panic as a log line like any other: plain text between JSON lines would be lost on whoever
/// collects them.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    tracing::error!(
        at,
        thread = std::thread::current().name(),
        backtrace = backtrace(),
        "panicked: {}",
        panic.payload_as_str().unwrap_or("no message")
    );
}

/// The way to a panic, if `RUST_BACKTRACE` asks for it.
fn backtrace() -> Option<String> {
    let trace = std::backtrace::Backtrace::capture();
    (trace.status() == std::backtrace::BacktraceStatus::Captured).then(|| trace.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_parts_are_filters() {
        for text in [
            "info",
            "OFF",
            "info,tidegate::hub=debug",
            " warn , hyper=off ,",
            "info,tidegate[publish{id=1,kind=2}]=trace",
            "debug,[span]=trace",
        ] {
            assert!(parse_filter(text).is_ok(), "{text}: {:?}", parse_filter(text));
        }
    }

    #[test]
    fn a_misspelt_level_is_no_part_of_the_program() {
        for (text, reason) in [
            ("", "it is empty"),
            ("inof", "\"inof\" is neither a level nor part=level"),
            ("info,hyper", "\"hyper\" is neither a level nor part=level"),
        ] {
            assert_eq!(parse_filter(text).map(|_| ()), Err(reason.to_owned()));
        }
        assert!(parse_filter("tidegate=loud").is_err());
    }

    #[test]
    fn a_filter_leaves_out_what_it_does_not_name() {
        assert_eq!(parse_filter("info").unwrap().to_string(), "info");
        assert_eq!(parse_filter("hyper=debug").unwrap().max_level_hint(), Some(LevelFilter::DEBUG));
    }
}
