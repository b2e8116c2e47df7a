//! What the file, the environment and the flags say, before anybody has looked at the values.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use super::problem::{Origin, Problem};
use super::secret::{MASK, show_option};
use super::setting::{HOST_NAME, Kind, Setting, Shape};
use super::{PREFIX, SETTINGS, Sources};

/// What the pod is called when the host has no name.
const NO_HOST_NAME: &str = "tidegate";
/// How many letters may differ for a key to be taken for another's misspelling.
const MISSPELT: usize = 3;

/// A value as it was written, and where.
#[derive(Debug, Clone)]
struct Text {
    text: String,
    origin: Origin,
}

/// What was given for each setting, and what was wrong with it so far.
#[derive(Debug, Default)]
pub(super) struct Given {
    values: BTreeMap<&'static str, Text>,
    /// The entries of settings that are maps.
    entries: BTreeMap<&'static str, BTreeMap<String, Text>>,
    host_name: Option<String>,
    /// Settings whose value cannot be used. What depends on them is not looked at, or one mistake
    /// would be told as several.
    failed: BTreeSet<&'static str>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Given {
    /// Reads the file, then the environment, then the flags.
    pub(super) fn read(sources: &Sources) -> Self {
        let mut given =
            Self { host_name: sources.host_name.as_deref().map(as_pod_name), ..Self::default() };
        if let Some(path) = &sources.file {
            given.file(path);
        }
        for (name, value) in &sources.environment {
            given.variable(name, value);
        }
        for (key, value) in &sources.flags {
            given.flag(key, value);
        }
        given
    }

    /// The setting's value: what was given, or its default. The default stands in for a value that
    /// cannot be used, too, so that the others are still looked at.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        default: &'static str,
    ) -> T {
        match self.text_of(key) {
            Some(text) => match (kind.parse)(&text) {
                Ok(value) => return value,
                Err(reason) => self.refuse_value(key, &reason),
            },
            None if default == HOST_NAME => {
                let name = self.host_name.as_deref().filter(|name| !name.is_empty());
                if let Ok(value) = (kind.parse)(name.unwrap_or(NO_HOST_NAME)) {
                    return value;
                }
            }
            None => {}
        }
        let default = if default == HOST_NAME { NO_HOST_NAME } else { default };
        (kind.parse)(default).unwrap_or_else(|reason| panic!("the default of {key}: {reason}"))
    }

    /// Where the settings that were given came from. An entry of a map has its own.
    pub(super) fn origins(&self) -> BTreeMap<String, Origin> {
        let values = self.values.iter().map(|(key, text)| ((*key).to_owned(), text));
        let entries = self.entries.iter().flat_map(|(key, entries)| {
            entries.iter().map(move |(name, text)| (format!("{key}.{name}"), text))
        });
        values.chain(entries).map(|(key, text)| (key, text.origin.clone())).collect()
    }

    /// Complains of settings that do not go together, unless one of them is wrong by itself. The
    /// complaint is about the first of them that was given.
    pub(super) fn refuse_together(&mut self, keys: &[&'static str], reason: impl Into<String>) {
        if keys.iter().any(|key| self.failed.contains(key)) {
            return;
        }
        let given = keys.iter().find(|key| self.values.contains_key(*key));
        let Some(key) = given.or(keys.first()) else { return };
        self.complain(key, reason.into());
    }

    /// Complains of one entry of a setting that is a map.
    pub(super) fn refuse_entry(&mut self, key: &'static str, name: &str, reason: &str) {
        let Some(text) = self.entries.get(key).and_then(|entries| entries.get(name)) else {
            return;
        };
        self.problems.push(Problem {
            key: format!("{key}.{name}"),
            origin: text.origin.clone(),
            value: Some(show_option(name, &text.text)),
            reason: reason.to_owned(),
        });
        self.failed.insert(key);
    }

    /// What was wrong, and what may be.
    pub(super) fn into_findings(self) -> (Vec<Problem>, Vec<String>) {
        (self.problems, self.warnings)
    }

    fn text_of(&self, key: &str) -> Option<String> {
        if let Some(entries) = self.entries.get(key) {
            let object =
                entries.iter().map(|(name, text)| (name.clone(), text.text.clone().into()));
            return Some(serde_json::Value::Object(object.collect()).to_string());
        }
        self.values.get(key).map(|text| text.text.clone())
    }

    fn refuse_value(&mut self, key: &'static str, reason: &str) {
        let traits = Setting::find(key).map(|setting| setting.traits).unwrap_or_default();
        self.failed.insert(key);
        let whole = |reason: &str| format!("{reason}; accepted: {}", traits.accepts);
        if traits.shape != Shape::Tables {
            return self.complain(key, whole(reason));
        }
        for line in reason.lines() {
            match line.split_once(": ").filter(|(place, _)| place.starts_with('[')) {
                Some((place, reason)) => self.refuse_place(key, place, reason),
                None => self.complain(key, whole(line)),
            }
        }
    }

    /// Complains of one place in a setting that is a list of tables.
    pub(super) fn refuse_place(&mut self, key: &'static str, place: &str, reason: &str) {
        let text = self.values.get(key);
        self.problems.push(Problem {
            key: format!("{key}{place}"),
            origin: text.map_or(Origin::Default, |text| text.origin.clone()),
            value: None,
            reason: reason.to_owned(),
        });
        self.failed.insert(key);
    }

    fn complain(&mut self, key: &'static str, reason: String) {
        let secret = Setting::find(key).is_some_and(|setting| setting.traits.secret);
        let text = self.values.get(key);
        let shown = |text: &Text| if secret { MASK.to_owned() } else { text.text.clone() };
        self.problems.push(Problem {
            key: key.to_owned(),
            origin: text.map_or(Origin::Default, |text| text.origin.clone()),
            value: text.map(shown),
            reason,
        });
    }

    fn unknown(&mut self, key: &str, origin: Origin) {
        let known = SETTINGS.iter().map(|setting| setting.key.to_owned());
        let reason = format!("there is no such setting{}", did_you_mean(key, known));
        self.problems.push(Problem { key: key.to_owned(), origin, value: None, reason });
    }

    fn file(&mut self, path: &Path) {
        let origin = Origin::File(path.to_owned());
        match file::read(path) {
            Ok(serde_json::Value::Null) => {}
            Ok(tree @ serde_json::Value::Object(_)) => self.branch("", &tree, &origin),
            Ok(_) => self.complain_of_file(origin, "it is no table of settings".to_owned()),
            Err(reason) => self.complain_of_file(origin, reason),
        }
    }

    fn complain_of_file(&mut self, origin: Origin, reason: String) {
        self.problems.push(Problem { key: String::new(), origin, value: None, reason });
    }

    /// A part of the file: a setting, or a table that holds some.
    fn branch(&mut self, path: &str, value: &serde_json::Value, origin: &Origin) {
        if let Some(setting) = Setting::find(path) {
            return self.file_value(setting, value, origin);
        }
        let is_section = SETTINGS.iter().any(|setting| setting.section == path);
        match value {
            serde_json::Value::Object(table) if !table.is_empty() => {
                for (name, value) in table {
                    let below =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.branch(&below, value, origin);
                }
            }
            // A heading with nothing below it.
            serde_json::Value::Object(_) | serde_json::Value::Null
                if is_section || path.is_empty() => {}
            _ if is_section => self.problems.push(Problem {
                key: path.to_owned(),
                origin: origin.clone(),
                value: None,
                reason: "it is a section; its settings go below it".to_owned(),
            }),
            _ => self.unknown(path, origin.clone()),
        }
    }

    fn file_value(
        &mut self,
        setting: &'static Setting,
        value: &serde_json::Value,
        origin: &Origin,
    ) {
        // As if the line were not there.
        if value.is_null() {
            return;
        }
        if setting.traits.shape == Shape::Map {
            let mut entries = Vec::new();
            if let Err((name, reason)) = file::entries("", value, &mut entries) {
                let key = format!("{}{name}", setting.key);
                self.problems.push(Problem { key, origin: origin.clone(), value: None, reason });
                self.failed.insert(setting.key);
            }
            for (name, text) in entries {
                self.entry(setting.key, name, text, origin.clone());
            }
            return;
        }
        match file::text(value, setting.traits.shape) {
            Ok(text) => {
                let text = Text { text, origin: origin.clone() };
                if self.values.insert(setting.key, text).is_some() {
                    self.refuse_value(setting.key, "it is given twice");
                }
            }
            Err(reason) => {
                let reason = format!("{reason}; accepted: {}", setting.traits.accepts);
                let key = setting.key.to_owned();
                self.problems.push(Problem { key, origin: origin.clone(), value: None, reason });
                self.failed.insert(setting.key);
            }
        }
    }

    fn variable(&mut self, name: &str, value: &OsString) {
        if !name.starts_with(PREFIX) {
            return;
        }
        let origin = Origin::Variable(name.to_owned());
        let found = SETTINGS.iter().find_map(|setting| {
            let variable = setting.variable();
            if setting.traits.shape != Shape::Map {
                return (variable == name).then_some((setting, None));
            }
            let entry = name.strip_prefix(&variable)?.strip_prefix('_')?;
            let entry = entry.to_ascii_lowercase().replace('_', ".");
            (!entry.is_empty()).then_some((setting, Some(entry)))
        });
        let Some((setting, entry)) = found else {
            let known = SETTINGS.iter().map(Setting::variable);
            let meant = did_you_mean(name, known);
            self.warnings.push(format!("no setting has the environment variable {name}{meant}"));
            return;
        };
        let Some(text) = value.to_str() else {
            let reason = "it is not UTF-8".to_owned();
            let key = setting.key.to_owned();
            self.problems.push(Problem { key, origin, value: None, reason });
            self.failed.insert(setting.key);
            return;
        };
        match entry {
            Some(entry) => self.entry(setting.key, entry, text.to_owned(), origin),
            None => {
                self.values.insert(setting.key, Text { text: text.to_owned(), origin });
            }
        }
    }

    fn flag(&mut self, key: &str, value: &str) {
        let Some(setting) = Setting::find(key) else {
            return self.unknown(key, Origin::Flag(format!("--{}", key.replace(['.', '_'], "-"))));
        };
        let origin = Origin::Flag(format!("--{}", setting.flag()));
        if setting.traits.shape != Shape::Map {
            let text = value.to_owned();
            self.values.insert(setting.key, Text { text, origin });
            return;
        }
        match value.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                self.entry(setting.key, name.to_owned(), value.to_owned(), origin);
            }
            _ => {
                // What stands here may be a secret whose name was forgotten.
                let reason = format!("no name and value; accepted: {}", setting.traits.accepts);
                let key = setting.key.to_owned();
                self.problems.push(Problem { key, origin, value: None, reason });
                self.failed.insert(setting.key);
            }
        }
    }

    fn entry(&mut self, key: &'static str, name: String, text: String, origin: Origin) {
        self.entries.entry(key).or_default().insert(name, Text { text, origin });
    }
}

/// The host's name as far as a pod's can have it. A default must not be an error.
fn as_pod_name(host: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    host.trim().chars().map(plain).take(253).collect()
}

fn did_you_mean(key: &str, known: impl Iterator<Item = String>) -> String {
    let known: Vec<_> = known.collect();
    // A short name is not another's misspelling, however close.
    let name = key.rsplit('.').next().unwrap_or(key);
    let most = MISSPELT.min(name.len() / 3);
    let close = known
        .iter()
        .map(|other| (strsim::damerau_levenshtein(key, other), other))
        .filter(|(distance, _)| *distance <= most)
        .min();
    let longer = || known.iter().find(|other| other.starts_with(key));
    let meant = close.map(|(_, other)| other).or_else(longer);
    meant.map_or_else(String::new, |other| format!("; did you mean {other}?"))
}
