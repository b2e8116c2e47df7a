//! Checks what a request claims, and says what it may do until when.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::credentials::{Carrier, Credentials};
use super::error::AuthError;
use super::keys::{Key, Keys};
use super::signature::{self, Action, Claim, Signature};
use crate::config::{self, AuthMode};
use crate::event::{Audience, EventId, Pattern, User};

/// The settings of authentication.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether requests are signed at all.
    pub mode: AuthMode,
    /// How far in the future a signature's expiry may be.
    pub max_lifetime: Option<Duration>,
    /// Whether the body of a publish must be signed.
    pub require_body_hash: bool,
    /// Whether the HMAC of `event_id:event_type` will do. It has no expiry: `max_lifetime` does not
    /// bound it.
    pub legacy_signature: bool,
}

#[cfg(test)]
impl Rules {
    /// Requests are signed, and nothing more is asked for.
    pub(crate) const SIGNED: Self = Self {
        mode: AuthMode::Hmac,
        max_lifetime: None,
        require_body_hash: false,
        legacy_signature: false,
    };
}

impl From<&config::Auth> for Rules {
    fn from(auth: &config::Auth) -> Self {
        Self {
            mode: auth.mode,
            max_lifetime: auth.max_lifetime,
            require_body_hash: auth.require_body_hash,
            legacy_signature: auth.legacy_signature,
        }
    }
}

/// Checks requests against the present keys. Times are Unix seconds.
#[derive(Debug)]
pub struct Verifier {
    rules: Rules,
    keys: ArcSwap<Keys>,
    generation: watch::Sender<u64>,
}

/// What a request may do, as whom and until when.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// The user: signed, or with `auth.mode=off` as the request names it.
    pub user: Option<User>,
    /// When the earliest of the signatures expires. The keys' ends are [`Verifier::state`]'s.
    pub expires_at: Option<u64>,
    /// The keys that it rests on; none with `auth.mode=off`.
    keys: Vec<Arc<Key>>,
}

impl Grant {
    /// The `from_user` of an event published under this grant, whose body names `claimed`.
    ///
    /// # Errors
    /// If somebody else than the signed user is named. A user who is not signed proves nothing and
    /// only fills in for an absent one.
    pub fn from_user(&self, claimed: Option<User>) -> Result<Option<User>, AuthError> {
        let is_signed = !self.keys.is_empty();
        match (&self.user, claimed) {
            (Some(user), Some(claimed)) if is_signed && *user != claimed => {
                Err(AuthError::FromUser)
            }
            (Some(user), None) => Ok(Some(user.clone())),
            (_, claimed) => Ok(claimed),
        }
    }
}

/// Whether a grant still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// It does, as the keys are now until this Unix second, or for ever.
    Good {
        /// When to look again.
        until: Option<u64>,
    },
    /// Its signature has expired.
    Expired,
    /// A key that it rests on was removed, replaced or has ended.
    Revoked,
}

/// What a batch may publish.
#[derive(Debug, Clone)]
pub struct BatchGrant {
    /// As whom and until when.
    pub grant: Grant,
    /// The only event id, or any and broadcasts.
    only: Option<EventId>,
}

/// The ids and types whose signature would do, the narrowest first.
type Scopes<'a> = Vec<(&'a str, &'a str)>;

impl Verifier {
    /// A verifier with these rules and keys.
    #[must_use]
    pub fn new(rules: Rules, keys: Keys) -> Self {
        Self { rules, keys: ArcSwap::from_pointee(keys), generation: watch::Sender::new(0) }
    }

    /// The present keys.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    /// Takes other keys and tells everybody who follows [`Verifier::changes`].
    pub fn replace(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
        // After the swap: whoever is woken must see the new keys.
        self.generation.send_modify(|generation| *generation = generation.wrapping_add(1));
    }

    /// Changes whenever the keys have. Open streams then ask [`Verifier::state`] again, and once
    /// after they began to follow: the keys may have changed since the grant.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Whether `grant` still holds at `now`.
    #[must_use]
    pub fn state(&self, grant: &Grant, now: u64) -> GrantState {
        let keys = self.keys.load();
        let revoked_at = grant.keys.iter().filter_map(|key| keys.revoked_at(key)).min();
        if revoked_at.is_some_and(|at| at <= now) {
            return GrantState::Revoked;
        }
        if grant.expires_at.is_some_and(|at| at <= now) {
            return GrantState::Expired;
        }
        GrantState::Good { until: revoked_at.into_iter().chain(grant.expires_at).min() }
    }

    /// Lets a request read `rooms`, live or from the history: with a signature for each of them in
    /// their order, or exactly one that covers them all.
    ///
    /// # Errors
    /// The first signature that will not do, or that their number is wrong.
    pub fn subscribe(
        &self,
        rooms: &[Pattern],
        credentials: &Credentials<'_>,
        now: u64,
    ) -> Result<Grant, AuthError> {
        let Some(request) = self.request(Action::Subscribe, credentials, None, now)? else {
            return Ok(Grant { user: credentials.user.clone(), ..Grant::default() });
        };
        match (rooms, &credentials.signatures[..]) {
            ([room], [text]) => match request.legacy(text, room.id.as_str(), room.kind_text()) {
                Some(outcome) => outcome,
                None => request.grant([(*text, covering(rooms))]),
            },
            ([_, ..], [text]) => request.grant([(*text, covering(rooms))]),
            (rooms, texts) if rooms.len() == texts.len() => {
                let each = rooms.iter().map(|room| covering(std::slice::from_ref(room)));
                request.grant(texts.iter().copied().zip(each))
            }
            (rooms, texts) => Err(AuthError::Count { given: texts.len(), rooms: rooms.len() }),
        }
    }

    /// Lets a request publish `body` to `audience`.
    ///
    /// # Errors
    /// Why its signature will not do.
    pub fn publish(
        &self,
        audience: &Audience,
        credentials: &Credentials<'_>,
        body: &[u8],
        now: u64,
    ) -> Result<Grant, AuthError> {
        let Some(request) = self.request(Action::Publish, credentials, Some(body), now)? else {
            return Ok(Grant { user: credentials.user.clone(), ..Grant::default() });
        };
        let text = request.only_signature()?;
        let (id, kind) = (audience.id_text(), audience.kind().as_str());
        let legacy = match audience {
            Audience::Room(_) => request.legacy(text, id, kind),
            Audience::Broadcast(_) => None,
        };
        let grant = legacy.unwrap_or_else(|| {
            let mut scopes = vec![(id, kind), (id, "*"), ("*", "*")];
            // For a broadcast the last two are one.
            scopes.dedup();
            request.grant([(text, scopes)])
        })?;
        let signs_body = Signature::parse(text).is_ok_and(|s| s.signs_body);
        if self.rules.require_body_hash && !signs_body {
            return Err(AuthError::BodyHash);
        }
        Ok(grant)
    }

    /// Lets a request publish a batch: to `only` this id, or to all rooms and broadcasts. Each line
    /// then asks [`Verifier::batch_line`].
    ///
    /// # Errors
    /// Why its signature will not do.
    pub fn batch(
        &self,
        only: Option<&EventId>,
        credentials: &Credentials<'_>,
        now: u64,
    ) -> Result<BatchGrant, AuthError> {
        let only_id = only.cloned();
        let Some(request) = self.request(Action::Publish, credentials, None, now)? else {
            let grant = Grant { user: credentials.user.clone(), ..Grant::default() };
            return Ok(BatchGrant { grant, only: only_id });
        };
        let text = request.only_signature()?;
        let mut scopes: Scopes<'_> = only.iter().map(|id| (id.as_str(), "*")).collect();
        scopes.push(("*", "*"));
        let grant = request.grant([(text, scopes)])?;
        if self.rules.require_body_hash {
            return Err(AuthError::Batch);
        }
        Ok(BatchGrant { grant, only: only_id })
    }

    /// Lets a line of a batch publish to `audience`.
    ///
    /// # Errors
    /// If the batch's signature does not cover it, or no longer holds.
    pub fn batch_line(
        &self,
        batch: &BatchGrant,
        audience: &Audience,
        now: u64,
    ) -> Result<(), AuthError> {
        match self.state(&batch.grant, now) {
            GrantState::Good { .. } => {}
            GrantState::Revoked => return Err(AuthError::Revoked),
            GrantState::Expired => {
                let expired = batch.grant.expires_at.unwrap_or(now);
                return Err(AuthError::Expired { ago: now - expired });
            }
        }
        match &batch.only {
            Some(id) if id.as_str() != audience.id_text() => {
                Err(AuthError::Scope { id: id.as_str().into() })
            }
            _ => Ok(()),
        }
    }

    /// The signed request to check; `None` if nothing is signed here.
    fn request<'a>(
        &'a self,
        action: Action,
        credentials: &'a Credentials<'a>,
        body: Option<&'a [u8]>,
        now: u64,
    ) -> Result<Option<Request<'a>>, AuthError> {
        match self.rules.mode {
            AuthMode::Off => Ok(None),
            AuthMode::Hmac if credentials.signatures.is_empty() => Err(AuthError::Missing),
            AuthMode::Hmac => {
                let keys = self.keys.load_full();
                Ok(Some(Request { rules: &self.rules, keys, action, credentials, body, now }))
            }
        }
    }
}

/// The scopes that cover all of `rooms`.
fn covering(rooms: &[Pattern]) -> Scopes<'_> {
    let mut scopes = Vec::with_capacity(3);
    if let [first, rest @ ..] = rooms
        && rest.iter().all(|room| room.id == first.id)
    {
        let id = first.id.as_str();
        if first.kind.is_some() && rest.iter().all(|room| room.kind == first.kind) {
            scopes.push((id, first.kind_text()));
        }
        scopes.push((id, "*"));
    }
    scopes.push(("*", "*"));
    scopes
}

/// A signed request while it is checked. All of its signatures are checked against one set of keys.
struct Request<'a> {
    rules: &'a Rules,
    keys: Arc<Keys>,
    action: Action,
    credentials: &'a Credentials<'a>,
    /// The body, where its hash may be signed.
    body: Option<&'a [u8]>,
    now: u64,
}

impl Request<'_> {
    fn only_signature(&self) -> Result<&str, AuthError> {
        match self.credentials.signatures[..] {
            [text] => Ok(text),
            ref texts => Err(AuthError::Count { given: texts.len(), rooms: 1 }),
        }
    }

    fn user(&self) -> &str {
        self.credentials.user.as_ref().map_or("", User::as_str)
    }

    /// What the signatures grant together, each of which must have one of its scopes.
    fn grant<'s>(
        &self,
        signed: impl IntoIterator<Item = (&'s str, Scopes<'s>)>,
    ) -> Result<Grant, AuthError> {
        let mut grant = Grant { user: self.credentials.user.clone(), ..Grant::default() };
        for (text, scopes) in signed {
            let (key, expires_at) = self.check(text, &scopes)?;
            grant.expires_at = Some(grant.expires_at.map_or(expires_at, |at| at.min(expires_at)));
            if !grant.keys.iter().any(|known| Arc::ptr_eq(known, key)) {
                grant.keys.push(key.clone());
            }
        }
        Ok(grant)
    }

    /// The key and the expiry of a signature that has one of `scopes`.
    fn check(&self, text: &str, scopes: &Scopes<'_>) -> Result<(&Arc<Key>, u64), AuthError> {
        let signature = Signature::parse(text)?;
        let body_hash = match self.body {
            Some(body) if signature.signs_body => Some(signature::body_hash(body)),
            None if signature.signs_body => return Err(AuthError::NoBodyHere),
            _ => None,
        };
        let expires_at = signature.expires_at;
        if expires_at <= self.now {
            return Err(AuthError::Expired { ago: self.now - expires_at });
        }
        let left = expires_at - self.now;
        if let Some(most) = self.rules.max_lifetime.map(|most| most.as_secs())
            && left > most
        {
            return Err(AuthError::Lifetime { left, most });
        }
        let Some(key) = self.keys.get(signature.kid) else {
            return Err(AuthError::UnknownKey { kid: signature.kid.into() });
        };
        if !key.is_live(self.now) {
            return Err(AuthError::KeyEnded { kid: signature.kid.into() });
        }
        let (action, user) = (self.action, self.user());
        let is_signed = scopes.iter().any(|&(id, kind)| {
            let claim = Claim { action, id, kind, user, expires_at, body_hash };
            claim.is_signed(key, &signature)
        });
        if is_signed {
            return Ok((key, expires_at));
        }
        let (id, kind) = scopes.first().copied().unwrap_or(("*", "*"));
        Err(self.mismatch(id, kind, signature.signs_body))
    }

    /// What `text` grants if it is written as a legacy signature and those are taken. An unsigned
    /// user is nobody, and it signs none.
    fn legacy(&self, text: &str, id: &str, kind: &str) -> Option<Result<Grant, AuthError>> {
        let is_taken = self.rules.legacy_signature && self.credentials.carrier != Carrier::Cookie;
        let mac = signature::parse_hex(text).filter(|_| is_taken)?;
        let key = self
            .keys
            .live(self.now)
            // `*` is not one room, and its text says nothing about the rooms it would open.
            .find(|key| kind != "*" && signature::is_legacy_signed(key, id, kind, &mac));
        Some(match key {
            Some(key) => Ok(Grant { user: None, expires_at: None, keys: vec![key.clone()] }),
            None => Err(self.mismatch(id, kind, false)),
        })
    }

    fn mismatch(&self, id: &str, kind: &str, body: bool) -> AuthError {
        AuthError::Mismatch {
            action: self.action,
            id: id.into(),
            kind: kind.into(),
            user: self.user().into(),
            body,
        }
    }
}

#[cfg(test)]
mod tests;
