//! An event on its way, and the publisher that waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::event::{Audience, MessageId, NewEvent};
use crate::log::record::fields_of;
use crate::log::{PublishError, Receipt, Role};

/// It waits to be sent.
const WAITS: u8 = 0;
/// It is being sent, or was: the log may have it.
const CLAIMED: u8 = 1;
/// Its publisher has been told that it is not in the log: it must not be sent.
const GIVEN_UP: u8 = 2;

type Outcome = Result<Receipt, PublishError>;

/// An event that is to be published.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) role: Role,
    pub(super) key: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) data: Bytes,
    pub(super) message_id: MessageId,
    /// What stands for its idempotency key.
    pub(super) once: Option<MessageId>,
    pub(super) deadline: Instant,
    state: Arc<AtomicU8>,
    outcome: oneshot::Sender<Outcome>,
    /// Freed when it has been answered.
    _room: OwnedSemaphorePermit,
}

/// What a publisher waits for.
#[derive(Debug)]
pub(super) struct Answer {
    state: Arc<AtomicU8>,
    outcome: oneshot::Receiver<Outcome>,
    deadline: Instant,
}

impl Job {
    /// A job for `event`, and its answer.
    pub(super) fn new(
        event: &NewEvent,
        deadline: Instant,
        room: OwnedSemaphorePermit,
    ) -> (Self, Answer) {
        let state = Arc::new(AtomicU8::new(WAITS));
        let (tell, told) = oneshot::channel();
        let owned = |(name, value): (_, _)| {
            (std::borrow::Cow::into_owned(name), std::borrow::Cow::into_owned(value))
        };
        let job = Self {
            role: match &event.audience {
                Audience::Room(_) => Role::Events,
                Audience::Broadcast(_) => Role::Broadcast,
            },
            key: event.audience.record_key().to_owned(),
            fields: fields_of(event).into_iter().map(owned).collect(),
            data: event.data.clone(),
            message_id: event.message_id,
            once: event
                .idempotency_key
                .as_ref()
                .map(|key| MessageId::from_key(&event.audience, key)),
            deadline,
            state: Arc::clone(&state),
            outcome: tell,
            _room: room,
        };
        (job, Answer { state, outcome: told, deadline })
    }

    /// Takes the job on; false if its publisher has been told that it will not be.
    pub(super) fn claim(&self) -> bool {
        let waited =
            self.state.compare_exchange(WAITS, CLAIMED, Ordering::AcqRel, Ordering::Acquire);
        // A second attempt has claimed it before.
        waited != Err(GIVEN_UP)
    }

    /// Tells the publisher, who may be gone.
    pub(super) fn answer(self, outcome: Outcome) {
        let _ = self.outcome.send(outcome);
    }
}

impl Answer {
    /// Waits for the outcome until the deadline.
    pub(super) async fn wait(self) -> Outcome {
        let why = match timeout_at(self.deadline, self.outcome).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(_)) => "the log was closed".to_owned(),
            Err(_) => "Redis did not answer in time".to_owned(),
        };
        match self.state.compare_exchange(WAITS, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Err(PublishError::NotAccepted(why)),
            Err(_) => Err(PublishError::OutcomeUnknown(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::event::{EventType, TraceContext};

    fn job() -> (Job, Answer) {
        let event = NewEvent {
            audience: Audience::Broadcast(EventType::new("t").expect("a type")),
            message_id: MessageId::fresh(),
            event_name: None,
            from_user: None,
            to_user: None,
            data: Bytes::from_static(b"1"),
            headers: Vec::new(),
            is_final: false,
            idempotency_key: None,
            deliver_within_ms: None,
            replay_of: None,
            trace: TraceContext::default(),
        };
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("room");
        Job::new(&event, Instant::now() + Duration::from_secs(1), room)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_sent_by_the_deadline_is_not_accepted_and_never_sent() {
        let (job, answer) = job();
        assert!(matches!(answer.wait().await, Err(PublishError::NotAccepted(_))));
        assert!(!job.claim());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_and_not_answered_by_the_deadline_has_an_unknown_outcome() {
        let (job, answer) = job();
        assert!(job.claim());
        assert!(job.claim(), "a second attempt");
        assert!(matches!(answer.wait().await, Err(PublishError::OutcomeUnknown(_))));
    }

    #[tokio::test]
    async fn what_waits_when_the_log_is_closed_is_not_accepted() {
        let (job, answer) = job();
        drop(job);
        assert!(matches!(answer.wait().await, Err(PublishError::NotAccepted(_))));
    }
}
