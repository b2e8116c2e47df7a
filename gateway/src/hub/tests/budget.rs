//! The window's budget under abuse: many rooms, large events, every spelling asked for.

use super::*;
use crate::wire::content::Coding;

const BUDGET: usize = 12 << 20;
const ROOMS: usize = 10_000;
const VALUE_BYTES: usize = 32 << 10;
/// Events of a batch.
const BATCH: usize = 16;

/// Events of the rooms in turn, with a broadcast now and then. Nothing in them repeats, so that
/// lz4 saves nothing.
struct Flood {
    writer: RecordWriter,
    next: HashMap<Shard, u128>,
    number: usize,
    noise: u64,
}

impl Flood {
    fn value(&mut self) -> String {
        let mut value = String::with_capacity(VALUE_BYTES + 18);
        value.push('"');
        while value.len() <= VALUE_BYTES {
            self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            value.push_str(&format!("{:016x}", self.noise.rotate_left(17)));
        }
        value.push('"');
        value
    }

    fn next(&mut self) -> Record {
        let [events, broadcast, _] = sources();
        let room = room(self.number % ROOMS);
        let (shard, key) = match self.number.is_multiple_of(500) {
            true => (Shard { source: broadcast.id, index: 0 }, "t"),
            false => (events.shard_of(room.as_bytes()), room.as_str()),
        };
        self.number += 1;
        let value = self.value();
        let offset = self.next.entry(shard).or_default();
        let parts = Parts {
            shard,
            offset: Offset(*offset),
            timestamp: 0,
            tag: None,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
        };
        *offset += 1;
        self.writer.write(parts, std::iter::once((&b"event_type"[..], &b"t"[..])))
    }
}

/// As it is, with lz4, and in each coding.
fn variants() -> impl Iterator<Item = Variant> {
    let lz4 = Variant { lz4: true, ..Variant::default() };
    let coded = Coding::ALL.map(|coding| Variant { coding, ..Variant::default() });
    coded.into_iter().chain([lz4])
}

fn room(number: usize) -> String {
    format!("room-{number}")
}

#[test]
fn ten_thousand_rooms_of_large_events_in_every_spelling_stay_within_the_budget() {
    let bounds = Bounds {
        window_bytes: BUDGET,
        spelling: Spelling { json_depth: 16, lz4_min_bytes: 64 },
        ..bounds()
    };
    let pod = Pod::with(bounds);
    let mut readers: Vec<Subscription> = (0..ROOMS)
        .map(|number| {
            let pattern = Pattern::new(&room(number), "t").expect("a pattern");
            pod.open(&[pattern], None, &Start::Live).subscription
        })
        .collect();
    let mut flood =
        Flood { writer: RecordWriter::default(), next: HashMap::new(), number: 0, noise: 1 };
    let mut made_most = 0;
    for _ in 0..120 {
        let first = flood.number;
        let batch: Vec<_> = (0..BATCH).map(|_| (flood.next(), Fate::Route)).collect();
        let before = pod.hub.window_bytes();
        pod.hub.route(batch);
        // One reader in two takes what came: the others lag, and their rings hold it.
        for number in (first..flood.number).filter(|number| number % 2 == 0) {
            let mut out = Vec::new();
            let mut cx = Context::from_waker(Waker::noop());
            let reader = &mut readers[number % ROOMS];
            let _ = reader.poll_next(&mut cx, usize::MAX, &mut out);
            for delivery in &out {
                for variant in variants() {
                    delivery.frame(variant).expect("an event");
                }
            }
        }
        made_most = made_most.max(pod.hub.window_bytes().saturating_sub(before));
        pod.hub.keep_to_budget();
        let used = pod.hub.window_bytes();
        // What came between two looks may be held by rings alone, and no more.
        assert!(used <= BUDGET + 2 * made_most, "{used} with {made_most} between two looks");
    }
    assert!(made_most < BUDGET / 4, "{made_most}");
    pod.hub.keep_to_budget();
    pod.hub.keep_to_budget();
    let used = pod.hub.window_bytes();
    assert!(used <= BUDGET, "{used}");
    // It is not given up for what the readers had made: most of it is records.
    assert!(used > BUDGET / 2, "{used}");
    drop(readers);
    pod.hub.sweep();
    assert!(pod.hub.window_bytes() <= used, "readers hold nothing beside it");
}
