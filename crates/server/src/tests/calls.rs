//! What becomes of a call.

use super::*;

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
async fn without_a_rule_that_names_who_nobody_changes_anything_and_everybody_is_told_which_is_missing() {
    for mutations in [Mutations::ReadOnly, Mutations::Confirm] {
        let mut config = config();
        config.tools.mutations = mutations;
        config.access.allow = vec![rule("agents", "*", &["*"], false), rule("agents", "narrow", &["get_*"], false)];
        let server = TestServer::start_with(config, |_| {}).await;
        let token = server.token();
        let listed = tool_names(&server.modern(&token, "tools/list", json!({})).await);
        assert!(!listed.is_empty() && !listed.contains(&"delete_fake_thing".into()), "{listed:?}");
        let error = tool_error(&server.call(&token, "delete_fake_thing", json!({"name": "a", "confirm": true})).await);
        assert_eq!(error["code"], "permission_denied");
        let remedy = error["remedy"].as_str().unwrap();
        assert!(remedy.contains("mutations: true") && remedy.contains("spec.access.allow"), "{remedy}");
        assert_eq!(remedy.contains("spec.tools.mutations: Confirm"), mutations == Mutations::ReadOnly, "{remedy}");
        assert_eq!(*server.platform.state.deletions.borrow(), 0);
        let narrow = server.key.token("agents", "narrow");
        assert_eq!(server.call(&narrow, "delete_fake_thing", json!({})).await["error"]["code"], -32602);
    }
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
