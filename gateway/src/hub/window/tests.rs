//! One number bounds the window, whatever is made of its events.

use std::task::{Context, Waker};
use std::time::Duration;

use super::*;
use crate::event::Pattern;
use crate::hub::tests::{Pod, bounds, sources};
use crate::hub::{Bounds, Fate, READ_WITHIN, Start};
use crate::log::record::{Parts, RecordWriter};
use crate::wire::Variant;
use crate::wire::content::Coding;

const ROOMS: usize = 10_000;
const WINDOW_BYTES: usize = 1 << 20;
const EVENT_BYTES: usize = 20_000;

/// Every way in which an event can be spelled.
fn variants() -> impl Iterator<Item = Variant> {
    Coding::ALL.into_iter().flat_map(|coding| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(unnamed, lz4)| Variant {
            unnamed,
            lz4,
            coding,
        })
    })
}

/// JSON that is worth a coding, and not nothing in one.
fn value(number: usize) -> String {
    let mut state = number as u64;
    let mut text = String::from("\"");
    while text.len() < EVENT_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{:06}", state >> 44));
    }
    text + "\""
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_rooms_with_large_events_in_every_coding_keep_to_it() {
    let pod = Pod::with(Bounds { window_bytes: WINDOW_BYTES, ..bounds() });
    let id = |n: usize| format!("room-{n}");
    let mut readers: Vec<_> = (0..ROOMS)
        .map(|n| {
            let patterns = [Pattern::new(&id(n), "s").expect("a pattern")];
            pod.open(&patterns, None, &Start::Live).subscription
        })
        .collect();
    let [events, ..] = sources();
    let mut writer = RecordWriter::default();
    let mut next: HashMap<Shard, u128> = HashMap::new();
    let (mut most, mut least) = (0, usize::MAX);
    for n in 0..200 {
        let room = n * 37 % ROOMS;
        let (id, value) = (id(room), value(n));
        let shard = events.shard_of(id.as_bytes());
        let offset = next.entry(shard).or_default();
        let parts = Parts {
            shard,
            offset: Offset(*offset),
            timestamp: 0,
            tag: None,
            key: Some(id.as_bytes()),
            value: Some(value.as_bytes()),
        };
        *offset += 1;
        tokio::time::advance(READ_WITHIN + Duration::from_millis(1)).await;
        let record = writer.write(parts, [(&b"event_type"[..], &b"s"[..])].into_iter());
        pod.hub.route([(record, Fate::Route)]);
        let routed = pod.hub.window_bytes();
        assert!(routed <= WINDOW_BYTES, "{routed} after {n}");
        if n > 100 {
            least = least.min(routed);
        }
        let mut out = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(readers[room].poll_next(&mut cx, usize::MAX, &mut out).is_ready());
        let frames: Vec<_> = variants().map(|variant| out[0].frame(variant)).collect();
        let bytes: usize = frames.iter().flatten().map(|frame| frame.bytes()).sum();
        let grown = pod.hub.window_bytes() - routed;
        assert!(frames.iter().all(Option::is_some) && grown >= bytes, "all are counted");
        most = most.max(grown);
    }
    // No more went than had to: the newest event's own codings, and one more.
    assert!(least >= WINDOW_BYTES - 2 * (most + EVENT_BYTES), "{least}, {most}");
}
