//! Batches: receipts while the request is open, problems a line, and a model's last word.

mod client;
mod http2;

use serde_json::json;

use self::client::{Batch, VERSIONS};
use crate::support::gateway::Gateway;
use crate::support::http::Wire;
use crate::support::stream::Stream;

fn line(n: u64) -> String {
    json!({"event_id": "a", "event_type": "t", "data": n}).to_string() + "\n"
}

#[tokio::test]
async fn a_receipt_leaves_while_the_request_is_still_open() {
    for version in VERSIONS {
        let gateway = Gateway::ready(&[]).await;
        let (mut stream, _) =
            Stream::connect(gateway.public(), "/v1/subscribe/events/a/types/t", &[]).await;
        let mut batch = Batch::open(version, &gateway, "/v1/sse/batch").await;
        for n in 1..=20 {
            batch.send(&line(n)).await;
            let answer = batch.answer().await.expect("a receipt");
            assert_eq!((&answer["line"], &answer["status"]), (&json!(n), &json!(200)));
            let block = stream.expect_data(json!(n)).await;
            assert_eq!(answer["cursor"].as_str(), block.id.as_deref());
            assert_eq!(answer["message_id"], block.json()["message_id"]);
        }
        batch.finish().await;
        assert_eq!(batch.answer().await, None);
    }
}

#[tokio::test]
async fn a_client_that_asks_whether_to_send_the_lines_is_told_to() {
    let gateway = Gateway::ready(&["--limits-batch-idle=300ms"]).await;
    let head = "POST /v1/sse/batch HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\n\
                expect: 100-Continue\r\n";
    let text = line(1);
    let mut wire = Wire::connect(gateway.public()).await;
    wire.send(format!("{head}content-length: {}\r\n\r\n", text.len()).as_bytes()).await;
    assert_eq!(wire.head().await.expect("an answer before the lines").0, 100);
    wire.send(text.as_bytes()).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, &answer.json()["line"]), (200, &json!(1)));

    // One that then sends nothing is refused like one that stops sending.
    let mut wire = Wire::connect(gateway.public()).await;
    wire.send(format!("{head}content-length: 5\r\n\r\n").as_bytes()).await;
    assert_eq!(wire.head().await.expect("an answer before the lines").0, 100);
    let answer = wire.answer().await;
    let kind = json!("urn:tidegate:problem:idle-timeout");
    assert_eq!((answer.status, &answer.json()["type"]), (408, &kind));
}

#[tokio::test]
async fn each_line_has_its_own_answer_in_order_and_bad_ones_cost_only_themselves() {
    for version in VERSIONS {
        let gateway = Gateway::ready(&["--limits-body-bytes=200"]).await;
        let (mut stream, _) =
            Stream::connect(gateway.public(), "/v1/subscribe/events/a/types/*", &[]).await;
        let mut batch = Batch::open(version, &gateway, "/v1/sse/batch?event_id=a").await;
        let long = "x".repeat(300);
        let text = [
            line(1),
            "\n".to_owned(),
            "{\n".to_owned(),
            json!({"event_id": "b", "event_type": "t", "data": 0}).to_string() + "\r\n",
            json!({"event_id": "a", "event_type": "t"}).to_string() + "\n",
            format!("{long}\n"),
            line(7),
            line(8).trim().to_owned(),
        ]
        .concat();
        let (head, tail) = text.split_at(333);
        batch.send(head).await;
        batch.send(tail).await;
        batch.finish().await;
        let mut answers = Vec::new();
        while let Some(answer) = batch.answer().await {
            answers.push((answer["line"].as_u64(), answer["status"].as_u64()));
        }
        let expected = [(1, 200), (3, 400), (4, 403), (5, 422), (6, 413), (7, 200), (8, 200)];
        assert_eq!(answers, expected.map(|(line, status)| (Some(line), Some(status))));
        assert_eq!(stream.take(3).await, [json!(1), json!(7), json!(8)]);
    }
}

#[tokio::test]
async fn a_silent_batch_and_one_in_a_drain_end_with_a_problem_of_their_own() {
    for version in VERSIONS {
        let gateway = Gateway::ready(&["--limits-batch-idle=300ms"]).await;
        let mut batch = Batch::open(version, &gateway, "/v1/sse/batch").await;
        batch.send(&line(1)).await;
        assert_eq!(batch.answer().await.expect("a receipt")["status"], 200);
        let last = batch.answer().await.expect("a last problem");
        assert_eq!((&last["line"], &last["status"]), (&json!(null), &json!(408)));
        assert_eq!(batch.answer().await, None, "a clean end");

        let flags = ["--drain-grace=100ms", "--drain-window=300ms", "--drain-deadline=10s"];
        let gateway = Gateway::ready(&flags).await;
        let mut batch = Batch::open(version, &gateway, "/v1/sse/batch").await;
        // A line that was begun is answered, even when its rest comes after the signal.
        let begun = line(1);
        let (head, tail) = begun.split_at(10);
        batch.send(head).await;
        gateway.signal("TERM");
        crate::support::eventually(
            "the drain begins",
            crate::support::http::PATIENCE,
            async || gateway.log().contains("draining"),
        )
        .await;
        batch.send(tail).await;
        assert_eq!(batch.answer().await.expect("a receipt")["status"], 200);
        let last = batch.answer().await.expect("a last problem");
        assert_eq!(last["line"], json!(null));
        assert_eq!(last["type"], "urn:tidegate:problem:draining");
        assert_eq!(batch.answer().await, None, "a clean end");
    }
}

#[tokio::test]
async fn the_final_event_ends_its_rooms_stream_and_nothing_comes_back_for_more() {
    for version in VERSIONS {
        let gateway = Gateway::ready(&[]).await;
        let to = gateway.public();
        let path = "/v1/subscribe/events/a/types/t";
        let (mut room, first) = Stream::connect(to, path, &[]).await;
        let (mut all, _) = Stream::connect(to, "/v1/subscribe/events/a/types/*", &[]).await;
        let mut batch = Batch::open(version, &gateway, "/v1/sse/batch?event_id=a").await;
        batch.send(&line(1)).await;
        batch.answer().await;
        let last = json!({"event_id": "a", "event_type": "t", "data": 2, "final": true});
        batch.send(&format!("{last}\n")).await;
        let receipt = batch.answer().await.expect("a receipt");
        batch.send(&line(3)).await;
        batch.answer().await;

        room.expect_data(json!(1)).await;
        let event = room.expect_data(json!(2)).await;
        assert_eq!(event.json()["final"], true);
        let goodbye = room.next().await;
        assert_eq!(goodbye.json()["reason"], "complete");
        assert!(goodbye.id.is_none());
        assert_eq!(room.block().await, None, "a clean end");
        assert_eq!(
            all.take(3).await,
            [json!(1), json!(2), json!(3)],
            "on * it is an ordinary event"
        );

        let id = event.id.expect("an id");
        assert_eq!(Some(&*id), receipt["cursor"].as_str());
        let done = crate::support::http::get(to, path, &[("last-event-id", &id)]).await;
        assert_eq!(done.status, 204, "never come back");
        let early = first.id.expect("an id");
        let (mut again, _) = Stream::connect(to, path, &[("last-event-id", &early)]).await;
        assert_eq!(again.take(2).await, [json!(1), json!(2)]);
        assert_eq!(again.next().await.json()["reason"], "complete", "whoever replays it ends too");
        let (mut live, _) = Stream::connect(to, path, &[]).await;
        gateway.publish("a", "t", r#"{"data":4}"#).await;
        assert_eq!(live.take(1).await, [json!(4)], "later publishes reach later live streams");
    }
}
