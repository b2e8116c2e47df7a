//! What a gateway, or a proxy before it, answers the client: headers, an empty line, and a body.

use reqwest::StatusCode;
use tidegate::client::problem::Problem;
use tidegate::client::publish::Receipt;

use super::request;
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Headers and members.
pub const TOKENS: &[&str] = &[
    "\nretry-after: ",
    "\ncontent-type: application/problem+json",
    "\n\n",
    "{",
    "}",
    "\"type\":",
    "\"urn:tidegate:problem:draining\"",
    "\"title\":",
    "\"detail\":",
    "\"errors\":[",
    "\"pointer\":",
    "\"message_id\":",
    "\"cursor\":",
    "\"published_at\":",
    "null",
    "1",
    "\"x\"",
    ":",
    ",",
    "-1",
    "]",
    "99999999999999999999",
    "\"duplicate\":true",
];

/// A problem or a receipt.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut text = String::from("/");
    if dice.one_in(2) {
        text.push_str(&format!("\nretry-after: {}", dice.number()));
    }
    let is_problem = dice.one_in(2);
    text.push_str("\ncontent-type: application/");
    text.push_str(if is_problem { "problem+json\n\n" } else { "json\n\n" });
    let members: &[&str] = if is_problem {
        &["type", "title", "detail", "status", "errors"]
    } else {
        &["message_id", "cursor", "published_at", "duplicate"]
    };
    let names = make::some(dice, members);
    make::json_object(dice, names, &mut text, |dice, name, out| match name {
        "errors" => out.push_str("[{\"pointer\":\"/data\",\"detail\":\"is required\"},{}]"),
        "published_at" | "status" => out.push_str(&dice.below(999).to_string()),
        "duplicate" => out.push_str("true"),
        "type" => out.push_str("\"urn:tidegate:problem:not-accepted\""),
        _ => {
            let value = make::name(dice);
            make::json_string(dice, &value, out);
        }
    });
    text.into_bytes()
}

/// A problem is always made of it, and one that can be shown; a receipt reads back.
pub fn check(input: &[u8]) -> Outcome {
    let at = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
    let body = input.get(at + 2..).unwrap_or_default();
    let Some((_, headers)) = request::read(&input[..at]) else { return Outcome::Refused("http") };
    let problem = Problem::read(StatusCode::SERVICE_UNAVAILABLE, &headers, body);
    assert!(problem.to_string().starts_with("503 "));
    assert!(!problem.title.is_empty());
    if problem.name.is_none() && problem.errors.is_empty() {
        let shown = problem.detail.as_deref().unwrap_or_default().chars().count();
        // What is no UTF-8 is read leniently, and can be JSON then.
        assert!(
            shown <= 200
                || std::str::from_utf8(body).is_err()
                || serde_json::from_slice::<serde_json::Value>(body).is_ok()
        );
    }
    match serde_json::from_slice::<Receipt>(body) {
        Ok(receipt) => {
            let again = serde_json::to_vec(&receipt).expect("serialises");
            assert_eq!(serde_json::from_slice::<Receipt>(&again).ok(), Some(receipt));
            Outcome::Accepted
        }
        Err(_) if problem.name.is_some() => Outcome::Accepted,
        Err(_) => Outcome::Refused("neither"),
    }
}
