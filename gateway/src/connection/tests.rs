//! A stream's ends and its silence, in paused time and without a socket.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::wheel::Wheel;
use super::*;
use crate::auth::Grant;
use crate::config::Config;
use crate::cursor::{Offset, Position};
use crate::event::Pattern;
use crate::hub::facts::Facts;
use crate::hub::{Bounds, Hub, Item, Spelling, Start, Subscribed};
use crate::log::letter::outbox;
use crate::log::{Role, Source};
use crate::wire::Variant;
use crate::wire::chunk::Framing;

/// A pod without anything but its shutdown and its clock.
struct Pod {
    wheel: Arc<Wheel>,
    phase: Mutex<Phase>,
    /// The drain begins, and everybody is told, just when a stream has looked and found nothing.
    drains_at_a_look: AtomicBool,
    keys: watch::Sender<u64>,
    hub: Arc<Hub>,
}

impl Pod {
    fn new() -> Arc<Self> {
        let (letters, _) = outbox(&Config::default());
        let bounds = Bounds {
            window_bytes: 1 << 20,
            window_age: Duration::from_secs(600),
            queue_bytes: 1 << 20,
            value_bytes: 1 << 20,
            lanes: 0,
            spelling: Spelling { json_depth: 16, lz4_min_bytes: 1024 },
        };
        let hub = Hub::new(bounds, letters);
        let events = Source::new("events", Role::Events, 1);
        hub.set_sources(std::slice::from_ref(&events));
        for shard in events.all_shards() {
            hub.start(shard, Position::default(), Offset(0));
        }
        let wheel = Wheel::new();
        tokio::spawn(Arc::clone(&wheel).run());
        Arc::new(Self {
            wheel,
            phase: Mutex::new(Phase::Running),
            drains_at_a_look: AtomicBool::new(false),
            keys: watch::Sender::new(0),
            hub,
        })
    }

    fn stream(self: &Arc<Self>, heartbeat: Duration) -> Connection<Self> {
        let rooms = vec![Pattern::new("a", "s").expect("a pattern")];
        let opened = match self.hub.subscribe(&rooms, None, &Start::Live, &Facts::default()) {
            Ok(Subscribed::Opened(opened)) => *opened,
            other => panic!("{other:?}"),
        };
        let terms = Terms {
            variant: Variant::default(),
            framing: Framing::ByLibrary,
            heartbeat_form: HeartbeatForm::Comment,
            heartbeat,
            retry: Duration::from_secs(3),
            grant: Grant::default(),
            ages_at: None,
            completes: false,
            drain_window: Duration::ZERO,
            rooms,
            stalled: Stalled::default(),
        };
        let feed = Feed::live(opened.subscription);
        Connection::new(feed, [], terms, Arc::clone(self), Protocol::Http11, Box::new(()))
    }

    fn drain(&self) {
        *self.phase.lock() = Phase::Closing;
        self.wheel.wake_all();
    }
}

impl Ends for Pod {
    fn wheel(&self) -> &Arc<Wheel> {
        &self.wheel
    }

    fn phase(&self) -> Phase {
        let phase = *self.phase.lock();
        if self.drains_at_a_look.swap(false, Ordering::Relaxed) {
            self.drain();
        }
        phase
    }

    fn key_changes(&self) -> watch::Receiver<u64> {
        self.keys.subscribe()
    }

    fn written(&self, _: &Item, _: i64) {}

    fn grant(&self, _: &Grant) -> (GrantState, Option<Instant>) {
        (GrantState::Good { until: None }, None)
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

async fn next(stream: &mut Connection<Pod>) -> Option<Bytes> {
    let frame = stream.frame().await?;
    frame.expect("it never fails").into_data().ok()
}

#[tokio::test(start_paused = true)]
async fn silence_is_never_longer_than_promised_nor_much_shorter() {
    let pod = Pod::new();
    let promised = Duration::from_secs(15);
    let mut stream = pod.stream(promised);
    let mut before = Instant::now();
    for _ in 0..50 {
        assert_eq!(next(&mut stream).await, Some(wire::heartbeat_comment()));
        let silence = before.elapsed();
        assert!(silence <= promised && silence >= promised * 3 / 4, "{silence:?}");
        before = Instant::now();
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_begins_while_a_stream_is_looking_is_not_missed() {
    let pod = Pod::new();
    let mut stream = pod.stream(HOUR);
    pod.drains_at_a_look.store(true, Ordering::Relaxed);
    let goodbye = timeout(Duration::from_secs(1), next(&mut stream)).await.expect("soon");
    assert!(goodbye.is_some_and(|said| said.ends_with(b"data: {\"reason\":\"drain\"}\n\n")));
    assert_eq!(next(&mut stream).await, None);
}

/// How long `stream` waits for a client that takes nothing.
async fn waits(stream: &mut Connection<Pod>, limit: Duration) -> Duration {
    let began = Instant::now();
    poll_fn(|cx| stream.poll_blocked(cx, began + limit)).await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_has_its_time_and_a_drain_shortens_it() {
    let limit = Duration::from_secs(30);
    let pod = Pod::new();
    let waited = waits(&mut pod.stream(HOUR), limit).await;
    assert!(waited >= limit && waited <= limit + wheel::TICK, "{waited:?}");

    let mut stream = pod.stream(HOUR);
    pod.drains_at_a_look.store(true, Ordering::Relaxed);
    let waited = waits(&mut stream, limit).await;
    assert!(waited >= LAST_WORDS && waited <= LAST_WORDS + wheel::TICK, "{waited:?}");
    // The goodbye stands behind what was pending, once.
    assert_eq!(stream.pending.len(), 1);
}
