//! Who may call, and what it sees.

use pod_api::config::{ConnectorIdentity, OPERATOR_AUDIENCE, operator_audience};

use super::*;

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
    assert_eq!(send(server.mcp, &super::testing::request("GET", "/mcp/x", "mcp-fake")).await.status, 404);
}

#[tokio::test]
async fn who_is_refused_is_told_that_the_connection_ends_if_its_body_was_not_read() {
    let server = TestServer::start().await;
    let kept = modern_request("", "tools/list", json!({})).with("Connection", "keep-alive");
    let reply = send(server.mcp, &kept).await;
    assert_eq!((reply.status, reply.header("connection")), (401, Some("close")));
    // Without a body there is nothing to be read, and the next request finds the connection open.
    let last = super::testing::request("GET", "/mcp", "mcp-fake");
    let mut stream = TcpStream::connect(server.mcp).await.unwrap();
    for request in [last.clone().with("Connection", "keep-alive"), last] {
        stream.write_all(&request.bytes()).await.unwrap();
    }
    let mut answers = String::new();
    tokio::time::timeout(ONE_MINUTE, stream.read_to_string(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 401").count(), 2, "{answers}");
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
        (with(&|c| c["aud"] = json!([OPERATOR_AUDIENCE, AUDIENCE])), "audience"),
        (with(&|c| c["aud"] = json!([operator_audience("team-a", "other"), AUDIENCE])), "audience"),
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
        (key.sign(&json!({"alg": "ES256", "kid": "first", "crit": ["x"], "x": 1}), &good), "malformed"),
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
    assert!(metrics.contains(r#"mcp_http_auth_failures_total{reason="audience"} 5"#), "{metrics}");
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
    std::fs::write(server.directory.path().join(pod_api::config::TOKEN_KEYS_FILE), "{ broken").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.modern(&token, "tools/list", json!({})).await.status, 200);
}

#[tokio::test]
async fn keys_that_verify_nothing_here_take_none_of_the_others_away() {
    let server = TestServer::start().await;
    let good = TestKey::rsa("second");
    let mut encrypts = server.key.jwk();
    encrypts["use"] = json!("enc");
    let keys = json!([
        {"kty": "AKP", "kid": "a", "alg": "ML-DSA-65", "pub": "AA"},
        {"kty": "EC", "kid": "b", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": "oct", "kid": "c", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "d", "n": 7},
        {"kid": "e"},
        encrypts,
        good.jwk(),
    ]);
    let file = server.directory.path().join(pod_api::config::TOKEN_KEYS_FILE);
    std::fs::write(file, json!({"issuer": ISSUER, "keys": keys}).to_string()).unwrap();
    let token = good.token("agents", "triage");
    let followed = async {
        while server.modern(&token, "tools/list", json!({})).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, followed).await.unwrap();
    let other = server.modern(&server.token(), "tools/list", json!({})).await;
    assert_eq!(other.json()["error"]["data"]["reason"], "unknown_key");
}

#[tokio::test]
async fn tokens_of_the_issuer_before_are_taken_until_the_last_of_them_has_ended() {
    let server = TestServer::start().await;
    let token = server.token();
    let reason =
        async || server.modern(&token, "tools/list", json!({})).await.json()["error"]["data"]["reason"].clone();
    let changed_to = async |keys: Value, expected: Value| {
        std::fs::write(server.directory.path().join(pod_api::config::TOKEN_KEYS_FILE), keys.to_string()).unwrap();
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
    // Nobody is named, so nobody is offered what changes something.
    let offered = tool_names(&send(server.mcp, &request).await);
    assert!(offered.len() == 4 && !offered.contains(&"delete_fake_thing".to_owned()), "{offered:?}");
    let call = json!({"name": "delete_fake_thing", "arguments": {"name": "a", "confirm": true}});
    let request = modern_request("", "tools/call", call).without("Authorization");
    let error = tool_error(&send(server.mcp, &request).await.json());
    assert_eq!(error["code"], "permission_denied");
    assert_eq!(*server.platform.state.deletions.borrow(), 0);
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
    let status: pod_api::status::ReplicaStatus = serde_json::from_str(&status.body).unwrap();
    assert_eq!((status.connector_uid.as_str(), status.config_digest.as_str()), ("uid-1", "digest-1"));
    assert_eq!((status.tool_count, status.credentials.reason.as_str()), (5, "Loaded"));
    assert_eq!(server.admin("/status", None).await.status, 401);
    assert_eq!(server.admin("/status", Some(&server.token())).await.status, 403);
    // The operator's name with another audience, and its audience with another name.
    let named = server.key.token("mcp-system", "operator");
    assert_eq!(server.admin("/status", Some(&named)).await.status, 403);
    assert_eq!(server.modern(&named, "tools/list", json!({})).await.status, 403);
    let ConnectorIdentity { namespace, name, .. } = config().connector;
    let own = operator_audience(&namespace, &name);
    let mut claims = claims("agents", "triage");
    claims["aud"] = json!([own]);
    let audience = server.key.sign(&server.key.header(), &claims);
    assert_eq!(server.admin("/status", Some(&audience)).await.status, 401);
    // What another connector's pods are shown, and what all were shown by earlier versions.
    let foreign = [
        operator_audience(&namespace, "other"),
        operator_audience("other", &name),
        format!("{own}/"),
        format!("{own}x"),
    ];
    for audience in foreign.iter().map(String::as_str).chain([OPERATOR_AUDIENCE]) {
        let mut claims = super::testing::claims("mcp-system", "operator");
        claims["aud"] = json!([audience]);
        let token = server.key.sign(&server.key.header(), &claims);
        assert_eq!(server.admin("/status", Some(&token)).await.status, 401, "{audience}");
        assert_eq!(server.modern(&token, "server/discover", json!({})).await.status, 401, "{audience}");
    }
}
