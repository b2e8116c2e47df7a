//! An event stream as the client reads it: the first byte says where the rest is cut.

use tidegate::client::parser::{Item, ParseError, Parser};

use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Fields, line ends and byte order marks.
pub const TOKENS: &[&str] = &[
    "data: ",
    "data",
    "data:",
    "id: ",
    "id",
    "event: ",
    "retry: ",
    "retry: 99999999999999999999",
    ":",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\r",
    "\u{FEFF}",
    "\0",
    " ",
    "x",
    "é",
    "tidegate.goodbye",
];

/// The most that a line or an event may hold here.
const LIMIT: usize = 512;

/// A few blocks.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut out = vec![dice.bits() as u8];
    for _ in 0..dice.below(5) {
        let end = dice.pick(&["\n", "\n", "\r\n", "\r"]);
        for field in make::some(dice, &["id", "event", "data", "data", "retry", ""]) {
            let value = make::name(dice);
            let value = if field == "retry" { dice.number().to_string() } else { value };
            out.extend(format!("{field}: {value}{end}").bytes());
        }
        out.extend(end.bytes());
    }
    out
}

fn read(chunks: &[&[u8]]) -> (Vec<Item>, Option<ParseError>, String) {
    let mut parser = Parser::resuming("before").with_limit(LIMIT);
    let mut items = Vec::new();
    for mut rest in chunks.iter().copied() {
        loop {
            match parser.next(&mut rest) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error), parser.last_event_id().to_owned()),
            }
        }
        assert!(rest.is_empty(), "a chunk is taken whole");
    }
    (items, None, parser.last_event_id().to_owned())
}

/// What is read does not depend on where the bytes were cut, and holds no more than it may.
pub fn check(input: &[u8]) -> Outcome {
    let Some((first, text)) = input.split_first() else { return Outcome::Refused("empty") };
    let whole = read(&[text]);
    let pieces: Vec<&[u8]> = text.chunks(1 + usize::from(*first) % 16).collect();
    let cut = read(&pieces);
    assert_eq!(whole.0, cut.0);
    assert_eq!((whole.1.is_some(), whole.2), (cut.1.is_some(), cut.2));
    for item in &whole.0 {
        if let Item::Event(event) = item {
            // What is not UTF-8 is replaced, each byte by three at most.
            assert!(event.data.len() <= 3 * LIMIT && !event.id.contains('\0'));
            assert!(!event.data.is_empty() || text.contains(&b'd'));
            assert!(!event.event.contains(['\r', '\n']) && !event.data.contains('\r'));
        }
    }
    match whole.1 {
        Some(ParseError::LineTooLong { .. }) => Outcome::Refused("line_too_long"),
        Some(ParseError::EventTooLarge { .. }) => Outcome::Refused("event_too_large"),
        None => Outcome::Accepted,
    }
}
