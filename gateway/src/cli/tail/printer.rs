//! What of a stream is printed where.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::output::{Shown, line, note};
use crate::client::stream::{CONNECTED, ClientEvent, GAP, GOODBYE, HEARTBEAT, Lost};

/// How much is said beside the events. Gaps always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loudness {
    /// Gaps.
    Quiet,
    /// Lost connections as well.
    Normal,
    /// All that the stream does.
    Verbose,
}

/// What printing an event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// An event of a room was printed.
    Event,
    /// It was none: the gateway's own.
    Nothing,
    /// It was the gateway's goodbye after the last event there will be.
    Complete,
    /// Nobody reads the output.
    ToNobody,
}

/// Writes events to one place and what a person should know to another.
pub(super) struct Printer<O, E> {
    pub(super) out: O,
    pub(super) err: E,
    pub(super) json: bool,
    pub(super) loudness: Loudness,
}

/// The envelope, as far as a line shows it.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    published_at: i64,
}

#[derive(Deserialize)]
struct Gap {
    reason: String,
    #[serde(default)]
    resumed_at: Option<String>,
    #[serde(default)]
    rooms: Vec<String>,
}

#[derive(Deserialize)]
struct Goodbye {
    reason: String,
}

impl<O: Write, E: Write> Printer<O, E> {
    /// Prints an event, or says what the gateway's own means.
    pub(super) fn event(&mut self, event: &ClientEvent) -> io::Result<Said> {
        match &*event.event {
            GAP => self.gap(&event.data),
            CONNECTED | HEARTBEAT => self.detail(format_args!(
                "{}: {} at {}",
                event.event,
                Shown(&event.data),
                Shown(&event.id)
            )),
            GOODBYE => {
                self.detail(format_args!("{GOODBYE}: {}", Shown(&event.data)));
                let goodbye: Option<Goodbye> = serde_json::from_str(&event.data).ok();
                if goodbye.is_some_and(|goodbye| goodbye.reason == "complete") {
                    return Ok(Said::Complete);
                }
            }
            // A later release's: this one does not know what it means.
            other if other.starts_with("tidegate.") => {
                self.detail(format_args!("{}: {}", Shown(other), Shown(&event.data)));
            }
            _ => return self.print(event),
        }
        Ok(Said::Nothing)
    }

    fn print(&mut self, event: &ClientEvent) -> io::Result<Said> {
        let written = if self.json {
            // JSON text has line ends between its tokens only, where a space does as well.
            let one_line = event.data.replace('\n', " ");
            line(&mut self.out, one_line)
        } else {
            match serde_json::from_str::<Envelope<'_>>(&event.data) {
                Ok(envelope) => line(&mut self.out, envelope),
                Err(_) => line(&mut self.out, Shown(&event.data)),
            }
        }?;
        self.detail(format_args!("at {}", Shown(&event.id)));
        Ok(if written.is_break() { Said::ToNobody } else { Said::Event })
    }

    fn gap(&mut self, data: &str) {
        let Ok(gap) = serde_json::from_str::<Gap>(data) else {
            return self.say(format_args!("gap: events may be missing: {}", Shown(data)));
        };
        self.say(format_args!(
            "gap: events may be missing ({}) of {}; going on at {}",
            Shown(&gap.reason),
            Shown(&gap.rooms.join(", ")),
            Shown(gap.resumed_at.as_deref().unwrap_or("an unknown place")),
        ));
    }

    /// A comment of the stream's.
    pub(super) fn comment(&mut self, text: &str) {
        self.detail(format_args!("comment: {}", Shown(text)));
    }

    /// A connection that is no more.
    pub(super) fn lost(&mut self, reason: &Lost, retry_in: Duration) {
        if self.loudness >= Loudness::Normal {
            let reason = reason.to_string();
            self.say(format_args!(
                "{}; trying again in {:.1} s",
                Shown(&reason),
                retry_in.as_secs_f64()
            ));
        }
    }

    /// Says something whatever the loudness is.
    pub(super) fn say(&mut self, text: impl fmt::Display) {
        note(&mut self.err, format_args!("tidegate: {text}"));
    }

    fn detail(&mut self, text: impl fmt::Display) {
        if self.loudness >= Loudness::Verbose {
            self.say(text);
        }
    }
}

impl fmt::Display for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_millisecond(self.published_at) {
            Ok(time) => write!(f, "{time:.3}")?,
            Err(_) => write!(f, "{}", self.published_at)?,
        }
        let (id, kind) = (Shown(&self.event_id), Shown(&self.event_type));
        write!(f, "  {id}/{kind}  {}", Shown(self.data.get()))
    }
}
