//! Reads the members of an event one by one and collects what is wrong with them.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::delivery::parse_deliver_within;
use super::suggest::{self, Known};
use super::{MAX_EVENT_NAME_BYTES, refuse_empty};
use crate::event::{
    IdempotencyKey, MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS, User,
};
use crate::json::{self, JsonError, Kind, Reason, Scanner};
use crate::problem::{Invalid, Problem};

/// The most errors that are told at once: a body of a megabyte has room for 200,000 unknown names.
const MAX_ERRORS: usize = 32;
/// How much of an unknown name is shown, in characters.
const SHOWN_NAME_CHARS: usize = 64;

/// Which members an object may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Those of a publish body.
    Publish,
    /// Those, and which room, key and delay.
    BatchLine,
}

const PUBLISH: &[Known] = &[
    Known::here("data"),
    Known::here("event_name"),
    Known::here("user"),
    Known::here("headers"),
    Known::here("final"),
    Known { name: "from_user", shown: "/user/from_user" },
    Known { name: "to_user", shown: "/user/to_user" },
];
const BATCH_LINE: &[Known] = &[
    Known::here("event_id"),
    Known::here("event_type"),
    Known::here("idempotency_key"),
    Known::here("deliver_within"),
];
const USER: &[Known] = &[Known::here("from_user"), Known::here("to_user")];

/// The members that were there and are well.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) event_name: Option<Box<str>>,
    pub(super) from_user: Option<User>,
    pub(super) to_user: Option<User>,
    pub(super) data: Option<Bytes>,
    pub(super) headers: Vec<(Box<str>, Box<str>)>,
    pub(super) is_final: bool,
    pub(super) event_id: Option<Box<str>>,
    pub(super) event_type: Option<Box<str>>,
    pub(super) idempotency_key: Option<IdempotencyKey>,
    pub(super) deliver_within_ms: Option<u64>,
}

/// Reads one object.
pub(super) struct Reader<'a> {
    body: &'a Bytes,
    scanner: Scanner<'a>,
    form: Form,
    /// The outermost member that is being read.
    place: Cow<'a, str>,
    members: Members,
    errors: Vec<Invalid>,
    has_more_errors: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a Bytes, form: Form, max_depth: usize) -> Result<Self, Problem> {
        refuse_empty(body)?;
        Ok(Self {
            body,
            scanner: Scanner::new(json::utf8(body)?, max_depth),
            form,
            place: Cow::Borrowed(""),
            members: Members::default(),
            errors: Vec::new(),
            has_more_errors: false,
        })
    }

    /// Reads to the end: members that are well, and errors. What is not JSON has no members.
    pub(super) fn read(mut self) -> Result<(Members, Vec<Invalid>), Problem> {
        match self.object() {
            Ok(true) => {}
            // Not that everything is missing, too.
            Ok(false) => return Err(Problem::invalid_event(self.into_errors())),
            Err(error @ JsonError { reason: Reason::TooDeep(_), .. }) => {
                let pointer =
                    if self.place.is_empty() { String::new() } else { pointer(&[&self.place]) };
                self.fail(pointer, error.to_string());
                return Err(Problem::invalid_event(self.into_errors()));
            }
            Err(error) => return Err(error.into()),
        }
        let members = std::mem::take(&mut self.members);
        Ok((members, self.into_errors()))
    }

    fn into_errors(mut self) -> Vec<Invalid> {
        if self.has_more_errors {
            let detail = format!("more is wrong; these are the first {MAX_ERRORS} errors");
            self.errors.push(Invalid { pointer: String::new(), detail: detail.into() });
        }
        self.errors
    }

    /// Reads the whole text; whether it was an object.
    fn object(&mut self) -> Result<bool, JsonError> {
        if !self.is_kind(&[], Kind::Object)? {
            return self.scanner.end().map(|()| false);
        }
        self.scanner.open_object()?;
        let mut first = true;
        let mut seen = Seen::default();
        while let Some(raw) = self.scanner.next_name(&mut first)? {
            let name = name_of(raw);
            self.place = name.clone();
            self.member(&name, &mut seen)?;
        }
        self.scanner.end().map(|()| true)
    }

    fn member(&mut self, name: &str, seen: &mut Seen) -> Result<(), JsonError> {
        let in_batch = self.form == Form::BatchLine;
        match name {
            "data" if seen.first("data") => {
                let data = match self.scanner.minified()? {
                    Cow::Borrowed(part) => self.body.slice_ref(part.as_bytes()),
                    Cow::Owned(copy) => Bytes::from(copy),
                };
                self.members.data = Some(data);
            }
            "event_name" if seen.first("event_name") => {
                self.members.event_name = self.parsed(&[name], event_name)?;
            }
            "user" if seen.first("user") => self.user()?,
            "headers" if seen.first("headers") => self.headers()?,
            "final" if seen.first("final") => self.is_final()?,
            "event_id" if in_batch && seen.first("event_id") => {
                self.members.event_id = self.text(&[name])?.map(Into::into);
            }
            "event_type" if in_batch && seen.first("event_type") => {
                self.members.event_type = self.text(&[name])?.map(Into::into);
            }
            "idempotency_key" if in_batch && seen.first("idempotency_key") => {
                self.members.idempotency_key = self.parsed(&[name], IdempotencyKey::new)?;
            }
            "deliver_within" if in_batch && seen.first("deliver_within") => {
                self.members.deliver_within_ms = self.parsed(&[name], parse_deliver_within)?;
            }
            _ => {
                self.scanner.skip()?;
                let known = match self.form {
                    Form::Publish => [PUBLISH, &[]],
                    Form::BatchLine => [PUBLISH, BATCH_LINE],
                };
                self.refuse(&[name], seen, &known.concat());
            }
        }
        Ok(())
    }

    fn user(&mut self) -> Result<(), JsonError> {
        if !self.is_kind(&["user"], Kind::Object)? {
            return Ok(());
        }
        self.scanner.open_object()?;
        let mut first = true;
        let mut seen = Seen::default();
        while let Some(raw) = self.scanner.next_name(&mut first)? {
            let name = name_of(raw);
            let place = ["user", &name];
            match &*name {
                "from_user" if seen.first("from_user") => {
                    self.members.from_user = self.parsed(&place, User::new)?;
                }
                "to_user" if seen.first("to_user") => {
                    self.members.to_user = self.parsed(&place, User::new)?;
                }
                _ => {
                    self.scanner.skip()?;
                    self.refuse(&place, &seen, USER);
                }
            }
        }
        Ok(())
    }

    fn headers(&mut self) -> Result<(), JsonError> {
        if !self.is_kind(&["headers"], Kind::Object)? {
            return Ok(());
        }
        self.scanner.open_object()?;
        let mut first = true;
        let mut names: Vec<Cow<'a, str>> = Vec::new();
        while let Some(raw) = self.scanner.next_name(&mut first)? {
            let name = name_of(raw);
            if names.len() == MAX_HEADERS {
                // Not another look at their names: that would take the square of their number.
                let detail = format!("at most {MAX_HEADERS} headers are allowed");
                self.fail_once("/headers", detail);
                self.scanner.skip()?;
                continue;
            }
            let place = ["headers", &name];
            let value = self.parsed(&place, header_value)?;
            if names.contains(&name) {
                self.fail(pointer(&place), "is there twice");
            } else if let Err(detail) = header_name(&name) {
                self.fail(pointer(&place), detail);
            } else if let Some(value) = value {
                self.members.headers.push((Box::from(&*name), value));
            }
            names.push(name);
        }
        Ok(())
    }

    fn is_final(&mut self) -> Result<(), JsonError> {
        if self.is_kind(&["final"], Kind::Bool)? {
            self.members.is_final = self.scanner.skip()? == "true";
        }
        Ok(())
    }

    /// Whether the next value is of this kind; skips it with an error if not.
    fn is_kind(&mut self, place: &[&str], want: Kind) -> Result<bool, JsonError> {
        let kind = self.scanner.peek()?;
        if kind == want {
            return Ok(true);
        }
        self.scanner.skip()?;
        let is_member = kind == Kind::Null && !place.is_empty();
        let hint = if is_member { "; leave it out if there is none" } else { "" };
        let detail = format!("must be {}, not {}{hint}", want.as_str(), kind.as_str());
        self.fail(pointer(place), detail);
        Ok(false)
    }

    fn text(&mut self, place: &[&str]) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.is_kind(place, Kind::String)? {
            return Ok(None);
        }
        Ok(match json::unescape(self.scanner.string()?) {
            Ok(text) => Some(text),
            Err(error) => {
                self.fail(pointer(place), error.to_string());
                None
            }
        })
    }

    fn parsed<T, E: fmt::Display>(
        &mut self,
        place: &[&str],
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, JsonError> {
        Ok(match self.text(place)?.map(|text| parse(&text)) {
            Some(Ok(value)) => Some(value),
            Some(Err(error)) => {
                self.fail(pointer(place), error.to_string());
                None
            }
            None => None,
        })
    }

    /// Says of a member that it is there twice, or unknown and perhaps misspelled.
    fn refuse(&mut self, place: &[&str], seen: &Seen, known: &[Known]) {
        let name = place.last().copied().unwrap_or_default();
        if seen.0.contains(&name) {
            return self.fail(pointer(place), "is there twice");
        }
        let detail = match suggest::suggest(name, known) {
            Some(other) => format!("unknown field; did you mean {other}?"),
            None => "unknown field".to_owned(),
        };
        self.fail(pointer(place), detail);
    }

    fn fail_once(&mut self, pointer: &str, detail: String) {
        if !self.errors.iter().any(|error| error.pointer == pointer && error.detail == *detail) {
            self.fail(pointer.to_owned(), detail);
        }
    }

    fn fail(&mut self, pointer: String, detail: impl Into<Cow<'static, str>>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(Invalid { pointer, detail: detail.into() });
        } else {
            self.has_more_errors = true;
        }
    }
}

/// The known names of an object that were read.
#[derive(Default)]
struct Seen(Vec<&'static str>);

impl Seen {
    /// Whether `name` is seen for the first time.
    fn first(&mut self, name: &'static str) -> bool {
        let is_first = !self.0.contains(&name);
        if is_first {
            self.0.push(name);
        }
        is_first
    }
}

/// A member's name. One that is half a character is no name that is known: as it is spelled.
fn name_of(raw: &str) -> Cow<'_, str> {
    json::unescape(raw).unwrap_or(Cow::Borrowed(raw))
}

/// A JSON pointer (RFC 6901) to a member; a long name is cut, as it is only shown.
fn pointer(place: &[&str]) -> String {
    let mut pointer = String::new();
    for name in place {
        pointer.push('/');
        for (n, c) in name.chars().enumerate() {
            match c {
                _ if n == SHOWN_NAME_CHARS => {
                    pointer.push('…');
                    break;
                }
                '~' => pointer.push_str("~0"),
                '/' => pointer.push_str("~1"),
                c => pointer.push(c),
            }
        }
    }
    pointer
}

fn bounded(text: &str, least: usize, most: usize) -> Result<(), String> {
    if !(least..=most).contains(&text.len()) {
        return Err(format!("must have {least} to {most} bytes, not {}", text.len()));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("has the control character U+{:04X}; remove it", u32::from(c))),
        None => Ok(()),
    }
}

fn event_name(text: &str) -> Result<Box<str>, String> {
    bounded(text, 1, MAX_EVENT_NAME_BYTES).map(|()| text.into())
}

fn header_value(text: &str) -> Result<Box<str>, String> {
    bounded(text, 0, MAX_HEADER_VALUE_BYTES).map(|()| text.into())
}

fn header_name(text: &str) -> Result<(), String> {
    if (1..=MAX_HEADER_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
    {
        return Ok(());
    }
    Err(format!("a header's name must be 1 to {MAX_HEADER_NAME_BYTES} bytes of visible ASCII"))
}
