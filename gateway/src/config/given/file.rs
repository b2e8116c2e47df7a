//! The settings file: TOML or YAML, by its name.

use std::path::Path;

use serde_json::Value;

use crate::config::setting::Shape;

/// The file as a tree.
///
/// # Errors
/// Why it cannot be read. No line of it is repeated: it may hold secrets.
pub(super) fn read(path: &Path) -> Result<Value, String> {
    let parse = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml,
        Some("yaml" | "yml") => yaml,
        _ => return Err("a settings file is called *.toml, *.yaml or *.yml".to_owned()),
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    parse(&text)
}

fn toml(text: &str) -> Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // Not its `Display`, which quotes the line.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("line {line}: {}", error.message())
    })?;
    Ok(from_toml(toml::Value::Table(table)))
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        // Not as a number: there is none for `nan`, and null means that nothing is set.
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map_or_else(|| number.to_string().into(), Value::Number),
        toml::Value::Boolean(switch) => Value::Bool(switch),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(name, value)| (name, from_toml(value))).collect())
        }
    }
}

fn yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        // `off` is a word of ours, not `false`.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

/// The value as one would write it in a variable: the items of an array with commas in between,
/// tables as JSON.
pub(super) fn text(value: &Value, shape: Shape) -> Result<String, String> {
    match value {
        Value::Array(items) if shape == Shape::List => {
            let items: Result<Vec<_>, _> = items.iter().map(item).collect();
            Ok(items?.join(","))
        }
        Value::Number(number) if shape == Shape::Fraction => Ok(number.to_string()),
        Value::Array(_) if shape == Shape::Tables => Ok(value.to_string()),
        Value::Array(_) => Err("it is an array".to_owned()),
        value => scalar(value),
    }
}

fn item(value: &Value) -> Result<String, String> {
    let text = scalar(value)?;
    if text.contains(',') { Err("an item holds a comma".to_owned()) } else { Ok(text) }
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(switch) => Ok(switch.to_string()),
        // What was written is lost by now: `1e5`, or a version that ends in `.10`.
        Value::Number(number) if number.is_f64() => {
            Err("it is a fraction; if it is text, quote it".to_owned())
        }
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Err("it is empty".to_owned()),
        Value::Array(_) => Err("it is an array".to_owned()),
        Value::Object(_) => Err("it is a table".to_owned()),
    }
}

/// The entries of a map, with dots between the names of tables in tables. What can be read is in
/// `entries` even if something cannot.
///
/// # Errors
/// The first name that has no usable value (each with a dot before it), and why.
pub(super) fn entries(
    path: &str,
    value: &Value,
    entries: &mut Vec<(String, String)>,
) -> Result<(), (String, String)> {
    let Value::Object(table) = value else {
        if path.is_empty() {
            return Err((String::new(), "it is no table of names and values".to_owned()));
        }
        let text = scalar(value).map_err(|reason| (format!(".{path}"), reason))?;
        entries.push((path.to_owned(), text));
        return Ok(());
    };
    let mut result = Ok(());
    for (name, value) in table {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        result = result.and(self::entries(&below, value, entries));
    }
    result
}
