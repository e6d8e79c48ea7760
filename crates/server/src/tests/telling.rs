//! What the server tells of itself: log lines, audit records, traces, metrics, health. Nothing of it may hold a value.

use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::*;
use outbound::testing::outbound;
use pod_api::config::AuditFileConfig;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn traceparent(trace: &str, parent: &str) -> String {
    format!("00-{trace}-{parent}-01")
}

/// A call whose message carries a trace of its own.
fn traced_call(token: &str, name: &str, arguments: &Value) -> RawRequest {
    let meta = json!({"traceparent": traceparent(TRACE, "00f067aa0ba902b7"), "tracestate": "vendor=one"});
    let params = json!({"name": name, "arguments": arguments, "_meta": meta});
    legacy_request(token, "2025-11-25", "tools/call", &params)
}

// ===== log lines and canaries =====

#[tokio::test]
async fn neither_logs_nor_records_nor_metrics_hold_a_value() {
    let Told { lines, exporter } = told();
    let mut config = config();
    config.tools.allow.push(NamePattern("reveal_fake_secret".into()));
    config.telemetry.audit.file = Some(AuditFileConfig { max_bytes: 1_000_000, files: 1 });
    let server = TestServer::start_with(config, |_| {}).await;
    let token = server.token();
    for (index, request) in [
        traced_call(&token, "echo_fake_text", &json!({"text": "canary-argument"})),
        traced_call(&token, "reveal_fake_secret", &json!({})),
        traced_call(&token, "get_fake_thing", &json!({"name": 1, "canary\u{1b}name": "canary-argument"})),
        traced_call(&token, "evil\u{1b}[31mtool", &json!({"text": "canary-argument"})),
        traced_call(&token, "delete_fake_thing", &json!({"name": "canary-argument", "confirm": true})),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = send(server.mcp, &request.with("X-Request-Id", &format!("logged-{index}"))).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    server.modern("canary-token.canary-token.canary-token", "tools/list", json!({})).await;
    server.platform.state.outbound.lock().unwrap().push(way(10, 20));
    let crowded = traced_call(&token, "get_fake_thing", &json!({"name": "canary-argument"}));
    send(server.mcp, &crowded.with("X-Request-Id", "logged-5")).await;
    let metrics = server.admin("/metrics", None).await.body;
    let status = server.admin("/status", Some(&server.operator_token())).await.body;
    let records: String = server.records().iter().map(ToString::to_string).collect();
    let file = std::fs::read_to_string(server.directory.path().join("audit.log")).unwrap();
    assert_eq!(file.lines().count(), server.records().len());
    server.stop.drain.cancel();
    server.ended.await.unwrap().unwrap();

    let spans = format!("{:?}", exporter.get_finished_spans().unwrap());
    assert!(spans.contains("tools/call echo_fake_text") && spans.contains("tools/call\""), "{spans}");
    let text = lines.text();
    for canary in ["canary-argument", "canary-secret", "canary-token", &token] {
        for (place, told) in [
            ("logs", &text),
            ("records", &records),
            ("file", &file),
            ("metrics", &metrics),
            ("status", &status),
            ("spans", &spans),
        ] {
            assert!(!told.contains(canary), "{canary} is in the {place}:\n{told}");
        }
    }
    for line in text.lines() {
        // No field may be named like one of the line's own, or readers see only one of the two.
        for own in ["message", "level", "timestamp", "target", "service", "version", "connector", "request_id"] {
            let count = line.matches(&format!("\"{own}\":")).count();
            assert!(count == 1 || (own == "request_id" && count == 0), "{own}: {line}");
        }
        assert!(!line.contains("/livez") && !line.contains("/metrics"), "{line}");
    }
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ended = lines.iter().find(|line| line["message"] == "tool call ended" && line["request_id"] == "logged-0");
    let ended = ended.unwrap_or_else(|| panic!("{text}"));
    for (field, value) in [
        ("trace_id", TRACE),
        ("tool", "echo_fake_text"),
        ("caller", "system:serviceaccount:agents:triage"),
        ("outcome", "success"),
        ("connector", "agents/fake"),
        ("service", "mcp-connectors"),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(ended[field], value, "{ended}");
    }
    let failed = lines.iter().find(|line| line["message"] == "tool call failed" && line["request_id"] == "logged-2");
    let failed = failed.unwrap_or_else(|| panic!("{text}"));
    assert_eq!((&failed["level"], &failed["error_code"]), (&json!("INFO"), &json!("invalid_argument")));
    let of_many = lines.iter().find(|line| line["message"] == "tool call refused" && line["request_id"] == "logged-5");
    assert_eq!(of_many.unwrap_or_else(|| panic!("{text}"))["level"], "DEBUG", "a flood of calls is no flood of lines");
    assert!(ended["duration_ms"].is_u64() && ended["timestamp"].is_string());
    for message in ["server_ready", "server_stopped", "draining"] {
        assert!(lines.iter().any(|line| line["message"] == message), "{message}");
    }
}

// ===== audit =====

fn phases(records: &[Value]) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    records
        .iter()
        .map(|record| (word(&record["data"]["unmapped"]["phase"]), word(&record["data"]["unmapped"]["outcome"])))
        .collect()
}

fn pair(phase: &str, outcome: &str) -> (String, String) {
    (phase.into(), outcome.into())
}

#[tokio::test]
async fn each_call_has_one_record_before_it_and_one_after() {
    let server = TestServer::start().await;
    let token = server.token();
    for (name, arguments, outcome) in [
        ("get_fake_thing", json!({"name": "a"}), "success"),
        ("get_fake_thing", json!({"name": "missing"}), "error"),
        ("get_fake_thing", json!({"name": "panic"}), "exception"),
        ("no_such_tool", json!({"b": 1, "a": 2}), "denied"),
    ] {
        let before = server.records().len();
        send(server.mcp, &traced_call(&token, name, &arguments)).await;
        let records = server.records().split_off(before);
        assert_eq!(phases(&records), [pair("attempt", ""), pair("result", outcome)], "{name} {arguments}");
        let correlation = |record: &Value| record["data"]["metadata"]["correlation_uid"].clone();
        assert_eq!(correlation(&records[0]), correlation(&records[1]));
        assert_ne!(records[0]["id"], records[1]["id"]);
    }
    let records = server.records();
    let denied = &records[7];
    assert_eq!(denied["data"]["unmapped"]["arguments"], json!(["a", "b"]));
    assert_eq!(denied["data"]["status_code"], "unknown_tool");

    let first = &records[1];
    assert_eq!(first["specversion"], "1.0");
    assert_eq!(first["source"], "/namespaces/agents/mcpconnectors/fake");
    assert_eq!(first["type"], "io.mcp-connectors.tool_call.result");
    first["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let data = &first["data"];
    // What OCSF 1.6.0 requires of class 6003.
    for (pointer, value) in [
        ("/class_uid", json!(6_003)),
        ("/category_uid", json!(6)),
        ("/activity_id", json!(2)),
        ("/type_uid", json!(600_302)),
        ("/severity_id", json!(1)),
        ("/status_id", json!(1)),
        ("/metadata/version", json!("1.6.0")),
        ("/metadata/product/vendor_name", json!("mcp-connectors.io")),
        ("/actor/user/name", json!("system:serviceaccount:agents:triage")),
        ("/api/operation", json!("get_fake_thing")),
        ("/api/service/name", json!("fake")),
        ("/src_endpoint/ip", json!("127.0.0.1")),
        ("/unmapped/trace_id", json!(TRACE)),
    ] {
        assert_eq!(data.pointer(pointer), Some(&value), "{pointer} in {data}");
    }
    assert!(data["time"].is_i64() && data["duration"].is_u64() && data["api"]["request"]["uid"].is_string());
}

#[tokio::test]
async fn a_call_is_on_record_before_it_ends_and_when_its_caller_goes() {
    let server = TestServer::start().await;
    let mut waiting = server.platform.state.waiting.subscribe();
    let mut stream = TcpStream::connect(server.mcp).await.unwrap();
    let call = modern_request(&server.token(), "tools/call", json!({"name": "wait_fake_time", "arguments": {}}));
    stream.write_all(&call.bytes()).await.unwrap();
    until(&mut waiting, 1).await;
    assert_eq!(phases(&server.records()), [pair("attempt", "")]);
    drop(stream);
    until(&mut waiting, 0).await;
    // The record is written when the future is dropped or told to end, right after the tool was.
    for _ in 0..1_000 {
        if server.records().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(phases(&server.records()), [pair("attempt", ""), pair("result", "abandoned")]);
}

#[tokio::test]
async fn refused_callers_are_on_record_and_a_flood_of_them_is_bounded() {
    let server = TestServer::start().await;
    for _ in 0..30 {
        assert_eq!(server.modern("nonsense", "tools/list", json!({})).await.status, 401);
    }
    let stranger = server.key.token("elsewhere", "x");
    assert_eq!(server.modern(&stranger, "tools/list", json!({})).await.status, 403);
    let records = server.records();
    assert!((10..30).contains(&records.len()), "{}", records.len());
    let first = &records[0]["data"];
    assert_eq!((&first["unmapped"]["phase"], &first["status_code"]), (&json!("auth_failure"), &json!("malformed")));
    assert_eq!((&first["activity_id"], &first["type_uid"]), (&json!(99), &json!(600_399)));
}

// ===== traces =====

/// A platform that a server asks for its things, and that fails so many times at first.
async fn platform_of(server: &TestServer, failures: u64) -> MockServer {
    let platform = MockServer::start().await;
    if failures > 0 {
        let unwell = ResponseTemplate::new(503);
        Mock::given(matchers::any()).respond_with(unwell).up_to_n_times(failures).mount(&platform).await;
    }
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(200)).mount(&platform).await;
    *server.platform.state.upstream.lock().unwrap() = Some(Arc::new(outbound(&platform.uri())));
    platform
}

/// The headers of the last request that a platform got.
async fn last_headers(platform: &MockServer) -> axum::http::HeaderMap {
    platform.received_requests().await.unwrap().pop().unwrap().headers
}

#[tokio::test]
async fn one_trace_leads_from_the_caller_to_the_platform() {
    told();
    let server = TestServer::start().await;
    let platform = platform_of(&server, 1).await;
    let trace = "1af7651916cd43dd8448eb211c80319c";
    let meta = json!({"traceparent": traceparent(trace, "00f067aa0ba902b7"), "tracestate": "vendor=one"});
    let params = json!({"name": "get_fake_thing", "arguments": {"name": "a", "limit": 3}, "_meta": meta});
    let request = legacy_request(&server.token(), "2025-11-25", "tools/call", &params)
        // The message's own context wins.
        .with("traceparent", &traceparent(&"1".repeat(32), "00f067aa0ba902b8"));
    assert_eq!(send(server.mcp, &request).await.status, 200);
    let spans = spans_of(trace);
    let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{spans:?}"));
    let call = find("tools/call get_fake_thing");
    let attempts: Vec<&SpanData> = spans.iter().filter(|span| span.name == "platform request").collect();
    let [failed, asked] = *attempts else { panic!("{spans:?}") };
    assert_eq!((&call.span_kind, &asked.span_kind), (&SpanKind::Server, &SpanKind::Client));
    assert_eq!(attribute(failed, "error.type").as_deref(), Some("outage"));
    for (key, value) in [
        ("mcp_connectors.platform", "fake"),
        ("http.request.method", "GET"),
        ("http.request.resend_count", "1"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(asked, key).as_deref(), Some(value), "{key}");
    }
    for span in [call, failed, asked] {
        assert_eq!(span.span_context.trace_id().to_string(), trace);
        assert_eq!(span.span_context.trace_state().header(), "vendor=one");
    }
    assert_eq!(call.parent_span_id.to_string(), "00f067aa0ba902b7");
    for attempt in attempts {
        assert_eq!(attempt.parent_span_id, call.span_context.span_id());
    }
    for (key, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "get_fake_thing"),
        ("gen_ai.operation.name", "execute_tool"),
        ("mcp.protocol.version", "2025-11-25"),
        ("jsonrpc.request.id", "1"),
        ("network.transport", "tcp"),
        ("mcp_connectors.argument_names", "limit,name"),
    ] {
        assert_eq!(attribute(call, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(call, "error.type"), None);
    let headers = last_headers(&platform).await;
    assert_eq!(headers["traceparent"], format!("00-{trace}-{}-01", asked.span_context.span_id()));
    assert_eq!(headers["tracestate"], "vendor=one");
    let exemplar = format!("trace_id=\"{trace}\"");
    assert!(server.admin("/metrics", None).await.body.contains(&exemplar), "the slow call leads to its trace");
}

#[tokio::test]
async fn failures_are_seen_in_the_span_and_quiet_requests_make_none() {
    told();
    let server = TestServer::start().await;
    let trace = "2af7651916cd43dd8448eb211c80319c";
    let parent = traceparent(trace, "00f067aa0ba902b7");
    let call = |name: &str| json!({"name": "get_fake_thing", "arguments": {"name": name}});
    let uri = json!({"uri": "x://y"});
    let token = server.token();
    for request in [
        modern_request(&token, "tools/call", call("missing")),
        modern_request(&token, "tools/call", call("panic")),
        modern_request(&token, "resources/read", uri).with("Mcp-Name", "x://y"),
        modern_request(&token, "tools/list", json!({})),
        modern_request(&server.operator_token(), "server/discover", json!({})),
    ] {
        send(server.mcp, &request.with("traceparent", &parent)).await;
    }
    let spans = spans_of(trace);
    let told: Vec<(String, Option<String>)> =
        spans.iter().map(|span| (span.name.to_string(), attribute(span, "error.type"))).collect();
    let expect = |name: &str, error: &str| (name.to_owned(), Some(error.to_owned()));
    assert_eq!(
        told,
        [
            expect("tools/call get_fake_thing", "tool_error"),
            expect("tools/call get_fake_thing", "panic"),
            expect("resources/read", "-32002"),
            ("tools/list".to_owned(), None),
        ]
    );
    assert!(matches!(spans[0].status, opentelemetry::trace::Status::Error { .. }), "{:?}", spans[0].status);
}

#[tokio::test]
async fn without_a_collector_the_callers_trace_is_passed_on_and_one_is_made_for_those_without() {
    // For this thread, which is where everything of this test runs.
    let _nothing_exported = tracing::subscriber::set_default(tracing_subscriber::registry());
    let server = TestServer::start().await;
    let platform = platform_of(&server, 0).await;
    let token = server.token();
    send(server.mcp, &traced_call(&token, "get_fake_thing", &json!({"name": "a"}))).await;
    let told = last_headers(&platform).await;
    assert!(told["traceparent"].to_str().unwrap().starts_with(&format!("00-{TRACE}-")));
    assert_eq!(told["tracestate"], "vendor=one");

    let header = modern_request(&token, "tools/call", json!({"name": "get_fake_thing", "arguments": {"name": "a"}}))
        .with("traceparent", &traceparent(TRACE, "00f067aa0ba902b8"));
    send(server.mcp, &header).await;
    let records = server.records();
    assert_eq!(records[3]["data"]["unmapped"]["trace_id"], TRACE);

    server.call(&token, "get_fake_thing", json!({"name": "a"})).await;
    let records = server.records();
    let made = records[5]["data"]["unmapped"]["trace_id"].as_str().unwrap().to_owned();
    assert!(made.len() == 32 && made != TRACE, "{made}");
    let told = last_headers(&platform).await;
    assert!(told["traceparent"].to_str().unwrap().starts_with(&format!("00-{made}-")), "{told:?}");
}

// ===== health, version, mutations =====

#[tokio::test]
async fn the_check_tool_says_what_the_replica_knows_without_asking_the_platform() {
    let server = TestServer::start().await;
    let platform = platform_of(&server, 0).await;
    let way = way(1, 2);
    server.platform.state.outbound.lock().unwrap().push(way.clone());
    // The first probe takes a moment.
    let mut answer = Value::Null;
    for _ in 0..1_000 {
        answer = server.call(&server.token(), "check_fake_connector", json!({})).await;
        if answer["result"]["structuredContent"]["status"] != "starting" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let health = &answer["result"]["structuredContent"];
    assert_eq!(health["status"], "ok", "{answer}");
    assert_eq!(health["bulkheads"]["fake"]["queued"], 2);
    assert_eq!(health["pace"]["fake"], json!({"requests_per_minute": 600.0}));
    assert_eq!(health["circuitBreakers"]["fake"]["open"], true);
    assert_eq!(health["circuitBreakers"]["fake"]["retry_after_seconds"], 7);
    assert_eq!(
        health["cache"],
        json!({"hits": 0, "misses": 0, "entries": 0, "bytes": 0, "max_bytes": 8 * 1024 * 1024})
    );
    assert_eq!(health["credentials"], json!({"state": "Loaded", "revision": "00000001", "accepted": "Accepted"}));
    assert_eq!((&health["probe"]["reason"], health["probe"]["age_seconds"].is_u64()), (&json!("Healthy"), true));
    assert_eq!(health["audit"][0], json!({"name": "stdout", "lost": 0, "failing": false}));
    assert_eq!(platform.received_requests().await.unwrap().len(), 0, "the platform was asked");

    let status = server.admin("/status", Some(&server.operator_token())).await.json();
    let details: pod_api::status::ReplicaDetails = serde_json::from_value(status["details"].clone()).unwrap();
    assert_eq!(details.outbound, [way]);
    assert!(details.probe_age_seconds.is_some() && details.trace_export_failing.is_none());
}

#[tokio::test]
async fn the_version_is_a_resource_in_both_eras() {
    let server = TestServer::start().await;
    let token = server.token();
    let expected = json!({
        "serverVersion": env!("CARGO_PKG_VERSION"),
        "mcpProtocolVersions": ["2025-06-18", "2025-11-25", "2026-07-28"],
        "minimumClientVersion": "2025-06-18",
        "breakingChanges": [],
    });
    let read = |reply: Reply| {
        let text = reply.json()["result"]["contents"][0]["text"].as_str().unwrap().to_owned();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let listed = server.modern(&token, "resources/list", json!({})).await.json();
    assert_eq!(listed["result"]["resources"][0]["uri"], "server://version");
    assert_eq!((&listed["result"]["cacheScope"], listed["result"]["ttlMs"].is_u64()), (&json!("public"), true));
    let params = json!({"uri": "server://version"});
    let modern = modern_request(&token, "resources/read", params.clone()).with("Mcp-Name", "server://version");
    let modern = send(server.mcp, &modern).await;
    assert_eq!(modern.json()["result"]["cacheScope"], "public");
    assert_eq!(read(modern), expected);
    let legacy = send(server.mcp, &legacy_request(&token, "2025-11-25", "resources/read", &params)).await;
    assert_eq!(read(legacy), expected);
    let operator = server.modern(&server.operator_token(), "resources/list", json!({})).await;
    assert_eq!(operator.status, 403);
}

#[tokio::test]
async fn the_operator_is_told_what_was_changed_and_not_what_was_announced() {
    let server = TestServer::start().await;
    let token = server.token();
    server.call(&token, "delete_fake_thing", json!({"name": "canary-argument"})).await;
    server.call(&token, "delete_fake_thing", json!({"name": "canary-argument", "confirm": true})).await;
    server.call(&token, "get_fake_thing", json!({"name": "a"})).await;
    let status = server.admin("/status", Some(&server.operator_token())).await;
    assert!(!status.body.contains("canary"), "{}", status.body);
    let details: pod_api::status::ReplicaDetails = serde_json::from_value(status.json()["details"].clone()).unwrap();
    let [mutation] = details.mutations.as_slice() else { panic!("{details:?}") };
    assert_eq!(
        (mutation.tool.as_str(), mutation.outcome),
        ("delete_fake_thing", pod_api::status::CallOutcome::Success)
    );
    assert_eq!(mutation.caller, "system:serviceaccount:agents:triage");
    let records = server.records();
    assert_eq!(records[3]["data"]["metadata"]["correlation_uid"], mutation.id);
}

#[tokio::test]
async fn nothing_is_active_at_rest() {
    let server = TestServer::start().await;
    let active = async |expected: &str| {
        for _ in 0..1_000 {
            let text = server.admin("/metrics", None).await.body;
            if text.lines().any(|line| line == format!("mcp_active_requests {expected}")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("there are never {expected} active requests");
    };
    let mut waiting = server.platform.state.waiting.subscribe();
    let mut stream = TcpStream::connect(server.mcp).await.unwrap();
    let call = modern_request(&server.token(), "tools/call", json!({"name": "wait_fake_time", "arguments": {}}));
    stream.write_all(&call.bytes()).await.unwrap();
    until(&mut waiting, 1).await;
    active("1").await;
    server.platform.state.release.notify_one();
    assert_eq!(receive(&mut stream).await.status, 200);
    active("0").await;
}
