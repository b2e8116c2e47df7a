//! What counting costs on the hot path: nanoseconds of CPU time a call, from one thread and from two at
//! once, beside the exporter crate's histogram; and what that keeps until somebody reads it.
//!
//! `cargo bench -p tidegate --bench metrics`
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::fs;
use std::hint::black_box;
use std::sync::LazyLock;
use std::thread;

use ::metrics::{Histogram, Key, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use rustix::time::{ClockId, clock_gettime};
use tidegate::telemetry::metrics::{self, SentKind};

const CALLS: u64 = 5_000_000;
const RUNS: usize = 5;

/// What a case does, given the number of the call.
type Call = fn(u64);

/// The exporter's recorder with a histogram of buckets, as the gateway's own would be with it.
struct Exported {
    recorder: PrometheusRecorder,
    histogram: Histogram,
}

static EXPORTED: LazyLock<Exported> = LazyLock::new(|| {
    const NAME: &str = "send_latency_seconds";
    let buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(NAME.to_owned()), &buckets)
        .expect("buckets");
    let recorder = builder.build_recorder();
    let metadata = Metadata::new(module_path!(), Level::INFO, None);
    // Kept, so that no call has to look it up: the least that it can cost.
    let histogram = recorder.register_histogram(&Key::from_static_name(NAME), &metadata);
    Exported { recorder, histogram }
});

/// Nanoseconds of CPU time a call, with `threads` of them calling at once: the median of five runs. What the
/// exporter has kept is drained between them.
fn measure(threads: u64, call: Call) -> f64 {
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let took = run(threads, call);
            EXPORTED.recorder.handle().run_upkeep();
            took
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[RUNS / 2]
}

/// Nanoseconds of CPU time a call in one run.
fn run(threads: u64, call: Call) -> f64 {
    let began = cpu_ns();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..CALLS).for_each(|n| call(black_box(n))));
        }
    });
    (cpu_ns() - began) / (threads * CALLS) as f64
}

/// This process's CPU time in nanoseconds: what else the machine does is not in it.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Resident memory of this process in bytes.
fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

fn export(n: u64) {
    EXPORTED.histogram.record((n & 63) as f64 / 1e3);
}

fn main() {
    metrics::init();
    let own: Call = |n| metrics::send_latency_ms(i64::try_from(n & 63).unwrap_or_default(), 1);
    // First, before anything was freed that it could use again.
    let before = resident();
    run(1, export);
    let kept = resident().zip(before).map(|(after, before)| (after - before) / CALLS as f64);
    let began = cpu_ns();
    EXPORTED.recorder.handle().run_upkeep();
    let upkeep = (cpu_ns() - began) / CALLS as f64;

    let calls: [(&str, Call); 4] = [
        ("an event is counted", |n| metrics::sent_events(SentKind::Event, 1 + (n & 1))),
        ("its latency is counted", own),
        ("its latency, in the exporter's histogram", export),
        ("the time is asked for", |_| {
            black_box(tidegate::clock::now_ms());
        }),
    ];
    println!("| what | ns, one thread | ns, two threads at once |\n| --- | ---: | ---: |");
    for (what, call) in calls {
        println!("| {what} | {:.1} | {:.1} |", measure(1, call), measure(2, call));
    }
    println!(
        "\nThe exporter's histogram takes {upkeep:.1} ns more an observation when it is read,"
    );
    match kept {
        Some(bytes) => println!("and until then keeps {bytes:.1} bytes of each."),
        None => println!("and keeps each until then."),
    }
}
