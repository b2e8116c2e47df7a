//! What all of librdkafka's clients share: where their log lines go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use tokio::time::Instant;

/// For how long a line that was written is not written again.
const REPEAT_AFTER: Duration = Duration::from_secs(30);
/// How many different lines are remembered. Past it the memory starts anew.
const MOST_LINES: usize = 64;
/// How much of a line tells it from others, in bytes.
const LINE_BYTES: usize = 96;

/// librdkafka's log lines on their way to the gateway's own. A broker that is away makes several
/// of them a second in every client: each is written once, and then with a count.
#[derive(Debug, Clone, Default)]
pub(super) struct LogLines(Arc<Lines>);

#[derive(Debug, Default)]
struct Lines {
    written: Mutex<HashMap<String, Line>>,
    /// What went wrong last, for those who only learn that nobody answered.
    last_error: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Line {
    written: Instant,
    held_back: u64,
}

impl LogLines {
    /// Whether to write the line now, and how many like it were held back since the last one.
    fn admit(&self, facility: &str, text: &str) -> Option<u64> {
        let now = Instant::now();
        // Without its numbers: ports, times and counts differ in lines that say the same.
        let key: String = facility
            .chars()
            .chain(text.chars())
            .filter(|c| !c.is_ascii_digit())
            .take(LINE_BYTES)
            .collect();
        let mut lines = self.0.written.lock();
        if lines.len() >= MOST_LINES && !lines.contains_key(&key) {
            lines.clear();
        }
        match lines.get_mut(&key) {
            Some(line) if now.duration_since(line.written) < REPEAT_AFTER => {
                line.held_back += 1;
                None
            }
            Some(line) => {
                line.written = now;
                Some(std::mem::take(&mut line.held_back))
            }
            None => {
                lines.insert(key, Line { written: now, held_back: 0 });
                Some(0)
            }
        }
    }

    /// A log line of librdkafka's.
    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // CONFWARN tells of every option that this kind of client does not know: all are passed to all.
        if matches!(level, RDKafkaLogLevel::Debug) || facility == "CONFWARN" {
            tracing::debug!(target: "librdkafka", facility, "{text}");
            return;
        }
        let Some(held_back) = self.admit(facility, text) else { return };
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", facility, held_back, "{text}");
            }
            _ => tracing::info!(target: "librdkafka", facility, held_back, "{text}"),
        }
    }

    /// An error that librdkafka raised for a client as a whole. It tries again by itself, and has
    /// a log line of its own for most of them.
    pub(super) fn error(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        *self.0.last_error.lock() = Some(reason.to_owned());
    }

    /// What librdkafka said last when something went wrong.
    pub(super) fn last_error(&self) -> Option<String> {
        self.0.last_error.lock().clone()
    }
}

impl ClientContext for LogLines {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Self::log(self, level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Self::error(self, &error, reason);
    }
}

impl ConsumerContext for LogLines {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_that_repeats_is_written_once_and_then_counted() {
        let lines = LogLines::default();
        assert_eq!(lines.admit("FAIL", "127.0.0.1:9092 refused (after 3ms)"), Some(0));
        assert_eq!(lines.admit("FAIL", "127.0.0.1:9093 refused (after 12ms)"), None);
        assert_eq!(lines.admit("FAIL", "another"), Some(0));
        tokio::time::advance(REPEAT_AFTER).await;
        assert_eq!(lines.admit("FAIL", "127.0.0.1:9092 refused (after 1ms)"), Some(1));
        for n in 0..10 * MOST_LINES {
            let name: String = "x".repeat(n % LINE_BYTES);
            lines.admit("MANY", &name);
            assert!(lines.0.written.lock().len() <= MOST_LINES);
        }
    }
}
