//! Spans of a publish and of its fan-out, as a collector has them.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::support::collector::{Collector, attribute, named};
use crate::support::eventually;
use crate::support::gateway::{Gateway, SWIFT_DRAIN};
use crate::support::http::{self, PATIENCE};
use crate::support::redis::Redis;
use crate::support::stream::Stream;

const ROOM: &str = "/v1/subscribe/events/a/types/t";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const BODY: &str = r#"{"data": 1}"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn publish_in_trace(to: &Gateway, flags: &str) {
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    let headers =
        [("content-type", "application/json"), ("traceparent", &parent), ("tracestate", "a=1")];
    let path = "/v1/sse/events/a/types/t";
    let answer = http::post(to.public(), path, &headers, BODY.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Asserts that these are a publish in the request's trace, its consumption and its fan-out to so
/// many readers.
fn assert_chain(spans: &[Span], readers: &str) {
    let [publish, consume, fan_out] = ["publish", "consume", "fan-out"].map(|n| named(spans, n));
    for span in [publish, consume, fan_out] {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(span.trace_state, "a=1", "{}", span.name);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    assert_eq!(hex(&publish.parent_span_id), PARENT);
    assert_eq!(publish.kind(), SpanKind::Producer);
    assert_eq!(consume.parent_span_id, publish.span_id);
    assert_eq!(consume.kind(), SpanKind::Consumer);
    let [link] = consume.links.as_slice() else { panic!("one link: {consume:?}") };
    assert_eq!((&link.trace_id, &link.span_id), (&publish.trace_id, &publish.span_id));
    assert_eq!(fan_out.parent_span_id, consume.span_id);
    assert!(fan_out.start_time_unix_nano >= consume.start_time_unix_nano);
    assert!(fan_out.end_time_unix_nano <= consume.end_time_unix_nano);
    assert_eq!(attribute(&fan_out.attributes, "tidegate.rooms").as_deref(), Some("1"));
    assert_eq!(attribute(&fan_out.attributes, "tidegate.readers").as_deref(), Some(readers));
    for key in ["messaging.destination.partition.id", "tidegate.offset"] {
        let place = |span: &Span| attribute(&span.attributes, key);
        assert!(place(publish).is_some() && place(publish) == place(consume), "{key}");
    }
}

#[tokio::test]
async fn one_publish_to_many_readers_is_three_spans_over_http() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let flags = [&[&*endpoint, "--pod-name=pod-1"][..], &SWIFT_DRAIN].concat();
    let gateway = Gateway::ready(&flags).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(Stream::connect(gateway.public(), ROOM, &[]).await.0);
    }
    publish_in_trace(&gateway, "01").await;
    for stream in &mut streams {
        stream.next().await;
    }
    // What is left is sent before the process ends.
    assert!(gateway.terminate().await.success());
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "none for a delivery, a stream or a page: {spans:?}");
    assert_chain(&spans, "20");
    let resource = collector.resource();
    for (key, value) in [
        ("service.name", "tidegate"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", "pod-1"),
    ] {
        assert_eq!(attribute(&resource, key).as_deref(), Some(value));
    }
}

#[tokio::test]
async fn the_same_over_grpc() {
    let collector = Collector::start().await;
    let gateway = Gateway::ready(&[&collector.endpoint(), "--otel-protocol=grpc"]).await;
    let (mut stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    publish_in_trace(&gateway, "01").await;
    stream.next().await;
    assert_chain(&collector.wait_for(3).await, "1");
}

#[tokio::test]
async fn a_trace_goes_on_at_another_pod_through_the_log() {
    let redis = Redis::shared().await;
    let collectors = [Collector::start().await, Collector::start().await];
    let url = format!("--redis-url={}", redis.url());
    let mut pods = Vec::new();
    for collector in &collectors {
        let endpoint = collector.endpoint();
        let flags = ["--log-kind=redis", &url, "--redis-prefix=traces", &endpoint];
        pods.push(Gateway::ready(&flags).await);
    }
    let (mut stream, _) = Stream::connect(pods[1].public(), ROOM, &[]).await;
    publish_in_trace(&pods[0], "01").await;
    stream.next().await;
    let here = collectors[0].wait_for(3).await;
    let there = collectors[1].wait_for(2).await;
    assert_eq!(there.len(), 2, "{there:?}");
    assert_chain(&[vec![named(&here, "publish").clone()], there].concat(), "1");
    // Nobody reads at the pod that took it.
    let own = named(&here, "fan-out");
    assert_eq!(attribute(&own.attributes, "tidegate.readers").as_deref(), Some("0"));
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_makes_no_spans_and_one_of_its_own_is_a_matter_of_the_ratio() {
    let collector = Collector::start().await;
    for (ratio, flags, want) in [("1", Some("00"), 0), ("0", None, 0), ("0", Some("01"), 3)] {
        let ratio = format!("--otel-sample-ratio={ratio}");
        let endpoint = collector.endpoint();
        let settings = [&[&*endpoint, &*ratio][..], &SWIFT_DRAIN].concat();
        let gateway = Gateway::ready(&settings).await;
        let (mut stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
        match flags {
            Some(flags) => publish_in_trace(&gateway, flags).await,
            None => assert_eq!(gateway.publish("a", "t", BODY).await.status, 200),
        }
        stream.next().await;
        assert!(gateway.terminate().await.success());
        assert_eq!(collector.spans().len(), want, "{ratio} {flags:?}");
    }
}

#[tokio::test]
async fn every_line_of_a_batch_is_a_publish_and_a_refused_one_says_why() {
    let collector = Collector::start().await;
    let gateway = Gateway::ready(&[&collector.endpoint()]).await;
    let line = r#"{"event_id":"a","event_type":"t","data":1}"#;
    let body = format!("{line}\n{line}\n{{\"event_id\":\"a\"}}\n");
    let headers = [("content-type", "application/x-ndjson")];
    let answer = http::post(gateway.public(), "/v1/sse/batch", &headers, body.as_bytes()).await;
    assert_eq!(answer.text().lines().count(), 3, "{}", answer.text());
    let published = |spans: &[Span]| spans.iter().filter(|s| s.name == "publish").count();
    eventually("the publishes are here", PATIENCE, async || published(&collector.spans()) == 3)
        .await;
    let spans = collector.spans();
    let failed: Vec<_> = spans
        .iter()
        .filter(|span| span.status.as_ref().is_some_and(|s| s.code() == StatusCode::Error))
        .collect();
    let [failed] = failed.as_slice() else { panic!("one: {failed:?}") };
    assert_eq!(attribute(&failed.attributes, "error.type").as_deref(), Some("invalid-event"));
    let mut traces: Vec<_> = spans.iter().map(|span| &span.trace_id).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 3, "without a parent each line begins a trace");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_event_and_is_said_once() {
    let [port] = tidegate_rig::free_ports();
    let endpoint = format!("--otel-endpoint=http://127.0.0.1:{port}");
    let gateway = Gateway::ready(&[&endpoint]).await;
    let (mut stream, _) = Stream::connect(gateway.public(), ROOM, &[]).await;
    let said = |text: &str| gateway.log().matches(text).count();
    let away = "the collector does not take spans";
    for _ in 0..3 {
        publish_in_trace(&gateway, "01").await;
        stream.next().await;
    }
    eventually("it is said", PATIENCE, async || said(away) == 1).await;
    let collector = Collector::start_at(([127, 0, 0, 1], port).into()).await;
    eventually("spans come again", PATIENCE, async || {
        publish_in_trace(&gateway, "01").await;
        stream.next().await;
        !collector.spans().is_empty()
    })
    .await;
    eventually("that is said", PATIENCE, async || said("takes spans again") == 1).await;
    assert_eq!(said(away), 1);
}
