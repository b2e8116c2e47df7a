//! Settings for people to read: the effective ones, and what there is to set.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::problem::Origin;
use super::setting::{SETTINGS, Setting, Shape};
use super::table::Config;

impl Config {
    /// Where the setting with this key came from; for an entry of a map `section.key.name`.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// The effective settings as a TOML file, each with its origin behind it, secrets masked.
    #[must_use]
    pub fn to_toml_masked(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for (setting, value) in SETTINGS.iter().zip(self.values()) {
            if setting.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = setting.section;
                let _ = writeln!(text, "{gap}[{section}]");
            }
            match &value {
                Value::Object(entries) => self.entries_to_toml(&mut text, setting, entries),
                value => {
                    let name = setting.key.strip_prefix(section).unwrap_or(setting.key);
                    let name = name.trim_start_matches('.');
                    let _ = writeln!(
                        text,
                        "{name} = {}  # {}",
                        to_toml(value),
                        self.origin(setting.key)
                    );
                }
            }
        }
        text
    }

    /// A table of its own, and so the last of its section.
    fn entries_to_toml(&self, text: &mut String, setting: &Setting, entries: &Map<String, Value>) {
        if entries.is_empty() {
            return;
        }
        let _ = writeln!(text, "\n[{}]", setting.key);
        for (name, value) in entries {
            let origin = self.origin(&format!("{}.{name}", setting.key));
            let _ = writeln!(text, "{} = {}  # {origin}", quoted(name), to_toml(value));
        }
    }

    /// The effective settings by key, each `{"value", "origin"}`, secrets masked.
    #[must_use]
    pub fn to_json_masked(&self) -> Value {
        let mut all = Map::new();
        for (setting, value) in SETTINGS.iter().zip(self.values()) {
            let entries = match value {
                Value::Object(entries) => entries
                    .into_iter()
                    .map(|(name, value)| (format!("{}.{name}", setting.key), value))
                    .collect(),
                value => vec![(setting.key.to_owned(), value)],
            };
            for (key, value) in entries {
                let origin = self.origin(&key).to_string();
                all.insert(key, json!({ "value": value, "origin": origin }));
            }
        }
        Value::Object(all)
    }
}

/// The table of all settings, in Markdown.
#[must_use]
pub fn markdown_table() -> String {
    let mut text = "| setting | default | what it does |\n| --- | --- | --- |\n".to_owned();
    for setting in SETTINGS {
        let name = if setting.traits.shape == Shape::Map { ".<name>" } else { "" };
        let default = match setting.default {
            "" => "–".to_owned(),
            default if default.contains(' ') => default.to_owned(),
            default => format!("`{default}`"),
        };
        let doc = setting.doc.replace('|', "\\|");
        let _ = writeln!(text, "| `{}{name}` | {default} | {doc} |", setting.key);
    }
    text
}

fn to_toml(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(to_toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let members =
                members.iter().map(|(name, value)| format!("{name} = {}", to_toml(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        // Numbers and switches are spelled alike.
        value => value.to_string(),
    }
}

/// A TOML string on one line.
fn quoted(text: &str) -> String {
    // JSON escapes all that TOML wants escaped but DEL, and in TOML's way.
    Value::String(text.to_owned()).to_string().replace('\u{7f}', "\\u007F")
}
