//! When rounds begin; and that all readers of a large room are woken in them, never so late that they
//! fall off.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::event::Pattern;
use crate::hub::tests::{Pod, Publish, TestLog, bounds};
use crate::hub::{Bounds, Start, Subscription};

const MANY: usize = 1_000;

#[tokio::test(start_paused = true)]
async fn a_lone_event_leaves_at_once_and_those_that_follow_it_leave_together() {
    let began = Instant::now();
    let at = |us| began + Duration::from_micros(us);
    let mut rounds = Rounds::default();
    assert_eq!(rounds.next(MANY, at(0)), Next::Wake);
    assert_eq!(rounds.next(MANY, at(0)), Next::Wake, "the same round");
    assert_eq!(rounds.next(MANY, at(4_999)), Next::Later(at(5_000)));
    assert_eq!(rounds.next(MANY, at(4_999)), Next::Due);
    rounds.begin(at(5_700));
    assert_eq!(rounds.next(MANY, at(5_800)), Next::Later(at(10_700)));
    rounds.begin(at(10_700));
    assert_eq!(rounds.next(MANY, at(15_700)), Next::Wake, "a round later");
    assert_eq!(rounds.next(1_000_000, at(25_699)), Next::Later(at(25_700)), "10 ms at most");
}

#[tokio::test(start_paused = true)]
async fn what_fills_a_write_or_much_of_a_ring_does_not_wait() {
    for (most, event) in [(1 << 20, FULL / 2), (40_000, 5_000)] {
        let now = Instant::now();
        let soon = now + Duration::from_millis(1);
        let mut rounds = Rounds::default();
        let mut push = |at| {
            rounds.gather(event, most);
            rounds.next(MANY, at)
        };
        assert_eq!(push(now), Next::Wake);
        assert_eq!(push(soon), Next::Later(now + Duration::from_millis(5)));
        assert_eq!(push(soon), Next::Wake, "{most}");
        assert_eq!(push(soon), Next::Due, "what follows has the round that is due");
        rounds.begin(now + Duration::from_millis(5));
        rounds.gather(event, most);
        assert_eq!(rounds.next(MANY, now + Duration::from_millis(11)), Next::Wake);
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_small_room_nobody_waits() {
    let now = Instant::now();
    let mut rounds = Rounds::default();
    for _ in 0..3 {
        assert_eq!(rounds.next(199, now), Next::Wake);
    }
}

const READERS: usize = 400;

/// Counts how many were woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A room with many readers who have read everything.
struct Crowd {
    pod: Pod,
    log: TestLog,
    readers: Vec<Subscription>,
    woken: Arc<Woken>,
}

impl Crowd {
    fn new(bounds: Bounds) -> Self {
        let pod = Pod::with(bounds);
        let patterns = [Pattern::new("a", "s").expect("pattern")];
        let open = |_| pod.open(&patterns, None, &Start::Live).subscription;
        let readers = (0..READERS).map(open).collect();
        Self { pod, log: TestLog::default(), readers, woken: Arc::default() }
    }

    /// All read to the end and wait; returns how many events each was given.
    fn read(&mut self) -> usize {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut cx = Context::from_waker(&waker);
        let mut took = Vec::new();
        for reader in &mut self.readers {
            let mut out = Vec::new();
            while let Poll::Ready(next) = reader.poll_next(&mut cx, usize::MAX, &mut out) {
                next.expect("nobody lags");
                took.push(out.drain(..).count());
            }
        }
        assert_eq!(took.len() % READERS, 0, "all alike");
        took.iter().sum::<usize>() / READERS
    }

    /// Publishes an event of so many bytes; returns how many were woken by it.
    fn publish(&mut self, bytes: usize) -> usize {
        self.log.publish_sized(&Publish::Room { id: 0, kind: 0, to: None }, bytes);
        self.pod.consume_all(&self.log);
        self.woken()
    }

    /// How many were woken since somebody asked.
    fn woken(&self) -> usize {
        self.woken.0.swap(0, Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_large_room_is_written_to_is_read_together() {
    let mut crowd = Crowd::new(bounds());
    assert_eq!(crowd.read(), 0);
    assert_eq!(crowd.publish(10), READERS, "a lone event leaves at once");
    assert_eq!(crowd.read(), 1);
    tokio::time::advance(Duration::from_micros(100)).await;
    for _ in 0..5 {
        assert_eq!(crowd.publish(10), 0);
    }
    let due = crowd.pod.hub.wake_gathered().expect("a round is due");
    assert_eq!(crowd.woken(), 0, "not yet");
    tokio::time::sleep_until(due).await;
    assert_eq!(crowd.pod.hub.wake_gathered(), None);
    assert_eq!(crowd.woken(), READERS);
    assert_eq!(crowd.read(), 5);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(crowd.publish(10), READERS, "a lone one again");
}

#[tokio::test(start_paused = true)]
async fn nobody_falls_off_a_ring_for_waiting_for_a_round() {
    let mut crowd = Crowd::new(Bounds { queue_bytes: 10_000, ..bounds() });
    assert_eq!(crowd.read(), 0);
    let mut read = 0;
    for _ in 0..100 {
        if crowd.publish(1_000) > 0 {
            read += crowd.read();
        }
        tokio::time::advance(Duration::from_micros(10)).await;
    }
    assert!(read >= 97, "{read} of 100, and the rest waits for its round");
}
