use super::*;
use crate::client::identity::{Credential, Identity};
use crate::client::script::{Answer, Script};

const RECEIPT: &str = r#"{"message_id":"m","cursor":"c","published_at":17,"new_member":1}"#;

fn ok() -> Answer {
    Answer::status("200 OK", "Content-Type: application/json\r\n", RECEIPT)
}

fn refused() -> Answer {
    Answer::problem("422 Unprocessable Entity", "invalid-event")
}

fn args(line: &[&str]) -> PublishArgs {
    let matches = command().try_get_matches_from([&["publish"], line].concat()).expect("arguments");
    PublishArgs::from_arg_matches(&matches).expect("arguments")
}

fn job(script: &Script, line: &[&str]) -> Job {
    let args = args(line);
    let base = script.base();
    let client = http_client(&base).expect("a client");
    let publisher = Publisher { client, base, identity: Identity::default() };
    Job { publisher, patience: Duration::ZERO, template: template(&args).expect("a template") }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

#[test]
fn the_command_is_well_formed() {
    command().debug_assert();
}

#[test]
fn a_broadcast_needs_no_id() {
    let everybody = Audience::Broadcast(EventType::new("news").expect("a type"));
    for line in [&["news", "--broadcast"][..], &["*", "news"], &["--broadcast", "*", "news"]] {
        assert_eq!(template(&args(line)).expect("a template").audience, everybody, "{line:?}");
    }
    assert!(template(&args(&["cart-1", "news", "--broadcast"])).is_err());
}

#[test]
fn arguments_that_no_gateway_would_take_are_refused_before_it_is_asked() {
    for line in [
        &["cart-1"][..],
        &["cart-1", "cart", "--header", "novalue"],
        &["cart-1", "cart", "--header", "=v"],
        &["cart-1", "cart", "--retry-for", "-5s"],
        &["cart-1", "cart", "--signature", "s", "--key", "a:b"],
        &["news", "--broadcast", "--final"],
    ] {
        let matches = command().try_get_matches_from([&["publish"], line].concat());
        assert!(matches.is_err(), "{line:?}");
    }
    for line in [
        &["cart-1", "tidegate.gap"][..],
        &["..", "cart"],
        &["cart-1", "a/b"],
        &["cart-1", "cart", "--idempotency-key", "a b"],
    ] {
        assert!(template(&args(line)).is_err(), "{line:?}");
    }
}

#[test]
fn a_key_becomes_the_credential() {
    let identity = |line: &[&str]| args(line).target.identity();
    let room = ["cart-1", "cart"];
    let with = |more: &[&str]| identity(&[&room[..], more].concat());
    assert!(matches!(with(&[]).expect("identity").credential, Credential::None));
    let given = with(&["--signature", "s", "--user", "u"]).expect("identity");
    assert_eq!(given.user.as_deref(), Some("u"));
    assert!(matches!(given.credential, Credential::Given(_)));
    assert!(matches!(with(&["--key", "a:b"]).expect("identity").credential, Credential::Key(_)));
    assert!(with(&["--key", "ab"]).is_err());

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "a:b\n").expect("written");
    let path = file.path().to_str().expect("a path");
    let given = with(&["--key-file", path]).expect("identity");
    assert!(matches!(given.credential, Credential::Key(_)));
    assert!(with(&["--key-file", "/nowhere/at/all"]).is_err());
}

#[tokio::test]
async fn one_event_prints_its_receipt() {
    let mut script = Script::play(vec![ok()]).await;
    let job = job(&script, &["cart-1", "cart", "--name", "N", "--header", "a=b=c"]);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert!(job.publish_one(" {\"n\": 1e3} ", &mut out, &mut err).await.expect("published"));
    assert_eq!(text(out), "{\"message_id\":\"m\",\"cursor\":\"c\",\"published_at\":17}\n");
    assert_eq!(text(err), "");
    assert!(
        script
            .request()
            .await
            .ends_with(r#"{"event_name":"N","data":{"n": 1e3},"headers":{"a":"b=c"}}"#)
    );
}

#[tokio::test]
async fn lines_are_published_in_order_and_a_bad_one_stops_nobody() {
    let mut script = Script::play(vec![ok(), refused(), ok()]).await;
    let job = job(&script, &["cart-1", "cart", "--idempotency-key", "import"]);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let input = &b"{\"n\":1}\n\nnot json\n\xFF\n2\n \"three\""[..];
    let all_well = job.publish_lines(input, &mut out, &mut err).await.expect("input");
    assert!(!all_well);
    let receipt = |line| {
        format!("{{\"line\":{line},\"message_id\":\"m\",\"cursor\":\"c\",\"published_at\":17}}\n")
    };
    assert_eq!(text(out), receipt(1) + &receipt(6));
    let err = text(err);
    let errors: Vec<_> = err.lines().collect();
    assert_eq!(errors.len(), 3, "{err}");
    assert!(errors[0].starts_with("error: line 3: the data is no JSON: "), "{err}");
    assert!(errors[1].starts_with("error: line 4: the data is no UTF-8: "), "{err}");
    assert_eq!(errors[2], "error: line 5: refused: 422 invalid-event: the invalid-event");
    for (line, data) in [(1, "{\"n\":1}"), (5, "2"), (6, "\"three\"")] {
        let request = script.request().await;
        assert!(request.contains(&format!("idempotency-key: import-{line}\r\n")), "{request}");
        assert!(request.ends_with(&format!("{{\"data\":{data}}}")), "{request}");
    }
}
