//! A collector of traces: takes spans by OTLP, over HTTP and gRPC at one address, and decodes them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::eventually;
use super::http::PATIENCE;

type Requests = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector; ends when dropped.
pub struct Collector {
    pub address: SocketAddr,
    requests: Requests,
    serving: JoinHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let requests = Requests::default();
        let grpc = TraceServiceServer::new(Grpc(Arc::clone(&requests)));
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(Arc::clone(&requests))
            .merge(tonic::service::Routes::new(grpc).into_axum_router());
        let listener = TcpListener::bind(address).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        Self { address, requests, serving }
    }

    /// What the gateway is given as its endpoint.
    pub fn endpoint(&self) -> String {
        format!("--otel-endpoint=http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().expect("requests");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// What is said of the process that sent the first of them.
    pub fn resource(&self) -> Vec<KeyValue> {
        let requests = self.requests.lock().expect("requests");
        let first = requests.first().and_then(|request| request.resource_spans.first());
        first.and_then(|spans| spans.resource.clone()).expect("a resource").attributes
    }

    /// Waits until there are at least so many, and returns all.
    pub async fn wait_for(&self, count: usize) -> Vec<Span> {
        eventually("the spans are here", PATIENCE, async || self.spans().len() >= count).await;
        self.spans()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The only span of this name.
pub fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let mut named = spans.iter().filter(|span| span.name == name);
    let span = named.next().unwrap_or_else(|| panic!("no {name} in {spans:?}"));
    assert!(named.next().is_none(), "one {name} in {spans:?}");
    span
}

/// The value of an attribute, as text.
pub fn attribute(of: &[KeyValue], key: &str) -> Option<String> {
    let value = of.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    match value {
        any_value::Value::StringValue(text) => Some(text),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

async fn take(State(requests): State<Requests>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("content-type").is_none_or(|kind| kind != "application/x-protobuf") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    requests.lock().expect("requests").push(request);
    StatusCode::OK
}

struct Grpc(Requests);

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().expect("requests").push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
