//! The series that are fixed atomics of our own, and their part of the page.

use super::atomics::{AGES_US, Histogram, Number, Page, WAITS_US};
use super::labels::{EndedBy, SentKind};
use crate::problem::ProblemKind;
use crate::wire::content::Coding;

/// What became of publish requests: `ok`, and the kinds of problem in their order.
pub(super) static PUBLISHED: [Number; ProblemKind::ALL.len() + 1] =
    [const { Number::new() }; ProblemKind::ALL.len() + 1];
pub(super) static PUBLISH_SECONDS: Histogram<16> = Histogram::new(&WAITS_US);
pub(super) static PUBLISH_BYTES: Number = Number::new();
pub(super) static CONSUMED: [(&str, Number); 3] =
    [("memory", Number::new()), ("kafka", Number::new()), ("redis", Number::new())];
pub(super) static MATCHED: Number = Number::new();
pub(super) static SENT: [Number; SentKind::ALL.len()] =
    [const { Number::new() }; SentKind::ALL.len()];
pub(super) static SENT_BYTES: [Number; Coding::ALL.len()] =
    [const { Number::new() }; Coding::ALL.len()];
pub(super) static SEND_LATENCY: Histogram<16> = Histogram::new(&WAITS_US);
pub(super) static FANOUT: Histogram<16> = Histogram::new(&WAITS_US);
pub(super) static WINDOW_BYTES: Number = Number::new();
pub(super) static STREAM_AGE: [Histogram<41>; EndedBy::ALL.len()] =
    [const { Histogram::new(&AGES_US) }; EndedBy::ALL.len()];

/// Appends them.
pub(super) fn render(page: &mut Page<'_>) {
    let outcomes = std::iter::once("ok").chain(ProblemKind::ALL.iter().map(|kind| kind.as_str()));
    page.counters(
        "tidegate_publish_requests_total",
        "outcome",
        "Events that were to be published, one a request or line of a batch, by outcome",
        outcomes.zip(&PUBLISHED),
    );
    page.histogram(
        "tidegate_publish_seconds",
        "Time from the head of a publish request, or a line of a batch, to its answer",
        &PUBLISH_SECONDS,
    );
    page.counter("tidegate_publish_bytes_total", "Bytes of publish bodies", &PUBLISH_BYTES);
    page.counters(
        "tidegate_consumed_records_total",
        "log",
        "Records that the pod read from its log",
        CONSUMED.iter().map(|(log, number)| (*log, number)),
    );
    page.counter(
        "tidegate_matched_records_total",
        "Records that at least one stream of the pod wanted",
        &MATCHED,
    );
    page.counters(
        "tidegate_sent_events_total",
        "kind",
        "Blocks handed to sockets, by kind",
        SentKind::ALL.iter().map(|kind| kind.as_str()).zip(&SENT),
    );
    page.counters(
        "tidegate_sent_bytes_total",
        "coding",
        "Bytes of events handed to sockets, by content coding",
        Coding::ALL.iter().map(|coding| coding.as_str()).zip(&SENT_BYTES),
    );
    page.histogram(
        "tidegate_send_latency_seconds",
        "Time from an event's timestamp in the log until it was handed to a socket; of events from \
         after the stream was opened only",
        &SEND_LATENCY,
    );
    page.histogram(
        "tidegate_fanout_seconds",
        "Time from reading a batch from the log until its readers were woken, or written to where they \
         are few",
        &FANOUT,
    );
    page.gauge(
        "tidegate_window_bytes",
        "What the recent window takes up, frames included",
        &WINDOW_BYTES,
    );
    page.histograms(
        "tidegate_stream_age_seconds",
        "ended_by",
        "How old streams were when they ended, by who ended them",
        EndedBy::ALL.iter().map(|by| by.as_str()).zip(&STREAM_AGE),
    );
}
