use super::*;
use crate::config::Config;
use crate::cursor::{Offset, Shard, SourceId};
use crate::log::letter::{Desk, Filter, Outbox, Which, outbox};
use crate::log::memory::DEAD_LETTERS;
use crate::log::nobody::Nobody;
use crate::log::record::{Parts, Record, RecordWriter};
use crate::telemetry::metrics::DeadLetter;

fn record(offset: u128, value: &[u8]) -> Record {
    let parts = Parts {
        shard: Shard { source: SourceId::of("tidegate.events"), index: 0 },
        offset: Offset(offset),
        timestamp: 1,
        tag: None,
        key: None,
        value: Some(value),
    };
    RecordWriter::default().write(parts, std::iter::empty())
}

fn post(outbox: &Outbox, source: &str, offset: u128) {
    outbox.post(source, &record(offset, b"1"), DeadLetter::Malformed, "why");
}

/// Delivers everything and returns the places of what the log has then.
async fn delivered(mailman: Mailman) -> Vec<String> {
    let config = Config::default();
    let log = Arc::new(Log::open(&config, Nobody).expect("a log"));
    let stop = CancellationToken::new();
    stop.cancel();
    mailman.run(Arc::clone(&log), stop).await;
    let filter = Filter { which: Which::All(None), after: None, limit: usize::MAX };
    let page = Desk::new(log, &config).page(&filter).await.expect("a page");
    page.letters.iter().map(|shelved| shelved.letter.place.to_string()).collect()
}

#[tokio::test]
async fn what_is_in_the_outbox_when_the_pod_stops_is_delivered_each_once() {
    let (outbox, mailman) = outbox(&Config::default());
    for offset in [1, 2, 1, 3, 2] {
        post(&outbox, "tidegate.events", offset);
    }
    let places = [1, 2, 3].map(|offset| format!("tidegate.events/0/{offset}"));
    assert_eq!(delivered(mailman).await, places);
}

#[tokio::test]
async fn a_dead_letter_gets_no_letter() {
    let (outbox, mailman) = outbox(&Config::default());
    post(&outbox, DEAD_LETTERS, 1);
    assert!(delivered(mailman).await.is_empty());
}

#[tokio::test]
async fn a_full_outbox_loses_letters_and_holds_nobody_up() {
    let (outbox, mailman) = outbox(&Config::default());
    for offset in 0..5000 {
        post(&outbox, "tidegate.events", offset);
    }
    let kept = delivered(mailman).await.len();
    assert_eq!(kept, 4096);
}

#[tokio::test]
async fn a_record_that_is_larger_than_an_event_is_kept_without_its_value() {
    let mut config = Config::default();
    config.limits.body_bytes = 3;
    let (outbox, mut mailman) = outbox(&config);
    outbox.post("tidegate.events", &record(1, b"4444"), DeadLetter::TooLarge, "why");
    let queued = mailman.letters.recv().await.expect("a letter");
    assert_eq!((queued.letter.record.value, queued.letter.record.left_out), (None, 4));
}
