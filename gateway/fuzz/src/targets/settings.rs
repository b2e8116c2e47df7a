//! Settings as flags give them: `key=value` a line.

use tidegate::config::{Config, SETTINGS, Sources};

use crate::Outcome;
use crate::dice::Dice;
use crate::make;

/// Keys, and values of their kinds.
pub const TOKENS: &[&str] = &[
    "\nstream.heartbeat=",
    "\nlog.window_bytes=",
    "\npublic.trusted_proxies=",
    "\ncors.origins=",
    "\nkafka.brokers=",
    "\nredis.url=",
    "\nauth.keys=",
    "\nkafka.options=",
    "15s",
    "256MiB",
    "none",
    "off",
    "on",
    "10.0.0.0/8",
    "https://example.org",
    "localhost:9092",
    "redis://localhost",
    "=",
    "\n",
    "9223372036854775808",
    "8589934592GiB",
    "k:s",
    ",",
    "[::1]:9092",
    "://",
];

const VALUES: &[&str] = &[
    "15s",
    "1h30m",
    "0",
    "256MiB",
    "1",
    "1000",
    "true",
    "false",
    "on",
    "none",
    "off",
    "hmac",
    "kafka",
    "redis",
    "memory",
    "127.0.0.1:0",
    "localhost:9092",
    "redis://localhost:6379",
    "10.0.0.0/8,::1",
    "k1:secret",
    "https://example.org",
    "a",
    "json",
    "text",
    "info",
    "3650d",
    "16EiB",
    "1_000",
    "",
];

/// One or two settings, the values of which are often another's.
pub fn make(dice: &mut Dice) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..=dice.below(2) {
        let key = SETTINGS[dice.below(SETTINGS.len())].key;
        text.push_str(&format!("{key}={}\n", dice.pick(VALUES)));
        if dice.one_in(8) {
            text.push_str(&make::name(dice));
        }
    }
    text.into_bytes()
}

/// Settings are taken or every error is told; files are not looked for.
pub fn check(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs: Vec<(&str, &str)> = pairs.filter(|(key, _)| !key.contains("file")).collect();
    match Config::load(&Sources::default().with_flags(pairs)) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|warning| !warning.is_empty()));
            Outcome::Accepted
        }
        Err(problems) => {
            assert!(!problems.to_string().is_empty());
            Outcome::Refused("problems")
        }
    }
}
