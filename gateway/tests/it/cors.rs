//! Pages of other origins.

use crate::support::gateway::Gateway;
use crate::support::http::{self, Answer, Wire};
use crate::support::stream::Stream;

const ROOM: &str = "/v1/subscribe/events/a/types/t";
const PAGE: &str = "https://app.example.com";
const OTHER: &str = "https://app.example.com.evil.example";

async fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str) -> Answer {
    let mut wire = Wire::connect(gateway.public()).await;
    let request = format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: t\r\norigin: {origin}\r\n\
         access-control-request-method: {method}\r\n\
         access-control-request-headers: content-type,x-signature\r\n\r\n"
    );
    wire.send(request.as_bytes()).await;
    wire.answer().await
}

#[tokio::test]
async fn a_preflight_is_answered_on_every_route() {
    let gateway = Gateway::ready(&["--cors-origins", &format!("https://x.example,{PAGE}")]).await;
    for (path, method) in [
        (ROOM, "GET"),
        ("/v1/subscribe", "GET"),
        ("/v1/sse/events/a/types/t", "POST"),
        ("/v1/sse/broadcast/types/t", "POST"),
        ("/v1/sse/batch", "POST"),
        ("/v1/events/a/types/t/history", "GET"),
    ] {
        let answer = preflight(&gateway, path, PAGE, method).await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.head);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let methods = answer.header("access-control-allow-methods").expect("methods");
        assert!(methods.split(", ").any(|allowed| allowed == method), "{methods}");
        let headers = answer.header("access-control-allow-headers").expect("headers");
        for name in [
            "Last-Event-ID",
            "X-Signature",
            "X-User",
            "Idempotency-Key",
            "X-Deliver-Within",
            "Content-Type",
            "traceparent",
        ] {
            assert!(headers.split(", ").any(|allowed| allowed == name), "{name}: {headers}");
        }
    }
    let refused = preflight(&gateway, ROOM, OTHER, "GET").await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["type"], "urn:tidegate:problem:forbidden");
    assert_eq!(refused.header("access-control-allow-origin"), None);
    assert_eq!(refused.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn a_page_may_read_streams_receipts_and_problems() {
    let gateway = Gateway::ready(&["--cors-origins", PAGE]).await;
    let to = gateway.public();
    let (stream, _) = Stream::connect(to, ROOM, &[("origin", PAGE)]).await;
    assert_eq!(http::header(&stream.head, "access-control-allow-origin"), Some(PAGE));
    assert_eq!(http::header(&stream.head, "access-control-allow-credentials"), Some("true"));
    assert_eq!(http::header(&stream.head, "vary"), Some("Accept-Encoding, Origin"));

    let publish = "/v1/sse/events/a/types/t";
    let json = ("content-type", "application/json");
    let receipt = http::post(to, publish, &[json, ("origin", PAGE)], br#"{"data":1}"#).await;
    let bad = http::post(to, publish, &[json, ("origin", PAGE)], b"{").await;
    let lost = http::get(to, "/v1/nothing", &[("origin", PAGE)]).await;
    let method = http::get(to, publish, &[("origin", PAGE)]).await;
    for (answer, status) in [(&receipt, 200), (&bad, 400), (&lost, 404), (&method, 405)] {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{status}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{status}");
        assert_eq!(answer.header("access-control-expose-headers"), Some("Retry-After"));
    }

    // Another page gets no leave, nor does a request without a page; both vary all the same.
    for headers in [&[("origin", OTHER)][..], &[("origin", "null")], &[]] {
        let (stream, _) = Stream::connect(to, ROOM, headers).await;
        assert_eq!(http::header(&stream.head, "access-control-allow-origin"), None);
        assert_eq!(http::header(&stream.head, "access-control-allow-credentials"), None);
        assert_eq!(http::header(&stream.head, "vary"), Some("Accept-Encoding, Origin"));
    }
}

#[tokio::test]
async fn a_star_lets_every_page_in_by_its_name_and_no_setting_lets_none() {
    let open = Gateway::ready(&["--cors-origins", "*"]).await;
    for origin in [PAGE, OTHER, "http://localhost:5173"] {
        let (stream, _) = Stream::connect(open.public(), ROOM, &[("origin", origin)]).await;
        let allowed = http::header(&stream.head, "access-control-allow-origin");
        assert_eq!(allowed, Some(origin), "never a star: cookies would not be let through");
    }
    let shut = Gateway::ready(&[]).await;
    let (stream, _) = Stream::connect(shut.public(), ROOM, &[("origin", PAGE)]).await;
    assert!(!stream.head.to_ascii_lowercase().contains("access-control"));
    assert_eq!(preflight(&shut, ROOM, PAGE, "GET").await.status, 405);
}
