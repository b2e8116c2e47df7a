use super::super::http_client;
use super::super::identity::Credential;
use super::super::script::{Answer, PATIENCE, Script};
use super::*;

const QUICK: &str = "retry: 20\n\n";

fn subscription(base: &Url) -> Subscription {
    Subscription {
        base: base.clone(),
        rooms: vec![Pattern::new("cart/1", "cart").expect("a room")],
        params: Vec::new(),
        identity: Identity::default(),
        last_event_id: String::new(),
    }
}

fn source(base: &Url) -> EventSource {
    EventSource::new(http_client(base).expect("a client"), subscription(base))
        .with_retry(Duration::from_millis(20))
}

async fn next(source: &mut EventSource) -> Result<Option<Update>, StreamError> {
    timeout(PATIENCE, source.next()).await.expect("an update in time")
}

/// The data of the next event.
async fn event(source: &mut EventSource) -> String {
    loop {
        match next(source).await.expect("no error").expect("no end") {
            Update::Event(event) => return event.data,
            Update::Comment(_) | Update::Lost { .. } => {}
        }
    }
}

/// Why the next loss happened.
async fn lost(source: &mut EventSource) -> Lost {
    loop {
        if let Update::Lost { reason, .. } = next(source).await.expect("no error").expect("no end")
        {
            return reason;
        }
    }
}

fn resumed_at(request: &str) -> Option<&str> {
    request.lines().find_map(|line| line.strip_prefix("last-event-id: "))
}

#[tokio::test]
async fn an_event_cut_in_its_middle_is_not_delivered_and_the_resume_asks_for_the_id_before_it() {
    let cut = "id: a\ndata: one\n\nid: b\ndata: tw";
    for first in [Answer::stream(cut), Answer::cut(cut)] {
        let second = Answer::stream("id: b\ndata: two\n\n");
        let mut script = Script::play(vec![first, second]).await;
        let mut source = source(&script.base());
        assert_eq!(event(&mut source).await, "one");
        assert_eq!(event(&mut source).await, "two");
        let request = script.request().await;
        assert!(request.starts_with("get /v1/subscribe/events/cart%2f1/types/cart http/1.1"));
        assert!(request.contains("accept: text/event-stream"));
        assert_eq!(resumed_at(&request), None);
        assert_eq!(resumed_at(&script.request().await), Some("a"));
        assert_eq!(source.reconnects(), 1);
        assert_eq!(source.last_event_id(), "b");
    }
}

#[tokio::test]
async fn the_id_of_a_block_without_data_is_resumed_from() {
    let mut script = Script::play(vec![
        Answer::stream("id: a\ndata: one\n\nid: b\n\n"),
        Answer::stream("data: two\n\n"),
        Answer::stream("data: three\n\n"),
    ])
    .await;
    let mut source = source(&script.base());
    for want in ["one", "two", "three"] {
        assert_eq!(event(&mut source).await, want);
    }
    script.request().await;
    assert_eq!(resumed_at(&script.request().await), Some("b"));
    // The second connection named no id, and has not lost the place.
    assert_eq!(resumed_at(&script.request().await), Some("b"));
}

#[tokio::test]
async fn the_servers_retry_is_waited_for() {
    let script = Script::play(vec![Answer::stream("retry: 7000\n\ndata: a\n\n")]).await;
    let mut source = source(&script.base());
    assert_eq!(event(&mut source).await, "a");
    let Some(Update::Lost { reason: Lost::Ended, retry_in }) =
        next(&mut source).await.expect("no error")
    else {
        panic!("the stream has ended");
    };
    let wished = Duration::from_secs(7);
    assert!(retry_in >= wished && retry_in <= wished.mul_f64(1.25), "{retry_in:?}");
}

#[tokio::test]
async fn no_content_is_the_end_for_good() {
    let script = Script::play(vec![
        Answer::stream(&format!("{QUICK}data: a\n\n")),
        Answer::status("204 No Content", "", ""),
        Answer::stream("data: never\n\n"),
    ])
    .await;
    let mut source = source(&script.base());
    assert_eq!(event(&mut source).await, "a");
    assert_eq!(lost(&mut source).await, Lost::Ended);
    for _ in 0..3 {
        assert_eq!(next(&mut source).await.expect("no error"), None);
    }
    assert_eq!(source.reconnects(), 0, "a 204 is no stream");
}

#[tokio::test]
async fn a_server_that_cannot_now_is_asked_again() {
    let mut script = Script::play(vec![
        Answer::problem("503 Service Unavailable", "draining"),
        Answer::status("502 Bad Gateway", "", "no upstream"),
        Answer::status("429 Too Many Requests", "", ""),
        Answer::Nothing,
        Answer::stream("id: a\ndata: one\n\n"),
    ])
    .await;
    let mut given = subscription(&script.base());
    given.last_event_id = "start".into();
    let client = http_client(&script.base()).expect("a client");
    let mut source = EventSource::new(client, given).with_retry(Duration::from_millis(20));
    for status in [503, 502, 429] {
        let reason = lost(&mut source).await;
        let Lost::Unavailable(problem) = &reason else { panic!("{reason:?}") };
        assert_eq!(problem.status.as_u16(), status);
    }
    let reason = lost(&mut source).await;
    assert!(matches!(reason, Lost::Unreachable(_)), "{reason:?}");
    assert_eq!(event(&mut source).await, "one");
    for _ in 0..5 {
        assert_eq!(resumed_at(&script.request().await), Some("start"));
    }
    assert_eq!(lost(&mut source).await, Lost::Ended);
    // The script is done: nobody listens.
    let reason = lost(&mut source).await;
    assert!(matches!(reason, Lost::Unreachable(_)), "{reason:?}");
}

#[tokio::test]
async fn attempts_that_fail_in_a_row_come_further_apart() {
    let script = Script::play(vec![Answer::Nothing; 4]).await;
    let mut source = source(&script.base());
    let mut delays = Vec::new();
    for _ in 0..4 {
        if let Some(Update::Lost { retry_in, .. }) = next(&mut source).await.expect("no error") {
            delays.push(retry_in);
        }
    }
    assert_eq!(delays.len(), 4);
    assert!(delays.windows(2).all(|pair| pair[0] < pair[1]), "{delays:?}");
}

#[tokio::test]
async fn a_refusal_ends_with_what_the_gateway_says() {
    let script = Script::play(vec![Answer::problem("403 Forbidden", "forbidden")]).await;
    let mut source = source(&script.base());
    let error = next(&mut source).await.expect_err("a refusal");
    assert_eq!(error.to_string(), "403 forbidden: the forbidden");
    assert_eq!(next(&mut source).await.expect("no error"), None, "it stays ended");
}

#[tokio::test]
async fn what_is_no_stream_is_no_stream_the_second_time_either() {
    let page = Answer::status("200 OK", "Content-Type: text/html\r\n", "<h1>hello</h1>");
    let script = Script::play(vec![page]).await;
    let error = next(&mut source(&script.base())).await.expect_err("a page");
    assert!(matches!(error, StreamError::NotAStream { .. }), "{error}");

    let moved = Answer::status("308 Permanent Redirect", "Location: http://other/\r\n", "");
    let script = Script::play(vec![moved]).await;
    let error = next(&mut source(&script.base())).await.expect_err("a redirect");
    assert!(error.to_string().contains("http://other/"), "{error}");
}

#[tokio::test]
async fn a_connection_that_falls_silent_for_three_heartbeats_is_given_up() {
    let connected = "id: a\nevent: tidegate.connected\ndata: {\"heartbeat_ms\":50}\n\n";
    let mut script =
        Script::play(vec![Answer::quiet_stream(connected), Answer::stream("id: b\ndata: one\n\n")])
            .await;
    let mut source = source(&script.base());
    assert_eq!(lost(&mut source).await, Lost::Silent(Duration::from_millis(150)));
    assert_eq!(event(&mut source).await, "one");
    script.request().await;
    assert_eq!(resumed_at(&script.request().await), Some("a"));
}

#[test]
fn only_a_heartbeat_that_beats_is_watched() {
    assert_eq!(silence_of(r#"{"heartbeat_ms":15000,"pod":"p"}"#), Some(Duration::from_secs(45)));
    assert_eq!(silence_of(r#"{"heartbeat_ms":0}"#), None);
    assert_eq!(silence_of("{}"), None);
    assert!(silence_of(r#"{"heartbeat_ms":18446744073709551615}"#).is_some());
}

#[tokio::test]
async fn an_absurd_heartbeat_stops_nobody() {
    let events = "event: tidegate.connected\ndata: {\"heartbeat_ms\":18446744073709551615}\n\n\
                  data: a\n\n";
    let script = Script::play(vec![Answer::stream(events)]).await;
    let mut source = source(&script.base());
    assert!(event(&mut source).await.contains("heartbeat_ms"));
    assert_eq!(event(&mut source).await, "a");
    assert_eq!(lost(&mut source).await, Lost::Ended);
}

#[tokio::test]
async fn an_event_too_large_is_an_error_and_no_loop() {
    let script =
        Script::play(vec![Answer::stream(&format!("data: {}\n\n", "x".repeat(100)))]).await;
    let mut source = source(&script.base()).with_limit(50);
    let error = next(&mut source).await.expect_err("too large");
    assert!(matches!(error, StreamError::Parse(_)), "{error}");
}

#[tokio::test]
async fn an_id_that_no_header_carries_is_an_error_and_no_loss() {
    let script = Script::play(vec![Answer::stream("id: a\u{1}\ndata: a\n\n")]).await;
    let mut source = source(&script.base());
    assert_eq!(event(&mut source).await, "a");
    assert_eq!(lost(&mut source).await, Lost::Ended);
    let error = next(&mut source).await.expect_err("no header");
    assert!(matches!(error, StreamError::Id(_)), "{error}");
}

#[tokio::test]
async fn a_call_that_is_cancelled_loses_no_event() {
    let script =
        Script::play(vec![Answer::quiet_stream("data: a\n\ndata: b\n\ndata: c\n\n")]).await;
    let mut source = source(&script.base());
    assert_eq!(event(&mut source).await, "a");
    let mut seen = vec!["a".to_owned()];
    while seen.len() < 3 {
        tokio::select! {
            // Every other call is dropped after its first poll.
            biased;
            update = source.next() => match update.expect("no error").expect("no end") {
                Update::Event(event) => seen.push(event.data),
                update => panic!("{update:?}"),
            },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(seen, ["a", "b", "c"]);
}

#[tokio::test]
async fn several_signatures_go_with_their_rooms_and_one_goes_in_a_header() {
    let mut script = Script::play(vec![Answer::status("204 No Content", "", ""); 2]).await;
    let mut given = subscription(&script.base());
    given.rooms.push(Pattern::new("b", "*").expect("a room"));
    given.params.push(("from".into(), "10m".into()));
    given.identity.user = Some("jürgen".into());
    given.identity.credential = Credential::Given(vec!["s1".into(), "s2".into()]);
    let client = http_client(&given.base).expect("a client");
    let mut source = EventSource::new(client.clone(), given.clone());
    assert_eq!(next(&mut source).await.expect("no error"), None);
    let request = script.request().await;
    assert!(
        request.starts_with(
            "get /v1/subscribe?room=cart%2f1%2fcart&room=b%2f%2a&from=10m&signature=s1&signature=s2 "
        ),
        "{request}"
    );
    assert!(request.contains("x-user: jürgen"), "{request}");
    assert!(!request.contains("x-signature"), "{request}");

    given.identity.credential = Credential::Given(vec!["s1".into()]);
    let mut source = EventSource::new(client, given);
    assert_eq!(next(&mut source).await.expect("no error"), None);
    let request = script.request().await;
    assert!(request.contains("x-signature: s1"), "{request}");
    assert!(!request.contains("signature=s1"), "{request}");
}
