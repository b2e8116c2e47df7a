//! Records of others' topics: read by mappings of every kind, and as CloudEvents. Spelled as
//! [`record`]'s are.

use std::sync::{Arc, LazyLock};

use tidegate::log::mapping::{Mapping, Part, ValueKind};
use tidegate::log::{Role, Source};

use super::{checks, record};
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Attributes in both modes, and what mappings point at.
pub const TOKENS: &[&str] = &[
    "\n",
    "\n\n",
    "ce_specversion=1.0",
    "ce_id=",
    "ce_source=",
    "ce_type=",
    "ce_subject=",
    "tenant=",
    "content-type=application/cloudevents+json",
    "content-type=text/plain",
    "\"specversion\":\"1.0\"",
    "\"id\":",
    "\"source\":",
    "\"type\":",
    "\"data\":",
    "\"data_base64\":\"AAE=\"",
    "\"user\":",
    "{",
    "}",
    "null",
    "\"a\"",
    ",",
    "\\ud800",
    "\"datacontenttype\":",
    "ce_",
    "=",
    "-\n",
];

/// A mapping of each kind, over topics that no key orders where none does.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let part = |text: &str| text.parse::<Part>().expect("a part");
    let mapped = |id: &str, kind: &str, to: Option<&str>, value| {
        Mapping::mapped(part(id), part(kind), to.map(part), value).expect("a mapping")
    };
    let cloud = |id: Option<&str>, to: Option<&str>, value| {
        Mapping::cloud_events(id.map(part), None, to.map(part), value).expect("a mapping")
    };
    let mappings = [
        mapped("key", "header:ce_type", None, ValueKind::Json),
        mapped("/id", "/user/kind", Some("/user/id"), ValueKind::Json),
        mapped("value:", "topic", None, ValueKind::Json),
        mapped("header:tenant", "constant:t", Some("header:ce_subject"), ValueKind::Text),
        mapped("key", "constant:t", None, ValueKind::Base64),
        cloud(None, None, ValueKind::Json),
        cloud(Some("/id"), Some("attribute:forwhom"), ValueKind::Base64),
        cloud(Some("attribute:source"), Some("/user/id"), ValueKind::Text),
    ];
    mappings
        .into_iter()
        .map(|mapping| {
            let source = Source::new("s", Role::Events, 4);
            let source = if mapping.is_keyed() { source } else { source.unkeyed() };
            source.with_mapping(Arc::new(mapping))
        })
        .collect()
});

/// A CloudEvent in either mode, or a record with what a mapping names.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let one_line = |dice: &mut Dice| make::name(dice).replace('\n', " ");
    let key = if dice.one_in(4) { "-".to_owned() } else { one_line(dice) };
    let mut text = key + "\n";
    let is_structured = dice.one_in(3);
    let attributes = ["specversion", "id", "source", "type", "subject", "forwhom", "time"];
    let mut named = attributes.to_vec();
    named.retain(|name| *name == "specversion" || !dice.one_in(8));
    if dice.one_in(2) {
        text.push_str(&format!("tenant={}\n", one_line(dice)));
    }
    if is_structured {
        text.push_str("content-type=application/cloudevents+json; charset=UTF-8\n\n");
        named.extend(make::some(dice, &["datacontenttype"]));
        named.push(dice.pick(&["data", "data", "data_base64", "more"]));
    } else {
        for name in named.drain(..) {
            let value = attribute(dice, name);
            text.push_str(&format!("ce_{name}={}\n", value.replace('\n', " ")));
        }
        if dice.one_in(2) {
            let kind = dice.pick(&["application/json", "text/plain", "application/x+json; a=b"]);
            text.push_str(&format!("content-type={kind}\n"));
        }
        text.push('\n');
        named.extend(["id", "user"]);
    }
    make::json_object(dice, named, &mut text, |dice, name, out| match name {
        "data" => make::json_value(dice, 3, out),
        "data_base64" => {
            out.push_str(dice.pick(&["\"AAEC\"", "\"eyJhIjoxfQ==\"", "\"A\"", "\"\""]))
        }
        "user" => make::json_object(dice, ["id", "kind"], out, |dice, _, out| {
            let text = make::name(dice);
            make::json_string(dice, &text, out);
        }),
        name => {
            let value = attribute(dice, name);
            make::json_string(dice, &value, out);
        }
    });
    text.into_bytes()
}

fn attribute(dice: &mut Dice, name: &str) -> String {
    match name {
        "specversion" => dice.pick(&["1.0", "1.0", "1.0", "0.3"]).to_owned(),
        "datacontenttype" => dice.pick(&["application/json", "text/plain", "x"]).to_owned(),
        "time" => "2026-11-21T12:00:00Z".to_owned(),
        _ => make::name(dice),
    }
}

/// What comes out of a record, whatever reads it, is an event that a stream can carry.
pub fn check(input: &[u8]) -> Outcome {
    let record = record::read(input);
    record::outcome(SOURCES.iter().map(|source| checks::event_of(&record, source)))
}
