//! Traces: spans of publishes, of records that were consumed, and of their fan-out on this pod, sent to
//! an OTLP collector.
//!
//! The W3C context goes from the publish request through the record's headers to the fan-out. A span
//! is never made for a delivery, nor for a stream: a room of ten thousand readers is one span with
//! their number. Without `otel.endpoint` nothing is made at all, and a publish request's context goes
//! into its record as it came.
//!
//! Spans are made with OpenTelemetry's own interface and not as `tracing` spans: those of several
//! records of a batch overlap, they begin before it is known whether there will be one, and a filter
//! of log lines has no say in them.

mod export;

use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span};

use crate::cursor::{Offset, Shard};
use crate::event::{TraceContext, trace};
use crate::problem::ProblemKind;

pub use export::{Exporting, start};

/// What makes spans in this process, if it makes any.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Whether spans are made.
#[must_use]
pub fn are_on() -> bool {
    TRACER.get().is_some()
}

/// The publishing of an event, from its request or line until the publisher is told.
#[derive(Debug, Default)]
pub struct Publishing(Option<Box<Span>>);

impl Publishing {
    /// Begins; `trace` is the request's own context, asked for only if spans are made.
    pub fn begin(trace: impl FnOnce() -> TraceContext) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let parent = context_of(&trace()).map_or_else(Context::new, with_remote);
        let builder = tracer.span_builder("publish").with_kind(SpanKind::Producer);
        Self(Some(Box::new(tracer.build_with_context(builder, &parent))))
    }

    /// What the record carries: this span's context, or the request's own as it is.
    pub fn carry(&self, trace: &mut TraceContext) {
        let Some(span) = &self.0 else { return };
        let own = span.span_context();
        let (id, span_id, flags) = (own.trace_id(), own.span_id(), own.trace_flags().to_u8());
        trace.parent = Some(format!("00-{id}-{span_id}-{flags:02x}").into());
        let state = own.trace_state().header();
        trace.state = (!state.is_empty()).then(|| state.into());
    }

    /// Takes note of where the log has the event.
    pub fn at(&mut self, shard: Shard, offset: Offset) {
        if let Some(span) = &mut self.0 {
            span.set_attributes(place(shard, offset));
        }
    }

    /// Ends it.
    pub fn end(mut self, outcome: Result<(), ProblemKind>) {
        let Some(mut span) = self.0.take() else { return };
        if let Err(kind) = outcome {
            span.set_attribute(KeyValue::new("error.type", kind.as_str()));
            span.set_status(Status::error(kind.as_str()));
        }
        span.end();
    }
}

/// A record that carries a sampled context, on its way to this pod's readers.
#[derive(Debug)]
pub struct Consuming {
    origin: SpanContext,
    shard: Shard,
    offset: Offset,
    began: SystemTime,
}

/// Whom it reached on this pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Rooms that have readers here.
    pub rooms: usize,
    /// Those readers.
    pub readers: usize,
}

impl Consuming {
    /// Begins, if `record` has the context of a trace that is sampled.
    #[must_use]
    pub fn begin(context: &TraceContext, shard: Shard, offset: Offset) -> Option<Self> {
        TRACER.get()?;
        let origin = context_of(context).filter(SpanContext::is_sampled)?;
        Some(Self { origin, shard, offset, began: SystemTime::now() })
    }

    /// Where the record lies.
    #[must_use]
    pub fn place(&self) -> (Shard, Offset) {
        (self.shard, self.offset)
    }

    /// Ends it: a span for the record, and in it one for the fan-out, which began at `routed`.
    pub fn end(self, source: &str, routed: SystemTime, reach: Reach) {
        let Some(tracer) = TRACER.get() else { return };
        let mut attributes = place(self.shard, self.offset);
        attributes.push(KeyValue::new("messaging.destination.name", source.to_owned()));
        let consumed = tracer
            .span_builder("consume")
            .with_kind(SpanKind::Consumer)
            .with_start_time(self.began)
            .with_links(vec![Link::with_context(self.origin.clone())])
            .with_attributes(attributes);
        let consumed = tracer.build_with_context(consumed, &with_remote(self.origin));
        let consumed = Context::new().with_span(consumed);
        let mut fan_out = tracer
            .span_builder("fan-out")
            .with_start_time(routed)
            .with_attributes([
                KeyValue::new("tidegate.rooms", count(reach.rooms)),
                KeyValue::new("tidegate.readers", count(reach.readers)),
            ])
            .start_with_context(tracer, &consumed);
        fan_out.end();
        consumed.span().end();
    }
}

/// Where a record lies, as OpenTelemetry's conventions for messaging call it.
fn place(shard: Shard, offset: Offset) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.destination.partition.id", shard.index.to_string()),
        // As text: Redis has larger ones than a number holds.
        KeyValue::new("tidegate.offset", offset.0.to_string()),
    ]
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

fn with_remote(origin: SpanContext) -> Context {
    Context::new().with_remote_span_context(origin)
}

/// A context as OpenTelemetry has it; `None` if it is none. Read again: a record may come from others.
fn context_of(context: &TraceContext) -> Option<SpanContext> {
    let parent = trace::parse_parent(context.parent.as_deref()?)?;
    let mut parts = parent.split('-').skip(1);
    let id = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    let state = context.state.as_deref().and_then(|state| state.parse::<TraceState>().ok());
    let state = state.unwrap_or_default();
    Some(SpanContext::new(id, span, TraceFlags::new(flags), true, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::SourceId;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_is_read_with_its_flags_and_its_state() {
        let of = |parent: &str, state: Option<&str>| {
            context_of(&TraceContext { parent: Some(parent.into()), state: state.map(Into::into) })
        };
        let read = of(PARENT, Some("a=1")).expect("a context");
        assert_eq!(read.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(read.span_id().to_string(), "b7ad6b7169203331");
        assert!(read.is_sampled() && read.is_remote());
        assert_eq!(read.trace_state().header(), "a=1");
        let unsampled = of(&PARENT.replace("-01", "-00"), None).expect("a context");
        assert!(!unsampled.is_sampled());
        // A record's header may be anything.
        assert!(of("nonsense", None).is_none());
        assert!(of(PARENT, Some("===")).is_some(), "a state that is none is left out");
        assert!(context_of(&TraceContext::default()).is_none());
    }

    #[test]
    fn where_spans_are_off_a_context_goes_on_as_it_came() {
        assert!(!are_on());
        let publishing = Publishing::begin(|| unreachable!("nobody asks for it"));
        let own = TraceContext { parent: Some(PARENT.into()), state: Some("a=1".into()) };
        let mut carried = own.clone();
        publishing.carry(&mut carried);
        assert_eq!(carried, own);
        publishing.end(Ok(()));
        assert!(
            Consuming::begin(&own, Shard { source: SourceId(0), index: 0 }, Offset(0)).is_none()
        );
    }
}
