use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// One sample: its labels and its value.
type Sample = (BTreeMap<String, String>, f64);

/// A family as the page has it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    /// By full name: with `_bucket`, `_sum` and `_count` in a histogram.
    samples: BTreeMap<String, Vec<Sample>>,
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads `name="value"` pairs. None of our values needs an escape, so none is understood.
fn labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').expect("name=value");
        assert!(is_name(name), "{text}");
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).expect("quotes");
        assert!(!value.contains(['"', '\\']), "{text}");
        assert!(labels.insert(name.to_owned(), value.to_owned()).is_none(), "twice: {text}");
    }
    labels
}

/// Parses a page strictly: each family once, help and type before its samples, no sample twice.
fn parse(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and a help");
            let family = Family { help: help.to_owned(), ..Family::default() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} twice");
            name.clone_into(&mut current);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert_eq!(name, current, "HELP and TYPE belong together");
            kind.clone_into(&mut families.get_mut(name).expect("HELP first").kind);
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().expect("a number");
            let (name, label_text) = match series.split_once('{') {
                Some((name, rest)) => (name, rest.strip_suffix('}').expect("a closing brace")),
                None => (series, ""),
            };
            assert!(is_name(name), "{line}");
            let family = families.get_mut(&current).expect("HELP first");
            let suffixes: &[&str] =
                if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            let belongs = suffixes.iter().any(|suffix| name == format!("{current}{suffix}"));
            assert!(belongs, "{line} below {current}");
            let labels = labels(label_text);
            let samples = family.samples.entry(name.to_owned()).or_default();
            assert!(samples.iter().all(|(other, _)| *other != labels), "twice: {line}");
            samples.push((labels, value));
        }
    }
    families
}

fn check_histogram(name: &str, family: &Family) {
    for (labels, count) in &family.samples[&format!("{name}_count")] {
        let of_it = |other: &BTreeMap<String, String>| {
            other.iter().filter(|(label, _)| *label != "le").eq(labels.iter())
        };
        let mut before = (f64::NEG_INFINITY, 0.0);
        let buckets = &family.samples[&format!("{name}_bucket")];
        for (labels, count) in buckets.iter().filter(|(other, _)| of_it(other)) {
            let bound = match labels["le"].as_str() {
                "+Inf" => f64::INFINITY,
                le => le.parse().expect("a bound"),
            };
            assert!(bound > before.0 && *count >= before.1, "{name}: {buckets:?}");
            before = (bound, *count);
        }
        assert_eq!(before, (f64::INFINITY, *count), "{name}");
        let sums = &family.samples[&format!("{name}_sum")];
        assert!(sums.iter().any(|(other, sum)| of_it(other) && *sum >= 0.0), "{name}");
    }
}

/// Every series, with its labels.
const SERIES: [(&str, &str, &[&str]); 35] = [
    ("tidegate_connections", "gauge", &["protocol"]),
    ("tidegate_connections_limit", "gauge", &[]),
    ("tidegate_connections_opened_total", "counter", &[]),
    ("tidegate_connections_closed_total", "counter", &["reason"]),
    ("tidegate_connections_refused_total", "counter", &["reason"]),
    ("tidegate_rooms", "gauge", &[]),
    ("tidegate_draining", "gauge", &[]),
    ("tidegate_publish_requests_total", "counter", &["outcome"]),
    ("tidegate_publish_seconds", "histogram", &[]),
    ("tidegate_publish_bytes_total", "counter", &[]),
    ("tidegate_consumed_records_total", "counter", &["log"]),
    ("tidegate_matched_records_total", "counter", &[]),
    ("tidegate_consumer_lag_records", "gauge", &["partition", "topic"]),
    ("tidegate_log_up", "gauge", &[]),
    ("tidegate_sent_events_total", "counter", &["kind"]),
    ("tidegate_sent_bytes_total", "counter", &["coding"]),
    ("tidegate_send_latency_seconds", "histogram", &[]),
    ("tidegate_fanout_seconds", "histogram", &[]),
    ("tidegate_window_bytes", "gauge", &[]),
    ("tidegate_send_failures_total", "counter", &["reason"]),
    ("tidegate_replayed_events_total", "counter", &["from"]),
    ("tidegate_gaps_total", "counter", &["reason"]),
    ("tidegate_dead_letters_total", "counter", &["reason"]),
    ("tidegate_dead_letters_lost_total", "counter", &["reason"]),
    ("tidegate_malformed_records_total", "counter", &["kind"]),
    ("tidegate_signature_failures_total", "counter", &["reason"]),
    ("tidegate_tls_not_after_seconds", "gauge", &[]),
    ("tidegate_leader", "gauge", &[]),
    ("tidegate_kubernetes_failures_total", "counter", &["task"]),
    ("tidegate_groups_removed_total", "counter", &[]),
    ("tidegate_build_info", "gauge", &["version"]),
    ("tidegate_stream_age_seconds", "histogram", &["ended_by"]),
    ("process_start_time_seconds", "gauge", &[]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
];

/// One test, as the series are those of the process: the page before and after each function was
/// called.
#[test]
fn every_series_of_the_contract_is_well_formed_and_counts() {
    init();
    init();
    tls_not_after(1);
    connections_limit(50_000);
    // These two have no closed list of labels to begin with.
    consumer_lag("tidegate.events", 0, 0);
    malformed_record(MalformedKind::NoKey);
    let before = parse(&render());
    for (name, kind, labels) in SERIES {
        let family = before.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(family.kind, kind, "{name}");
        assert!(family.help.len() > 5, "{name} has a help");
        let suffix = if kind == "histogram" { "_count" } else { "" };
        for (found, _) in &family.samples[&format!("{name}{suffix}")] {
            assert_eq!(found.keys().collect::<Vec<_>>(), labels, "{name}");
        }
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
    }
    let known: BTreeSet<_> = SERIES.iter().map(|series| series.0).collect();
    assert!(before.keys().all(|name| known.contains(name.as_str())), "{:?}", before.keys());
    let names = names();
    assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    let refused = &before["tidegate_connections_refused_total"].samples;
    let reasons = refused["tidegate_connections_refused_total"].len();
    assert_eq!(reasons, Refused::ALL.len(), "all are there before any was counted");

    connected(Protocol::Http10);
    connected(Protocol::Http10);
    disconnected(Protocol::Http10, Disconnect::Slow, Duration::from_secs(60));
    connection_refused(Refused::Sockets);
    rooms(3);
    draining(true);
    published(Ok(()), Duration::from_millis(3));
    published(Err(ProblemKind::ALL[13]), Duration::from_secs(100));
    publish_bytes(10);
    consumed_records("kafka", 5);
    matched_records(4);
    consumer_lag("tidegate.events", 0, 7);
    log_up(true);
    sent_events(SentKind::Heartbeat, 2);
    sent_bytes(Coding::Gzip, 99);
    send_latency_ms(-1, 1);
    send_latency_ms(70_000, 1_000);
    fanout(Duration::from_micros(20));
    window_bytes(12);
    send_failure(SendFailure::WriteTimeout);
    replayed_events(ReplayFrom::Window, 6);
    gap(GapReason::TooFar);
    dead_letter(DeadLetter::Undelivered);
    dead_letters_lost(LostLetter::QueueFull, 2);
    malformed_record(MalformedKind::NoKey);
    signature_failure(FailureReason::Expired);
    leader(true);
    kubernetes_failure(Task::Lease);
    groups_removed(2);

    let after = parse(&render());
    // Other tests of the process count too: a counter grew by at least this.
    for (name, label, by) in [
        ("tidegate_connections_opened_total", "", 2.0),
        ("tidegate_connections_closed_total", "slow", 1.0),
        ("tidegate_connections_refused_total", "sockets", 1.0),
        ("tidegate_stream_age_seconds", "gateway", 1.0),
        ("tidegate_publish_requests_total", "ok", 1.0),
        ("tidegate_publish_requests_total", ProblemKind::ALL[13].as_str(), 1.0),
        ("tidegate_publish_bytes_total", "", 10.0),
        ("tidegate_consumed_records_total", "kafka", 5.0),
        ("tidegate_matched_records_total", "", 4.0),
        ("tidegate_sent_events_total", "heartbeat", 2.0),
        ("tidegate_sent_bytes_total", "gzip", 99.0),
        ("tidegate_send_failures_total", "write_timeout", 1.0),
        ("tidegate_replayed_events_total", "window", 6.0),
        ("tidegate_gaps_total", "too_far", 1.0),
        ("tidegate_dead_letters_total", "undelivered", 1.0),
        ("tidegate_dead_letters_lost_total", "queue_full", 2.0),
        ("tidegate_malformed_records_total", "no_key", 1.0),
        ("tidegate_signature_failures_total", "expired", 1.0),
        ("tidegate_kubernetes_failures_total", "lease", 1.0),
        ("tidegate_groups_removed_total", "", 2.0),
        ("tidegate_connections", "http1.0", 1.0),
    ] {
        let value = |page: &BTreeMap<String, Family>| {
            let family = &page[name];
            let suffix = if family.kind == "histogram" { "_count" } else { "" };
            let samples = &family.samples[&format!("{name}{suffix}")];
            let wanted = |labels: &BTreeMap<String, String>| {
                label.is_empty() || labels.values().any(|value| value == label)
            };
            samples.iter().find(|(labels, _)| wanted(labels)).expect("a sample").1
        };
        assert!(value(&after) - value(&before) >= by, "{name} {label}");
    }
    for (name, family) in &after {
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    let sum = |page: &BTreeMap<String, Family>| {
        page["tidegate_send_latency_seconds"].samples["tidegate_send_latency_seconds_sum"][0].1
    };
    assert!(sum(&after) - sum(&before) >= 70_000.0);
}

#[test]
fn the_series_of_the_lag_are_bounded() {
    init();
    for partition in 0..1_000 {
        consumer_lag("tidegate.many", partition, 1);
    }
    let page = parse(&render());
    let family = &page["tidegate_consumer_lag_records"];
    assert!(family.samples["tidegate_consumer_lag_records"].len() <= MAX_LAG_SERIES);
}
