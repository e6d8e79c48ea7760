use std::sync::Mutex;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, span::SpanKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tracing_subscriber::layer::SubscriberExt;

use super::*;

type Received = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that answers each export with `status` and keeps what it was sent.
async fn collector(status: Arc<Mutex<&'static str>>) -> (Url, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Received::default();
    let keep = received.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut bytes, mut chunk) = (Vec::new(), [0; 16 * 1024]);
            let body = loop {
                let count = stream.read(&mut chunk).await.unwrap();
                bytes.extend_from_slice(&chunk[..count]);
                let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
                assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
                assert!(head.contains("content-type: application/x-protobuf"), "{head}");
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if bytes.len() - end - 4 == length.parse::<usize>().unwrap() {
                    break bytes.split_off(end + 4);
                }
            };
            let status = *status.lock().unwrap();
            keep.lock().unwrap().push(ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (format!("http://{address}").parse().unwrap(), received)
}

fn settings(endpoint: Url, ratio: f64) -> TraceSettings {
    TraceSettings { endpoint, ratio, service: "mcp-fake".into(), namespace: "agents".into() }
}

fn spans(received: &Received) -> Vec<opentelemetry_proto::tonic::trace::v1::Span> {
    let requests = received.lock().unwrap().clone();
    let of = |resource: ResourceSpans| resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
    requests.into_iter().flat_map(|request| request.resource_spans).flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_spans_at_the_end_at_the_latest() {
    let (endpoint, received) = collector(Arc::new(Mutex::new("200 OK"))).await;
    let traces = Traces::start(&settings(endpoint, 1.0)).unwrap();
    let counts = traces.counts();
    let subscriber = tracing_subscriber::registry().with(build_layer(traces.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::error_span!(target: TRACE_TARGET, "x", otel.name = "tools/call a", otel.kind = "server");
        span.in_scope(|| tracing::error!("an event, which is not sent"));
        let _other = tracing::error_span!("a span for lines only").entered();
    });
    traces.finish().await;
    let spans = spans(&received);
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!((spans[0].name.as_str(), spans[0].kind), ("tools/call a", SpanKind::Server as i32));
    assert!(spans[0].events.is_empty());
    assert_eq!((counts.sent(), counts.lost(), counts.is_failing()), (1, 0, false));
    let resource = received.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    let mut names: Vec<String> = resource.attributes.into_iter().map(|attribute| attribute.key).collect();
    names.sort();
    assert_eq!(names, ["service.name", "service.namespace", "service.version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_decides_whether_its_trace_is_sent() {
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let (endpoint, received) = collector(Arc::new(Mutex::new("200 OK"))).await;
    // Nothing but what a caller wants.
    let traces = Traces::start(&settings(endpoint, 0.0)).unwrap();
    let subscriber = tracing_subscriber::registry().with(build_layer(traces.tracer()));
    tracing::subscriber::with_default(subscriber, || {
        for (parent, flags) in [("00f067aa0ba902b7", "01"), ("00f067aa0ba902b8", "00")] {
            let text = format!("00-0af7651916cd43dd8448eb211c80319c-{parent}-{flags}");
            let caller = super::super::context::parse(&text, Some("vendor=one")).unwrap();
            let span = tracing::error_span!(target: TRACE_TARGET, "x");
            let parent =
                opentelemetry::trace::TraceContextExt::with_remote_span_context(&opentelemetry::Context::new(), caller);
            span.set_parent(parent).unwrap();
            drop(span);
        }
        drop(tracing::error_span!(target: TRACE_TARGET, "without a caller's trace"));
    });
    traces.finish().await;
    let spans = spans(&received);
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(hex::encode(&spans[0].parent_span_id), "00f067aa0ba902b7");
    assert_eq!(spans[0].trace_state, "vendor=one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_costs_its_spans_only() {
    let status = Arc::new(Mutex::new("503 Service Unavailable"));
    let (endpoint, received) = collector(status.clone()).await;
    let traces = Traces::start(&settings(endpoint, 1.0)).unwrap();
    let counts = traces.counts();
    let subscriber = tracing_subscriber::registry().with(build_layer(traces.tracer()));
    let one_span = || drop(tracing::error_span!(target: TRACE_TARGET, "x"));
    let _guard = tracing::subscriber::set_default(subscriber);
    one_span();
    let provider = traces.provider.clone();
    let flush = || {
        let provider = provider.clone();
        tokio::task::spawn_blocking(move || provider.force_flush())
    };
    assert!(flush().await.unwrap().is_err());
    assert_eq!((counts.sent(), counts.lost(), counts.is_failing()), (0, 1, true));
    *status.lock().unwrap() = "200 OK";
    one_span();
    flush().await.unwrap().unwrap();
    assert_eq!((counts.sent(), counts.lost(), counts.is_failing()), (1, 1, false));
    assert_eq!(received.lock().unwrap().len(), 2);
    traces.finish().await;
}

#[test]
fn the_path_of_an_endpoint_is_kept() {
    for (endpoint, url) in [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://example.com/otlp/", "https://example.com/otlp/v1/traces"),
    ] {
        assert_eq!(traces_url(&endpoint.parse().unwrap()).as_str(), url);
    }
}
