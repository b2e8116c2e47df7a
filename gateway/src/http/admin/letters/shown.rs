//! Letters as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::log::letter::{Outcome, Place, Replayed, Shelved};
use crate::log::record::field;

/// Bytes as text, or in base64 where they are none.
fn part(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// A letter without its record's fields and value.
pub(super) fn summary(shelved: &Shelved) -> Value {
    let Shelved { letter, replays, .. } = shelved;
    let original = &letter.record;
    let replays = replays.iter().map(|replay| {
        json!({
            "message_id": replay.message_id.to_string(),
            "pod": replay.pod,
            "at": replay.at,
        })
    });
    let mut shown = json!({
        "key": letter.place.to_string(),
        "reason": letter.reason.as_str(),
        "detail": letter.detail,
        "pod": letter.pod,
        "at": letter.at,
        "replayed": replays.collect::<Vec<_>>(),
        "record": {
            "key": original.key.as_deref().map(part),
            "event_type": original.field(field::EVENT_TYPE).map(part),
            "timestamp": original.timestamp,
            "bytes": letter.bytes(),
        },
    });
    if original.left_out > 0 {
        shown["record"]["left_out"] = original.left_out.into();
    }
    shown
}

/// All of a letter.
pub(super) fn whole(shelved: &Shelved) -> Value {
    let mut shown = summary(shelved);
    let original = &shelved.letter.record;
    let fields = original.fields.iter().map(|(name, value)| json!([part(name), part(value)]));
    shown["record"]["fields"] = fields.collect();
    shown["record"]["value"] = original.value.as_deref().map(part).into();
    shown
}

/// What became of a letter that was to be published again.
pub(super) fn outcome(replayed: &Replayed) -> Value {
    let mut shown = json!({ "key": replayed.place.to_string() });
    let mut put = |name: &str, value: String| shown[name] = value.into();
    let name = match &replayed.outcome {
        Outcome::Replayed(id) => {
            put("message_id", id.to_string());
            "replayed"
        }
        Outcome::Unmarked(id, why) => {
            put("message_id", id.to_string());
            put("detail", why.clone());
            "unmarked"
        }
        Outcome::Already => "already",
        Outcome::NoEvent(why) => {
            put("detail", why.to_string());
            "no_event"
        }
        Outcome::Failed(error) => {
            put("detail", error.to_string());
            "failed"
        }
    };
    put("outcome", name.to_owned());
    shown
}

/// A key that no letter has.
pub(super) fn missing(place: &Place) -> Value {
    json!({ "key": place.to_string(), "outcome": "not_found" })
}
