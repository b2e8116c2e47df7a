//! Pieces that inputs are made of.

use crate::dice::Dice;

/// A name: usually one that is allowed, of few so that they meet again.
pub fn name(dice: &mut Dice) -> String {
    const NAMES: &[&str] = &[
        "a",
        "b",
        "cart-7",
        "order.created",
        "user-1",
        "änna",
        "日本",
        "a b",
        "a/b",
        "x:y",
        "é",
        "😀",
        "a%2Fb",
        " a",
        "a ",
        "\u{FEFF}a",
        "\u{2028}",
        "A",
        "a\u{301}",
        "t",
    ];
    const ODD: &[&str] = &[
        "",
        "*",
        ".",
        "..",
        "open",
        "error",
        "message",
        "tidegate.x",
        "a\nb",
        "a\rb",
        "a\0b",
        "\u{85}",
        "\u{7f}",
    ];
    match dice.below(12) {
        0 => dice.pick(ODD).to_owned(),
        1 => dice.pick(NAMES).repeat(dice.below(140)),
        _ => dice.pick(NAMES).to_owned(),
    }
}

/// Whitespace as JSON has it; mostly none.
pub fn gap(dice: &mut Dice) -> &'static str {
    if dice.one_in(6) { dice.pick(&[" ", "\n", "\r\n", "\t ", "  "]) } else { "" }
}

/// Writes `text` as a JSON string, some of it escaped.
pub fn json_string(dice: &mut Dice, text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let simple = match c {
            '"' => Some('"'),
            '\\' => Some('\\'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            _ => None,
        };
        match simple {
            Some(escape) => out.extend(['\\', escape]),
            None if c < ' ' || dice.one_in(20) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            None => out.push(c),
        }
    }
    out.push('"');
}

/// Writes a JSON value, at most `depth` deep.
pub fn json_value(dice: &mut Dice, depth: usize, out: &mut String) {
    const LEAVES: &[&str] = &[
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1.50",
        "1e9",
        "-0.0E+7",
        "12345678901234567890123",
        "1e999",
        "\"\"",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\\/\\b\\f\\n\\r\\t\"",
        "\"a\\nid: 1\\n\\n\"",
        "\"\u{2028}\"",
    ];
    out.push_str(gap(dice));
    match dice.below(if depth == 0 { 4 } else { 8 }) {
        0 | 1 => out.push_str(dice.pick(LEAVES)),
        2 => out.push_str(&dice.number().to_string()),
        3 => {
            let text = name(dice);
            json_string(dice, &text, out);
        }
        4 | 5 => {
            out.push('[');
            for n in 0..dice.below(4) {
                out.push_str(if n > 0 { "," } else { "" });
                json_value(dice, depth - 1, out);
            }
            out.push_str(gap(dice));
            out.push(']');
        }
        _ => {
            let names: Vec<String> = (0..dice.below(4)).map(|_| name(dice)).collect();
            json_object(dice, names.iter().map(String::as_str), out, |dice, _, out| {
                json_value(dice, depth - 1, out);
            });
        }
    }
    out.push_str(gap(dice));
}

/// Writes an object with these members.
pub fn json_object<'a>(
    dice: &mut Dice,
    names: impl IntoIterator<Item = &'a str>,
    out: &mut String,
    mut value: impl FnMut(&mut Dice, &str, &mut String),
) {
    out.push('{');
    for (n, name) in names.into_iter().enumerate() {
        out.push_str(if n > 0 { "," } else { "" });
        out.push_str(gap(dice));
        json_string(dice, name, out);
        out.push_str(gap(dice));
        out.push(':');
        value(dice, name, out);
    }
    out.push_str(gap(dice));
    out.push('}');
}

/// Some of `from`, in their order.
pub fn some<'a>(dice: &mut Dice, from: &[&'a str]) -> Vec<&'a str> {
    from.iter().copied().filter(|_| !dice.one_in(3)).collect()
}

/// Percent-encodes what a URL cannot have, and some of what it can.
pub fn percent(dice: &mut Dice, text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if !dice.one_in(12) && (byte.is_ascii_alphanumeric() || b"-._~*:".contains(&byte)) {
            out.push(char::from(byte));
        } else if byte == b' ' && dice.one_in(2) {
            out.push('+');
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
