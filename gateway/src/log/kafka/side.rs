//! Topics beside the events, which are no sources: dead letters, notes. Each is looked for when it
//! is first needed, and made then if it may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::client::LogLines;
use super::options::Options;
use super::producer::{self, Placed, Producer};
use super::topics::{self, Lookup};
use crate::config::Kafka;
use crate::log::PublishError;

/// One of them. Clones share what is known of it.
#[derive(Clone)]
pub(super) struct SideTopic(Arc<Shared>);

struct Shared {
    name: String,
    kafka: Kafka,
    options: Options,
    lines: LogLines,
    /// It was there when it was looked for last.
    is_there: AtomicBool,
}

impl SideTopic {
    pub(super) fn new(name: &str, kafka: &Kafka, options: &Options, lines: &LogLines) -> Self {
        Self(Arc::new(Shared {
            name: name.to_owned(),
            kafka: kafka.clone(),
            options: options.clone(),
            lines: lines.clone(),
            is_there: AtomicBool::new(false),
        }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(super) fn lines(&self) -> &LogLines {
        &self.0.lines
    }

    /// Makes it if it is not there and may be made.
    pub(super) async fn prepare(&self, deadline: Instant) -> Result<(), String> {
        if self.0.is_there.load(Ordering::Relaxed) {
            return Ok(());
        }
        let own = Arc::clone(&self.0);
        let made = blocking(deadline, move || {
            let lookup = own.options.lookup().create_with_context(own.lines.clone());
            let client: Lookup = lookup.map_err(|error| error.to_string())?;
            topics::ensure_one(&client, &own.kafka, &own.name, &own.options, &own.lines)
        });
        made.await?;
        self.0.is_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// It is looked for again before the next write: what failed may have, because somebody has
    /// deleted it.
    pub(super) fn doubt(&self) {
        self.0.is_there.store(false, Ordering::Relaxed);
    }

    /// Appends a record. [`Self::prepare`] comes first.
    ///
    /// # Errors
    /// [`PublishError`].
    pub(super) async fn append<'f>(
        &self,
        producer: &Producer,
        key: &str,
        value: Option<&[u8]>,
        fields: impl Iterator<Item = (&'f str, &'f [u8])>,
        deadline: Instant,
    ) -> Result<Placed, PublishError> {
        let headers = producer::headers(fields);
        producer.send(self.name(), key, value, headers, deadline).await
    }

    /// A client that reads it back.
    pub(super) fn reader(&self) -> Result<Lookup, String> {
        let reader = self.0.options.reader().create_with_context(self.0.lines.clone());
        reader.map_err(|error| error.to_string())
    }
}

/// Runs what asks the brokers on a thread of its own, until `deadline`.
pub(super) async fn blocking<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::time::timeout_at(deadline, spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(panicked.to_string()),
        Err(_) => Err("the brokers did not answer in time".to_owned()),
    }
}
