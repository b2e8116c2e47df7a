//! The keys that signatures are made with, as settings and files spell them.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sha2::Sha256;

/// The most keys that a set may have. A legacy signature is tried with every one of them.
pub const MAX_KEYS: usize = 256;
/// The longest name of a key, in bytes.
pub const MAX_KID_BYTES: usize = 32;

/// A key: a name, a secret and perhaps an end.
///
/// The secret itself is not kept: only the state of HMAC-SHA256 after it was fed, from which no
/// signature is made without code of this module, and a fingerprint.
pub struct Key {
    kid: Box<str>,
    mac: Hmac<Sha256>,
    /// HMAC of a fixed text: tells a replaced secret from the same one.
    fingerprint: [u8; 32],
    end: Option<u64>,
}

impl Key {
    fn new(kid: &str, secret: &str, end: Option<u64>) -> Option<Self> {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        let fingerprint = mac.clone().chain_update(b"tidegate-fingerprint").finalize();
        Some(Self { kid: kid.into(), mac, fingerprint: fingerprint.into_bytes().into(), end })
    }

    /// Its name, which signatures carry.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The Unix second at which it stops being valid.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.end
    }

    /// Whether it is valid at `now`, in Unix seconds.
    #[must_use]
    pub fn is_live(&self, now: u64) -> bool {
        self.end.is_none_or(|end| now < end)
    }

    /// An HMAC that has been fed the secret.
    pub(super) fn mac(&self) -> Hmac<Sha256> {
        self.mac.clone()
    }

    fn has_secret_of(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid && self.end == other.end && self.has_secret_of(other)
    }
}

/// A set of keys with different names, in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys(Vec<Arc<Key>>);

impl Keys {
    /// Reads `kid:secret[:end]`, comma-separated or one a line; blank lines and lines that start
    /// with `#` are left out. A secret is text without `:`, `,` and control characters that neither
    /// starts nor ends with whitespace. `end` is the Unix second from which the key is no longer
    /// valid, or `YYYY-MM-DD`, the last day (UTC) on which it is.
    ///
    /// # Errors
    /// Everything that is wrong, by line and entry; never what stands there, which may be a secret.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        let mut problems = Vec::new();
        let mut places = Vec::new();
        for (line_no, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            for (entry_no, entry) in (1..).zip(line.split(',').map(str::trim)) {
                let place = Place { line: line_no, entry: entry_no };
                let fault = match parse_entry(entry) {
                    Ok(key) => match keys.0.iter().position(|k| k.kid == key.kid) {
                        Some(first) => EntryFault::Duplicate(places[first]),
                        None if keys.0.len() == MAX_KEYS => EntryFault::TooMany,
                        None => {
                            places.push(place);
                            keys.0.push(Arc::new(key));
                            continue;
                        }
                    },
                    // A comma at a line's end is common in lists that grow.
                    Err(EntryFault::Empty) if entry_no > 1 => continue,
                    Err(fault) => fault,
                };
                problems.push((place, fault));
            }
        }
        if keys.0.is_empty() && problems.is_empty() {
            // An empty file is more likely a half-written one than a wish to refuse everybody.
            problems.push((Place { line: 1, entry: 1 }, EntryFault::NoKeys));
        }
        if problems.is_empty() { Ok(keys) } else { Err(KeysError(problems)) }
    }

    /// These keys and `others`.
    ///
    /// # Errors
    /// The name that both have with different secrets or ends.
    pub fn join(mut self, others: Self) -> Result<Self, Box<str>> {
        for key in others.0 {
            match self.get(&key.kid) {
                None => self.0.push(key),
                Some(own) if **own == *key => {}
                Some(_) => return Err(key.kid.clone()),
            }
        }
        Ok(self)
    }

    /// The key called `kid`.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<&Arc<Key>> {
        self.0.iter().find(|key| &*key.kid == kid)
    }

    /// The keys in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.0.iter()
    }

    /// The keys that are valid at `now`, in Unix seconds.
    pub fn live(&self, now: u64) -> impl Iterator<Item = &Arc<Key>> {
        self.0.iter().filter(move |key| key.is_live(now))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From when on, in Unix seconds, what was signed with `key` is revoked: 0 if the key was
    /// removed or its secret replaced, its present end if it has one.
    #[must_use]
    pub fn revoked_at(&self, key: &Key) -> Option<u64> {
        match self.get(&key.kid) {
            Some(present) if present.has_secret_of(key) => present.end,
            _ => Some(0),
        }
    }
}

fn parse_entry(entry: &str) -> Result<Key, EntryFault> {
    if entry.is_empty() {
        return Err(EntryFault::Empty);
    }
    let mut parts = entry.split(':');
    let kid = parts.next().unwrap_or_default();
    let secret = parts.next().ok_or(EntryFault::NoSecret)?;
    let end = parts.next();
    if parts.next().is_some() {
        return Err(EntryFault::TooManyParts);
    }
    if !is_kid(kid) {
        return Err(EntryFault::Kid);
    }
    if secret.is_empty() || secret.trim() != secret || secret.chars().any(char::is_control) {
        return Err(EntryFault::Secret);
    }
    let end = end.map(|end| parse_end(end).ok_or(EntryFault::End)).transpose()?;
    Key::new(kid, secret, end).ok_or(EntryFault::Secret)
}

/// Whether `text` can name a key: `[A-Za-z0-9_-]{1,32}`.
pub(super) fn is_kid(text: &str) -> bool {
    (1..=MAX_KID_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn parse_end(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok();
    }
    // jiff reads more spellings of a date than the contract has.
    let is_date = text.len() == 10
        && text.bytes().enumerate().all(|(n, b)| match n {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    if !is_date {
        return None;
    }
    let after = text.parse::<Date>().ok()?.tomorrow().ok()?;
    u64::try_from(after.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

/// Where an entry stands, both numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// Which of the line's comma-separated entries.
    pub entry: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, entry {}", self.line, self.entry)
    }
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// Nothing between two commas.
    #[error("there is no key before the comma")]
    Empty,
    /// No colon.
    #[error("a key is written kid:secret or kid:secret:end")]
    NoSecret,
    /// A third colon.
    #[error("a key has at most three parts, kid:secret:end; a secret cannot have a ':'")]
    TooManyParts,
    /// A name with other characters or of another length.
    #[error("the kid must be 1 to 32 of A-Z, a-z, 0-9, '_' and '-'")]
    Kid,
    /// A secret that is empty or that an editor may have changed.
    #[error("the secret must not be empty, have control characters, or start or end with a space")]
    Secret,
    /// An end that is no date and no number.
    #[error("the end must be YYYY-MM-DD or Unix seconds")]
    End,
    /// A name that was there before.
    #[error("the kid is that of the key at {0}; each needs its own")]
    Duplicate(Place),
    /// More than [`MAX_KEYS`].
    #[error("there are more than {MAX_KEYS} keys; remove those that have ended")]
    TooMany,
    /// Nothing but blank lines and comments.
    #[error("there are no keys")]
    NoKeys,
}

/// Everything that is wrong with a text of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysError(pub Vec<(Place, EntryFault)>);

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (place, fault)) in self.0.iter().enumerate() {
            let separator = if n > 0 { "; " } else { "" };
            write!(f, "{separator}{place}: {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for KeysError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_read_from_a_line_or_from_a_file() {
        let keys = Keys::parse("a:one, b-2:two:1763700000,").expect("keys");
        assert_eq!(keys.iter().map(|k| k.kid()).collect::<Vec<_>>(), ["a", "b-2"]);
        assert_eq!(keys.get("b-2").and_then(|k| k.end()), Some(1_763_700_000));
        let file = "# rotated in March\n\n a:one \r\nb-2:two:1763700000\n";
        assert_eq!(Keys::parse(file).expect("keys"), keys);
        // A '#' inside of a line is the secret's.
        assert!(Keys::parse("a:one#two").is_ok());
    }

    #[test]
    fn an_end_written_as_a_date_is_the_last_valid_day() {
        let keys = Keys::parse("a:s:2026-02-28").expect("keys");
        let key = keys.get("a").expect("a");
        // date -u -d 2026-03-01T00:00:00 +%s
        assert_eq!(key.end(), Some(1_772_323_200));
        assert!(key.is_live(1_772_323_199));
        assert!(!key.is_live(1_772_323_200));
        assert_eq!(keys.live(1_772_323_200).count(), 0);
    }

    #[test]
    fn every_fault_is_named_by_its_place_and_no_secret_is_shown() {
        let text = "hunter2\na:hunter2:x:y\n# ok\nü:hunter2\nb:hunter2,c:,b:hunter2\n\
                    d:hunter2:2026-13-01,e:hunter2:20260101x,f: hunter2,g:hunt\u{7}er2\n,h:hunter2";
        let error = Keys::parse(text).expect_err("faults");
        let at = |line, entry| Place { line, entry };
        assert_eq!(
            error.0,
            [
                (at(1, 1), EntryFault::NoSecret),
                (at(2, 1), EntryFault::TooManyParts),
                (at(4, 1), EntryFault::Kid),
                (at(5, 2), EntryFault::Secret),
                (at(5, 3), EntryFault::Duplicate(at(5, 1))),
                (at(6, 1), EntryFault::End),
                (at(6, 2), EntryFault::End),
                (at(6, 3), EntryFault::Secret),
                (at(6, 4), EntryFault::Secret),
                (at(7, 1), EntryFault::Empty),
            ]
        );
        assert!(!format!("{error} {error:?}").contains("hunt"));
        assert!(error.to_string().starts_with("line 1, entry 1: a key is written kid:secret"));
    }

    #[test]
    fn no_keys_at_all_is_a_fault() {
        for text in ["", "\n# none\n"] {
            let error = Keys::parse(text).expect_err("no keys");
            assert_eq!(error.0[0].1, EntryFault::NoKeys);
        }
        let many: String = (0..=MAX_KEYS).map(|n| format!("k{n}:s\n")).collect();
        assert_eq!(Keys::parse(&many).expect_err("too many").0[0].1, EntryFault::TooMany);
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = Keys::parse("a:hunter2").expect("keys");
        let shown = format!("{keys:?} {keys:#?}");
        assert!(shown.contains("\"a\"") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_removed_replaced_or_ended_key_revokes() {
        let old = Keys::parse("a:one").expect("keys");
        let key = old.get("a").expect("a");
        let revoked_at = |text: &str| Keys::parse(text).expect("keys").revoked_at(key);
        assert_eq!(revoked_at("b:two,a:one"), None);
        assert_eq!(revoked_at("a:one:77"), Some(77));
        assert_eq!(revoked_at("b:one"), Some(0));
        assert_eq!(revoked_at("a:two"), Some(0));
    }

    #[test]
    fn two_sets_join_unless_they_disagree() {
        let keys = |text: &str| Keys::parse(text).expect("keys");
        assert_eq!(keys("a:1").join(keys("b:2,a:1")), Ok(keys("a:1,b:2")));
        assert_eq!(keys("a:1").join(keys("a:2")), Err("a".into()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = Keys::parse(&text);
        }

        #[test]
        fn no_faulty_text_is_shown(part in "[a-z]{12}", text in r"[:,\n 0-9#]{0,12}") {
            let text = format!("{text}{part}{text}");
            if let Err(error) = Keys::parse(&text) {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains(&part));
            }
        }
    }
}
