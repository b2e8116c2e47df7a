//! Sending spans to a collector: OTLP over HTTP or gRPC (OpenTelemetry Protocol 1.x).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData};
use tokio::runtime::Handle;

use super::TRACER;
use crate::client::http_client;
use crate::config::{Otel, OtelProtocol};

/// How long a collector has to take a batch of spans.
const EXPORT: Duration = Duration::from_secs(10);
/// Where OTLP over HTTP takes spans below an endpoint (OTLP, section "OTLP/HTTP Request").
const HTTP_PATH: &str = "/v1/traces";

/// What sends this process's spans.
#[derive(Debug)]
pub struct Exporting(SdkTracerProvider);

/// Begins to make spans and to send them, if an endpoint is set. To be called on the runtime that sends
/// them.
///
/// # Errors
/// An endpoint that cannot be one; a collector that does not answer is none.
pub fn start(settings: &Otel, pod: &str) -> anyhow::Result<Option<Exporting>> {
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let exporter = match settings.protocol {
        OtelProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(endpoint)?)
            .with_endpoint(http_endpoint(endpoint))
            .with_timeout(EXPORT)
            .build(),
        OtelProtocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT)
            .build(),
    };
    let exporter = exporter.with_context(|| format!("otel.endpoint {endpoint}"))?;
    let resource = Resource::builder()
        .with_service_name("tidegate")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", pod.to_owned()),
        ])
        .build();
    // A request that says whether its trace is sampled is obeyed.
    let sampler = Sampler::parent_based(Sampler::TraceIdRatioBased(settings.sample_ratio));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Told { exporter, fails: AtomicBool::new(false) })
        .with_sampler(sampler)
        .with_resource(resource)
        .build();
    // A second gateway in one process, as tests have it, keeps the first one's.
    let _ = TRACER.set(provider.tracer("tidegate"));
    Ok(Some(Exporting(provider)))
}

impl Exporting {
    /// Sends what is left, for `most` at the longest.
    pub async fn finish(self, most: Duration) {
        // It waits on the thread that sends.
        let sent = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(most)).await;
        if let Ok(Err(error)) = sent {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The address that spans are posted to: an endpoint without a path is a collector's root.
fn http_endpoint(endpoint: &str) -> String {
    let has_path = endpoint
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .is_some_and(|(_, path)| !path.is_empty());
    if has_path {
        endpoint.to_owned()
    } else {
        format!("{}{HTTP_PATH}", endpoint.trim_end_matches('/'))
    }
}

/// An exporter whose failures are said in the log: once when they begin, and when they are over.
#[derive(Debug)]
struct Told {
    exporter: SpanExporter,
    fails: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        let failed = self.fails.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !failed => {
                tracing::warn!(%error, spans, "the collector does not take spans; they are dropped");
            }
            Ok(()) if failed => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The HTTP client that the rest of the gateway uses, too. The exporter calls it on a thread of its
/// own, without a runtime.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

impl Client {
    fn new(endpoint: &str) -> anyhow::Result<Self> {
        Ok(Self { client: http_client(&endpoint.parse()?)?, runtime: Handle::current() })
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let answer = self.runtime.spawn(async move {
            let mut request = reqwest::Request::try_from(request)?;
            *request.timeout_mut() = Some(EXPORT);
            let response = client.execute(request).await?;
            let status = response.status();
            // What a collector says in words is not read, so it need not be bounded.
            let mut answer = http::Response::new(Bytes::new());
            *answer.status_mut() = status;
            Ok::<_, reqwest::Error>(answer)
        });
        Ok(answer.await??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collectors_root_gets_the_path_of_traces() {
        for (endpoint, want) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
        ] {
            assert_eq!(http_endpoint(endpoint), want);
        }
    }
}
