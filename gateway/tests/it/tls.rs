//! TLS on the public port: what is agreed on, new certificates, and peers that do not play along.

use http::Version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::{PATIENCE, Wire};
use crate::support::tls::{Files, NAME, Pair, read_until};

const ROOM: &str = "/v1/subscribe/events/a/types/t";

async fn start(files: &Files, more: &[&str]) -> Gateway {
    let flags = files.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Gateway::ready(&flags).await
}

async fn publish(client: &reqwest::Client, n: u32) -> reqwest::Response {
    client
        .post(format!("https://{NAME}/v1/sse/events/a/types/t"))
        .header("content-type", "application/json")
        .body(format!("{{\"data\":{n}}}"))
        .send()
        .await
        .expect("an answer")
}

#[tokio::test]
async fn clients_agree_on_http2_or_http1_and_get_their_streams() {
    let pair = Pair::until(2099);
    let files = Files::with(&pair);
    let gateway = start(&files, &[]).await;
    for (http1, version, protocol) in
        [(false, Version::HTTP_2, "\"h2\""), (true, Version::HTTP_11, "\"http1.1\"")]
    {
        let client = pair.client(gateway.public(), http1);
        let mut stream =
            client.get(format!("https://{NAME}{ROOM}")).send().await.expect("an answer");
        assert_eq!((stream.status().as_u16(), stream.version()), (200, version));
        let mut seen = String::new();
        read_until(&mut stream, &mut seen, "event: tidegate.connected").await;
        let receipt = publish(&client, 7).await;
        assert_eq!((receipt.status().as_u16(), receipt.version()), (200, version));
        read_until(&mut stream, &mut seen, "\"data\":7").await;
        assert_eq!(gateway.metric("tidegate_connections", protocol).await, 1.0);
    }
    assert_eq!(gateway.metric("tidegate_tls_not_after_seconds", "").await, 4_070_908_800.0);
    // An offer of less is an offer, and so is none.
    for alpn in [&["http/1.0"][..], &[]] {
        let mut session = pair.session(gateway.public(), alpn).await.expect("a session");
        session.write_all(b"HEAD /nothing HTTP/1.0\r\n\r\n").await.expect("written");
        let mut answer = Vec::new();
        session.read_to_end(&mut answer).await.expect("a clean end");
        assert!(answer.starts_with(b"HTTP/1.0 404 "), "{}", String::from_utf8_lossy(&answer));
    }
    // Without TLS it is not there, or an alert on it would fire.
    let plain = Gateway::ready(&[]).await.admin_get("/metrics").await.text();
    assert!(!plain.contains("\ntidegate_tls_not_after_seconds"));
}

#[tokio::test]
async fn a_changed_certificate_is_served_and_open_streams_go_on() {
    let (first, second) = (Pair::until(2098), Pair::until(2099));
    let files = Files::with(&first);
    let gateway = start(&files, &[]).await;
    let to = gateway.public();
    let mut stream =
        first.client(to, false).get(format!("https://{NAME}{ROOM}")).send().await.expect("200");
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "event: tidegate.connected").await;
    assert!(second.session(to, &[]).await.is_err(), "not served yet");

    files.write(&second);
    eventually("the second certificate is served", PATIENCE, async || {
        second.session(to, &[]).await.is_ok()
    })
    .await;
    assert!(first.session(to, &[]).await.is_err(), "the first one is not served any more");
    assert_eq!(gateway.metric("tidegate_tls_not_after_seconds", "").await, 4_070_908_800.0);
    assert_eq!(publish(&second.client(to, false), 8).await.status(), 200);
    read_until(&mut stream, &mut seen, "\"data\":8").await;

    // A key of another certificate: the good pair stays, and it is said once.
    std::fs::write(files.key(), &first.key).expect("written");
    let complaint = "the certificate's files cannot be used";
    eventually("a warning", PATIENCE, async || gateway.log().contains(complaint)).await;
    second.session(to, &[]).await.expect("the last good pair is served");
    files.write(&first);
    eventually("the first certificate is served again", PATIENCE, async || {
        first.session(to, &[]).await.is_ok()
    })
    .await;
    assert_eq!(gateway.log().matches(complaint).count(), 1, "{}", gateway.log());
    assert!(!gateway.log().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn who_does_not_shake_hands_is_cut_and_counted() {
    let pair = Pair::until(2099);
    let files = Files::with(&pair);
    let gateway = start(&files, &["--limits-header-timeout", "300ms"]).await;
    let refused =
        async || gateway.metric("tidegate_connections_refused_total", "reason=\"tls\"").await;
    let mut half = Wire::connect(gateway.public()).await;
    half.send(b"\x16\x03\x01\x02\x00").await;
    let ended = async { while half.fill().await {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("closed");
    eventually("it is counted", PATIENCE, async || refused().await == 1.0).await;

    let mut plain = Wire::connect(gateway.public()).await;
    plain.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").await;
    let answer = plain.answer().await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["detail"].as_str().is_some_and(|d| d.contains("https")));
    eventually("it is counted", PATIENCE, async || refused().await == 2.0).await;

    // A probe that only connects is nobody who failed.
    drop(Wire::connect(gateway.public()).await);
    let other = Pair::until(2099);
    assert!(other.session(gateway.public(), &[]).await.is_err(), "it is not trusted");
    eventually("the distrust is counted", PATIENCE, async || refused().await == 3.0).await;

    // The head's time counts over TLS as well, and so does the first request's over HTTP/2.
    let mut silent = pair.session(gateway.public(), &["http/1.1"]).await.expect("a session");
    let mut answer = Vec::new();
    let read = silent.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.expect("closed").expect("a clean end");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    let mut silent = pair.session(gateway.public(), &["h2"]).await.expect("a session");
    let ended = async { while silent.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("closed");
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_is_said_at_the_start() {
    let (one, other) = (Pair::until(2099), Pair::until(2099));
    let files = Files::with(&one);
    std::fs::write(files.key(), &other.key).expect("written");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
        .args(files.flags())
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("tls.cert_file and tls.key_file"), "{said}");
    assert!(said.contains("cannot be used together"), "{said}");
}
