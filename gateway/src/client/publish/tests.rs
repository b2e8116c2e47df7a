use super::super::http_client;
use super::super::identity::Credential;
use super::super::script::{Answer, PATIENCE, Script};
use super::*;
use crate::event::{EventId, EventType, Room};

const RECEIPT: &str = r#"{"message_id":"m","cursor":"c","published_at":17}"#;

fn ok() -> Answer {
    Answer::status("200 OK", "Content-Type: application/json\r\n", RECEIPT)
}

fn publisher(base: Url) -> Publisher {
    let client = http_client(&base).expect("a client");
    Publisher { client, base, identity: Identity::default() }
}

fn publication(data: &str, key: Option<&str>) -> Publication {
    let room = Room {
        id: EventId::new("cart/1").expect("id"),
        kind: EventType::new("cart").expect("type"),
    };
    Publication {
        audience: Audience::Room(room),
        body: Body::new(RawValue::from_string(data.to_owned()).expect("JSON")),
        idempotency_key: key.map(|key| IdempotencyKey::new(key).expect("a key")),
        deliver_within: None,
    }
}

#[tokio::test]
async fn a_receipt_is_handed_back_and_the_request_says_everything() {
    let mut script = Script::play(vec![ok()]).await;
    let mut publisher = publisher(script.base());
    publisher.identity.user = Some("system".into());
    publisher.identity.credential = Credential::Given(vec!["v1.k.1.ab".into()]);
    let mut publication = publication(r#"{"n":1.0e2}"#, Some("key-1"));
    publication.deliver_within = Some("30s".into());
    publication.body.event_name = Some("Changed".into());
    publication.body.user.to_user = Some("u".into());
    publication.body.headers = vec![("X-B".into(), "1".into()), ("X-A".into(), "2".into())];
    publication.body.is_final = true;
    let receipt =
        publisher.publish(&publication, Duration::ZERO, |_, _| ()).await.expect("a receipt");
    assert_eq!(
        receipt,
        Receipt { message_id: "m".into(), cursor: "c".into(), published_at: 17, duplicate: false }
    );

    let request = script.request().await;
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("post /v1/sse/events/cart%2f1/types/cart http/1.1"), "{head}");
    for line in [
        "content-type: application/json",
        "idempotency-key: key-1",
        "x-deliver-within: 30s",
        "x-user: system",
        "x-signature: v1.k.1.ab",
    ] {
        assert!(head.lines().any(|have| have == line), "{line} in {head}");
    }
    assert_eq!(
        body,
        r#"{"event_name":"Changed","user":{"to_user":"u"},"data":{"n":1.0e2},"headers":{"X-B":"1","X-A":"2"},"final":true}"#
    );
}

#[tokio::test]
async fn members_that_are_absent_are_left_out() {
    let mut script = Script::play(vec![ok()]).await;
    let receipt = publisher(script.base()).attempt(&publication("null", None)).await;
    assert!(receipt.is_ok(), "{receipt:?}");
    assert!(script.request().await.ends_with("\r\n\r\n{\"data\":null}"));
}

#[tokio::test]
async fn what_is_certainly_not_in_the_log_is_sent_again() {
    for name in ["not-accepted", "overloaded", "draining"] {
        let answers = vec![Answer::problem("503 Service Unavailable", name), ok()];
        let script = Script::play(answers).await;
        let receipt =
            publisher(script.base()).publish(&publication("1", None), PATIENCE, |_, _| ()).await;
        assert!(receipt.is_ok(), "{name}: {receipt:?}");
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_sent_again_only_with_a_key() {
    let unknown = || {
        [
            Answer::problem("503 Service Unavailable", "outcome-unknown"),
            Answer::status("502 Bad Gateway", "", "<h1>no</h1>"),
            Answer::status("200 OK", "", "hello"),
            Answer::Nothing,
        ]
    };
    for answer in unknown() {
        let script = Script::play(vec![answer.clone(), ok()]).await;
        let outcome =
            publisher(script.base()).publish(&publication("1", None), PATIENCE, |_, _| ()).await;
        assert!(matches!(outcome, Err(PublishError::OutcomeUnknown(_))), "{answer:?}: {outcome:?}");
    }
    for answer in unknown() {
        let mut script = Script::play(vec![answer.clone(), ok()]).await;
        let outcome = publisher(script.base())
            .publish(&publication("1", Some("k")), PATIENCE, |_, _| ())
            .await;
        assert!(outcome.is_ok(), "{answer:?}: {outcome:?}");
        for _ in 0..2 {
            assert!(script.request().await.contains("idempotency-key: k"));
        }
    }
}

#[tokio::test]
async fn once_unknown_stays_unknown() {
    let script =
        Script::play(vec![Answer::problem("503 Service Unavailable", "outcome-unknown")]).await;
    // The second attempt finds nobody: that one is certainly not in the log, the first may be.
    let patience = Duration::from_secs(1);
    let outcome =
        publisher(script.base()).publish(&publication("1", Some("k")), patience, |_, _| ()).await;
    assert!(matches!(outcome, Err(PublishError::OutcomeUnknown(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_refused_event_is_sent_once_and_its_problem_told() {
    let mut script =
        Script::play(vec![Answer::problem("422 Unprocessable Entity", "invalid-event"), ok()])
            .await;
    let outcome =
        publisher(script.base()).publish(&publication("1", Some("k")), PATIENCE, |_, _| ()).await;
    let error = outcome.expect_err("a refusal");
    assert_eq!(error.to_string(), "refused: 422 invalid-event: the invalid-event");
    script.request().await;
}

#[tokio::test]
async fn a_gateway_that_is_not_there_has_not_accepted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    drop(listener);
    let base = address::parse_base(&format!("http://{addr}")).expect("an address");
    let outcome = publisher(base).publish(&publication("1", None), Duration::ZERO, |_, _| ()).await;
    let error = outcome.expect_err("nobody is there");
    assert!(matches!(error, PublishError::NotAccepted(Cause::Transport(_))), "{error:?}");
    assert!(error.to_string().contains("refused"), "it says why: {error}");
}
