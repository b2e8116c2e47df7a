//! Signatures on a running gateway: who gets in, and when streams end for it.

use std::fs;

use serde_json::json;
use tidegate::auth::signature::{body_hash, sign_legacy};
use tidegate::auth::{Action, Claim, Keys};
use tidegate::clock::now_ms;

use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::stream::Stream;

const SECRETS: &str = "k1:one-secret,k2:another-secret";
const ROOM: &str = "/v1/subscribe/events/a/types/t";
const PUBLISH: &str = "/v1/sse/events/a/types/t";

fn unix_seconds() -> u64 {
    u64::try_from(now_ms() / 1000).expect("after 1970")
}

/// A claim of no user that holds for ten minutes.
fn claim<'a>(action: Action, id: &'a str, kind: &'a str) -> Claim<'a> {
    let expires_at = unix_seconds() + 600;
    Claim { action, id, kind, user: "", expires_at, body_hash: None }
}

fn sign(kid: &str, claim: &Claim<'_>) -> String {
    let keys = Keys::parse(SECRETS).expect("keys");
    claim.sign(keys.get(kid).expect("a key"))
}

fn subscribe(id: &str, kind: &str) -> String {
    sign("k1", &claim(Action::Subscribe, id, kind))
}

async fn gateway(more: &[&str]) -> Gateway {
    let mut flags = vec!["--auth-mode=hmac", "--telemetry-log-level=trace"];
    flags.extend(more);
    let gateway = Gateway::spawn_with(&flags, &[("TIDEGATE_AUTH_KEYS", SECRETS)]).await;
    gateway.until_ready().await;
    gateway
}

async fn status(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut wire = http::Wire::connect(gateway.public()).await;
    let headers: String = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    wire.send(format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n").as_bytes()).await;
    wire.head().await.expect("an answer").0
}

#[tokio::test]
async fn a_signature_opens_what_it_names_by_header_query_or_cookie() {
    let gateway = gateway(&[]).await;
    let exact = subscribe("a", "t");
    let cookie = format!("other=1; tidegate_signature={exact}");
    assert_eq!(status(&gateway, ROOM, &[("x-signature", &exact)]).await, 200);
    assert_eq!(status(&gateway, &format!("{ROOM}?signature={exact}"), &[]).await, 200);
    assert_eq!(status(&gateway, ROOM, &[("cookie", &cookie)]).await, 200);
    for wider in [subscribe("a", "*"), subscribe("*", "*")] {
        assert_eq!(status(&gateway, ROOM, &[("x-signature", &wider)]).await, 200);
    }
    let publish = sign("k1", &claim(Action::Publish, "a", "t"));
    let old = Claim { expires_at: unix_seconds() - 1, ..claim(Action::Subscribe, "a", "t") };
    let refused = [
        String::new(),
        "v1.k1.1.zz".to_owned(),
        publish,
        sign("k1", &old),
        subscribe("b", "t"),
        subscribe("a", "s"),
        exact.replace("k1", "k2"),
        exact.replace("k1", "k3"),
    ];
    for signature in &refused {
        let answer = http::get(gateway.public(), ROOM, &[("x-signature", signature)]).await;
        assert_eq!(answer.status, 401, "{signature}");
        assert_eq!(answer.json()["type"], "urn:tidegate:problem:unauthorized");
    }
    // The wildcard needs a wildcard's signature.
    let all = "/v1/subscribe/events/a/types/*";
    assert_eq!(status(&gateway, all, &[("x-signature", &exact)]).await, 401);
    let said = gateway.log();
    for signature in refused.iter().chain([&exact]).filter(|s| s.len() > 20) {
        let mac = signature.rsplit('.').next().expect("a MAC");
        assert!(!said.contains(mac), "a signature is in a log line");
    }
    assert!(!said.contains("one-secret"));
    assert!(gateway.metric("tidegate_signature_failures_total", "").await >= 8.0);
}

#[tokio::test]
async fn several_rooms_take_one_signature_each_or_one_for_all() {
    let gateway = gateway(&[]).await;
    let path = "/v1/subscribe?room=a/t&room=a/s";
    let (one, two, all) = (subscribe("a", "t"), subscribe("a", "s"), subscribe("a", "*"));
    let with = |signatures: &[&String]| {
        signatures.iter().fold(path.to_owned(), |path, s| format!("{path}&signature={s}"))
    };
    assert_eq!(status(&gateway, &with(&[&one, &two]), &[]).await, 200);
    assert_eq!(status(&gateway, &with(&[&all]), &[]).await, 200);
    for wrong in [&[&two, &one][..], &[&one], &[&one, &two, &all], &[]] {
        assert_eq!(status(&gateway, &with(wrong), &[]).await, 401, "{}", wrong.len());
    }
}

#[tokio::test]
async fn the_user_is_the_signed_one() {
    let gateway = gateway(&[]).await;
    let ann = Claim { user: "ann", ..claim(Action::Subscribe, "a", "t") };
    let signature = sign("k1", &ann);
    let path = format!("{ROOM}?signature={signature}");
    assert_eq!(status(&gateway, &format!("{path}&user=bob"), &[]).await, 401);
    assert_eq!(status(&gateway, &path, &[]).await, 401);
    let differ =
        http::get(gateway.public(), &format!("{path}&user=ann"), &[("x-user", "bob")]).await;
    assert_eq!(differ.status, 400, "{}", differ.text());
    let (mut stream, _) = Stream::connect(gateway.public(), &format!("{path}&user=ann"), &[]).await;

    let bob = sign("k1", &Claim { user: "bob", ..claim(Action::Publish, "a", "t") });
    let signed = [("content-type", "application/json"), ("x-signature", &*bob), ("x-user", "bob")];
    let body = json!({"data": 1, "user": {"to_user": "ann"}}).to_string();
    let answer = http::post(gateway.public(), PUBLISH, &signed, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let event = stream.next().await;
    assert_eq!(event.json()["user"], json!({"from_user": "bob", "to_user": "ann"}));

    let forged = json!({"data": 1, "user": {"from_user": "eve"}}).to_string();
    let answer = http::post(gateway.public(), PUBLISH, &signed, forged.as_bytes()).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.json()["type"], "urn:tidegate:problem:forbidden");
}

#[tokio::test]
async fn a_signed_body_is_the_one_that_was_signed() {
    let gateway = gateway(&["--auth-require-body-hash=true"]).await;
    let body = br#"{"data":1}"#;
    let hashed = Claim { body_hash: Some(body_hash(body)), ..claim(Action::Publish, "a", "t") };
    let signature = sign("k2", &hashed);
    let post = async |signature: &str, body: &[u8]| {
        let headers = [("content-type", "application/json"), ("x-signature", signature)];
        http::post(gateway.public(), PUBLISH, &headers, body).await.status
    };
    assert_eq!(post(&signature, body).await, 200);
    assert_eq!(post(&signature, br#"{"data":2}"#).await, 401);
    let unhashed = sign("k2", &claim(Action::Publish, "a", "t"));
    assert_eq!(post(&unhashed, body).await, 403);
}

#[tokio::test]
async fn a_stream_ends_with_its_signature_and_with_its_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("keys");
    fs::write(&file, "k9:a-third-secret\n").expect("written");
    let path = file.to_str().expect("UTF-8").to_owned();
    let gateway = gateway(&["--auth-keys-file", &path]).await;

    let soon = Claim { expires_at: unix_seconds() + 2, ..claim(Action::Subscribe, "a", "t") };
    let expiring = sign("k1", &soon);
    let (mut expires, _) =
        Stream::connect(gateway.public(), ROOM, &[("x-signature", &expiring)]).await;
    let goodbye = expires.next().await;
    assert_eq!(goodbye.event.as_deref(), Some("tidegate.goodbye"));
    assert_eq!(goodbye.json()["reason"], "expired");
    assert_eq!(expires.block().await, None, "a clean end");

    let third = Keys::parse("k9:a-third-secret").expect("keys");
    let signature = claim(Action::Subscribe, "a", "t").sign(third.get("k9").expect("a key"));
    let (mut revoked, _) =
        Stream::connect(gateway.public(), ROOM, &[("x-signature", &signature)]).await;
    let (mut stays, _) =
        Stream::connect(gateway.public(), ROOM, &[("x-signature", &subscribe("a", "t"))]).await;
    fs::write(&file, "k10:a-fourth-secret\n").expect("written");
    let goodbye = revoked.next().await;
    assert_eq!(goodbye.json()["reason"], "revoked");
    assert_eq!(status(&gateway, ROOM, &[("x-signature", &signature)]).await, 401);
    let fourth = Keys::parse("k10:a-fourth-secret").expect("keys");
    let signature = claim(Action::Publish, "a", "t").sign(fourth.get("k10").expect("a key"));
    let headers = [("content-type", "application/json"), ("x-signature", &*signature)];
    let answer = http::post(gateway.public(), PUBLISH, &headers, br#"{"data":1}"#).await;
    assert_eq!(answer.status, 200, "the new key needs no restart: {}", answer.text());
    assert_eq!(stays.take(1).await, [json!(1)]);
}

#[tokio::test]
async fn the_older_form_is_taken_only_if_it_is_allowed() {
    let keys = Keys::parse(SECRETS).expect("keys");
    let older = sign_legacy(keys.get("k2").expect("a key"), "a", "t");
    let strict = gateway(&[]).await;
    assert_eq!(status(&strict, ROOM, &[("x-signature", &older)]).await, 401);
    let lenient = gateway(&["--auth-legacy-signature=true"]).await;
    assert_eq!(status(&lenient, ROOM, &[("x-signature", &older)]).await, 200);
    assert_eq!(status(&lenient, &format!("{ROOM}?signature={older}"), &[]).await, 200);
    assert_eq!(
        status(&lenient, ROOM, &[("cookie", &format!("tidegate_signature={older}"))]).await,
        401
    );
    let all = "/v1/subscribe/events/a/types/*";
    assert_eq!(status(&lenient, all, &[("x-signature", &older)]).await, 401);
}
