//! A pod's log by itself, of whatever kind, with a sink that remembers.

use std::time::Duration;

use tidegate::config::Config;
use tidegate::event::{Audience, EventId, EventType, MessageId, NewEvent, Room, TraceContext};
use tidegate::log::{Log, PublishError, Receipt};
use tokio::time::Instant;

use super::eventually;
use super::recording::Recording;

/// How long anything may take that takes milliseconds on an idle machine.
pub const SOON: Duration = Duration::from_secs(20);

/// A pod's log and what it handed on.
pub struct Pod {
    pub log: Log,
    pub seen: Recording,
    pub patience: Duration,
}

impl Pod {
    pub fn open(config: &Config) -> Self {
        let seen = Recording::default();
        let log = Log::open(config, seen.clone()).expect("good settings");
        Self { log, seen, patience: config.publish.timeout }
    }

    /// Opens one and waits until it is caught up.
    pub async fn ready(config: &Config) -> Self {
        let pod = Self::open(config);
        eventually("caught up", SOON, async || pod.seen.told(|told| told.caught_up.is_some()))
            .await;
        pod
    }

    pub async fn try_publish(&self, event: &NewEvent) -> Result<Receipt, PublishError> {
        self.log.publish(event, Instant::now() + self.patience).await
    }

    pub async fn publish(&self, id: &str, data: &str) -> Receipt {
        self.try_publish(&event(id, data)).await.expect("published")
    }

    /// Waits until the values of `key` are these.
    pub async fn sees(&self, key: &str, values: &[String]) {
        eventually(&format!("{} values of {key}", values.len()), SOON, async || {
            self.seen.told(|told| told.values_of(key).len() >= values.len())
        })
        .await;
        assert_eq!(self.seen.told(|told| told.values_of(key)), values);
    }

    pub async fn close(&self) {
        self.log.close(Instant::now() + SOON).await;
    }
}

/// An event of a room `id/t`.
pub fn event(id: &str, data: &str) -> NewEvent {
    NewEvent {
        audience: Audience::Room(Room {
            id: EventId::new(id).expect("an id"),
            kind: EventType::new("t").expect("a type"),
        }),
        message_id: MessageId::fresh(),
        event_name: None,
        from_user: None,
        to_user: None,
        data: data.to_owned().into(),
        headers: vec![("X-Trace".into(), "1".into())],
        is_final: false,
        idempotency_key: None,
        deliver_within_ms: None,
        replay_of: None,
        trace: TraceContext::default(),
    }
}
