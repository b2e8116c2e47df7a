//! Settings: every number, name and address that an operator can choose.
//!
//! Each is declared once, in `config/table.rs`: its key, its type, what is accepted, its default
//! and its doc line. The structs, the flags, the environment's names, `--help`, the README's table,
//! `tidegate check-config` and `GET /v1/config` all come from there.
//!
//! A setting is taken from the file, then from the environment, then from the flags; the later
//! wins. All that is wrong is said at once, and nothing secret is ever shown.

mod check;
mod given;
mod kind;
mod problem;
mod secret;
mod setting;
mod show;
mod sources;
mod table;
mod units;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

use given::Given;
pub use problem::{Origin, Problem, Problems};
pub use secret::Secret;
pub use setting::{SETTINGS, Setting, Shape, Traits};
pub use show::markdown_table;
pub use sources::{KafkaSource, Partitioner, SOURCE_MEMBERS, TopicPattern, Topics};
pub use table::{
    Admin, Assignment, Auth, AuthMode, Config, Console, Cors, Dedupe, Drain, Kafka, Kubernetes,
    Limits, LogConfig, LogFormat, LogKind, Memory, Otel, OtelProtocol, Pod, Public, Publish, Redis,
    Slow, Stream, Telemetry, Tls,
};
pub use units::{parse_duration, show_duration};

/// What the names of environment variables begin with.
const PREFIX: &str = "TIDEGATE_";

/// Where settings come from. A seam: tests make their own and never touch the process's.
#[derive(Clone, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    environment: Vec<(String, OsString)>,
    flags: Vec<(String, String)>,
    host_name: Option<String>,
}

/// Settings that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What may be a mistake, and is none for certain: unknown `TIDEGATE_*` variables.
    pub warnings: Vec<String>,
}

// Not derived: what was given may be secret.
impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let variables: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        let flags: Vec<_> = self.flags.iter().map(|(key, _)| key).collect();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("environment", &variables)
            .field("flags", &flags)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// No file, these environment variables, no flags.
    #[must_use]
    pub fn environment(variables: &[(&str, &str)]) -> Self {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        Self { environment, ..Self::default() }
    }

    /// The environment and the host name of this process, without file and flags.
    #[must_use]
    pub fn of_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        let variables = std::env::vars_os();
        let environment: Vec<(String, OsString)> = variables
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX) || name == "HOSTNAME")
            .collect();
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| {
            let (_, value) = environment.iter().find(|(name, _)| name == "HOSTNAME")?;
            value.clone().into_string().ok()
        });
        Self { environment, host_name, ..Self::default() }
    }

    /// Reads this file before all else: TOML, or YAML if it is called `*.yaml` or `*.yml`.
    #[must_use]
    pub fn with_file(mut self, file: Option<PathBuf>) -> Self {
        self.file = file;
        self
    }

    /// Takes these flags last: the setting's key, and what was given for it. For `kafka.options`
    /// that is `name=value`.
    #[must_use]
    pub fn with_flags<K: Into<String>, V: Into<String>>(
        mut self,
        flags: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.flags.extend(flags.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }
}

impl Config {
    /// Reads all sources and checks what they say, each value alone and all of them together.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
        let mut given = Given::read(sources);
        let config = Self::assemble(&mut given);
        check::together(&config, &mut given);
        let (problems, warnings) = given.into_findings();
        if problems.is_empty() { Ok(Loaded { config, warnings }) } else { Err(Problems(problems)) }
    }
}

impl Default for Config {
    /// What a gateway runs with when nothing is set. The pod is called `tidegate`.
    fn default() -> Self {
        Self::assemble(&mut Given::default())
    }
}
