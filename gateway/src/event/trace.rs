//! The trace that an event belongs to, as W3C Trace Context spells it.

/// What must be passed on of a `tracestate` (W3C Trace Context, 3.3.1.5).
const MAX_STATE_BYTES: usize = 512;
const MAX_STATE_MEMBERS: usize = 32;

/// The W3C trace context of a publish request, carried on in the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceContext {
    /// The `traceparent` header's value.
    pub parent: Option<Box<str>>,
    /// The `tracestate` header's value.
    pub state: Option<Box<str>>,
}

/// Reads `version-traceid-parentid-flags`. What a later version adds is left out, as this is passed
/// on as version 00 (W3C Trace Context, 4.3).
#[must_use]
pub fn parse_parent(text: &str) -> Option<Box<str>> {
    let known = text.get(..55)?;
    let rest = &text[55..];
    let mut parts = known.split('-');
    let [version, trace, parent, flags] =
        [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let is_hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_well_formed = parts.next().is_none()
        && is_hex(version, 2)
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && trace.bytes().any(|b| b != b'0')
        && parent.bytes().any(|b| b != b'0')
        && version != "ff"
        && (rest.is_empty() || (version != "00" && rest.starts_with('-')));
    if !is_well_formed {
        return None;
    }
    if version == "00" {
        return Some(known.into());
    }
    // Of a later version's flags only this one is known.
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1;
    Some(format!("00-{trace}-{parent}-{sampled:02x}").into())
}

/// Reads a list of `key=value`. Members that are too many or too long are left out at the end.
#[must_use]
pub fn parse_state(text: &str) -> Option<Box<str>> {
    let mut state = String::new();
    let members = text.split(',').map(|m| m.trim_matches([' ', '\t'])).filter(|m| !m.is_empty());
    for (n, member) in members.enumerate() {
        let (key, value) = member.split_once('=')?;
        if !is_tracestate_key(key) || !is_tracestate_value(value) || n == MAX_STATE_MEMBERS {
            return None;
        }
        if state.len() + 1 + member.len() <= MAX_STATE_BYTES {
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
        } else {
            break;
        }
    }
    (!state.is_empty()).then(|| state.into())
}

fn is_tracestate_key(key: &str) -> bool {
    (1..=256).contains(&key.len())
        && key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && key
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@'))
}

fn is_tracestate_value(value: &str) -> bool {
    // The member was trimmed: it does not end in a space.
    (1..=256).contains(&value.len()) && value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
}
