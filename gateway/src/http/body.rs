//! The JSON that publishers send: one event a body, or one a line of a batch.
//!
//! Everything that is wrong with an event is told at once, each with its place. `data` is never
//! taken apart: it goes on as it was spelled, without whitespace between its tokens. A member that
//! is `null` is refused rather than taken for an absent one: a `to_user` that a publisher failed to
//! fill in must not make a private event everybody's.

pub mod delivery;
mod members;
mod suggest;

use bytes::Bytes;

pub use self::delivery::Delivery;
use self::members::{Form, Members, Reader};
use crate::event::{
    Audience, EventId, EventType, IdempotencyKey, MessageId, NewEvent, Room, TraceContext, User,
};
use crate::problem::{Invalid, Problem, ProblemKind};

/// The longest `event_name`, in bytes of UTF-8.
pub const MAX_EVENT_NAME_BYTES: usize = 256;

/// What a publisher says about an event in its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishBody {
    /// A name for humans and handlers.
    pub event_name: Option<Box<str>>,
    /// Who sent it.
    pub from_user: Option<User>,
    /// The only user who gets it.
    pub to_user: Option<User>,
    /// JSON text without whitespace between its tokens; shares the body's memory where it can.
    pub data: Bytes,
    /// The publisher's own headers, in their order.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The last event of its room.
    pub is_final: bool,
}

impl PublishBody {
    /// Reads the body of a publish or broadcast, whose values are nested at most `max_depth` deep.
    ///
    /// # Errors
    /// `bad-request` if it is not JSON, else `invalid-event` with everything that is wrong.
    pub fn parse(body: &Bytes, max_depth: usize) -> Result<Self, Problem> {
        let (members, errors) = Reader::new(body, Form::Publish, max_depth)?.read()?;
        let (body, errors) = Self::of(members, errors);
        finish(body, errors)
    }

    /// The event for `audience`, with a fresh identity or that of its key.
    ///
    /// # Errors
    /// `invalid-event` for a final broadcast: there is no room that it would end.
    pub fn into_event(self, audience: Audience, delivery: Delivery) -> Result<NewEvent, Problem> {
        match refuse_final(&self, &audience) {
            Some(error) => Err(Problem::invalid_event(vec![error])),
            None => Ok(self.into_checked(audience, delivery)),
        }
    }

    /// The body, if it has its `data`, and every error so far.
    fn of(members: Members, mut errors: Vec<Invalid>) -> (Option<Self>, Vec<Invalid>) {
        let Some(data) = members.data else {
            // An error of its own says what is wrong with one that is there: none can be.
            errors.push(Invalid { pointer: "/data".to_owned(), detail: REQUIRED.into() });
            return (None, errors);
        };
        let body = Self {
            event_name: members.event_name,
            from_user: members.from_user,
            to_user: members.to_user,
            data,
            headers: members.headers,
            is_final: members.is_final,
        };
        (Some(body), errors)
    }

    fn into_checked(self, audience: Audience, delivery: Delivery) -> NewEvent {
        let message_id = match &delivery.idempotency_key {
            Some(key) => MessageId::from_key(&audience, key),
            None => MessageId::fresh(),
        };
        NewEvent {
            audience,
            message_id,
            event_name: self.event_name,
            from_user: self.from_user,
            to_user: self.to_user,
            data: self.data,
            headers: self.headers,
            is_final: self.is_final,
            idempotency_key: delivery.idempotency_key,
            deliver_within_ms: delivery.deliver_within_ms,
            replay_of: None,
            trace: delivery.trace,
        }
    }
}

/// A line of a batch: a body that says for whom it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchLine {
    /// Whom the event reaches.
    pub audience: Audience,
    /// The event.
    pub body: PublishBody,
    /// The publisher's key for it.
    pub idempotency_key: Option<IdempotencyKey>,
    /// How long it may go unwritten, in milliseconds.
    pub deliver_within_ms: Option<u64>,
}

impl BatchLine {
    /// Reads a line, without its end, whose values are nested at most `max_depth` deep.
    ///
    /// # Errors
    /// As [`PublishBody::parse`].
    pub fn parse(line: &Bytes, max_depth: usize) -> Result<Self, Problem> {
        let (mut members, mut errors) = Reader::new(line, Form::BatchLine, max_depth)?.read()?;
        let id = members.event_id.take();
        let kind = members.event_type.take();
        let idempotency_key = members.idempotency_key.take();
        let deliver_within_ms = members.deliver_within_ms.take();
        let audience = audience(id.as_deref(), kind.as_deref(), &mut errors);
        let (body, mut errors) = PublishBody::of(members, errors);
        if let (Some(body), Some(audience)) = (&body, &audience) {
            errors.extend(refuse_final(body, audience));
        }
        let line = body.zip(audience).map(|(body, audience)| Self {
            audience,
            body,
            idempotency_key,
            deliver_within_ms,
        });
        finish(line, errors)
    }

    /// The event, in the batch's trace.
    #[must_use]
    pub fn into_event(self, trace: TraceContext) -> NewEvent {
        let (idempotency_key, deliver_within_ms) = (self.idempotency_key, self.deliver_within_ms);
        self.body
            .into_checked(self.audience, Delivery { idempotency_key, deliver_within_ms, trace })
    }
}

const REQUIRED: &str = "is required";

/// Whom a line is for. A name that was there but was no text has its error already.
fn audience(id: Option<&str>, kind: Option<&str>, errors: &mut Vec<Invalid>) -> Option<Audience> {
    let mut fail = |name: &str, detail: String| {
        let pointer = format!("/{name}");
        if !errors.iter().any(|e| e.pointer == pointer) {
            errors.push(Invalid { pointer, detail: detail.into() });
        }
    };
    let kind = match kind.map(EventType::new) {
        Some(Ok(kind)) => Some(kind),
        Some(Err(error)) => {
            fail("event_type", error.to_string());
            None
        }
        None => {
            fail("event_type", REQUIRED.to_owned());
            None
        }
    };
    match id {
        Some("*") => kind.map(Audience::Broadcast),
        Some(id) => match EventId::new(id) {
            Ok(id) => kind.map(|kind| Audience::Room(Room { id, kind })),
            Err(error) => {
                fail("event_id", error.to_string());
                None
            }
        },
        None => {
            fail("event_id", REQUIRED.to_owned());
            None
        }
    }
}

fn refuse_final(body: &PublishBody, audience: &Audience) -> Option<Invalid> {
    let is_final_broadcast = body.is_final && matches!(audience, Audience::Broadcast(_));
    is_final_broadcast.then(|| Invalid {
        pointer: "/final".to_owned(),
        detail: "a broadcast ends no room; leave final out".into(),
    })
}

fn finish<T>(value: Option<T>, errors: Vec<Invalid>) -> Result<T, Problem> {
    match value {
        Some(value) if errors.is_empty() => Ok(value),
        _ => Err(Problem::invalid_event(errors)),
    }
}

/// A body without a byte in it: not even wrong.
fn refuse_empty(body: &[u8]) -> Result<(), Problem> {
    if body.is_empty() {
        let detail = "the body is empty; it must be a JSON object with at least data";
        return Err(Problem::new(ProblemKind::BadRequest, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
