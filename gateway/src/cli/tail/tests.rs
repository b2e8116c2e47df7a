use std::time::Duration;

use super::*;
use crate::client::identity::Identity;
use crate::client::script::{Answer, PATIENCE, Script};

const ONE: &str = r#"{"message_id":"m","event_id":"cart-1","event_type":"cart","data":{"n":1.0},"published_at":1763700000123}"#;
const TWO: &str = r#"{"message_id":"n","event_id":"*","event_type":"news","data":"a\nb","published_at":1763700001000}"#;

fn printer(json: bool, loudness: Loudness) -> Printer<Vec<u8>, Vec<u8>> {
    Printer { out: Vec::new(), err: Vec::new(), json, loudness }
}

fn source(script: &Script) -> EventSource {
    let base = script.base();
    let subscription = Subscription {
        rooms: vec![Pattern::new("cart-1", "cart").expect("a room")],
        params: Vec::new(),
        identity: Identity::default(),
        last_event_id: String::new(),
        base,
    };
    let client = http_client(&subscription.base).expect("a client");
    EventSource::new(client, subscription).with_retry(Duration::from_millis(20))
}

/// Follows what the script plays; the end, the output and what was said beside it.
async fn tail(
    answers: Vec<Answer>,
    count: Option<u64>,
    mut printer: Printer<Vec<u8>, Vec<u8>>,
) -> (anyhow::Result<End>, String, String) {
    let script = Script::play(answers).await;
    let following = follow(source(&script), &mut printer, count);
    let end = tokio::time::timeout(PATIENCE, following).await.expect("an end in time");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (end, text(printer.out), text(printer.err))
}

fn gone() -> Answer {
    Answer::status("204 No Content", "", "")
}

#[test]
fn the_command_is_well_formed() {
    command().debug_assert();
    let parse = |line: &[&str]| command().try_get_matches_from([&["tail"], line].concat());
    assert!(parse(&["cart-1", "*", "--room", "a/b/c", "--room", "d/*", "-v"]).is_ok());
    for line in [
        &["cart-1"][..],
        &["cart-1", "cart", "--count", "0"],
        &["cart-1", "cart", "--room", "noslash"],
        &["cart-1", "cart", "--quiet", "--verbose"],
    ] {
        assert!(parse(line).is_err(), "{line:?}");
    }
    assert_eq!(room("a/b/c"), Ok(Pattern::new("a/b", "c").expect("a room")));
}

#[tokio::test]
async fn an_event_is_a_line_with_its_time_its_room_and_its_data() {
    let answers = vec![
        Answer::stream(&format!("id: a\nevent: cart\ndata: {ONE}\n\n")),
        Answer::stream(&format!("id: b\nevent: news\ndata: {TWO}\n\n")),
    ];
    let (end, out, err) = tail(answers, Some(2), printer(false, Loudness::Quiet)).await;
    assert_eq!(end.expect("no error"), End::Counted);
    assert_eq!(
        out,
        "2025-11-21T04:40:00.123Z  cart-1/cart  {\"n\":1.0}\n\
         2025-11-21T04:40:01.000Z  */news  \"a\\nb\"\n"
    );
    assert_eq!(err, "", "a reconnect is nothing to be told of when quiet");
}

#[tokio::test]
async fn json_is_the_envelope_as_it_came() {
    let events = format!("data: {ONE}\n\ndata: {{\ndata: \"a\": 1}}\n\n");
    let (_, out, _) =
        tail(vec![Answer::stream(&events)], Some(2), printer(true, Loudness::Quiet)).await;
    assert_eq!(out, format!("{ONE}\n{{ \"a\": 1}}\n"));
}

#[tokio::test]
async fn a_gap_is_told_of_however_quiet() {
    let events = "id: z\nevent: tidegate.gap\ndata: {\"reason\":\"expired\",\"requested\":\"a\",\
                  \"resumed_at\":\"z\",\"rooms\":[\"cart-1/cart\"]}\n\n";
    let answers = vec![Answer::stream(events), gone()];
    let (end, out, err) = tail(answers, None, printer(false, Loudness::Quiet)).await;
    assert_eq!(end.expect("no error"), End::Complete { wanted: 0 });
    assert_eq!(out, "");
    assert_eq!(
        err,
        "tidegate: gap: events may be missing (expired) of cart-1/cart; going on at z\n"
    );
}

#[tokio::test]
async fn the_gateways_own_events_are_neither_printed_nor_counted() {
    let events = format!(
        "retry: 20\nid: a\nevent: tidegate.connected\ndata: {{\"heartbeat_ms\":15000}}\n\n\
         id: b\nevent: tidegate.heartbeat\ndata: {{}}\n\n: still here\n\n\
         event: tidegate.later\ndata: {{}}\n\n\
         id: c\nevent: cart\ndata: {ONE}\n\n\
         event: tidegate.goodbye\ndata: {{\"reason\":\"drain\"}}\n\n"
    );
    for (loudness, told) in [(Loudness::Quiet, 0), (Loudness::Normal, 1), (Loudness::Verbose, 7)] {
        let answers = vec![Answer::stream(&events), gone()];
        let (end, out, err) = tail(answers, Some(2), printer(false, loudness)).await;
        assert_eq!(end.expect("no error"), End::Complete { wanted: 1 });
        assert_eq!(out.lines().count(), 1);
        assert_eq!(err.lines().count(), told, "{err}");
    }
}

#[tokio::test]
async fn the_goodbye_of_a_complete_room_is_the_end() {
    let events = format!(
        "id: a\nevent: cart\ndata: {ONE}\n\n\
         retry: 60000\nevent: tidegate.goodbye\ndata: {{\"reason\":\"complete\"}}\n\n"
    );
    let answers = vec![Answer::quiet_stream(&events)];
    let (end, _, _) = tail(answers, None, printer(false, Loudness::Quiet)).await;
    assert_eq!(end.expect("no error"), End::Complete { wanted: 0 });
}

#[tokio::test]
async fn a_refusal_is_told_with_the_problems_detail() {
    let answers = vec![Answer::problem("401 Unauthorized", "unauthorized")];
    let (end, _, _) = tail(answers, None, printer(false, Loudness::Quiet)).await;
    assert_eq!(end.expect_err("refused").to_string(), "401 unauthorized: the unauthorized");
}

#[tokio::test]
async fn what_is_no_envelope_is_printed_without_its_commands() {
    let answers = vec![Answer::stream("data: \u{1b}[2Jhello\n\n")];
    let (_, out, _) = tail(answers, Some(1), printer(false, Loudness::Quiet)).await;
    assert_eq!(out, "\\u{1b}[2Jhello\n");
}
