//! Who gets an event: what rooms and users say of its head.

use crate::event::{Audience, Pattern, User};
use crate::log::decode::Head;

/// Whether an event is of one of these rooms.
pub(crate) fn feeds(patterns: &[Pattern], head: &Head) -> bool {
    match &head.audience {
        Audience::Broadcast(_) => true,
        Audience::Room(room) => {
            patterns.iter().any(|p| p.id == room.id && p.takes(room.kind.as_str()))
        }
    }
}

/// Whether a reader that is `user` gets an event.
pub(crate) fn is_for(head: &Head, user: Option<&User>) -> bool {
    head.to_user.is_none() || head.to_user.as_ref() == user
}
