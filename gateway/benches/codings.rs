//! What content codings cost: making an event's frame once, and putting it into each stream. The
//! thread's CPU time, so that other work on the machine counts for little.
//!
//! `cargo bench -p tidegate --bench codings`
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use tidegate::event::{Audience, Event, EventId, EventType, MessageId, Room};
use tidegate::wire::chunk::Framing;
use tidegate::wire::content::Coding;
use tidegate::wire::encoder::Encoder;
use tidegate::wire::{self, Payload};

/// An event whose data is about as repetitive as a cart's lines.
fn event(bytes: usize) -> Event {
    let mut data = String::from("[");
    let mut state = 7_u64;
    while data.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (sku, quantity, price) = (state >> 36, state >> 60, state >> 47);
        data.push_str(&format!(
            "{{\"sku\":\"{sku:x}\",\"quantity\":{quantity},\"price\":{price}}},"
        ));
    }
    data.push_str("0]");
    Event {
        audience: Audience::Room(Room {
            id: EventId::new("cart-7").expect("an id"),
            kind: EventType::new("CartUpdated").expect("a type"),
        }),
        message_id: MessageId::parse("01980000-0000-7000-8000-000000000001").expect("a UUID"),
        event_name: None,
        from_user: None,
        to_user: None,
        data: data.into(),
        is_base64: false,
        headers: Vec::new(),
        is_final: false,
        published_at: 1_763_700_000_000,
    }
}

/// Microseconds of this thread's CPU time.
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Microseconds a call: the median of five runs.
fn measure(calls: u32, mut call: impl FnMut()) -> f64 {
    let mut runs: Vec<f64> = (0..5)
        .map(|_| {
            let began = now();
            (0..calls).for_each(|_| call());
            (now() - began) / f64::from(calls)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[2]
}

fn main() {
    println!(
        "| event | coding | bytes | µs to make, once | ns to put into a stream | ns with an id of its own |"
    );
    println!("| ---: | --- | ---: | ---: | ---: | ---: |");
    let id_line = Bytes::from(format!("id: {}\n", "x".repeat(72)));
    for size in [50, 250, 1_000, 10_000, 100_000] {
        let plain = wire::frame(&event(size), &id_line, false, Payload::Json);
        for coding in Coding::ALL {
            let frame = plain.coded(coding);
            let calls = if size > 50_000 { 100 } else { 1_000 };
            let make = measure(calls, || drop(black_box(plain.coded(coding))));
            let mut encoder = Encoder::new(coding, Framing::Chunks);
            let mut out = VecDeque::new();
            let mut put = |line: Option<&Bytes>| {
                measure(100_000, || {
                    encoder.put_frame(black_box(&frame), line, &mut out);
                    out.clear();
                }) * 1e3
            };
            let (shared, own) = (put(None), put(Some(&id_line)));
            println!(
                "| {} | {} | {} | {make:.1} | {shared:.0} | {own:.0} |",
                plain.block().len(),
                coding.as_str(),
                frame.block().len(),
            );
        }
    }
}
