//! The server as a caller sees it: requests over loopback, a fake platform behind, real keys.

mod acting;
mod limits;
mod telling;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    access::Access,
    admin::Admin,
    auth::Authenticator,
    catalogue::Catalogue,
    config::{AccessConfig, CONFIG_FILE, PLATFORM_CA_FILE, ServeConfig},
    guards::Guards,
    testing::*,
    *,
};
use crate::api::{connector::Mutations, duration::ApiDuration, pattern::NamePattern};

const ONE_MINUTE: Duration = Duration::from_mins(1);

fn tool_names(reply: &Reply) -> Vec<String> {
    reply.json()["result"]["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
}

/// The error of a failed tool call.
fn tool_error(answer: &Value) -> Value {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(answer["result"].get("structuredContent").is_none(), "it would have to fit the output schema");
    serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap()
}

async fn until(receiver: &mut tokio::sync::watch::Receiver<usize>, count: usize) {
    tokio::time::timeout(ONE_MINUTE, receiver.wait_for(|have| *have == count)).await.unwrap().unwrap();
}

// ===== both eras =====

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
        ["delete_fake_thing", "echo_fake_text", "get_fake_thing", "health_check", "wait_fake_time"]
    );
    let result = &listed.json()["result"];
    assert_eq!((&result["cacheScope"], result["ttlMs"].is_u64()), (&json!("private"), true));
    let tool = &result["tools"][2];
    assert_eq!(tool["annotations"]["readOnlyHint"], true);
    assert_eq!(tool["inputSchema"]["additionalProperties"], false);
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
    assert_eq!(server.modern(&token, "ping", json!({})).await.status, 404);
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
    assert_eq!(send(server.mcp, &good.clone().with("Accept", "application/json")).await.status, 406);
    assert_eq!(send(server.mcp, &good.clone().with("Content-Type", "text/plain")).await.status, 415);
    let mut get = good;
    get.method = "GET".into();
    let reply = send(server.mcp, &get).await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
}

// ===== who calls =====

#[tokio::test]
async fn without_a_token_a_caller_is_told_what_to_do() {
    let server = TestServer::start().await;
    let request = modern_request("", "tools/list", json!({})).without("Authorization");
    let reply = send(server.mcp, &request).await;
    assert_eq!(reply.status, 401);
    let metadata = "http://mcp-fake.agents.svc:8080/.well-known/oauth-protected-resource/mcp";
    assert_eq!(reply.header("www-authenticate").unwrap(), format!("Bearer resource_metadata=\"{metadata}\""));
    let told = reply.json();
    let body = &told["error"];
    assert_eq!(body["data"]["audience"], AUDIENCE);
    assert!(body["message"].as_str().unwrap().contains(&format!("--audience {AUDIENCE}")));

    // A token in the query is none.
    let mut in_query = request;
    in_query.path = format!("/mcp?access_token={}", server.token());
    assert_eq!(send(server.mcp, &in_query).await.status, 401);

    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let reply = send(server.mcp, &super::testing::request("GET", path, "mcp-fake")).await;
        let expected = json!({
            "resource": AUDIENCE, "authorization_servers": [ISSUER], "bearer_methods_supported": ["header"],
        });
        assert_eq!((reply.status, reply.json()), (200, expected));
    }
    assert_eq!(send(server.mcp, &super::testing::request("GET", "/mcp/", "mcp-fake")).await.status, 404);
}

#[tokio::test]
async fn a_bad_token_is_refused_with_its_reason() {
    let server = TestServer::start().await;
    let key = &server.key;
    let stranger = TestKey::ec("first");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims("agents", "triage");
        change(&mut claims);
        key.sign(&key.header(), &claims)
    };
    let good = claims("agents", "triage");
    let unsigned = |header: Value| {
        let token = key.sign(&header, &good);
        format!("{}.", token.rsplit_once('.').unwrap().0)
    };
    let tampered = {
        let token = key.token("agents", "triage");
        let other = key.token("agents", "admin");
        let mut parts: Vec<&str> = token.split('.').collect();
        parts[1] = other.split('.').nth(1).unwrap();
        parts.join(".")
    };
    let cases = [
        (with(&|c| c["aud"] = json!(["https://kubernetes.default.svc"])), "audience"),
        (with(&|c| c["aud"] = json!(AUDIENCE.to_uppercase())), "audience"),
        (with(&|c| c["aud"] = json!([])), "audience"),
        (with(&|c| c["aud"] = json!([config::OPERATOR_AUDIENCE, AUDIENCE])), "audience"),
        (with(&|c| c["iss"] = json!("https://elsewhere")), "issuer"),
        (with(&|c| c["iss"] = json!([ISSUER])), "malformed"),
        (with(&|c| c["exp"] = json!(now() - 60)), "expired"),
        (with(&|c| c["nbf"] = json!(now() + 600)), "not_yet_valid"),
        (with(&|c| c["exp"] = json!(now() + 25 * 3_600)), "lifetime"),
        (with(&|c| drop(c.as_object_mut().unwrap().remove("exp"))), "lifetime"),
        (with(&|c| drop(c.as_object_mut().unwrap().remove("iat"))), "lifetime"),
        (with(&|c| c["sub"] = json!("system:node:a")), "subject"),
        (with(&|c| c["sub"] = json!("system:serviceaccount:agents:admin")), "subject"),
        (with(&|c| c["kubernetes.io"]["namespace"] = json!("other")), "subject"),
        (with(&|c| drop(c.as_object_mut().unwrap().remove("kubernetes.io"))), "subject"),
        (unsigned(json!({"alg": "none", "kid": "first"})), "malformed"),
        (unsigned(json!({"alg": "ES256", "kid": "first"})), "signature"),
        (key.sign(&json!({"alg": "HS256", "kid": "first"}), &good), "algorithm"),
        (key.sign(&json!({"alg": "RS256", "kid": "first"}), &good), "algorithm"),
        (key.sign(&json!({"alg": "ES256", "kid": "second"}), &good), "unknown_key"),
        (key.sign(&json!({"alg": "ES256"}), &good), "unknown_key"),
        (stranger.token("agents", "triage"), "signature"),
        (tampered, "signature"),
        ("x".repeat(20_000), "malformed"),
        ("not.a.token".into(), "malformed"),
    ];
    for (token, reason) in cases {
        let reply = server.modern(&token, "tools/list", json!({})).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["data"]["reason"].as_str()),
            (401, Some(reason)),
            "{}",
            reply.body
        );
        assert!(reply.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
        assert!(!reply.body.contains(token.split('.').next().unwrap()), "{}", reply.body);
    }
    let metrics = server.admin("/metrics", None).await.body;
    assert!(metrics.contains(r#"mcp_http_auth_failures_total{reason="audience"} 4"#), "{metrics}");
}

#[tokio::test]
async fn an_hmac_over_the_public_key_is_no_signature() {
    let server = TestServer::start().await;
    let rsa = TestKey::rsa("rsa");
    write_keys(server.directory.path(), &[&rsa]);
    assert_eq!(server.modern(&rsa.token("agents", "triage"), "tools/list", json!({})).await.status, 200);
    let jwk = rsa.jwk();
    let secret = jwk["n"].as_str().unwrap();
    let token = rsa.sign(&json!({"alg": "HS256", "kid": "rsa"}), &claims("agents", "triage"));
    let message = token.rsplit_once('.').unwrap().0;
    let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&mac, message.as_bytes());
    let forged =
        format!("{message}.{}", base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, tag));
    let reply = server.modern(&forged, "tools/list", json!({})).await;
    assert_eq!((reply.status, reply.json()["error"]["data"]["reason"].as_str()), (401, Some("algorithm")));
}

#[tokio::test]
async fn a_new_key_of_the_cluster_is_found_and_an_old_one_forgotten() {
    let server = TestServer::start().await;
    let old = server.token();
    let new = TestKey::rsa("second");
    let token = new.token("agents", "triage");
    assert_eq!(server.modern(&token, "tools/list", json!({})).await.json()["error"]["data"]["reason"], "unknown_key");
    assert_eq!(server.modern(&old, "tools/list", json!({})).await.status, 200);
    write_keys(server.directory.path(), &[&new]);
    let followed = async {
        while server.modern(&token, "tools/list", json!({})).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, followed).await.unwrap();
    // The old token was verified before and is remembered, but with keys that are no more.
    assert_eq!(server.modern(&old, "tools/list", json!({})).await.status, 401);
    std::fs::write(server.directory.path().join(config::TOKEN_KEYS_FILE), "{ broken").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.modern(&token, "tools/list", json!({})).await.status, 200);
}

#[tokio::test]
async fn tokens_of_the_issuer_before_are_taken_until_the_last_of_them_has_ended() {
    let server = TestServer::start().await;
    let token = server.token();
    let reason =
        async || server.modern(&token, "tools/list", json!({})).await.json()["error"]["data"]["reason"].clone();
    let changed_to = async |keys: Value, expected: Value| {
        std::fs::write(server.directory.path().join(config::TOKEN_KEYS_FILE), keys.to_string()).unwrap();
        let followed = async {
            while reason().await != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(ONE_MINUTE, followed).await.unwrap();
    };
    let keys = |until: i64, key: &TestKey| {
        let until = jiff::Timestamp::from_second(until).unwrap();
        json!({"issuer": "https://new", "keys": [key.jwk()], "previous": {"issuer": ISSUER, "until": until}})
    };
    changed_to(json!({"issuer": "https://new", "keys": [server.key.jwk()]}), json!("issuer")).await;
    changed_to(keys(now() + 600, &server.key), Value::Null).await;
    changed_to(keys(now() - 1, &server.key), json!("issuer")).await;
    // A key that the cluster has withdrawn is withdrawn.
    changed_to(keys(now() + 600, &TestKey::ec("second")), json!("unknown_key")).await;
}

#[tokio::test]
async fn rules_decide_who_sees_and_calls_what() {
    let server = TestServer::start().await;
    let outsider = server.modern(&server.key.token("elsewhere", "triage"), "tools/list", json!({})).await;
    assert_eq!(outsider.status, 403);
    assert!(outsider.header("www-authenticate").unwrap().contains("insufficient_scope"));
    let told = outsider.json();
    let body = &told["error"];
    assert_eq!(body["data"]["subject"], "system:serviceaccount:elsewhere:triage");
    assert_eq!(body["data"]["field"], "spec.access.allow");

    let narrow = server.key.token("agents", "narrow");
    assert_eq!(tool_names(&server.modern(&narrow, "tools/list", json!({})).await), ["get_fake_thing"]);
    for tool in ["echo_fake_text", "delete_fake_thing", "no_such_tool"] {
        let answer = server.call(&narrow, tool, json!({})).await;
        assert_eq!(answer["error"]["code"], -32602);
        assert!(answer["error"]["message"].as_str().unwrap().starts_with(&format!("unknown tool: {tool}")));
        assert!(!answer.to_string().contains("wait_fake_time"), "{answer}");
    }
    let answer = server.call(&narrow, "get_fake_thng", json!({})).await;
    assert_eq!(answer["error"]["message"], "unknown tool: get_fake_thng; did you mean get_fake_thing?");
    assert_eq!(answer["error"]["data"], json!({"tool": "get_fake_thng", "similar": ["get_fake_thing"]}));
}

#[tokio::test]
async fn anonymous_means_everyone_and_opens_no_status() {
    let mut config = config();
    config.access = AccessConfig { anonymous: true, allow: vec![], audiences: vec![AUDIENCE.into()] };
    let server = TestServer::start_with(config, |_| {}).await;
    let request = modern_request("", "tools/list", json!({})).without("Authorization");
    assert_eq!(tool_names(&send(server.mcp, &request).await).len(), 5);
    assert_eq!(server.admin("/status", None).await.status, 401);
    assert_eq!(server.admin("/status", Some(&server.operator_token())).await.status, 200);
}

#[tokio::test]
async fn the_operator_may_greet_and_read_the_status_and_nothing_else() {
    let server = TestServer::start().await;
    let operator = server.operator_token();
    assert_eq!(server.modern(&operator, "server/discover", json!({})).await.status, 200);
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    assert_eq!(send(server.mcp, &legacy_request(&operator, "2025-11-25", "initialize", &params)).await.status, 200);
    for method in ["tools/list", "prompts/list", "resources/list", "completion/complete"] {
        assert_eq!(server.modern(&operator, method, json!({})).await.status, 403, "{method}");
    }
    let call = json!({"name": "get_fake_thing", "arguments": {"name": "a"}});
    assert_eq!(server.modern(&operator, "tools/call", call).await.status, 403);

    let status = server.admin("/status", Some(&operator)).await;
    let status: status::ReplicaStatus = serde_json::from_str(&status.body).unwrap();
    assert_eq!((status.connector_uid.as_str(), status.config_digest.as_str()), ("uid-1", "digest-1"));
    assert_eq!((status.tool_count, status.credentials.reason.as_str()), (5, "Loaded"));
    assert_eq!(server.admin("/status", None).await.status, 401);
    assert_eq!(server.admin("/status", Some(&server.token())).await.status, 403);
    // The operator's name with another audience, and its audience with another name.
    let named = server.key.token("mcp-system", "operator");
    assert_eq!(server.admin("/status", Some(&named)).await.status, 403);
    assert_eq!(server.modern(&named, "tools/list", json!({})).await.status, 403);
    let mut claims = claims("agents", "triage");
    claims["aud"] = json!([config::OPERATOR_AUDIENCE]);
    let audience = server.key.sign(&server.key.header(), &claims);
    assert_eq!(server.admin("/status", Some(&audience)).await.status, 401);
}

// ===== what a request may be =====

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
    large.body.truncate(http::MAX_BODY_BYTES);
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

// ===== guards =====

#[tokio::test]
async fn a_bad_argument_is_an_error_that_a_model_can_mend() {
    let server = TestServer::start().await;
    let answer = server.call(&server.token(), "get_fake_thing", json!({"nam": "a"})).await;
    let error = tool_error(&answer);
    assert_eq!(error["code"], "invalid_argument");
    assert!(error["message"].as_str().unwrap().contains("/nam is not an argument"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("/name is missing"), "{error}");
    assert_eq!(error["remedy"], "did you mean name?");
    assert_eq!(answer["result"]["_meta"]["mcp-connectors.io/error"], error);
}

#[tokio::test]
async fn a_read_only_connector_says_which_field_would_allow_a_mutation() {
    let mut config = config();
    config.tools.mutations = Mutations::ReadOnly;
    let server = TestServer::start_with(config, |_| {}).await;
    let token = server.token();
    assert!(!tool_names(&server.modern(&token, "tools/list", json!({})).await).contains(&"delete_fake_thing".into()));
    let error = tool_error(&server.call(&token, "delete_fake_thing", json!({"name": "a", "confirm": true})).await);
    assert_eq!(error["code"], "permission_denied");
    assert!(error["remedy"].as_str().unwrap().contains("spec.tools.mutations: Confirm"));
    assert_eq!(*server.platform.state.deletions.borrow(), 0);
    let narrow = server.key.token("agents", "narrow");
    assert_eq!(server.call(&narrow, "delete_fake_thing", json!({})).await["error"]["code"], -32602);
}

#[tokio::test]
async fn a_mutation_is_announced_and_then_done_on_the_state_that_was_announced() {
    let server = TestServer::start().await;
    let state = &server.platform.state;
    let call = async |arguments: Value| server.call(&server.token(), "delete_fake_thing", arguments).await;
    let announced = call(json!({"name": "a"})).await["result"]["structuredContent"].clone();
    assert_eq!((&announced["applied"], &announced["would"]), (&json!(false), &json!("delete a")));
    assert_eq!(announced["state"], json!({"version": 1}));
    assert_eq!(*state.deletions.borrow(), 0);
    let plan = announced["plan"].clone();

    state.version.store(2, Ordering::SeqCst);
    let error = tool_error(&call(json!({"name": "a", "confirm": true, "plan": plan})).await);
    assert_eq!(error["code"], "conflict");
    state.version.store(1, Ordering::SeqCst);
    let error = tool_error(&call(json!({"name": "b", "confirm": true, "plan": plan})).await);
    assert_eq!(error["code"], "conflict");
    assert_eq!(*state.deletions.borrow(), 0);

    let done = call(json!({"name": "a", "confirm": true, "plan": plan})).await;
    assert_eq!(done["result"]["structuredContent"], json!({"applied": true, "result": {"deleted": {"name": "a"}}}));
    call(json!({"name": "a", "confirm": true})).await;
    assert_eq!(*state.deletions.borrow(), 2);
}

#[tokio::test]
async fn answers_are_bounded_and_clean() {
    let server = TestServer::start().await;
    let token = server.token();
    let answer = server.call(&token, "echo_fake_text", json!({"text": "a\u{1b}[31mb\u{202e}c"})).await;
    assert_eq!(answer["result"]["structuredContent"]["text"], "abc");
    let error = tool_error(&server.call(&token, "echo_fake_text", json!({"text": "a", "times": 5_000})).await);
    assert_eq!(error["code"], "result_too_large");
    assert!(error["message"].as_str().unwrap().contains("4096"));
    let error = tool_error(&server.call(&token, "get_fake_thing", json!({"name": "missing"})).await);
    assert_eq!((&error["code"], &error["message"]), (&json!("not_found"), &json!("no thing missing")));
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let mut config = config();
    config.limits.call_timeout = ApiDuration(Duration::from_millis(50));
    let server = TestServer::start_with(config, |_| {}).await;
    let error = tool_error(&server.call(&server.token(), "wait_fake_time", json!({})).await);
    assert_eq!(error["code"], "deadline_exceeded");
    until(&mut server.platform.state.dropped.subscribe(), 1).await;
}

#[tokio::test]
async fn a_caller_that_goes_takes_its_call_along() {
    let server = TestServer::start().await;
    for request in [
        modern_request(&server.token(), "tools/call", json!({"name": "wait_fake_time", "arguments": {}})),
        legacy_request(
            &server.token(),
            "2025-06-18",
            "tools/call",
            &json!({"name": "wait_fake_time", "arguments": {}}),
        ),
    ] {
        let before = *server.platform.state.dropped.borrow();
        let mut stream = TcpStream::connect(server.mcp).await.unwrap();
        stream.write_all(&request.without("Connection").bytes()).await.unwrap();
        until(&mut server.platform.state.waiting.subscribe(), 1).await;
        drop(stream);
        until(&mut server.platform.state.dropped.subscribe(), before + 1).await;
    }
}

#[tokio::test]
async fn one_call_too_many_is_refused_at_once() {
    let server = TestServer::start().await;
    let token = server.token();
    let call = modern_request(&token, "tools/call", json!({"name": "wait_fake_time", "arguments": {}}));
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (address, call) = (server.mcp, call.clone());
            tokio::spawn(async move { send(address, &call).await })
        })
        .collect();
    until(&mut server.platform.state.waiting.subscribe(), 4).await;
    assert!(server.admin("/metrics", None).await.body.contains("mcp_tool_calls_in_flight 4"));
    let error = tool_error(&server.call(&token, "get_fake_thing", json!({"name": "a"})).await);
    assert_eq!((&error["code"], &error["retry_after_seconds"]), (&json!("rate_limited"), &json!(1)));
    for _ in 0..4 {
        server.platform.state.release.notify_one();
    }
    for call in waiting {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(server.call(&token, "get_fake_thing", json!({"name": "a"})).await["result"]["isError"], false);
}

#[tokio::test]
async fn a_panic_in_a_tool_is_told_and_harms_nobody_else() {
    let server = TestServer::start().await;
    let token = server.token();
    let answer = server.call(&token, "get_fake_thing", json!({"name": "panic"})).await;
    assert_eq!(tool_error(&answer)["code"], "internal");
    assert!(!answer.to_string().contains("canary"));
    assert_eq!(server.call(&token, "get_fake_thing", json!({"name": "a"})).await["result"]["isError"], false);
    server.call(&token, "no_such_tool", json!({})).await;
    let metrics = server.admin("/metrics", None).await.body;
    for line in [
        r#"mcp_tool_calls_total{tool_name="get_fake_thing",status="exception"} 1"#,
        r#"mcp_tool_calls_total{tool_name="get_fake_thing",status="success"} 1"#,
        r#"mcp_tool_calls_total{tool_name="unknown",status="error"} 1"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_tool_that_is_off_by_default_has_to_be_named() {
    let mut config = config();
    config.tools.allow.push(NamePattern("reveal_fake_secret".into()));
    config.tools.prefix = "one_".into();
    let server = TestServer::start_with(config, |_| {}).await;
    let answer = server.call(&server.token(), "one_reveal_fake_secret", json!({})).await;
    assert_eq!(answer["result"]["structuredContent"]["text"], "canary-secret");
}

// ===== admin port =====

#[tokio::test]
async fn health_is_what_the_last_probe_found() {
    let server = TestServer::start().await;
    let healthy = async {
        while server.admin("/health", None).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, healthy).await.unwrap();
    let body = server.admin("/health/fake", None).await.json();
    for (field, value) in [("status", "ok"), ("reason", "Healthy"), ("version", "1.2.3"), ("state", "active")] {
        assert_eq!(body[field], value);
    }
    assert!(body["latency_ms"].is_u64() && body["checks"].is_array());
    assert_eq!(server.admin("/health/vault", None).await.status, 404);
    assert_eq!(server.admin("/livez", None).await.status, 200);
    assert_eq!(server.admin("/readyz", None).await.status, 200);
}

#[tokio::test]
async fn the_operator_may_ask_for_a_probe_and_for_the_credentials_to_be_read_again() {
    let mut config = config();
    // Nobody but who asks.
    config.probe.interval = ApiDuration::from_secs(3_600);
    let server = TestServer::start_with(config, |_| {}).await;
    let turns_to = async |reason: &str| {
        let there = async {
            while server.admin("/health", None).await.json()["reason"] != reason {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(ONE_MINUTE, there).await.unwrap();
    };
    turns_to("Healthy").await;
    let operator = server.operator_token();
    for (path, reason, rereads) in [("/probe", "Standby", 0), ("/reload", "Maintenance", 1)] {
        server.platform.state.report.lock().unwrap().reason = reason.into();
        assert_eq!(server.admin(path, Some(&operator)).await.status, 405, "{path}");
        assert_eq!(server.ask_admin("POST", path, None).await.status, 401, "{path}");
        assert_eq!(server.ask_admin("POST", path, Some(&server.token())).await.status, 403, "{path}");
        assert_ne!(server.admin("/health", None).await.json()["reason"], reason, "{path} was not asked for yet");
        assert_eq!(server.ask_admin("POST", path, Some(&operator)).await.status, 202, "{path}");
        turns_to(reason).await;
        assert_eq!(*server.rereads.borrow(), rereads, "{path}");
    }
}

#[tokio::test]
async fn before_the_first_probe_health_says_starting() {
    let access = Access::new(&config().access);
    let catalogue = Catalogue::new(FakePlatform::default().entries(), &config().tools, &access, true).unwrap();
    let admin = Admin {
        connector_uid: "uid".into(),
        config_digest: "digest".into(),
        platform: "fake",
        guards: Arc::new(Guards::new("fake", catalogue, "uid".into(), &config().limits, None, no_cache())),
        authenticator: Arc::new(Authenticator::new("/nonexistent".into(), vec![], &config().operator)),
        state: Arc::new(starting()),
        credentials: CredentialsHandle::new(watch::channel(None).1, watch::channel(0).0),
        probe: Arc::default(),
        serving: CancellationToken::new(),
        draining: CancellationToken::new(),
    };
    let router = admin::build_router(Arc::new(admin));
    for (path, part) in [("/health", "Starting"), ("/readyz", "starting")] {
        let request = ::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 503);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains(part));
    }
}

#[tokio::test]
async fn who_holds_connections_does_not_keep_the_kubelet_out() {
    let server = TestServer::start().await;
    let mut held = Vec::new();
    // Some say nothing, some half a request, and some ask for much and read none of it.
    let metrics = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    for text in ["", "GET /livez HTTP/1.1\r\n", &metrics].into_iter().cycle().take(2 * ADMIN_CONNECTIONS) {
        let mut stream = TcpStream::connect(server.admin).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        held.push(stream);
    }
    for path in ["/livez", "/readyz"] {
        // Far below the time after which silent connections are closed.
        let asked = tokio::time::timeout(ONE_MINUTE / 4, server.admin(path, None)).await;
        assert_eq!(asked.unwrap().status, 200, "{path}");
    }
    // The oldest is closed, the newest is not.
    let mut answer = Vec::new();
    held[0].read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty());
    held.last_mut().unwrap().write_all(b"x").await.unwrap();
}

// ===== the end =====

#[tokio::test]
async fn a_call_that_runs_is_finished_while_the_replica_is_not_ready() {
    let server = TestServer::start_with(config(), |settings| settings.drain_delay = Duration::from_millis(300)).await;
    let call = modern_request(&server.token(), "tools/call", json!({"name": "wait_fake_time", "arguments": {}}));
    let address = server.mcp;
    let running = tokio::spawn(async move { send(address, &call.without("Connection")).await });
    until(&mut server.platform.state.waiting.subscribe(), 1).await;

    server.stop.drain.cancel();
    let drains = async {
        while server.admin("/readyz", None).await.status != 503 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, drains).await.unwrap();
    // New calls are still answered, on connections that close.
    let late = modern_request(&server.token(), "tools/list", json!({})).without("Connection");
    let reply = send(server.mcp, &late).await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    let refused = async {
        while TcpStream::connect(server.mcp).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, refused).await.unwrap();
    assert_eq!(server.admin("/readyz", None).await.status, 503);
    assert!(!server.ended.is_finished());
    server.platform.state.release.notify_one();
    let reply = running.await.unwrap();
    assert_eq!(reply.json()["result"]["structuredContent"]["text"], "waited");
    server.ended.await.unwrap().unwrap();
    assert_eq!(server.platform.state.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_that_does_not_end_is_given_up() {
    for forced in [false, true] {
        let server = TestServer::start_with(config(), |settings| {
            settings.drain_timeout = if forced { ONE_MINUTE } else { Duration::from_millis(50) };
        })
        .await;
        let call = modern_request(&server.token(), "tools/call", json!({"name": "wait_fake_time", "arguments": {}}));
        let mut stream = TcpStream::connect(server.mcp).await.unwrap();
        stream.write_all(&call.bytes()).await.unwrap();
        until(&mut server.platform.state.waiting.subscribe(), 1).await;
        server.stop.drain.cancel();
        if forced {
            server.stop.force.cancel();
        }
        let error = server.ended.await.unwrap().unwrap_err();
        assert_eq!(matches!(error, ServeError::Forced), forced, "{error}");
        until(&mut server.platform.state.dropped.subscribe(), 1).await;
        assert_eq!(server.platform.state.closed.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn an_idle_connection_is_told_to_close() {
    let server = TestServer::start().await;
    let request = modern_request(&server.token(), "tools/list", json!({})).without("Connection");
    let mut stream = TcpStream::connect(server.mcp).await.unwrap();
    stream.write_all(&request.bytes()).await.unwrap();
    let mut first = vec![0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.unwrap();
    server.stop.drain.cancel();
    let mut rest = Vec::new();
    tokio::time::timeout(ONE_MINUTE, tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest))
        .await
        .unwrap()
        .unwrap();
    server.ended.await.unwrap().unwrap();
}

#[test]
fn settings_are_those_of_the_container() {
    let settings = ServeSettings::default();
    assert_eq!((settings.mcp_address.port(), settings.admin_address.port()), (8080, 8081));
    assert!(settings.drain_delay + settings.drain_timeout <= Duration::from_secs(30));
}

#[test]
fn a_configuration_is_read_with_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(LoadedConfig::read(directory.path()), Err(ConfigError::Read { .. })));
    let json = config().to_json().unwrap();
    std::fs::write(directory.path().join(CONFIG_FILE), &json).unwrap();
    let plain = LoadedConfig::read(directory.path()).unwrap();
    assert_eq!(plain.digest, ServeConfig::digest(&json, None));
    std::fs::write(directory.path().join(PLATFORM_CA_FILE), "PEM").unwrap();
    let with_ca = LoadedConfig::read(directory.path()).unwrap();
    assert_eq!((with_ca.digest, with_ca.platform_ca), (ServeConfig::digest(&json, Some("PEM")), Some("PEM".into())));
    std::fs::write(directory.path().join(CONFIG_FILE), "{}").unwrap();
    assert!(matches!(LoadedConfig::read(directory.path()), Err(ConfigError::Parse { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_token_panics(token in "\\PC{0,80}") {
        let authenticator = Authenticator::new("/nonexistent".into(), vec![], &config().operator);
        let mut headers = ::http::HeaderMap::new();
        if let Ok(value) = format!("Bearer {token}").parse() {
            headers.insert("authorization", value);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        prop_assert!(runtime.block_on(authenticator.authenticate(&headers)).is_err());
    }
}
