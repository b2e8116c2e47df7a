//! `Accept-Encoding` (RFC 9110, 12.5.3): which content coding a stream gets.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::config::Stream;
use crate::wire::content::Coding;

/// How much a client wants something, in thousandths; 0 is not at all.
type Weight = u16;

/// What a client said.
#[derive(Debug, Default)]
struct Accepted {
    identity: Option<Weight>,
    gzip: Option<Weight>,
    zstd: Option<Weight>,
    /// Of what is not named.
    others: Option<Weight>,
}

/// The coding of a stream for a client with these headers, of those that the operator wants. Who
/// excludes all there is gets the stream as it is: an error would be of no more use to it.
pub(super) fn choose(headers: &HeaderMap, settings: &Stream) -> Coding {
    // Of two that are wanted as much gzip comes first: more clients read it.
    let offered = [(Coding::Gzip, settings.gzip), (Coding::Zstd, settings.zstd)];
    let offered = offered.into_iter().filter(|(_, on)| *on).map(|(coding, _)| coding);
    let mut offered = offered.peekable();
    if offered.peek().is_none() {
        return Coding::Identity;
    }
    let accepted = Accepted::by(headers);
    let mut best = (Coding::Identity, accepted.least_of_coded());
    for coding in offered {
        let weight = accepted.weight(coding);
        if weight > 0 && (weight > best.1 || best.0 == Coding::Identity && weight == best.1) {
            best = (coding, weight);
        }
    }
    best.0
}

impl Accepted {
    fn by(headers: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        // What is no text names nothing that is known here.
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        for (name, weight) in lines.flat_map(|line| line.split(',')).filter_map(element) {
            let slot = match name.to_ascii_lowercase().as_str() {
                "identity" => &mut accepted.identity,
                "gzip" | "x-gzip" => &mut accepted.gzip,
                "zstd" => &mut accepted.zstd,
                "*" => &mut accepted.others,
                _ => continue,
            };
            // Who says two things of one coding does not mind the lesser.
            *slot = Some(slot.map_or(weight, |before| before.min(weight)));
        }
        accepted
    }

    fn weight(&self, coding: Coding) -> Weight {
        let named = match coding {
            Coding::Identity => self.identity,
            Coding::Gzip => self.gzip,
            Coding::Zstd => self.zstd,
        };
        named.or(self.others).unwrap_or(0)
    }

    /// The weight that a coding has to have: that of none, if the client gave it one by name. Otherwise
    /// whoever accepts a coding wants it.
    fn least_of_coded(&self) -> Weight {
        self.identity.unwrap_or(0)
    }
}

/// A coding's name and weight; `None` if the element says nothing that can be understood.
fn element(text: &str) -> Option<(&str, Weight)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut weight = 1_000;
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        if key.trim_end().eq_ignore_ascii_case("q") {
            weight = thousandths(value.trim_start())?;
        }
    }
    Some((name, weight))
}

/// A weight: 0 to 1, with three digits after the point at most.
fn thousandths(text: &str) -> Option<Weight> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: Weight = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    fn chosen(lines: &[&str], gzip: bool, zstd: bool) -> Coding {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).expect("a value"));
        }
        choose(&headers, &Stream { gzip, zstd, ..Config::default().stream })
    }

    #[test]
    fn a_client_gets_what_it_wants_most_of_what_is_on() {
        use Coding::{Gzip, Identity, Zstd};
        let cases: [(&[&str], Coding); 32] = [
            (&[], Identity),
            (&[""], Identity),
            (&["gzip"], Gzip),
            (&["x-gzip"], Gzip),
            (&["GZIP;Q=0.5"], Gzip),
            (&["gzip, deflate, br, zstd"], Gzip),
            (&["deflate", "br , gzip ; q=0.001"], Gzip),
            (&["br", "zstd"], Zstd),
            (&["zstd, gzip;q=0"], Zstd),
            (&["zstd;q=0.9, gzip;q=0.8"], Zstd),
            (&["zstd;q=0.8, gzip;q=0.80"], Gzip),
            (&["*"], Gzip),
            (&["*;q=0.5, gzip;q=0"], Zstd),
            (&["*;q=0"], Identity),
            (&["identity;q=0, *"], Gzip),
            (&["identity;q=0"], Identity),
            (&["identity, gzip"], Gzip),
            (&["identity, gzip;q=0.5"], Identity),
            (&["identity;q=0.4, gzip;q=0.5"], Gzip),
            (&["identity;q=0.5, *;q=0.1"], Identity),
            (&["gzip;q=0"], Identity),
            (&["gzip;q=0.000"], Identity),
            (&["gzip;q=0, gzip"], Identity),
            (&["gzip;q=1.000"], Gzip),
            (&["gzip;q=1.001"], Identity),
            (&["gzip;q=2"], Identity),
            (&["gzip;q=0.0001"], Identity),
            (&["gzip;q=x"], Identity),
            (&["gzip;q="], Identity),
            (&["gzip;q"], Identity),
            (&[",, ,gzip;,"], Identity),
            (&["deflate, br"], Identity),
        ];
        for (lines, expected) in cases {
            assert_eq!(chosen(lines, true, true), expected, "{lines:?}");
        }
        assert_eq!(chosen(&["gzip, zstd"], false, false), Identity);
        assert_eq!(chosen(&["gzip, zstd"], false, true), Zstd);
        assert_eq!(chosen(&["gzip;q=0.1, zstd"], true, false), Gzip);
        assert_eq!(chosen(&["zstd"], true, false), Identity);
    }

    proptest! {
        #[test]
        fn what_is_not_accepted_is_never_chosen(
            lines in proptest::collection::vec("[ -~]{0,40}|([gG]zip|zstd|identity|\\*|br)(;q=[01](\\.[0-9]{0,3})?)?", 0..5),
            gzip: bool,
            zstd: bool,
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let chosen = chosen(&lines, gzip, zstd);
            let said = lines.join(",").to_ascii_lowercase();
            match chosen {
                Coding::Identity => {}
                Coding::Gzip => prop_assert!(gzip && (said.contains("gzip") || said.contains('*'))),
                Coding::Zstd => prop_assert!(zstd && (said.contains("zstd") || said.contains('*'))),
            }
        }

        #[test]
        fn weights_decide_in_every_order(
            weights in proptest::array::uniform3(0..=1_000_u16),
            order in Just(vec![0, 1, 2]).prop_shuffle(),
            several: bool,
        ) {
            let said: Vec<String> = order
                .into_iter()
                .map(|n: usize| {
                    let name = ["identity", "gzip", "zstd"][n];
                    format!("{name};q={}.{:03}", weights[n] / 1_000, weights[n] % 1_000)
                })
                .collect();
            let joined = said.join(", ");
            let lines: Vec<&str> =
                if several { said.iter().map(String::as_str).collect() } else { vec![&joined] };
            let [identity, gzip, zstd] = weights;
            let expected = if gzip > 0 && gzip >= zstd && gzip >= identity {
                Coding::Gzip
            } else if zstd > 0 && zstd >= identity {
                Coding::Zstd
            } else {
                Coding::Identity
            };
            prop_assert_eq!(chosen(&lines, true, true), expected);
        }
    }
}
