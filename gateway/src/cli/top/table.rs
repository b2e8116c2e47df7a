//! Pods side by side, as lines of text.

use std::fmt::Write as _;
use std::time::Duration;

use super::page::{Page, add_bucket, quantile};
use crate::cli::output::Shown;

/// What one pod said at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) pod: String,
    pub(super) draining: bool,
    /// Its largest rooms, and how many streams read each.
    pub(super) rooms: Vec<(String, u64)>,
    pub(super) page: Page,
}

/// A pod, or why it said nothing.
#[derive(Debug, Clone)]
pub(super) enum Pod {
    Up { now: Box<Sample>, before: Option<Box<Sample>> },
    Down { address: String, why: String },
}

const LATENCY: &str = "tidegate_send_latency_seconds";
const HEADER: &str = "POD                      STREAMS  ROOMS   NEW/s  GONE/s    PUB/s    SENT/s   BYTES/s      p50      p99      LAG   GAPS  STATE";

/// Numbers of a pod, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Figures {
    streams: f64,
    rooms: f64,
    lag: f64,
    gaps: f64,
    /// In a second: opened, closed, published, sent, bytes sent. `None` at the first look.
    rates: Option<[f64; 5]>,
}

impl Figures {
    fn of(now: &Sample, before: Option<&Sample>, apart: Duration) -> Self {
        let gauge = |name: &str| now.page.sum(name).unwrap_or_default();
        let rates = before.map(|before| {
            let rate = |of: &dyn Fn(&Page) -> f64| {
                let (was, is) = (of(&before.page), of(&now.page));
                // A process that began anew counts from 0.
                (if is < was { is } else { is - was }) / apart.as_secs_f64()
            };
            let all = |name: &'static str| move |page: &Page| page.sum(name).unwrap_or_default();
            [
                rate(&all("tidegate_connections_opened_total")),
                rate(&all("tidegate_connections_closed_total")),
                rate(&all("tidegate_publish_requests_total")),
                rate(&|page| page.sum_with("tidegate_sent_events_total", "kind=\"event\"")),
                rate(&all("tidegate_sent_bytes_total")),
            ]
        });
        Self {
            streams: gauge("tidegate_connections"),
            rooms: gauge("tidegate_rooms"),
            lag: gauge("tidegate_consumer_lag_records"),
            gaps: gauge("tidegate_gaps_total"),
            rates,
        }
    }

    fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.rooms += other.rooms;
        self.lag += other.lag;
        self.gaps += other.gaps;
        if let Some(rates) = other.rates {
            let sums = self.rates.get_or_insert_default();
            sums.iter_mut().zip(rates).for_each(|(sum, rate)| *sum += rate);
        }
    }

    fn line(&self, name: &str, latency: [Option<f64>; 2], state: &str) -> String {
        let rate =
            |nth: usize| self.rates.map_or_else(|| "-".to_owned(), |rates| short(rates[nth]));
        let [p50, p99] = latency.map(|at| at.map_or_else(|| "-".to_owned(), seconds));
        format!(
            "{name:<24} {:>7} {:>6} {:>7} {:>7} {:>8} {:>9} {:>9} {p50:>8} {p99:>8} {:>8} {:>6}  {state}",
            short(self.streams),
            short(self.rooms),
            rate(0),
            rate(1),
            rate(2),
            rate(3),
            rate(4),
            short(self.lag),
            short(self.gaps),
        )
    }
}

/// The table of `pods`, whose samples lie `apart`, and their largest `rooms` rooms.
pub(super) fn table(pods: &[Pod], apart: Duration, rooms: usize) -> String {
    let mut text = format!("{HEADER}\n");
    let mut all = Figures::default();
    let (mut came, mut were) = (Vec::new(), Vec::new());
    let mut largest: Vec<(String, u64)> = Vec::new();
    for pod in pods {
        match pod {
            Pod::Down { address, why } => {
                let _ = writeln!(text, "{:<24} does not answer: {}", cut(address), Shown(why));
            }
            Pod::Up { now, before } => {
                let figures = Figures::of(now, before.as_deref(), apart);
                let after = now.page.buckets(LATENCY);
                let earlier = before.as_ref().map(|s| s.page.buckets(LATENCY));
                let latency = |q| quantile(q, earlier.as_ref()?, &after);
                let state = if now.draining { "drains" } else { "up" };
                let line = figures.line(&cut(&now.pod), [latency(0.5), latency(0.99)], state);
                let _ = writeln!(text, "{line}");
                all.add(&figures);
                if let Some(earlier) = &earlier {
                    after.iter().for_each(|(bound, count)| add_bucket(&mut came, *bound, *count));
                    earlier.iter().for_each(|(bound, count)| add_bucket(&mut were, *bound, *count));
                }
                for (room, streams) in &now.rooms {
                    match largest.iter_mut().find(|(known, _)| known == room) {
                        Some((_, sum)) => *sum += streams,
                        None => largest.push((room.clone(), *streams)),
                    }
                }
            }
        }
    }
    if pods.len() > 1 {
        let latency = [0.5, 0.99].map(|q| quantile(q, &were, &came));
        let _ = writeln!(text, "{}", all.line("all", latency, ""));
    }
    largest.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (nth, (room, streams)) in largest.iter().take(rooms).enumerate() {
        let title = if nth == 0 { "\nSTREAMS  LARGEST ROOMS\n" } else { "" };
        let _ = writeln!(text, "{title}{:>7}  {}", short(*streams as f64), Shown(room));
    }
    text
}

/// A name that fits its column, and commands no terminal.
fn cut(name: &str) -> String {
    let name = Shown(name).to_string();
    if name.chars().count() <= 24 {
        return name;
    }
    // The end tells pods of one deployment apart.
    let end: Vec<char> = name.chars().rev().take(23).collect();
    std::iter::once('…').chain(end.into_iter().rev()).collect()
}

/// A number in at most six characters.
fn short(number: f64) -> String {
    let scaled = [(1e9, "G"), (1e6, "M"), (1e4, "k")].into_iter().find(|(at, _)| number >= *at);
    match scaled {
        Some((1e4, unit)) => format!("{:.1}{unit}", number / 1e3),
        Some((at, unit)) => format!("{:.1}{unit}", number / at),
        None if number.fract() == 0.0 || number >= 100.0 => format!("{number:.0}"),
        None => format!("{number:.1}"),
    }
}

fn seconds(of: f64) -> String {
    if of < 1.0 { format!("{:.1}ms", of * 1e3) } else { format!("{of:.1}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pod: &str, text: &str) -> Box<Sample> {
        let rooms = vec![("a/t".to_owned(), 3), ("b\u{1b}/t".to_owned(), 5)];
        Box::new(Sample { pod: pod.to_owned(), draining: false, rooms, page: Page::parse(text) })
    }

    #[test]
    fn rates_are_of_what_came_between_and_sums_of_all_pods() {
        let before = "tidegate_sent_events_total{kind=\"event\"} 100\n\
            tidegate_sent_events_total{kind=\"heartbeat\"} 9\n\
            tidegate_send_latency_seconds_bucket{le=\"0.001\"} 10\n\
            tidegate_send_latency_seconds_bucket{le=\"+Inf\"} 10\n";
        let now = "tidegate_connections{protocol=\"h2\"} 4\ntidegate_connections{protocol=\"http1.1\"} 8\n\
            tidegate_rooms 2\ntidegate_sent_events_total{kind=\"event\"} 300\n\
            tidegate_consumer_lag_records{topic=\"t\",partition=\"0\"} 12345\n\
            tidegate_send_latency_seconds_bucket{le=\"0.001\"} 20\n\
            tidegate_send_latency_seconds_bucket{le=\"+Inf\"} 20\n";
        let up = |name| Pod::Up { now: sample(name, now), before: Some(sample(name, before)) };
        let down = Pod::Down { address: "10.0.0.3:30001".to_owned(), why: "no route".to_owned() };
        let pods = [up("tidegate-5f7c9d8b6-abcde-is-long"), up("b"), down];
        let text = table(&pods, Duration::from_secs(2), 1);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let row = ["12", "2", "0", "0", "0", "100", "0", "0.5ms", "1.0ms", "12.3k", "0", "up"];
        assert_eq!(lines[1][0], "…5f7c9d8b6-abcde-is-long");
        assert_eq!(lines[1][1..], row);
        assert_eq!(lines[2][1..], row);
        assert_eq!(lines[3].join(" "), "10.0.0.3:30001 does not answer: no route");
        assert_eq!(lines[4][..7], ["all", "24", "4", "0", "0", "0", "200"]);
        // The rooms of all pods together, largest first, and nothing that commands a terminal.
        assert_eq!(lines[6].join(" "), "STREAMS LARGEST ROOMS");
        assert_eq!(lines[7].join(" "), "10 b\\u{1b}/t");
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn the_first_look_has_no_rates_and_a_new_process_counts_from_nothing() {
        let first = Pod::Up { now: sample("a", "tidegate_connections 3\n"), before: None };
        let text = table(&[first], Duration::from_secs(1), 0);
        let row: Vec<&str> = text.lines().nth(1).expect("a row").split_whitespace().collect();
        assert_eq!(row, ["a", "3", "0", "-", "-", "-", "-", "-", "-", "-", "0", "0", "up"]);
        let of = |n: u32| sample("a", &format!("tidegate_publish_requests_total {n}\n"));
        let figures = Figures::of(&of(5), Some(&of(100)), Duration::from_secs(1));
        assert_eq!(figures.rates.expect("rates")[2], 5.0);
    }

    #[test]
    fn numbers_are_short() {
        for (number, want) in [
            (0.0, "0"),
            (3.25, "3.2"),
            (250.4, "250"),
            (9_999.0, "9999"),
            (12_345.0, "12.3k"),
            (1_234_567.0, "1.2M"),
            (7.2e9, "7.2G"),
        ] {
            assert_eq!(short(number), want);
        }
        assert_eq!(seconds(0.0123), "12.3ms");
        assert_eq!(seconds(2.5), "2.5s");
    }
}
