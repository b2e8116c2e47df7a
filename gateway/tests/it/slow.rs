//! Readers that are too slow: what each policy makes of them, and that nobody else notices.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::{self, Wire};
use crate::support::stream::{Block, Stream};
use crate::support::tls::{Files, NAME, Pair};

const ROOM: &str = "/v1/subscribe/events/a/types/t";
/// More than sockets and rings hold, in events of 10 KB.
const FLOOD: u64 = 1_000;

/// Publishes events of 10 KB to room `a/t`, numbered from 0.
async fn flood(gateway: &Gateway) {
    let pad = "x".repeat(10_000);
    let lines: Vec<String> = (0..FLOOD)
        .map(|n| json!({"event_id": "a", "event_type": "t", "data": [n, pad]}).to_string())
        .collect();
    let headers = [("content-type", "application/x-ndjson")];
    let body = lines.join("\n");
    let answer = http::post(gateway.public(), "/v1/sse/batch", &headers, body.as_bytes()).await;
    assert_eq!(answer.text().matches("\"status\":200").count() as u64, FLOOD);
}

/// The number of a block's event; `None` if it is a gap.
fn number(block: &Block) -> Option<u64> {
    match block.event.as_deref() {
        Some("t") => block.json()["data"][0].as_u64(),
        other => {
            assert_eq!(other, Some("tidegate.gap"), "{block:?}");
            None
        }
    }
}

/// Reads on to the newest event.
async fn read_to_the_end(stream: &mut Stream) -> Vec<Block> {
    let mut blocks = Vec::new();
    loop {
        let block = stream.next().await;
        let is_last = number(&block) == Some(FLOOD - 1);
        blocks.push(block);
        if is_last {
            return blocks;
        }
    }
}

/// The first event after a cursor.
async fn first_after(gateway: &Gateway, path: &str, cursor: &str) -> Option<u64> {
    let headers = [("last-event-id", cursor)];
    let (mut stream, _) = Stream::connect(gateway.public(), path, &headers).await;
    number(&stream.next().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_lags_gets_a_hole_and_goes_on_as_it_asked_to() {
    let flags = ["--stream-slow", "disconnect,drop,latest", "--stream-queue-bytes", "100KB"];
    let gateway = Gateway::ready(&flags).await;
    let rooms = [ROOM, "/v1/subscribe/events/a/types/*", "/v1/subscribe?room=a/t&room=b/u"];
    let mut streams = Vec::new();
    for path in rooms {
        for slow in ["drop", "latest"] {
            let and = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{and}slow={slow}");
            let wire = Wire::connect_small(gateway.public()).await;
            let mut stream = Stream::open_over(wire, &path, &[]).await;
            stream.block().await.expect("the first block");
            streams.push((path, stream));
        }
    }
    flood(&gateway).await;
    let mut holes = 0;
    for (path, mut stream) in streams {
        let blocks = read_to_the_end(&mut stream).await;
        let mut next = 0;
        for pair in blocks.windows(2) {
            match (number(&pair[0]), number(&pair[1])) {
                (Some(one), Some(other)) => {
                    assert_eq!(other, one + 1, "nothing in silence: {path}")
                }
                (None, Some(after)) => {
                    holes += 1;
                    assert!(after > next, "{path}");
                    let gap = pair[0].json();
                    assert_eq!(gap["reason"], "overflow");
                    assert_eq!(gap["rooms"][0], if path.contains("/*") { "a/*" } else { "a/t" });
                    assert_eq!(gap["resumed_at"].as_str(), pair[0].id.as_deref());
                    let resumed_at = pair[0].id.as_deref().expect("an id");
                    assert_eq!(first_after(&gateway, &path, resumed_at).await, Some(after));
                    let requested = gap["requested"].as_str().expect("the window reaches so far");
                    assert_eq!(first_after(&gateway, &path, requested).await, Some(next));
                }
                (_, None) => {}
            }
            next = number(&pair[0]).map_or(next, |n| n + 1);
        }
        assert!((blocks.len() as u64) < FLOOD, "{path}: the flood was too small");
    }
    assert!(holes >= 6, "{holes}");
    let said = gateway.metric("tidegate_gaps_total", "reason=\"overflow\"").await;
    assert_eq!(said, f64::from(holes));
    assert_eq!(gateway.metric("tidegate_connections_closed_total", "reason=\"slow\"").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_asks_for_nothing_is_cut_and_resumes_without_a_hole() {
    let gateway = Gateway::ready(&["--stream-queue-bytes", "100KB"]).await;
    let wire = Wire::connect_small(gateway.public()).await;
    let mut stream = Stream::open_over(wire, ROOM, &[]).await;
    stream.block().await.expect("the first block");
    let (mut healthy, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    let pad = "x".repeat(10_000);
    for n in 0..FLOOD {
        gateway.publish("a", "t", &json!({"data": [n, pad]}).to_string()).await;
        assert_eq!(number(&healthy.next().await), Some(n), "the other one gets everything");
    }
    let mut next = 0;
    while let Some(block) = stream.block().await {
        assert_eq!(number(&block), Some(next), "no goodbye either: {block:?}");
        next += 1;
    }
    assert!(next < FLOOD, "the flood was too small");
    assert_eq!(gateway.metric("tidegate_connections_closed_total", "reason=\"slow\"").await, 1.0);
    let last = stream.last_id.as_deref().expect("an id");
    assert_eq!(first_after(&gateway, ROOM, last).await, Some(next));
}

#[tokio::test]
async fn only_what_the_operator_allows_may_be_asked_for() {
    let gateway = Gateway::ready(&["--stream-slow", "latest,disconnect"]).await;
    for (slow, status) in [("drop", 400), ("x", 400), ("", 400)] {
        let answer = http::get(gateway.public(), &format!("{ROOM}?slow={slow}"), &[]).await;
        assert_eq!(answer.status, status, "{slow}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("slow= takes latest or disconnect"), "{detail}");
    }
    for slow in ["latest", "disconnect"] {
        Stream::connect(gateway.public(), &format!("{ROOM}?slow={slow}"), &[]).await;
    }
}

/// Publishes large events until so many streams were ended for taking nothing.
async fn until_stalled(gateway: &Gateway, streams: f64, publish: impl AsyncFn(&str)) {
    let body = json!({"data": "x".repeat(900_000)}).to_string();
    eventually("the writes time out", Duration::from_secs(60), async || {
        publish(&body).await;
        gateway.metric("tidegate_connections_closed_total", "reason=\"stalled\"").await >= streams
    })
    .await;
    assert_eq!(gateway.metric("tidegate_connections_closed_total", "client_gone").await, 0.0);
    let gone = gateway.metric("tidegate_send_failures_total", "write_timeout").await;
    assert!(gone >= streams, "{gone}");
}

/// Opens a stream over HTTP/2 on a connection that then takes nothing, not even its window's worth.
async fn stalled_http2<S>(socket: S) -> impl Sized
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    const WINDOW: u32 = i32::MAX as u32;
    let (client, mut connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake::<_, bytes::Bytes>(socket)
        .await
        .expect("a connection");
    let opened = async {
        let mut client = client.ready().await.expect("ready");
        let request = ::http::Request::get(format!("http://t{ROOM}")).body(());
        let (answer, _) = client.send_request(request.expect("a request"), true).expect("sent");
        (answer.await.expect("an answer").into_body(), client)
    };
    let held = tokio::select! {
        held = opened => held,
        _ = &mut connection => panic!("the connection ended"),
    };
    (held, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_ended_over_http1_and_http2_and_counted() {
    let gateway = Gateway::ready(&["--stream-write-timeout", "1s"]).await;
    let wire = Wire::connect_small(gateway.public()).await;
    let _http1 = Stream::open_over(wire, ROOM, &[]).await;
    let socket = tokio::net::TcpStream::connect(gateway.public()).await.expect("connected");
    let _http2 = stalled_http2(socket).await;
    let (mut healthy, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    let reading = tokio::spawn(async move { while !healthy.next().await.is_own() {} });
    until_stalled(&gateway, 2.0, async |body| {
        assert_eq!(gateway.publish("a", "t", body).await.status, 200);
    })
    .await;
    assert!(!reading.is_finished(), "who reads goes on");
    assert_eq!(gateway.metric("tidegate_connections", "protocol").await, 1.0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_holds_little_of_what_a_reader_does_not_take() {
    let gateway = Gateway::ready(&["--stream-write-timeout", "1s"]).await;
    let wire = Wire::connect_small(gateway.public()).await;
    let _stalled = Stream::open_over(wire, ROOM, &[]).await;
    // The kernel would take all of it, and nobody would notice that the client takes nothing.
    let body = json!({"data": "x".repeat(900_000)}).to_string();
    assert_eq!(gateway.publish("a", "t", &body).await.status, 200);
    eventually("the write times out", Duration::from_secs(20), async || {
        gateway.metric("tidegate_connections_closed_total", "reason=\"stalled\"").await == 1.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_ended_over_tls_and_counted() {
    let pair = Pair::until(2099);
    let files = Files::with(&pair);
    let flags = files.flags();
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.extend(["--stream-write-timeout", "1s"]);
    let gateway = Gateway::ready(&flags).await;
    let mut http1 = pair.session(gateway.public(), &["http/1.1"]).await.expect("a session");
    let request = format!("GET {ROOM} HTTP/1.1\r\nhost: t\r\n\r\n");
    http1.write_all(request.as_bytes()).await.expect("written");
    http1.read_exact(&mut [0; 1]).await.expect("an answer");
    let _http2 = stalled_http2(pair.session(gateway.public(), &["h2"]).await.expect("one")).await;
    let client = pair.client(gateway.public(), false);
    until_stalled(&gateway, 2.0, async |body| {
        let publish = client
            .post(format!("https://{NAME}/v1/sse/events/a/types/t"))
            .header("content-type", "application/json")
            .body(body.to_owned());
        assert_eq!(publish.send().await.expect("an answer").status(), 200);
    })
    .await;
}
