//! What the gateway says of itself: log lines here, series in [`metrics`].

pub mod metrics;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{LogFormat, Telemetry};

/// Changes the level of the log while the gateway runs.
#[derive(Debug, Clone)]
pub struct LevelHandle(Option<reload::Handle<EnvFilter, Registry>>);

impl LevelHandle {
    /// Sets the level: `debug`, or directives such as `tidegate=trace,info`.
    ///
    /// # Errors
    /// Why `level` is none.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
        match &self.0 {
            Some(handle) => handle.reload(filter).map_err(|error| error.to_string()),
            None => Err("the log was not set up by this process".to_owned()),
        }
    }
}

/// Writes the log to standard error as `settings` say. A second call changes nothing.
///
/// # Errors
/// If the level is none.
pub fn init(settings: &Telemetry) -> anyhow::Result<LevelHandle> {
    let filter = EnvFilter::try_new(&settings.log_level)?;
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let set = match settings.log_format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr)).try_init(),
        LogFormat::Json => {
            registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
        }
    };
    Ok(LevelHandle(set.is_ok().then_some(handle)))
}
