//! Guesses which name was meant.

/// A name that is known, and how it is shown to who misspelled it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) shown: &'static str,
}

impl Known {
    /// A name of the object at hand.
    pub(super) const fn here(name: &'static str) -> Self {
        Self { name, shown: name }
    }
}

/// No known name is nearly as long; what is longer is not compared.
const MAX_NAME_BYTES: usize = 32;

/// The known name that is nearest to `name`: the same but for case, `_` and `-`, or a slip or two
/// away.
pub(super) fn suggest(name: &str, known: &[Known]) -> Option<&'static str> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let name = normal(name);
    known
        .iter()
        .map(|known| (distance(&name, &normal(known.name)), known))
        .filter(|(distance, known)| *distance <= if known.name.len() > 5 { 2 } else { 1 })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.shown)
}

fn normal(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// How many characters must be put in, left out or replaced to make `a` of `b` (Levenshtein).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_other_spellings_are_recognised() {
        let known = [
            Known::here("data"),
            Known::here("event_name"),
            Known { name: "to_user", shown: "/user/to_user" },
        ];
        for (name, want) in [
            ("eventName", Some("event_name")),
            ("event-nam", Some("event_name")),
            ("Data", Some("data")),
            ("dat", Some("data")),
            ("to_usr", Some("/user/to_user")),
            ("payload", None),
            ("", None),
            ("💧", None),
            (&"data".repeat(100), None),
        ] {
            assert_eq!(suggest(name, &known), want, "{name}");
        }
        assert_eq!(distance(&['a', 'b'], &['b', 'a', 'b', 'c']), 2);
    }
}
