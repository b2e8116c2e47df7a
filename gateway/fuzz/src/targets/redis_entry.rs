//! Entries of a Redis stream, as the server's answer spells them (RESP2).

use redis::Value;
use tidegate::cursor::Tag;
use tidegate::log::Role;
use tidegate::log::redis::entry::{self, Copier};

use super::{checks, record};
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Pieces of the protocol, of ids and of fields.
pub const TOKENS: &[&str] = &[
    "*2\r\n",
    "*0\r\n",
    "$3\r\n1-0\r\n",
    "$-1\r\n",
    ":7\r\n",
    "+OK\r\n",
    "-ERR x\r\n",
    "$3\r\nkey\r\n",
    "$4\r\ndata\r\n",
    "$10\r\nevent_type\r\n",
    "$10\r\nmessage_id\r\n",
    "$1\r\na\r\n",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616-0",
    "-",
    "\r\n",
    "*",
    "$",
];

/// An entry that is nearly an event.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut fields = vec![("key", make::name(dice)), ("event_type", make::name(dice))];
    let mut data = String::new();
    make::json_value(dice, 3, &mut data);
    fields.push(("data", data));
    for name in ["to_user", "from_user", "message_id", "h.X", "final"] {
        if dice.one_in(3) {
            fields.push((name, make::name(dice)));
        }
    }
    fields.retain(|_| !dice.one_in(16));
    let mut resp = b"*2\r\n".to_vec();
    bulk(&mut resp, &format!("{}-{}", dice.number(), dice.number()));
    resp.extend(format!("*{}\r\n", fields.len() * 2).bytes());
    for (name, value) in fields {
        bulk(&mut resp, name);
        bulk(&mut resp, &value);
    }
    resp
}

fn bulk(resp: &mut Vec<u8>, text: &str) {
    resp.extend(format!("${}\r\n{text}\r\n", text.len()).bytes());
}

/// An entry's id is its place, and what comes out of it is an event that a stream can carry.
pub fn check(input: &[u8]) -> Outcome {
    // A claim of a billion items would have the client library, not us, ask for the memory.
    let claims = input
        .split(|b| b"*$%~>=(".contains(b))
        .map(|piece| piece.iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count());
    if claims.max() > Some(4) {
        return Outcome::Refused("too_large_to_try");
    }
    let Ok(value) = redis::parse_redis_value(input) else { return Outcome::Refused("resp") };
    let record = match Copier::default().record(&value, checks::SHARD, "s", Tag::of_epoch(5)) {
        Ok(record) => record,
        Err(_) => return Outcome::Refused("entry"),
    };
    let id = id_of(&value).expect("an entry has an id");
    assert_eq!(entry::offset(id), Some(record.offset));
    assert_eq!(entry::offset(&entry::id(record.offset)), Some(record.offset));
    assert!(record.fields().any(|(name, _)| name == b"message_id"), "always an identity");
    record::outcome(
        [Role::Events, Role::Broadcast]
            .map(|role| checks::event_of(&record, &checks::source(role))),
    )
}

fn id_of(entry: &Value) -> Option<&str> {
    let Value::Array(items) = entry else { return None };
    match items.first()? {
        Value::BulkString(id) => std::str::from_utf8(id).ok(),
        Value::SimpleString(id) => Some(id),
        _ => None,
    }
}
