use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Wake};

use proptest::prelude::*;

use super::*;

/// Waits until an alarm for `at` rings, and says when that was.
async fn rung(alarm: &mut Alarm, at: Instant) -> Instant {
    std::future::poll_fn(|cx| {
        let now = Instant::now();
        if at <= now {
            return Poll::Ready(now);
        }
        let _ = alarm.set(at, cx);
        Poll::Pending
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn an_alarm_rings_in_its_tick_and_not_before() {
    let wheel = Wheel::new();
    let running = tokio::spawn(Arc::clone(&wheel).run());
    let began = Instant::now();
    let waiting = [0, 1, 49, 50, 51, 99, 12_345, 25_600, 25_650, 80_001, 3_600_000].map(|ms| {
        let mut alarm = Alarm::new(Arc::clone(&wheel));
        tokio::spawn(async move {
            let at = began + Duration::from_millis(ms);
            let late = rung(&mut alarm, at).await - at;
            assert!(late <= TICK, "{ms} ms: {late:?}");
        })
    });
    for alarm in waiting {
        alarm.await.expect("in time");
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_was_moved_rings_once_and_at_its_new_time() {
    let wheel = Wheel::new();
    let running = tokio::spawn(Arc::clone(&wheel).run());
    let began = Instant::now();
    let mut alarm = Alarm::new(Arc::clone(&wheel));
    let (soon, later) = (began + Duration::from_secs(1), began + Duration::from_secs(2));
    let mut polls = 0;
    std::future::poll_fn(|cx| {
        polls += 1;
        if Instant::now() >= later {
            return Poll::Ready(());
        }
        assert!(alarm.set(soon, cx));
        assert!(alarm.set(later, cx));
        assert!(!alarm.set(later, cx), "it is set");
        Poll::Pending
    })
    .await;
    assert_eq!(polls, 2);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_alarm_for_a_time_that_is_over_rings_at_the_next_tick_each_time_it_is_set() {
    let wheel = Wheel::new();
    let running = tokio::spawn(Arc::clone(&wheel).run());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let over = Instant::now() - Duration::from_millis(500);
    let mut alarm = Alarm::new(Arc::clone(&wheel));
    let mut polls = 0;
    std::future::poll_fn(|cx| {
        polls += 1;
        assert!(alarm.set(over, cx), "it has to ring again");
        assert!(!alarm.set(over, cx), "and once");
        if polls == 4 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert!(over.elapsed() <= Duration::from_millis(500) + TICK * 4);
    running.abort();
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn all_are_woken_at_once_and_their_alarms_stay() {
    let wheel = Wheel::new();
    let running = tokio::spawn(Arc::clone(&wheel).run());
    let count: Arc<Count> = Arc::default();
    let mut alarm = Alarm::new(Arc::clone(&wheel));
    let waker = Waker::from(Arc::clone(&count));
    assert!(alarm.set(Instant::now() + Duration::from_secs(60), &Context::from_waker(&waker)));
    wheel.wake_all();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(count.0.load(Ordering::Relaxed), 2);
    running.abort();
}

proptest! {
    #[test]
    fn whatever_is_set_moved_and_dropped_each_alarm_rings_when_it_is_due(
        steps in prop::collection::vec((0_usize..6, 0_u64..120_000, prop::bool::weighted(0.1)), 1..200),
        pauses in prop::collection::vec(0_u64..40_000, 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let wheel = Wheel::new();
            let mut alarms: Vec<Option<(Alarm, Arc<Count>, Instant)>> = Vec::new();
            alarms.resize_with(6, || None);
            let mut pauses = pauses.iter().cycle();
            for chunk in steps.chunks(5) {
                for (which, after, drops) in chunk {
                    if *drops {
                        alarms[*which] = None;
                        continue;
                    }
                    let at = Instant::now() + Duration::from_millis(*after + 1);
                    let (alarm, ..) = alarms[*which].take().unwrap_or_else(|| {
                        (Alarm::new(Arc::clone(&wheel)), Arc::default(), at)
                    });
                    let count: Arc<Count> = Arc::default();
                    let mut set = (alarm, Arc::clone(&count), at);
                    assert!(set.0.set(at, &Context::from_waker(&Waker::from(count))));
                    alarms[*which] = Some(set);
                }
                let pause = pauses.next().copied().unwrap_or_default();
                tokio::time::advance(Duration::from_millis(pause)).await;
                let now = Instant::now();
                let mut due = Vec::new();
                let tick = wheel.tick_before(now);
                let next = wheel.ring(tick, &mut due);
                due.into_iter().for_each(Waker::wake);
                for (_, count, at) in alarms.iter().flatten() {
                    let times = count.0.load(Ordering::Relaxed);
                    if now < *at {
                        assert_eq!(times, 0, "too early");
                        assert!(next.is_some(), "somebody waits");
                    } else if now > *at + TICK {
                        assert_eq!(times, 1, "once, in time");
                    }
                }
            }
            let entries = wheel.state.lock().entries.len();
            assert!(entries <= 6, "entries are used again: {entries}");
        });
    }
}
