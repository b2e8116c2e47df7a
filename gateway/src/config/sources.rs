//! `kafka.sources`: further topics, which others write. A list of tables in the file, one JSON text
//! elsewhere; what is wrong is said of each member by itself.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::kind;
use super::setting::{Kind, Shape, Traits};
use crate::log::mapping::{Format, Mapping, Part, ValueKind};

/// What a source's table can hold, each with its default.
pub const SOURCE_MEMBERS: [(&str, &str); 9] = [
    ("topic", ""),
    ("topics", ""),
    ("format", "mapped"),
    ("event_id", "key"),
    ("event_type", "header:event_type"),
    ("to_user", "none"),
    ("partitioner", "murmur2"),
    ("value", "json"),
    ("state", "false"),
];

/// The most memory that a regular expression of topics may take up, in bytes.
const PATTERN_BYTES: usize = 1 << 20;

/// Further topics, and what their records mean.
#[derive(Debug, Clone)]
pub struct KafkaSource {
    /// Which they are.
    pub topics: Topics,
    /// What their records mean.
    pub mapping: Arc<Mapping>,
    /// Where a room's records lie.
    pub partitioner: Partitioner,
    /// A compacted topic is read all the same: it is known to keep the last record of each key only.
    pub state: bool,
}

/// Which topics a source has.
#[derive(Debug, Clone)]
pub enum Topics {
    /// The one of this name.
    Named(String),
    /// Those whose names match, of all that there are at any time.
    Matching(TopicPattern),
}

/// A regular expression that matches whole names of topics.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    whole: Regex,
    text: String,
}

impl TopicPattern {
    /// Whether a topic of this name is meant. Kafka's internal ones never are.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        !is_internal(name) && self.whole.is_match(name)
    }
}

impl FromStr for TopicPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
        // By itself first: `a)|(b` is one only in parentheses.
        let whole = build(text).and_then(|_| build(&format!("^(?:{text})$")));
        let whole = whole.map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("it is no regular expression: {why}")
        })?;
        Ok(Self { whole, text: text.to_owned() })
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Kafka's own topics, which no source reads.
fn is_internal(name: &str) -> bool {
    name.starts_with("__")
}

/// Where a topic's producers put a room's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// On the partition of its key, as Java's producer does and librdkafka's `murmur2_random`.
    Murmur2,
    /// On any: all partitions stand in every cursor, and each has an order of its own.
    Any,
}

impl Partitioner {
    /// As it is written in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Murmur2 => "murmur2",
            Self::Any => "any",
        }
    }
}

impl FromStr for Partitioner {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "murmur2" => Ok(Self::Murmur2),
            "any" => Ok(Self::Any),
            _ => Err("it is neither murmur2 nor any"),
        }
    }
}

/// The sources. Where one is wrong, each line of the reason begins with the member's place, as in
/// `[0].topic: it is empty`.
pub(super) const SOURCES: Kind<Vec<KafkaSource>> = Kind {
    traits: Traits {
        accepts: "a list of tables, or their JSON: [{\"topic\": \"orders\", …}]; or none",
        placeholder: "JSON",
        shape: Shape::Tables,
        secret: false,
    },
    parse: |text| {
        if matches!(text.trim(), "" | "none") {
            return Ok(Vec::new());
        }
        let tables = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"));
        read(&tables?)
    },
    show: |sources| Value::Array(sources.iter().map(show).collect()),
};

fn show(source: &KafkaSource) -> Value {
    let (member, topics) = match &source.topics {
        Topics::Named(name) => ("topic", name.clone()),
        Topics::Matching(pattern) => ("topics", pattern.to_string()),
    };
    let mapping = &source.mapping;
    json!({
        member: topics,
        "format": mapping.format.as_str(),
        "event_id": mapping.event_id.to_string(),
        "event_type": mapping.event_type.to_string(),
        "to_user": mapping.to_user.as_ref().map_or("none".to_owned(), ToString::to_string),
        "partitioner": source.partitioner.as_str(),
        "value": mapping.value.as_str(),
        "state": source.state,
    })
}

fn read(tables: &Value) -> Result<Vec<KafkaSource>, String> {
    let Value::Array(tables) = tables else { return Err("it is no list".to_owned()) };
    let mut faults = Vec::new();
    let mut sources = Vec::with_capacity(tables.len());
    let mut seen = BTreeSet::new();
    for (index, table) in tables.iter().enumerate() {
        let Value::Object(members) = table else {
            faults.push(format!("[{index}]: it is no table"));
            continue;
        };
        let mut table = Table { index, members, faults: &mut faults };
        if let Some(source) = table.source() {
            let (member, name) = match &source.topics {
                Topics::Named(name) => ("topic", name.clone()),
                Topics::Matching(pattern) => ("topics", pattern.to_string()),
            };
            if !seen.insert((member, name)) {
                table.refuse(member, "an earlier source has the same");
            }
            sources.push(source);
        }
    }
    if faults.is_empty() { Ok(sources) } else { Err(faults.join("\n")) }
}

/// One source as it was written, and what was wrong so far.
struct Table<'a> {
    index: usize,
    members: &'a Map<String, Value>,
    faults: &'a mut Vec<String>,
}

impl<'a> Table<'a> {
    fn source(&mut self) -> Option<KafkaSource> {
        let before = self.faults.len();
        for name in self.members.keys() {
            if !SOURCE_MEMBERS.iter().any(|(known, _)| known == name) {
                let known = SOURCE_MEMBERS.map(|(known, _)| known).join(", ");
                self.refuse(name, &format!("there is no such member; there are {known}"));
            }
        }
        let topics = self.topics();
        let partitioner = self.read("partitioner").unwrap_or(Partitioner::Murmur2);
        let state = self.state();
        let mapping = self.mapping();
        if let Some(mapping) = &mapping
            && partitioner == Partitioner::Murmur2
            && !mapping.is_keyed()
        {
            let reason = format!(
                "murmur2 tells where a room's records lie by their key, and event_id is {}: set \
                 partitioner any",
                mapping.event_id
            );
            self.refuse("partitioner", &reason);
        }
        let source = KafkaSource { topics: topics?, mapping: mapping?.into(), partitioner, state };
        (self.faults.len() == before).then_some(source)
    }

    fn topics(&mut self) -> Option<Topics> {
        match (self.text("topic"), self.text("topics")) {
            (Some(name), None) => match (kind::TOPIC.parse)(name) {
                Ok(name) if is_internal(&name) => {
                    self.refuse("topic", "it is internal to Kafka");
                    None
                }
                Ok(name) => Some(Topics::Named(name)),
                Err(reason) => {
                    let reason = format!("{reason}; accepted: {}", kind::TOPIC.traits.accepts);
                    self.refuse("topic", &reason);
                    None
                }
            },
            (None, Some(_)) => self.read("topics").map(Topics::Matching),
            (Some(_), Some(_)) => {
                self.refuse("topics", "a source has either topic, a name, or topics, a pattern");
                None
            }
            (None, None) => {
                // Said already if it is there and is no text.
                if !self.members.keys().any(|name| name == "topic" || name == "topics") {
                    self.faults.push(format!(
                        "[{}]: it has neither topic, a name, nor topics, a regular expression",
                        self.index
                    ));
                }
                None
            }
        }
    }

    /// `None` if a part of it was refused.
    fn mapping(&mut self) -> Option<Mapping> {
        let before = self.faults.len();
        let format = self.read("format").unwrap_or(Format::Mapped);
        let value = self.read("value").unwrap_or(ValueKind::Json);
        let event_id: Option<Part> = self.read("event_id");
        let event_type: Option<Part> = self.read("event_type");
        let to_user = match self.text("to_user") {
            Some("none") => None,
            _ => self.read("to_user"),
        };
        if self.faults.len() > before {
            return None;
        }
        let mapping = match format {
            Format::Mapped => {
                let event_type = event_type.unwrap_or_else(|| Part::Header("event_type".into()));
                Mapping::mapped(event_id.unwrap_or(Part::Key), event_type, to_user, value)
            }
            Format::CloudEvents => Mapping::cloud_events(event_id, event_type, to_user, value),
        };
        mapping
            .map_err(|error| {
                let error = error.to_string();
                let (member, reason) = error.split_once(": ").unwrap_or(("format", &error));
                self.refuse(member, reason);
            })
            .ok()
    }

    fn state(&mut self) -> bool {
        match self.members.get("state") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(state)) => *state,
            Some(_) => {
                self.refuse("state", "it is neither true nor false");
                false
            }
        }
    }

    /// A member that is text, read as what it means; `None` if it is absent or was refused.
    fn read<T: FromStr<Err: fmt::Display>>(&mut self, member: &str) -> Option<T> {
        let text = self.text(member)?;
        text.parse().map_err(|error: T::Err| self.refuse(member, &error.to_string())).ok()
    }

    fn text(&mut self, member: &str) -> Option<&'a str> {
        let members = self.members;
        match members.get(member)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => {
                let reason = "it is no text".to_owned();
                let place = format!("[{}].{member}: {reason}", self.index);
                // Asked for twice where two members exclude each other.
                if !self.faults.contains(&place) {
                    self.faults.push(place);
                }
                None
            }
        }
    }

    fn refuse(&mut self, member: &str, reason: &str) {
        // On one line: a fault is a line.
        let fault = format!("[{}].{member}: {reason}", self.index);
        self.faults.push(fault.replace(['\r', '\n'], " "));
    }
}
