//! Who a request says it is: its headers, its query and its cookies.

use tidegate::auth::credentials::{Carrier, Cookies};
use tidegate::auth::{Credentials, CredentialsError};
use tidegate::http::target::Query;

use super::{checks, request};
use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Where they are carried.
pub const TOKENS: &[&str] = &[
    "\nx-signature: ",
    "\ncookie: ",
    "\nx-user: ",
    "tidegate_signature=",
    "; ",
    ",",
    "&signature=",
    "?signature=",
    "&user=",
    "?user=",
    "%2C",
    "%00",
    "\"",
    "=",
    "a",
    " ",
    "\u{e9}",
    "v1.k1.1.00",
];

/// A request with some of them.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    const SIGNATURES: &[&str] = &["v1.k1.1.00", "v1.k2.2.11.b", "", "x", "v1.k1.1.00,v1.k2.2.22"];
    let mut query = Vec::new();
    let mut headers = String::new();
    let user = make::name(dice).replace(['\n', '\r', '\0', '\u{7f}'], "");
    if dice.one_in(2) {
        query.push(format!("user={}", make::percent(dice, &user)));
    }
    if dice.one_in(2) {
        headers.push_str(&format!("\nx-user: {user}"));
    }
    for _ in 0..dice.below(3) {
        let signature = dice.pick(SIGNATURES);
        match dice.below(3) {
            0 => headers.push_str(&format!("\nx-signature: {signature}")),
            1 => headers.push_str(&format!("\ncookie: a=b; tidegate_signature={signature}; c")),
            _ => query.push(format!("signature={}", make::percent(dice, signature))),
        }
    }
    format!("/?{}{headers}", query.join("&")).into_bytes()
}

/// Signatures come from one carrier and are apart; a publish ignores cookies; nothing is shown.
pub fn check(input: &[u8]) -> Outcome {
    let Some((uri, headers)) = request::read(input) else { return Outcome::Refused("http") };
    let query = match Query::parse(&uri) {
        Ok(query) => query,
        Err(problem) => return Outcome::Refused(checks::problem(&problem)),
    };
    let read = Credentials::of(&headers, query.pairs(), Cookies::Read);
    let publish = Credentials::of(&headers, query.pairs(), Cookies::Ignore);
    let (read, publish) = match (read, publish) {
        (Ok(read), Ok(publish)) => (read, publish),
        (Err(error), Err(other)) => {
            assert_eq!(error, other);
            return Outcome::Refused(match error {
                CredentialsError::UsersDiffer => "users_differ",
                CredentialsError::UserNotUtf8 => "not_utf8",
                CredentialsError::User(_) => "user",
            });
        }
        (read, publish) => panic!("{read:?} or {publish:?}"),
    };
    assert!(publish.carrier != Carrier::Cookie);
    assert_eq!(read.user, publish.user);
    checks::users([&read.user, &publish.user]);
    for credentials in [&read, &publish] {
        for text in &credentials.signatures {
            assert!(!text.is_empty() && !text.contains(',') && text.trim() == *text);
        }
        let mut others = credentials.clone();
        others.signatures.fill("x");
        assert_eq!(format!("{credentials:?}"), format!("{others:?}"), "a signature is not shown");
    }
    if read.carrier != Carrier::Cookie {
        assert_eq!(read.signatures, publish.signatures);
    }
    Outcome::Accepted
}
