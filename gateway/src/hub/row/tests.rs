//! A parked reader gets what one gets who is never parked: the same bytes, whatever its socket takes
//! and whenever its task has its turn.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Wake};

use proptest::prelude::*;

use super::*;
use crate::event::{Pattern, User};
use crate::hub::tests::{Pod, Publish, TestLog, bounds};
use crate::hub::{Bounds, Start, Subscription};
use crate::outlet::Made;
use crate::wire::chunk::Framing;

/// A socket that takes what it is told to.
#[derive(Debug, Default)]
struct Socket {
    got: Mutex<Vec<u8>>,
    /// How many bytes it takes at each of the next writes, the last first; then everything.
    appetite: Mutex<Vec<usize>>,
}

impl Made for Socket {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let takes = self.appetite.lock().pop().unwrap_or(usize::MAX).min(bytes.len());
        if takes == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.got.lock().extend_from_slice(&bytes[..takes]);
        Ok(takes)
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A stream as its task has it.
struct Reader {
    subscription: Subscription,
    socket: Arc<Socket>,
    pending: VecDeque<Bytes>,
    woken: Arc<Flag>,
    parks: bool,
    variant: Variant,
    encoder: Encoder,
    until: Option<Instant>,
    /// How often it was taken back with something written to it.
    written_to: usize,
}

impl Reader {
    fn new(pod: &Pod, parks: bool) -> Self {
        Self::coded(pod, parks, Coding::Identity)
    }

    fn coded(pod: &Pod, parks: bool, coding: Coding) -> Self {
        let patterns = [Pattern::new("a", "s").expect("a pattern")];
        let me = User::new("me").expect("a user");
        Self {
            subscription: pod.open(&patterns, Some(&me), &Start::Live).subscription,
            socket: Arc::default(),
            pending: VecDeque::new(),
            woken: Arc::new(Flag(AtomicBool::new(true))),
            parks,
            variant: Variant { coding, ..Variant::default() },
            encoder: Encoder::new(coding, Framing::Chunks),
            until: None,
            written_to: 0,
        }
    }

    /// Its task has its turn, if it was woken.
    fn turn(&mut self) {
        if self.woken.0.swap(false, Ordering::SeqCst) {
            self.poll();
        }
    }

    fn poll(&mut self) {
        if let Some(unparked) = self.subscription.unpark() {
            self.written_to += usize::from(unparked.wrote_at.is_some());
            self.encoder = unparked.encoder;
            self.pending.extend(Some(unparked.rest).filter(|rest| !rest.is_empty()));
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut cx = Context::from_waker(&waker);
        loop {
            while let Some(mut piece) = self.pending.pop_front() {
                match self.socket.write(&piece) {
                    Ok(wrote) if wrote == piece.len() => {}
                    Ok(wrote) => self.pending.push_front(piece.split_off(wrote)),
                    Err(_) => {
                        self.pending.push_front(piece);
                        // The kernel wakes it when the socket takes more.
                        self.woken.0.store(true, Ordering::SeqCst);
                        return;
                    }
                }
            }
            let mut out = Vec::new();
            match self.subscription.poll_next(&mut cx, 1 << 20, &mut out) {
                Poll::Pending => break,
                Poll::Ready(next) => next.expect("nobody lags"),
            }
            for delivery in out {
                if let Some(frame) = delivery.frame(self.variant) {
                    let line = delivery.id_line.as_ref();
                    self.encoder.put_frame(frame, line, &mut self.pending);
                }
            }
        }
        if self.parks {
            self.subscription.park(Manner {
                outlet: Outlet::made(self.socket.clone()),
                variant: self.variant,
                encoder: self.encoder,
                until: self.until,
                opened_ms: 0,
            });
        }
    }

    fn is_parked(&mut self) -> bool {
        self.subscription.unpark().is_some()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(Publish),
    /// How much the parked reader's socket takes next.
    Appetite(usize),
    /// Both tasks have their turn, if they were woken.
    Turn,
    /// The parked reader's task has one for nothing, as at a heartbeat.
    Spurious,
}

fn step() -> impl Strategy<Value = Step> {
    let room = (0..2_usize, prop::option::weighted(0.2, any::<bool>()))
        .prop_map(|(kind, to)| Publish::Room { id: 0, kind, to });
    prop_oneof![
        6 => room.prop_map(Step::Publish),
        1 => Just(Step::Publish(Publish::Broadcast)),
        1 => Just(Step::Publish(Publish::Loose { id: 0, kind: 0, shard: 1 })),
        2 => (0..300_usize).prop_map(Step::Appetite),
        3 => Just(Step::Turn),
        1 => Just(Step::Spurious),
    ]
}

proptest! {
    #[test]
    fn a_parked_reader_gets_the_bytes_of_one_who_never_is(
        steps in prop::collection::vec(step(), 1..80),
        coding in prop::sample::select(&Coding::ALL[..]),
    ) {
        let (mut log, mut pod) = (TestLog::default(), Pod::new());
        let mut parked = Reader::coded(&pod, true, coding);
        let mut other = Reader::coded(&pod, false, coding);
        for step in steps {
            match step {
                Step::Publish(what) => {
                    log.publish(&what);
                    pod.consume_all(&log);
                }
                Step::Appetite(bytes) => parked.socket.appetite.lock().insert(0, bytes),
                Step::Turn => {
                    parked.turn();
                    other.turn();
                }
                Step::Spurious => parked.poll(),
            }
        }
        for _ in 0..200 {
            parked.turn();
            other.turn();
        }
        // With what it ends with, where it has a sum of all that was written.
        let ends = [&mut parked, &mut other].map(|reader| {
            reader.poll();
            let mut end = VecDeque::new();
            // Parked again: the sum is the fan-out's.
            let unparked = reader.subscription.unpark();
            unparked.map_or(reader.encoder, |unparked| unparked.encoder).put_end(&mut end);
            end
        });
        prop_assert_eq!(&ends[0], &ends[1]);
        let (parked, other) = (parked.socket.got.lock(), other.socket.got.lock());
        prop_assert_eq!(String::from_utf8_lossy(&parked), String::from_utf8_lossy(&other));
    }
}

fn event() -> Publish {
    Publish::Room { id: 0, kind: 0, to: None }
}

#[tokio::test]
async fn threads_write_to_crowds_what_others_are_routed() {
    let (mut log, mut pod) = (TestLog::default(), Pod::with(Bounds { lanes: 2, ..bounds() }));
    let threads: Vec<_> = (0..2)
        .map(|lane| {
            let hub = Arc::clone(&pod.hub);
            std::thread::spawn(move || hub.run_lane(lane))
        })
        .collect();
    // Three rows, the last of them not full.
    let mut readers: Vec<Reader> = (0..SEATS * 2 + 10).map(|_| Reader::new(&pod, true)).collect();
    readers.iter_mut().for_each(Reader::turn);
    // Some of them never take much at once.
    for reader in readers.iter().step_by(7) {
        reader.socket.appetite.lock().extend([70; 5_000]);
    }
    for n in 0..500 {
        log.publish(&event());
        pod.consume_all(&log);
        if n % 3 == 0 {
            readers.iter_mut().for_each(Reader::turn);
        }
        if n % 50 == 0 {
            // Somebody goes, and another comes to the same seat.
            drop(readers.swap_remove(n / 10));
        }
    }
    let expected = {
        let mut last = Reader::new(&pod, false);
        last.turn();
        log.publish(&event());
        pod.consume_all(&log);
        last.turn();
        last.socket.got.lock().clone()
    };
    pod.hub.close_lanes();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    for reader in &mut readers {
        for _ in 0..5_000 {
            reader.turn();
        }
        let got = reader.socket.got.lock().clone();
        assert!(got.ends_with(&expected), "the last event");
        let text = String::from_utf8_lossy(&got);
        let numbers: Vec<usize> = text
            .split("\"data\":")
            .skip(1)
            .map(|rest| rest.split(['}', ',']).next().expect("a value").trim().parse().expect("n"))
            .collect();
        assert_eq!(numbers, (0..=500).collect::<Vec<_>>());
        assert!(reader.written_to > 0 || reader.is_parked());
    }
}

#[test]
fn a_stream_whose_time_is_over_is_for_its_task() {
    let (mut log, mut pod) = (TestLog::default(), Pod::new());
    let mut reader = Reader::new(&pod, true);
    reader.until = Some(Instant::now());
    reader.turn();
    log.publish(&event());
    pod.consume_all(&log);
    assert!(reader.socket.got.lock().is_empty());
    assert!(reader.woken.0.load(Ordering::SeqCst));
    // Only once: it is its task's until that has had its turn.
    reader.woken.0.store(false, Ordering::SeqCst);
    log.publish(&event());
    pod.consume_all(&log);
    assert!(!reader.woken.0.load(Ordering::SeqCst));
}

/// A socket that breaks whoever writes to it.
#[derive(Debug)]
struct Breaks;

impl Made for Breaks {
    fn write(&self, _: &[u8]) -> io::Result<usize> {
        panic!("it breaks");
    }
}

#[test]
fn a_write_that_panics_costs_nobody_an_event() {
    let (mut log, mut pod) = (TestLog::default(), Pod::new());
    let mut readers = [Reader::new(&pod, true), Reader::new(&pod, false), Reader::new(&pod, true)];
    readers.iter_mut().for_each(Reader::turn);
    readers[1].subscription.park(Manner {
        outlet: Outlet::made(Arc::new(Breaks)),
        variant: Variant::default(),
        encoder: readers[1].encoder,
        until: None,
        opened_ms: 0,
    });
    for _ in 0..3 {
        log.publish(&event());
        pod.consume_all(&log);
    }
    readers.iter_mut().for_each(Reader::turn);
    let got = readers.each_ref().map(|reader| reader.socket.got.lock().clone());
    assert_eq!(String::from_utf8_lossy(&got[0]).matches("\"data\":").count(), 3);
    assert!(got[0] == got[1] && got[1] == got[2]);
}

#[test]
fn a_row_that_nobody_sits_in_holds_no_memory() {
    let pod = Pod::new();
    let mut readers: Vec<Reader> = (0..SEATS).map(|_| Reader::new(&pod, true)).collect();
    readers.iter_mut().for_each(Reader::turn);
    let row = readers[0].subscription.row();
    assert_eq!((row.parked(), row.slots.lock().len()), (SEATS, SEATS));
    readers.truncate(1);
    assert_eq!(row.parked(), 1);
    readers.clear();
    assert_eq!((row.parked(), row.slots.lock().capacity()), (0, 0));
}
