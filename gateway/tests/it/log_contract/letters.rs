//! What every log promises about dead letters.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tidegate::clock::now_ms;
use tidegate::config::Config;
use tidegate::log::letter::{
    Desk, Filter, Lasting, Letter, Original, Outcome, Page, Place, Purge, Reason, Which,
};
use tidegate::log::{Kept, Log};
use tidegate::telemetry::metrics::DeadLetter;
use tokio::time::Instant;

use super::*;
use crate::support::config;
use crate::support::recording::Recording;

/// A log, and what an operator does with its letters.
struct Pod {
    log: Arc<Log>,
    desk: Desk,
    seen: Recording,
    events: &'static str,
}

impl Pod {
    async fn open(config: Config, events: &'static str) -> Self {
        let seen = Recording::default();
        let log = Arc::new(Log::open(&config, seen.clone()).expect("a log"));
        let desk = Desk::new(Arc::clone(&log), &config);
        let pod = Self { log, desk, seen, events };
        eventually("caught up", http::PATIENCE, async || {
            pod.seen.told(|told| told.caught_up.is_some())
        })
        .await;
        pod
    }

    fn letter(&self, n: u32, reason: DeadLetter, value: &'static [u8]) -> Letter {
        let bytes = Bytes::from_static;
        Letter {
            place: Place::new(self.events, 0, &n.to_string()),
            reason: reason.into(),
            detail: "why".into(),
            pod: "pod-1".into(),
            at: 7,
            record: Original {
                key: Some(bytes(b"room")),
                fields: vec![
                    (bytes(b"event_type"), bytes(b"t")),
                    (bytes(b"reason"), bytes(b"its own")),
                    (bytes(b"\xff"), bytes(b"\0\xfe")),
                ],
                value: Some(bytes(value)),
                timestamp: now_ms(),
                left_out: 0,
            },
        }
    }

    async fn keep(&self, letters: &[Letter]) -> Vec<Kept> {
        let kept = self.log.dead_letters(letters, Instant::now() + http::PATIENCE).await;
        kept.into_iter().map(|kept| kept.expect("kept")).collect()
    }

    async fn page(&self, reason: Option<&str>) -> Page {
        let reason = reason.map(|reason| Reason::parse(reason).expect("a reason"));
        self.desk.page(&all(reason, 100)).await.expect("a page")
    }

    async fn replay(&self, filter: &Filter, again: bool) -> Vec<Outcome> {
        let (done, next) = self.desk.replay(filter, again).await.expect("done");
        assert_eq!(next, None);
        done.into_iter().map(|one| one.outcome).collect()
    }

    async fn has_events(&self, values: &[&str]) {
        eventually("the events are there", http::PATIENCE, async || {
            self.seen.told(|told| told.values_of("room") == values)
        })
        .await;
    }
}

fn all(reason: Option<Reason>, limit: usize) -> Filter {
    Filter { which: Which::All(reason), after: None, limit }
}

/// Runs a scenario over every log as a test of its own.
macro_rules! over_every_log {
    ($($name:ident($pod:ident, $shared:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                async fn scenario($pod: Pod, $shared: bool) $body

                #[tokio::test(flavor = "multi_thread")]
                async fn on_memory() {
                    scenario(Pod::open(Config::default(), "tidegate.events").await, false).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn on_kafka() {
                    let name = concat!("dlq-", stringify!($name));
                    let mut config = config::on_kafka(Kafka::shared().await.brokers(), name);
                    config.kafka.dead_letters_topic = concat!("dlq-", stringify!($name)).to_owned();
                    let events = concat!("dlq-", stringify!($name), ".events");
                    scenario(Pod::open(config, events).await, true).await;
                }

                #[tokio::test(flavor = "multi_thread")]
                async fn on_redis() {
                    let name = concat!("dlq-", stringify!($name));
                    let config = config::on_redis(&Redis::shared().await.url(), name);
                    let events = concat!("dlq-", stringify!($name), ":{events}");
                    scenario(Pod::open(config, events).await, true).await;
                }
            }
        )*
    };
}

over_every_log! {
    a_dead_letter_is_kept_with_its_record_and_reason_and_can_be_replayed_once(pod, _shared) {
        let letter = pod.letter(1, DeadLetter::Malformed, b"1");
        assert_eq!(pod.keep(std::slice::from_ref(&letter)).await, [Kept::Written]);
        let page = pod.page(None).await;
        assert_eq!(page.letters.len(), 1);
        assert_eq!(page.letters[0].letter, letter);
        assert!(page.letters[0].replays.is_empty());
        // Many pods trip over the same record, and each again when it starts.
        assert_eq!(pod.keep(std::slice::from_ref(&letter)).await, [Kept::Known]);
        assert_eq!(pod.page(None).await.letters.len(), 1);

        let [Outcome::Replayed(id)] = pod.replay(&all(None, 100), false).await[..] else {
            panic!("replayed")
        };
        pod.has_events(&["1"]).await;
        assert_eq!(pod.seen.told(|told| told.times(&id.to_string())), 1);
        assert_eq!(pod.replay(&all(None, 100), false).await, [Outcome::Already]);
        let page = pod.page(None).await;
        let ids: Vec<_> = page.letters[0].replays.iter().map(|r| r.message_id).collect();
        assert_eq!(ids, [id]);

        let [Outcome::Replayed(again)] = pod.replay(&all(None, 100), true).await[..] else {
            panic!("replayed again")
        };
        assert_ne!(again, id);
        pod.has_events(&["1", "1"]).await;
        assert_eq!(pod.page(None).await.letters[0].replays.len(), 2);
    }

    what_is_still_no_event_is_left_and_the_others_are_replayed(pod, _shared) {
        let good = pod.letter(1, DeadLetter::Undelivered, b"1");
        let letters = [
            pod.letter(0, DeadLetter::Malformed, b"{"),
            good.clone(),
            pod.letter(2, DeadLetter::TooLarge, b"22").fit(1),
            Letter { place: Place::new("gone", 0, "3"), ..good },
        ];
        pod.keep(&letters).await;
        let outcomes = pod.replay(&all(None, 100), false).await;
        assert!(matches!(outcomes[0], Outcome::NoEvent(Lasting::Malformed(_))), "{outcomes:?}");
        assert!(matches!(outcomes[1], Outcome::Replayed(_)), "{outcomes:?}");
        assert!(matches!(outcomes[2], Outcome::NoEvent(Lasting::LeftOut(_))), "{outcomes:?}");
        assert!(matches!(outcomes[3], Outcome::NoEvent(Lasting::NoSource(_))), "{outcomes:?}");
        pod.has_events(&["1"]).await;
        assert_eq!(pod.page(Some("malformed")).await.letters.len(), 1);
        assert_eq!(pod.page(Some("undelivered")).await.letters.len(), 2);
        assert_eq!(pod.page(Some("another")).await.letters.len(), 0);
    }

    letters_are_read_page_by_page_and_by_their_keys(pod, _shared) {
        let letters: Vec<_> = (0..250).map(|n| pod.letter(n, DeadLetter::Malformed, b"{")).collect();
        pod.keep(&letters).await;
        let mut filter = all(None, 100);
        let mut found = Vec::new();
        for expected in [100, 100, 50] {
            let page = pod.desk.page(&filter).await.expect("a page");
            assert_eq!(page.letters.len(), expected);
            filter.after = page.next;
            found.extend(page.letters.into_iter().map(|shelved| shelved.letter.place));
        }
        assert_eq!(filter.after, None, "that was the end");
        let places: Vec<_> = letters.into_iter().map(|letter| letter.place).collect();
        assert_eq!(found.len(), places.len());
        assert_eq!(found.iter().collect::<HashSet<_>>(), places.iter().collect());
        let which = Which::Places(HashSet::from([places[7].clone(), Place::new("gone", 1, "2")]));
        let one = pod.desk.page(&Filter { which, after: None, limit: 9 }).await.expect("a page");
        assert_eq!(one.letters.len(), 1);
        assert_eq!(one.letters[0].letter.place, places[7]);
    }

    what_is_purged_is_gone(pod, shared) {
        let letters = [1, 2].map(|n| pod.letter(n, DeadLetter::Malformed, b"1"));
        pod.keep(&letters).await;
        let which = Which::Places(HashSet::from([letters[0].place.clone()]));
        pod.replay(&Filter { which, after: None, limit: 1 }, false).await;
        assert_eq!(pod.desk.purge(Purge::Before(now_ms() - 3_600_000)).await, Ok(0));
        assert_eq!(pod.page(None).await.letters.len(), 2);
        assert_eq!(pod.desk.purge(Purge::All).await, Ok(3), "two letters and a marker");
        assert_eq!(pod.page(None).await.letters.len(), 0);
        assert_eq!(pod.desk.purge(Purge::All).await, Ok(0));
        let fresh = pod.letter(3, DeadLetter::Malformed, b"1");
        assert_eq!(pod.keep(&[fresh]).await, [Kept::Written]);
        assert_eq!(pod.page(None).await.letters.len(), 1);
        // Not written again by a pod that looks at the same record once more.
        let kept = if shared { Kept::Known } else { Kept::Written };
        assert_eq!(pod.keep(&letters[..1]).await, [kept]);
    }
}
