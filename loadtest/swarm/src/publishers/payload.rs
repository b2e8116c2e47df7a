//! The requests, byte by byte.

use std::io::Write;

use super::{Plan, Stamp, Style};

/// One request's events: consecutive numbers of one room, or of each of some neighbours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// The first room.
    pub(super) room: usize,
    /// How many rooms, all of them at the same number.
    pub(super) rooms: u32,
    /// The first number.
    pub(super) seq: u64,
    /// Numbers in each room.
    pub(super) count: u32,
    /// When it was due, in Unix nanoseconds.
    pub(super) due: u64,
    /// When its request was written.
    pub(super) sent: u64,
    pub(super) tries: u32,
}

impl Job {
    pub(super) fn events(&self) -> u32 {
        self.rooms * self.count
    }

    pub(super) fn in_rooms(&self) -> std::ops::Range<usize> {
        self.room..self.room + self.rooms as usize
    }
}

/// Writes requests into a buffer.
#[derive(Debug)]
pub(super) struct Writer {
    heads: Vec<String>,
    batch_head: String,
    style: Style,
    stamp: Stamp,
    keyed: bool,
    ids: Vec<String>,
    event_type: String,
    bytes: usize,
    pad: Vec<u8>,
    body: Vec<u8>,
}

impl Writer {
    pub(super) fn new(plan: &Plan) -> Self {
        let target = &plan.target;
        Self {
            heads: (0..plan.rooms).map(|room| target.publish_head(room)).collect(),
            batch_head: target.batch_head(),
            style: plan.style,
            stamp: plan.stamp,
            keyed: plan.retries > 0,
            ids: (0..plan.rooms).map(|room| target.room(room)).collect(),
            event_type: target.event_type.clone(),
            bytes: plan.bytes,
            pad: pad(plan.bytes),
            body: Vec::new(),
        }
    }

    /// Appends the request. Writing to memory does not fail, hence no error.
    pub(super) fn write(&mut self, job: &Job, out: &mut Vec<u8>) {
        self.body.clear();
        match self.style {
            Style::Raw => self.document(job, job.seq),
            Style::Single => {
                self.body.extend_from_slice(b"{\"data\":");
                self.document(job, job.seq);
                self.body.push(b'}');
            }
            Style::Batch => {
                let numbers = job.seq..job.seq + u64::from(job.count);
                for (room, seq) in job.in_rooms().flat_map(|r| numbers.clone().map(move |n| (r, n)))
                {
                    let id = &self.ids[room];
                    let _ = write!(
                        self.body,
                        "{{\"event_id\":\"{id}\",\"event_type\":\"{}\",",
                        self.event_type
                    );
                    if self.keyed {
                        let _ = write!(self.body, "\"idempotency_key\":\"{id}-{seq}\",");
                    }
                    self.body.extend_from_slice(b"\"data\":");
                    self.document(job, seq);
                    self.body.extend_from_slice(b"}\n");
                }
            }
        }
        let head = match self.style {
            Style::Batch => &self.batch_head,
            Style::Single | Style::Raw => &self.heads[job.room],
        };
        let _ = write!(out, "{head}{}\r\n", self.body.len());
        if self.keyed && self.style != Style::Batch {
            let _ = write!(out, "Idempotency-Key: {}-{}\r\n", self.ids[job.room], job.seq);
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }

    /// `{"seq":…,"t":…,"pad":"…"}` of exactly the size asked for, or the shortest possible. The
    /// padding comes last: the numbers are then near the start of a line that arrives in parts.
    fn document(&mut self, job: &Job, seq: u64) {
        let start = self.body.len();
        let stamp = match self.stamp {
            Stamp::Intended => job.due,
            Stamp::Sent => job.sent,
        };
        let _ = write!(self.body, "{{\"seq\":{seq},\"t\":{stamp},\"pad\":\"");
        let used = self.body.len() - start + 2;
        self.body.extend_from_slice(&self.pad[..self.bytes.saturating_sub(used)]);
        self.body.extend_from_slice(b"\"}");
    }
}

/// Letters and digits that do not compress to nothing.
fn pad(bytes: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        LETTERS[(state % 64) as usize]
    };
    (0..bytes).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::target::Target;

    fn written(style: Style, bytes: usize, retries: u32) -> String {
        let job = Job { room: 1, rooms: 1, seq: 41, count: 2, due: 1_700, sent: 1_800, tries: 0 };
        written_job(&job, style, bytes, retries)
    }

    fn written_job(job: &Job, style: Style, bytes: usize, retries: u32) -> String {
        let origin = "http://127.0.0.1:1".parse().unwrap();
        let plan = Plan {
            target: Arc::new(Target::new(origin, "p", "t").unwrap()),
            rooms: 2,
            rate: 1.0,
            burst: 1,
            across: 1,
            bytes,
            duration: Duration::from_secs(1),
            connections: 1,
            pipeline: 1,
            spread: false,
            retries,
            style,
            stamp: Stamp::Intended,
            patience: Duration::ZERO,
        };
        let mut out = Vec::new();
        Writer::new(&plan).write(job, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_data_has_exactly_the_size_asked_for() {
        for bytes in [0, 64, 200, 1024, 10_240] {
            let request = written(Style::Raw, bytes, 0);
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            assert_eq!(body.len(), bytes.max(28), "{body}");
            let value: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!((value["seq"].as_u64(), value["t"].as_u64()), (Some(41), Some(1_700)));
        }
    }

    #[test]
    fn events_are_written_in_the_style_asked_for() {
        let single = written(Style::Single, 0, 1);
        assert!(single.starts_with("POST /v1/sse/events/p-1/types/t HTTP/1.1\r\n"), "{single}");
        assert!(single.contains("\r\nIdempotency-Key: p-1-41\r\n"), "{single}");
        assert!(
            single.ends_with("\r\n\r\n{\"data\":{\"seq\":41,\"t\":1700,\"pad\":\"\"}}"),
            "{single}"
        );
        let batch = written(Style::Batch, 0, 1);
        let (_, body) = batch.split_once("\r\n\r\n").unwrap();
        let keys: Vec<_> = body
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["idempotency_key"].clone()
            })
            .collect();
        assert_eq!(keys, ["p-1-41", "p-1-42"]);

        let job = Job { room: 0, rooms: 2, seq: 7, count: 1, due: 0, sent: 0, tries: 0 };
        let across = written_job(&job, Style::Batch, 0, 1);
        for (room, line) in across.split_once("\r\n\r\n").unwrap().1.lines().enumerate() {
            assert!(line.contains(&format!("\"idempotency_key\":\"p-{room}-7\"")), "{line}");
        }
    }
}
