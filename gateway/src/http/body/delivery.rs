//! The request headers that say how an event is delivered: its key, its time and its trace.

use std::fmt;

use http::{HeaderMap, HeaderName};

use crate::event::{IdempotencyKey, TraceContext, trace};
use crate::problem::{Problem, ProblemKind};

/// The header with the publisher's key.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header with the time in which somebody must have been written the event.
pub const DELIVER_WITHIN: HeaderName = HeaderName::from_static("x-deliver-within");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `deliver_within`: a week, what Kafka keeps by default.
pub const MAX_DELIVER_WITHIN_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// How an event is delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The publisher's key for it.
    pub idempotency_key: Option<IdempotencyKey>,
    /// How long it may go unwritten, in milliseconds.
    pub deliver_within_ms: Option<u64>,
    /// Where its trace began.
    pub trace: TraceContext,
}

impl Delivery {
    /// Reads the headers of a publish request.
    ///
    /// # Errors
    /// `bad-request` with everything that is wrong. A trace that is not one is left out instead, as
    /// W3C Trace Context says: the event matters more.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut errors = Vec::new();
        let idempotency_key = one(headers, &IDEMPOTENCY_KEY, IdempotencyKey::new, &mut errors);
        let deliver_within_ms = one(headers, &DELIVER_WITHIN, parse_deliver_within, &mut errors);
        if !errors.is_empty() {
            return Err(Problem::new(ProblemKind::BadRequest, errors.join("; ")));
        }
        Ok(Self { idempotency_key, deliver_within_ms, trace: trace_of(headers) })
    }
}

/// The value of a header that may be there once.
fn one<T, E: fmt::Display>(
    headers: &HeaderMap,
    name: &HeaderName,
    parse: impl FnOnce(&str) -> Result<T, E>,
    errors: &mut Vec<String>,
) -> Option<T> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let parsed = match (first.to_str(), lines.next()) {
        (Ok(text), None) => parse(text).map_err(|error| error.to_string()),
        (Err(_), _) => Err("it must be visible ASCII".to_owned()),
        (_, Some(_)) => Err("it is there twice".to_owned()),
    };
    parsed.map_err(|error| errors.push(format!("{name}: {error}"))).ok()
}

/// Why a text is no time to deliver within.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number and ms, s, m, h or d, such as 30s; at least 1ms and at most 7d")]
pub struct DeliverWithinError;

/// Reads a duration such as `30s`, in milliseconds.
///
/// # Errors
/// If it is not written like that, or is 0 or more than [`MAX_DELIVER_WITHIN_MS`].
pub fn parse_deliver_within(text: &str) -> Result<u64, DeliverWithinError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err(DeliverWithinError),
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    ms.filter(|ms| (1..=MAX_DELIVER_WITHIN_MS).contains(ms)).ok_or(DeliverWithinError)
}

/// The W3C trace context of a request; empty if it has none or one that is not well-formed.
#[must_use]
pub fn trace_of(headers: &HeaderMap) -> TraceContext {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    let parent = match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().and_then(trace::parse_parent),
        _ => None,
    };
    let state = parent.as_ref().and_then(|_| {
        let lines = headers.get_all(TRACESTATE).iter().map(|line| line.to_str().ok());
        trace::parse_state(&lines.collect::<Option<Vec<_>>>()?.join(","))
    });
    TraceContext { parent, state }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value).expect("header value");
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    #[test]
    fn a_key_and_a_time_are_read() {
        let found = Delivery::of(&headers(&[
            ("idempotency-key", b"k-1"),
            ("x-deliver-within", b"30s"),
            ("traceparent", TRACE.as_bytes()),
        ]));
        let found = found.expect("delivery");
        assert_eq!(found.idempotency_key, IdempotencyKey::new("k-1").ok());
        assert_eq!(found.deliver_within_ms, Some(30_000));
        assert_eq!(found.trace.parent.as_deref(), Some(TRACE));
        assert_eq!(Delivery::of(&HeaderMap::new()), Ok(Delivery::default()));
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let error = Delivery::of(&headers(&[
            ("idempotency-key", b"a"),
            ("idempotency-key", b"b"),
            ("x-deliver-within", b"soon"),
            ("traceparent", b"nonsense"),
        ]));
        let error = error.expect_err("two are wrong");
        assert_eq!(error.kind, ProblemKind::BadRequest);
        assert!(error.detail.starts_with("idempotency-key: it is there twice; x-deliver-within: "));
        for bad in [&b"\xFF"[..], b"", b"a b", &[b'k'; 256]] {
            assert!(Delivery::of(&headers(&[("idempotency-key", bad)])).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_have_a_unit_and_bounds() {
        for (text, want) in [
            ("1ms", Some(1)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("7d", Some(MAX_DELIVER_WITHIN_MS)),
            ("0s", None),
            ("8d", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("+1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse_deliver_within(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn only_a_well_formed_trace_goes_on() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for (text, want) in [
            (TRACE.to_owned(), Some(TRACE.to_owned())),
            (format!("01-{trace}-{parent}-03-x"), Some(format!("00-{trace}-{parent}-01"))),
            (format!("cc-{trace}-{parent}-02"), Some(format!("00-{trace}-{parent}-00"))),
            (format!("{TRACE}-x"), None),
            (format!("cc-{trace}-{parent}-01x"), None),
            (format!("ff-{trace}-{parent}-01"), None),
            (format!("00-{}-{parent}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (TRACE.to_uppercase(), None),
            (format!("00-{trace}-{parent}-0"), None),
            (format!("00{trace}-{parent}--01x"), None),
            (String::new(), None),
        ] {
            let found = trace_of(&headers(&[("traceparent", text.as_bytes())]));
            assert_eq!(found.parent.as_deref(), want.as_deref(), "{text}");
        }
        let twice = [("traceparent", TRACE.as_bytes()), ("traceparent", TRACE.as_bytes())];
        assert_eq!(trace_of(&headers(&twice)), TraceContext::default());
    }

    #[test]
    fn the_state_of_a_trace_goes_with_it() {
        let state = |lines: &[&str]| {
            let mut all = headers(&[("traceparent", TRACE.as_bytes())]);
            for line in lines {
                all.append(TRACESTATE, HeaderValue::from_str(line).expect("header value"));
            }
            trace_of(&all).state
        };
        assert_eq!(state(&["a=1 , b=2", "c@d=x y"]).as_deref(), Some("a=1,b=2,c@d=x y"));
        assert_eq!(state(&["a=1,B=2"]), None);
        assert_eq!(state(&["a"]), None);
        assert_eq!(state(&[","]), None);
        let long: Vec<_> = (0..20).map(|n| format!("k{n}={}", "v".repeat(60))).collect();
        let kept = state(&[&long.join(",")]).expect("some of it");
        assert!(kept.len() <= 512 && kept.ends_with('v'), "{kept}");
        let many: Vec<_> = (0..33).map(|n| format!("k{n}=v")).collect();
        assert_eq!(state(&[&many.join(",")]), None);
        let alone = headers(&[("tracestate", b"a=1")]);
        assert_eq!(trace_of(&alone), TraceContext::default());
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(
            lines in prop::collection::vec((0_usize..4, prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-é]{0,3})?".prop_map(String::into_bytes),
                "[a-zé=, ]{0,20}".prop_map(String::into_bytes),
                "[0-9é]{0,20}(s|ms|é)".prop_map(String::into_bytes),
            ]), 0..4)
        ) {
            let names = [IDEMPOTENCY_KEY, DELIVER_WITHIN, TRACEPARENT, TRACESTATE];
            let mut headers = HeaderMap::new();
            for (n, value) in lines {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(names[n].clone(), value);
                }
            }
            if let Ok(found) = Delivery::of(&headers) {
                let texts = [found.trace.parent, found.trace.state];
                for text in texts.iter().flatten() {
                    prop_assert!(text.bytes().all(|b| matches!(b, b' '..=b'~')));
                }
            }
            // Not only what a header can carry.
            for (_, value) in &headers {
                let text = String::from_utf8_lossy(value.as_bytes());
                let _ = (trace::parse_parent(&text), trace::parse_state(&text));
            }
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in any::<String>()) {
            let _ = (trace::parse_parent(&text), trace::parse_state(&text), parse_deliver_within(&text));
        }
    }
}
