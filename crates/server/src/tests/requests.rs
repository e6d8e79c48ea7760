//! What a request may be.

use super::*;
use outbound::memory::Budget;
use pod_api::config::CallRateConfig;

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let server = TestServer::start_with(config(), |settings| {
        settings.allowed_origins = vec!["http://localhost:6274".into()];
    })
    .await;
    let request = modern_request(&server.token(), "tools/list", json!({}));
    for (host, status) in [
        ("mcp-fake", 200),
        ("mcp-fake:8080", 200),
        ("MCP-Fake.agents.svc.:80", 200),
        ("10.1.2.3:8080", 200),
        ("[fd00::1]:8080", 200),
        ("localhost:1234", 200),
        ("evil.example.com", 403),
        ("mcp-fake.evil.example.com", 403),
        ("user@mcp-fake", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("", 400),
        ("a b", 400),
    ] {
        assert_eq!(send(server.mcp, &request.clone().with("Host", host)).await.status, status, "{host}");
    }
    for (origin, status) in [
        ("https://evil.example.com", 403),
        ("null", 403),
        ("http://localhost:6274", 200),
        ("http://localhost:6275", 403),
    ] {
        assert_eq!(send(server.mcp, &request.clone().with("Origin", origin)).await.status, status, "{origin}");
    }
    let mut absolute = request.clone();
    absolute.path = "http://evil.example.com/mcp".into();
    assert_eq!(send(server.mcp, &absolute).await.status, 403);
    let mut twice = request;
    twice.headers.push(("Host".into(), "mcp-fake".into()));
    assert_eq!(send(server.mcp, &twice).await.status, 400);
}

#[tokio::test]
async fn bodies_are_bounded_and_must_be_json() {
    let server = TestServer::start().await;
    let mut large = modern_request(&server.token(), "tools/list", json!({}));
    large.body = vec![b' '; 2 * 1024 * 1024];
    let reply = send(server.mcp, &large).await;
    assert_eq!((reply.status, reply.json()["error"]["data"]["error"].as_str()), (413, Some("body_too_large")));
    large.body.truncate(door::MAX_BODY_BYTES);
    let bare = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    large.body[..bare.len()].copy_from_slice(bare.as_bytes());
    let exactly = send(server.mcp, &large.with("Mcp-Method", "notifications/initialized")).await;
    assert_eq!(exactly.status, 202, "{}", exactly.body);

    let mut bad = modern_request(&server.token(), "tools/list", json!({}));
    for body in [&b"{"[..], b"\xff\xfe{}", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\xff\"}", b""] {
        bad.body = body.to_vec();
        let reply = send(server.mcp, &bad).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32700)), "{}", reply.body);
    }
    for body in ["[]", "1", r#"{"a":1}"#] {
        bad.body = body.into();
        let reply = send(server.mcp, &bad).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32600)), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = TestServer::start_with(config(), |settings| settings.body_timeout = Duration::from_millis(50)).await;
    let bytes = modern_request(&server.token(), "tools/list", json!({})).bytes();
    let mut stream = TcpStream::connect(server.mcp).await.unwrap();
    stream.write_all(&bytes[..bytes.len() - 5]).await.unwrap();
    assert_eq!(receive(&mut stream).await.status, 408);
}

#[tokio::test]
async fn headers_that_do_not_come_are_not_waited_for() {
    let server = TestServer::start_with(config(), |settings| settings.header_timeout = Duration::from_millis(50)).await;
    let mut stream = TcpStream::connect(server.mcp).await.unwrap();
    stream.write_all(b"POST /mcp HTTP/1.1\r\nHost: mcp").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
    tokio::time::timeout(ONE_MINUTE, closed).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_id_comes_back() {
    let server = TestServer::start().await;
    let request = modern_request(&server.token(), "tools/list", json!({}));
    let reply = send(server.mcp, &request.clone().with("X-Request-Id", "my-id-1")).await;
    assert_eq!(reply.header("x-request-id"), Some("my-id-1"));
    let reply = send(server.mcp, &request.with("X-Request-Id", "a b")).await;
    assert_eq!(reply.header("x-request-id").unwrap().len(), 36);
}

#[tokio::test]
async fn what_clients_accept_is_what_they_get() {
    let server = TestServer::start().await;
    let mut call =
        modern_request(&server.token(), "tools/call", json!({"name": "get_fake_thing", "arguments": {"name": "a"}}));
    call.path = "/mcp/".into();
    for accept in ["application/json", "*/*", "application/*, text/event-stream;q=0", ""] {
        let call = if accept.is_empty() { call.clone().without("Accept") } else { call.clone().with("Accept", accept) };
        let reply = send(server.mcp, &call).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("application/json")),
            "{accept}: {}",
            reply.body
        );
        assert_eq!(reply.json()["result"]["structuredContent"]["name"], "a");
    }
    let reply = send(server.mcp, &call.clone().with("Accept", "text/event-stream")).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")), "{}", reply.body);
    let event = reply.body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let answer: Value = serde_json::from_str(event).unwrap();
    assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["name"]), (&json!(1), &json!("a")));
}

#[tokio::test]
async fn who_takes_no_events_is_told_nothing_before_the_answer() {
    let server = TestServer::start().await;
    let params = json!({"name": "echo_fake_text", "arguments": {"text": "a"}, "_meta": {"progressToken": "p"}});
    let call = legacy_request(&server.token(), "2025-11-25", "tools/call", &params);
    let told = send(server.mcp, &call).await;
    assert_eq!((told.status, told.header("content-type")), (200, Some("text/event-stream")), "{}", told.body);
    assert!(told.body.contains("echoing"), "{}", told.body);
    let params = json!({"name": "echo_fake_text", "arguments": {"text": "b"}, "_meta": {"progressToken": "p"}});
    let call = legacy_request(&server.token(), "2025-11-25", "tools/call", &params).with("Accept", "application/json");
    let reply = send(server.mcp, &call).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{}", reply.body);
    assert_eq!(reply.json()["result"]["structuredContent"]["text"], "b");
}

#[tokio::test]
async fn a_member_that_is_wrong_is_named() {
    let server = TestServer::start().await;
    let token = server.token();
    for (method, params, member) in [
        ("tools/call", json!({"name": "get_fake_thing", "arguments": "x"}), "params.arguments must be an object"),
        ("tools/call", json!({"arguments": {}}), "params.name is missing"),
        ("prompts/get", json!({"name": ["a"]}), "params.name must be a text"),
        ("resources/read", json!({}), "params.uri is missing"),
    ] {
        for modern in [true, false] {
            let request = if modern {
                modern_request(&token, method, params.clone())
            } else {
                legacy_request(&token, "2025-11-25", method, &params)
            };
            let reply = send(server.mcp, &request).await;
            let error = &reply.json()["error"];
            assert_ne!(reply.status, 404, "{}", reply.body);
            assert_ne!(error["code"], -32601, "{}", reply.body);
            if !modern {
                assert_eq!(
                    (&error["code"], error["message"].as_str()),
                    (&json!(-32602), Some(member)),
                    "{}",
                    reply.body
                );
                assert_eq!(reply.json()["id"], 1);
            }
        }
    }
    let mut bad = legacy_request(&token, "2025-11-25", "tools/list", &json!({}));
    for (body, code, part) in [
        (json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": [1]}), -32602, "params must be an object"),
        (json!({"jsonrpc": "2.0", "id": null, "method": "tools/list"}), -32600, "id must be"),
        (json!({"jsonrpc": "2.0", "id": 1.5, "method": "tools/list"}), -32600, "id must be"),
        (json!({"jsonrpc": "1.0", "id": 7, "method": "tools/list"}), -32600, "jsonrpc must be"),
        (json!({"jsonrpc": "2.0", "id": 7, "method": 1}), -32600, "method must be a text"),
        (json!([{"jsonrpc": "2.0", "id": 7, "method": "ping"}]), -32600, "is a list"),
    ] {
        bad.body = body.to_string().into_bytes();
        let reply = send(server.mcp, &bad).await;
        let error = &reply.json()["error"];
        assert_eq!(error["code"], code, "{body}: {}", reply.body);
        assert!(error["message"].as_str().unwrap().contains(part), "{body}: {}", reply.body);
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_what_it_is() {
    let server = TestServer::start().await;
    let mut bad = legacy_request(&server.token(), "2025-11-25", "tools/list", &json!({}));
    let good = bad.body.clone();
    let with_bom = [&b"\xef\xbb\xbf"[..], &good].concat();
    for (body, part) in [
        (with_bom, "byte order mark"),
        (vec![0x1f, 0x8b, 8, 0], "gzip"),
        (vec![0xff, 0xfe, b'{', 0], "UTF-16"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud800"}}"#.to_vec(), "surrogates"),
        (br#"{"jsonrpc":"2.0","#.to_vec(), "EOF"),
    ] {
        bad.body = body;
        let reply = send(server.mcp, &bad).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["code"]), (400, &json!(-32700)), "{}", reply.body);
        assert!(error["message"].as_str().unwrap().contains(part), "{part}: {}", reply.body);
    }
    bad.body = good;
    let reply = send(server.mcp, &bad.with("Content-Encoding", "gzip")).await;
    assert_eq!((reply.status, reply.json()["error"]["data"]["error"].as_str()), (415, Some("compressed_body")));
    assert_eq!(reply.header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_method_that_is_not_served_is_told_in_short() {
    let server = TestServer::start().await;
    let method = "x".repeat(900_000);
    let reply = send(server.mcp, &legacy_request(&server.token(), "2025-11-25", &method, &json!({}))).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (200, &json!(-32601)));
    assert!(reply.body.len() < 500, "{}", reply.body.len());
    // Clients that open it go on without it, as nothing is offered that could change: it is not kept open, nor in the air.
    let listen = json!({"notifications": {"toolsListChanged": true}});
    let reply = server.modern(&server.token(), "subscriptions/listen", listen).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!(-32601)), "{}", reply.body);
    assert_eq!(reply.json()["id"], 1);
}

#[tokio::test]
async fn a_body_costs_no_more_than_there_is_memory_for() {
    let memory = Budget::new(4 * 1024 * 1024);
    let server = TestServer::start_with(config(), |settings| settings.memory = memory.clone()).await;
    let call = |elements: usize| {
        let list: Vec<u32> = vec![0; elements];
        modern_request(&server.token(), "tools/call", json!({"name": "get_fake_thing", "arguments": {"name": list}}))
    };
    let wide = send(server.mcp, &call(300_000)).await;
    assert_eq!((wide.status, wide.json()["error"]["data"]["error"].as_str()), (413, Some("body_too_wide")));
    let much = send(server.mcp, &call(20_000)).await;
    assert_eq!((much.status, much.json()["error"]["data"]["error"].as_str()), (413, Some("body_too_heavy")));
    let checked = send(server.mcp, &call(2_000)).await;
    assert_eq!(tool_error(&checked.json())["code"], "invalid_argument", "{}", checked.body);
    let given_back = async {
        while memory.left() < memory.bytes() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, given_back).await.unwrap();
}

#[tokio::test]
async fn a_large_body_of_a_caller_who_may_not_call_now_is_not_read() {
    let mut config = config();
    config.limits.calls = CallRateConfig { per_minute: 1, burst: 1 };
    let server = TestServer::start_with(config, |_| {}).await;
    let call = |text: String| {
        modern_request(&server.token(), "tools/call", json!({"name": "echo_fake_text", "arguments": {"text": text}}))
    };
    assert_eq!(send(server.mcp, &call("x".repeat(100_000))).await.status, 200);
    // A small one is read, so that the answer has its id.
    let small = send(server.mcp, &call("x".into())).await;
    assert_eq!((small.status, &tool_error(&small.json())["code"]), (200, &json!("rate_limited")));
    // It is refused before all of it has come.
    let large = call("x".repeat(100_000)).bytes();
    let mut stream = TcpStream::connect(server.mcp).await.unwrap();
    stream.write_all(&large[..large.len() - 99_000]).await.unwrap();
    let refused = receive(&mut stream).await;
    assert_eq!((refused.status, &refused.json()["error"]["data"]["error"]), (429, &json!("rate_limited")));
    assert!(refused.header("retry-after").is_some());
}
