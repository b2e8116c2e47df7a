//! What counting costs on the hot path: nanoseconds a call, from one thread and from two at once.
//!
//! `cargo bench -p tidegate --bench metrics`
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::hint::black_box;
use std::thread;

use tidegate::telemetry::metrics::{self, SentKind};
use tokio::time::Instant;

const CALLS: u64 = 5_000_000;

/// What a case does, given the number of the call.
type Call = fn(u64);

/// Nanoseconds a call, with `threads` of them calling at once: the median of five runs.
fn measure(threads: u64, call: Call) -> f64 {
    let mut runs: Vec<f64> = (0..5)
        .map(|_| {
            let began = Instant::now();
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..CALLS).for_each(|n| call(black_box(n))));
                }
            });
            began.elapsed().as_nanos() as f64 / CALLS as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[2]
}

fn main() {
    metrics::init();
    let calls: [(&str, Call); 3] = [
        ("an event is counted", |n| metrics::sent_events(SentKind::Event, 1 + (n & 1))),
        ("its latency is counted", |n| {
            metrics::send_latency_ms(i64::try_from(n & 63).unwrap_or_default(), 1);
        }),
        ("the time is asked for", |_| {
            black_box(tidegate::clock::now_ms());
        }),
    ];
    println!("| what | ns, one thread | ns, two threads at once |\n| --- | --- | --- |");
    for (what, call) in calls {
        println!("| {what} | {:.1} | {:.1} |", measure(1, call), measure(2, call));
    }
}
