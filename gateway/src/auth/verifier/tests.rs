use proptest::prelude::*;

use super::*;
use crate::auth::FailureReason;
use crate::auth::signature::{SignatureError, body_hash, sign_legacy};
use crate::event::{EventType, Room};

const NOW: u64 = 1_763_700_000;
const RULES: Rules = Rules::SIGNED;

fn keys(text: &str) -> Keys {
    Keys::parse(text).expect("keys")
}

fn verifier(rules: Rules) -> Verifier {
    Verifier::new(rules, keys("a:one,b:two,old:three:1763700000,soon:four:1763700050"))
}

fn user(name: &str) -> Option<User> {
    (!name.is_empty()).then(|| User::new(name).expect("user"))
}

fn carried<'a>(texts: &[&'a str], name: &str) -> Credentials<'a> {
    Credentials { signatures: texts.to_vec(), carrier: Carrier::Header, user: user(name) }
}

fn rooms(texts: &[&str]) -> Vec<Pattern> {
    texts
        .iter()
        .map(|text| text.split_once('/').expect("E/T"))
        .map(|(id, kind)| Pattern::new(id, kind).expect("pattern"))
        .collect()
}

fn audience(id: &str, kind: &str) -> Audience {
    let kind = EventType::new(kind).expect("type");
    match id {
        "*" => Audience::Broadcast(kind),
        id => Audience::Room(Room { id: EventId::new(id).expect("id"), kind }),
    }
}

/// Signs `scope`, written `E/T`, with the key `a` or another one, for a minute.
struct Sign<'a> {
    action: Action,
    scope: &'a str,
    user: &'a str,
    kid: &'a str,
    left: u64,
    body: Option<&'a [u8]>,
}

fn subscribe(scope: &str) -> Sign<'_> {
    Sign { action: Action::Subscribe, scope, user: "", kid: "a", left: 60, body: None }
}

fn publish(scope: &str) -> Sign<'_> {
    Sign { action: Action::Publish, ..subscribe(scope) }
}

impl Sign<'_> {
    fn text(&self) -> String {
        let (id, kind) = self.scope.split_once('/').expect("E/T");
        let claim = Claim {
            action: self.action,
            id,
            kind,
            user: self.user,
            expires_at: NOW + self.left,
            body_hash: self.body.map(body_hash),
        };
        claim.sign(verifier(RULES).keys().get(self.kid).expect("key"))
    }
}

fn reason(outcome: Result<Grant, AuthError>) -> FailureReason {
    outcome.expect_err("refused").reason()
}

#[test]
fn a_signature_opens_what_it_covers_and_nothing_wider() {
    let verifier = verifier(RULES);
    for (signed, room, is_let_in) in [
        ("e/t", "e/t", true),
        ("e/*", "e/t", true),
        ("e/*", "e/*", true),
        ("*/*", "e/t", true),
        ("*/*", "e/*", true),
        ("e/t", "e/*", false),
        ("e/t", "e/u", false),
        ("e/t", "f/t", false),
        ("*/t", "e/t", false),
        ("f/*", "e/t", false),
    ] {
        let text = subscribe(signed).text();
        let outcome = verifier.subscribe(&rooms(&[room]), &carried(&[&text], ""), NOW);
        assert_eq!(outcome.is_ok(), is_let_in, "{signed} for {room}");
        let text = publish(signed).text();
        let outcome = verifier.subscribe(&rooms(&[room]), &carried(&[&text], ""), NOW);
        assert_eq!(reason(outcome), FailureReason::Mismatch, "publish does not subscribe");
    }
}

#[test]
fn several_rooms_have_a_signature_each_or_one_for_all() {
    let verifier = verifier(RULES);
    let outcome = |asked: &[&str], signed: &[&str]| {
        let texts: Vec<_> = signed.iter().map(|scope| subscribe(scope).text()).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        verifier.subscribe(&rooms(asked), &carried(&texts, ""), NOW).map_err(|e| e.reason())
    };
    assert!(outcome(&["e/t", "f/u"], &["e/t", "f/u"]).is_ok());
    assert!(outcome(&["e/t", "f/u"], &["e/*", "*/*"]).is_ok());
    assert!(outcome(&["e/t", "f/u"], &["*/*"]).is_ok());
    assert!(outcome(&["e/t", "e/*"], &["e/*"]).is_ok());
    assert!(outcome(&["e/t", "e/t"], &["e/t"]).is_ok());
    for (asked, signed, reason) in [
        (&["e/t", "f/u"][..], &["f/u", "e/t"][..], FailureReason::Mismatch),
        (&["e/t", "e/u"], &["e/t"], FailureReason::Mismatch),
        (&["e/t", "f/u"], &["e/*"], FailureReason::Mismatch),
        (&["e/t", "f/u", "g/v"], &["*/*", "*/*"], FailureReason::Count),
        (&["e/t"], &["e/t", "e/t"], FailureReason::Count),
        (&["e/t"], &[], FailureReason::Missing),
        (&[], &["*/*"], FailureReason::Count),
    ] {
        assert_eq!(outcome(asked, signed).expect_err("refused"), reason, "{asked:?} {signed:?}");
    }
}

#[test]
fn a_grant_ends_at_the_earliest_expiry_or_with_its_keys() {
    let verifier = verifier(RULES);
    let texts = [
        Sign { left: 90, ..subscribe("e/t") }.text(),
        Sign { left: 70, kid: "b", ..subscribe("f/u") }.text(),
    ];
    let texts = [&*texts[0], &*texts[1]];
    let grant =
        verifier.subscribe(&rooms(&["e/t", "f/u"]), &carried(&texts, ""), NOW).expect("grant");
    assert_eq!(grant.expires_at, Some(NOW + 70));
    assert_eq!(verifier.state(&grant, NOW), GrantState::Good { until: Some(NOW + 70) });
    assert_eq!(verifier.state(&grant, NOW + 70), GrantState::Expired);

    let changes = verifier.changes();
    verifier.replace(keys("a:one,b:two:1763700010"));
    assert!(changes.has_changed().expect("open"));
    assert_eq!(verifier.state(&grant, NOW), GrantState::Good { until: Some(NOW + 10) });
    assert_eq!(verifier.state(&grant, NOW + 10), GrantState::Revoked);
    for without in ["a:one", "a:one,b:other"] {
        verifier.replace(keys(without));
        assert_eq!(verifier.state(&grant, NOW), GrantState::Revoked, "{without}");
    }
}

#[test]
fn the_user_is_signed() {
    let verifier = verifier(RULES);
    let text = Sign { user: "anna", ..subscribe("e/t") }.text();
    let as_user = |name| verifier.subscribe(&rooms(&["e/t"]), &carried(&[&text], name), NOW);
    assert_eq!(as_user("anna").expect("grant").user, user("anna"));
    assert_eq!(reason(as_user("")), FailureReason::Mismatch);
    assert_eq!(reason(as_user("berta")), FailureReason::Mismatch);
}

#[test]
fn every_refusal_has_its_reason() {
    let rules = Rules { max_lifetime: Some(Duration::from_secs(60)), ..RULES };
    let verifier = verifier(rules);
    let outcome =
        |text: &str| reason(verifier.subscribe(&rooms(&["e/t"]), &carried(&[text], ""), NOW));
    let base = subscribe("e/t").text();
    assert!(verifier.subscribe(&rooms(&["e/t"]), &carried(&[&base], ""), NOW).is_ok());
    assert_eq!(outcome("hello"), FailureReason::Malformed);
    assert_eq!(outcome(&base.replace("v1.a.", "v1.nobody.")), FailureReason::UnknownKey);
    assert_eq!(outcome(&Sign { kid: "old", ..subscribe("e/t") }.text()), FailureReason::UnknownKey);
    assert_eq!(outcome(&Sign { left: 0, ..subscribe("e/t") }.text()), FailureReason::Expired);
    assert_eq!(outcome(&Sign { left: 61, ..subscribe("e/t") }.text()), FailureReason::Lifetime);
    assert_eq!(outcome(&base.replace("v1.a.", "v1.b.")), FailureReason::Mismatch);
    let later = base.replace(&(NOW + 60).to_string(), &(NOW + 59).to_string());
    assert_eq!(outcome(&later), FailureReason::Mismatch);
    let body = Sign { body: Some(b""), ..subscribe("e/t") }.text();
    assert_eq!(outcome(&body), FailureReason::Malformed);
}

#[test]
fn a_publish_is_for_its_room_and_its_body() {
    let verifier = verifier(RULES);
    let room = audience("e", "t");
    let go = |audience: &Audience, text: &str, body: &[u8]| {
        verifier.publish(audience, &carried(&[text], ""), body, NOW)
    };
    for scope in ["e/t", "e/*", "*/*"] {
        assert!(go(&room, &publish(scope).text(), b"x").is_ok(), "{scope}");
    }
    assert_eq!(reason(go(&room, &publish("*/t").text(), b"x")), FailureReason::Mismatch);
    assert_eq!(reason(go(&room, &subscribe("e/t").text(), b"x")), FailureReason::Mismatch);
    let all = audience("*", "t");
    for scope in ["*/t", "*/*"] {
        assert!(go(&all, &publish(scope).text(), b"x").is_ok(), "{scope}");
    }
    assert_eq!(reason(go(&all, &publish("e/t").text(), b"x")), FailureReason::Mismatch);
    let of_body = Sign { body: Some(b"x"), ..publish("e/t") }.text();
    assert!(go(&room, &of_body, b"x").is_ok());
    assert_eq!(reason(go(&room, &of_body, b"y")), FailureReason::Mismatch);
    // The flag is not signed, but what it stands for is.
    let unflagged = of_body.trim_end_matches(".b");
    assert_eq!(reason(go(&room, unflagged, b"x")), FailureReason::Mismatch);
}

#[test]
fn a_required_body_hash_is_asked_of_good_signatures() {
    let verifier = verifier(Rules { require_body_hash: true, ..RULES });
    let go = |sign: Sign<'_>| {
        verifier.publish(&audience("e", "t"), &carried(&[&sign.text()], ""), b"x", NOW)
    };
    assert!(go(Sign { body: Some(b"x"), ..publish("e/t") }).is_ok());
    let error = go(publish("e/t")).expect_err("no body hash");
    assert_eq!((error.reason(), error.is_forbidden()), (FailureReason::BodyHash, true));
    let error = go(publish("f/t")).expect_err("another room");
    assert_eq!((error.reason(), error.is_forbidden()), (FailureReason::Mismatch, false));
    let text = publish("*/*").text();
    let error = verifier.batch(None, &carried(&[&text], ""), NOW).expect_err("a batch");
    assert_eq!(error, AuthError::Batch);
    let text = subscribe("e/t").text();
    assert!(verifier.subscribe(&rooms(&["e/t"]), &carried(&[&text], ""), NOW).is_ok());
}

#[test]
fn a_batch_is_for_all_or_for_one_id() {
    let verifier = verifier(RULES);
    let e = EventId::new("e").expect("id");
    let batch = |only: Option<&EventId>, scope: &str| {
        verifier.batch(only, &carried(&[&publish(scope).text()], ""), NOW)
    };
    let all = batch(None, "*/*").expect("all");
    for audience in [audience("e", "t"), audience("*", "t")] {
        assert_eq!(verifier.batch_line(&all, &audience, NOW), Ok(()));
    }
    for scope in ["e/*", "*/*"] {
        let one = batch(Some(&e), scope).expect("one id");
        assert_eq!(verifier.batch_line(&one, &audience("e", "t"), NOW), Ok(()));
        for other in [audience("f", "t"), audience("*", "t")] {
            let error = verifier.batch_line(&one, &other, NOW).expect_err("another id");
            assert_eq!((error.reason(), error.is_forbidden()), (FailureReason::Scope, true));
        }
    }
    for (only, scope) in [(None, "e/*"), (Some(&e), "e/t"), (Some(&e), "f/*"), (None, "*/t")] {
        assert_eq!(batch(only, scope).expect_err(scope).reason(), FailureReason::Mismatch);
    }
    let line = |now| verifier.batch_line(&all, &audience("e", "t"), now);
    assert_eq!(line(NOW + 61), Err(AuthError::Expired { ago: 1 }));
    verifier.replace(keys("b:two"));
    assert_eq!(line(NOW), Err(AuthError::Revoked));
}

#[test]
fn the_sender_is_the_signed_user() {
    let verifier = verifier(RULES);
    let grant = |name: &str| {
        let text = Sign { user: name, ..publish("e/t") }.text();
        verifier.publish(&audience("e", "t"), &carried(&[&text], name), b"x", NOW).expect("grant")
    };
    assert_eq!(grant("anna").from_user(None), Ok(user("anna")));
    assert_eq!(grant("anna").from_user(user("anna")), Ok(user("anna")));
    assert_eq!(grant("anna").from_user(user("berta")), Err(AuthError::FromUser));
    assert_eq!(grant("").from_user(user("berta")), Ok(user("berta")));
    assert_eq!(grant("").from_user(None), Ok(None));
}

#[test]
fn without_authentication_the_user_is_taken_as_given() {
    let verifier = verifier(Rules { mode: AuthMode::Off, require_body_hash: true, ..RULES });
    let nothing = carried(&["nonsense"], "anna");
    let grant = verifier.subscribe(&rooms(&["e/t", "f/u"]), &nothing, NOW).expect("grant");
    assert_eq!((&grant.user, grant.expires_at), (&user("anna"), None));
    verifier.replace(keys("z:z"));
    assert_eq!(verifier.state(&grant, u64::MAX), GrantState::Good { until: None });
    let grant = verifier.publish(&audience("e", "t"), &nothing, b"x", NOW).expect("grant");
    assert_eq!(grant.from_user(user("berta")), Ok(user("berta")));
    assert_eq!(grant.from_user(None), Ok(user("anna")));
    assert!(verifier.batch(None, &nothing, NOW).is_ok());
}

#[test]
fn a_legacy_signature_is_for_one_room_and_nobody() {
    let on = verifier(Rules { legacy_signature: true, ..RULES });
    let off = verifier(RULES);
    let set = on.keys();
    let sign = |kid: &str, id, kind| sign_legacy(set.get(kid).expect("key"), id, kind);
    let text = sign("b", "e", "t");
    let grant =
        on.subscribe(&rooms(&["e/t"]), &carried(&[&text], "anna"), NOW).expect("legacy grant");
    assert_eq!((&grant.user, grant.expires_at), (&None, None));
    assert_eq!(on.state(&grant, NOW), GrantState::Good { until: None });
    assert!(on.publish(&audience("e", "t"), &carried(&[&text], ""), b"x", NOW).is_ok());

    let malformed = AuthError::Malformed(SignatureError::Version);
    let refused = |verifier: &Verifier, room: &[&str], texts: &[&str]| {
        verifier.subscribe(&rooms(room), &carried(texts, ""), NOW).expect_err("refused")
    };
    assert_eq!(refused(&off, &["e/t"], &[&text]), malformed);
    assert_eq!(refused(&on, &["e/u"], &[&text]).reason(), FailureReason::Mismatch);
    assert_eq!(refused(&on, &["e/*"], &[&sign("a", "e", "*")]).reason(), FailureReason::Mismatch);
    let colon = sign("a", "e:f", "t");
    assert_eq!(refused(&on, &["e:f/t"], &[&colon]).reason(), FailureReason::Mismatch);
    let ended = sign("old", "e", "t");
    assert_eq!(refused(&on, &["e/t"], &[&ended]).reason(), FailureReason::Mismatch);
    assert_eq!(refused(&on, &["e/t", "e/t"], &[&text]), malformed);
    assert_eq!(refused(&on, &["e/t", "e/t"], &[&text, &text]), malformed);
    let cookie = Credentials { carrier: Carrier::Cookie, ..carried(&[&text], "") };
    assert_eq!(on.subscribe(&rooms(&["e/t"]), &cookie, NOW).expect_err("cookie"), malformed);
    let all = sign("a", "*", "t");
    let broadcast = on.publish(&audience("*", "t"), &carried(&[&all], ""), b"x", NOW);
    assert_eq!(broadcast.expect_err("broadcast"), malformed);
    let all = sign("a", "*", "*");
    assert_eq!(on.batch(None, &carried(&[&all], ""), NOW).expect_err("batch"), malformed);
    let strict = verifier(Rules { require_body_hash: true, legacy_signature: true, ..RULES });
    let unhashed = strict.publish(&audience("e", "t"), &carried(&[&text], ""), b"x", NOW);
    assert_eq!(unhashed.expect_err("no body hash"), AuthError::BodyHash);
}

#[test]
fn messages_say_what_to_sign_and_show_no_signature() {
    let verifier = verifier(RULES);
    let text = publish("e/t").text();
    let error = verifier
        .subscribe(&rooms(&["e/t"]), &carried(&[&text], "anna"), NOW)
        .expect_err("another action");
    let shown = error.to_string();
    assert!(shown.contains("v1, subscribe, e, t, anna, the expiry, -"), "{shown}");
    let (_, mac) = text.rsplit_once('.').expect("mac");
    assert!(!format!("{shown} {error:?}").contains(mac));
}

proptest! {
    /// One changed character makes every signature one of something else.
    #[test]
    fn no_changed_signature_is_taken(at in 0_usize..100, with in "[0-9a-z.]") {
        let verifier = verifier(RULES);
        let text = subscribe("e/t").text();
        let mut changed = text.clone();
        let at = at % text.len();
        changed.replace_range(at..=at, &with);
        let outcome = verifier.subscribe(&rooms(&["e/t"]), &carried(&[&changed], ""), NOW);
        prop_assert_eq!(outcome.is_ok(), changed == text);
    }
}
