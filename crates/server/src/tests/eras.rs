//! Both eras of the protocol.

use super::*;

#[tokio::test]
async fn the_newest_era_is_served() {
    let server = TestServer::start().await;
    let token = server.token();
    let discovered = server.modern(&token, "server/discover", json!({})).await;
    assert_eq!(discovered.status, 200, "{}", discovered.body);
    let result = &discovered.json()["result"];
    assert_eq!(result["supportedVersions"], json!(["2025-06-18", "2025-11-25", "2026-07-28"]));
    assert_eq!(result["cacheScope"], "private");
    assert_eq!(result["instructions"], "Fake things.");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "mcp-connectors");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
    for capability in ["tools", "prompts", "resources"] {
        assert!(result["capabilities"][capability].is_object(), "{capability}");
    }

    let listed = server.modern(&token, "tools/list", json!({})).await;
    assert_eq!(
        tool_names(&listed),
        ["check_fake_connector", "delete_fake_thing", "echo_fake_text", "get_fake_thing", "wait_fake_time"]
    );
    let result = &listed.json()["result"];
    assert_eq!((&result["cacheScope"], result["ttlMs"].is_u64()), (&json!("private"), true));
    let tool = &result["tools"][2];
    assert_eq!(tool["annotations"]["readOnlyHint"], true);
    assert_eq!(tool["inputSchema"]["type"], "object");
    assert!(tool["outputSchema"].is_object() && tool["title"].is_string());

    let called = server.call(&token, "get_fake_thing", json!({"name": "a"})).await;
    assert_eq!(called["result"]["structuredContent"], json!({"name": "a"}));
    assert_eq!(called["result"]["content"][0]["text"], r#"{"name":"a"}"#);
    assert_eq!(called["result"]["resultType"], "complete");
    assert_eq!(called["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "mcp-connectors");

    for (method, list) in [("prompts/list", "prompts"), ("resources/templates/list", "resourceTemplates")] {
        let reply = server.modern(&token, method, json!({})).await;
        assert_eq!(reply.json()["result"][list], json!([]), "{method}: {}", reply.body);
    }
    let missing = server.modern(&token, "resources/read", json!({"uri": "x://y"})).await;
    assert!(missing.status == 400 || missing.json()["error"]["code"] == -32602, "{}", missing.body);
    assert_eq!(server.modern(&token, "logging/setLevel", json!({"level": "info"})).await.status, 404);
    for gone in ["ping", "initialize"] {
        let reply = server.modern(&token, gone, json!({})).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!(-32601)), "{gone}: {}", reply.body);
    }
}

#[tokio::test]
async fn the_older_eras_are_served_without_a_session() {
    let server = TestServer::start().await;
    let token = server.token();
    for version in ["2025-06-18", "2025-11-25"] {
        let params =
            json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let reply = send(server.mcp, &legacy_request(&token, version, "initialize", &params)).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.header("mcp-session-id"), None);
        assert_eq!(reply.json()["result"]["protocolVersion"], version);
        assert_eq!(reply.json()["result"]["serverInfo"]["name"], "mcp-connectors");

        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let reply = send(server.mcp, &post(&token, &initialized).with("MCP-Protocol-Version", version)).await;
        assert_eq!((reply.status, reply.body.as_str()), (202, ""));

        let reply = send(server.mcp, &legacy_request(&token, version, "ping", &json!({}))).await;
        assert_eq!(reply.json()["result"], json!({}));
        let reply = send(server.mcp, &legacy_request(&token, version, "tools/list", &json!({}))).await;
        assert_eq!(tool_names(&reply).len(), 5);
        let params = json!({"name": "get_fake_thing", "arguments": {"name": "a"}});
        let reply = send(server.mcp, &legacy_request(&token, version, "tools/call", &params)).await;
        assert_eq!(reply.json()["result"]["structuredContent"]["name"], "a");
    }
    let reply = send(server.mcp, &post(&token, &json!({})).with("X", "y")).await;
    assert_eq!(reply.json()["error"]["code"], -32600);
}

#[tokio::test]
async fn wrong_modern_headers_are_told_in_the_way_clients_look_for() {
    let server = TestServer::start().await;
    let good = modern_request(&server.token(), "tools/list", json!({}));
    let other = send(server.mcp, &good.clone().with("Mcp-Method", "tools/call")).await;
    assert_eq!((other.status, &other.json()["error"]["code"]), (400, &json!(-32020)));
    let missing = send(server.mcp, &good.clone().without("MCP-Protocol-Version")).await;
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (400, &json!(-32020)));
    for (header, value, status) in
        [("Accept", "text/html", 406), ("Content-Type", "text/plain", 415), ("MCP-Protocol-Version", "1999-01-01", 400)]
    {
        let reply = send(server.mcp, &good.clone().with(header, value)).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert!(
            reply.json()["error"]["code"].is_i64() && reply.json()["error"]["message"].is_string(),
            "{}",
            reply.body
        );
    }
    let mut get = good;
    get.method = "GET".into();
    let reply = send(server.mcp, &get).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
}
