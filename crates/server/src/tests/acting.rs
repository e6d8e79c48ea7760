//! Calls that change something, made again: what is done, and what a caller gets to know, however connections fare.

use super::*;

const REPLAYED: &str = "mcp-connectors.io/replayed";

/// A deletion that is to be done.
fn deletion(arguments: &Value) -> RawRequest {
    let mut arguments = arguments.clone();
    arguments["confirm"] = json!(true);
    modern_request("", "tools/call", json!({"name": "delete_fake_thing", "arguments": arguments}))
}

async fn delete(server: &TestServer, arguments: Value) -> Value {
    let token = format!("Bearer {}", server.token());
    send(server.mcp, &deletion(&arguments).with("Authorization", &token)).await.json()["result"].clone()
}

/// Begins a deletion and goes away while it is being done.
async fn delete_and_go(server: &TestServer, arguments: Value) {
    let before = *server.platform.state.deletions.borrow();
    let token = format!("Bearer {}", server.token());
    let mut stream = TcpStream::connect(server.mcp).await.unwrap();
    stream.write_all(&deletion(&arguments).with("Authorization", &token).without("Connection").bytes()).await.unwrap();
    until(&mut server.platform.state.deletions.subscribe(), before + 1).await;
    drop(stream);
    let gone = async {
        while server.admin("/metrics", None).await.body.contains("mcp_active_requests 1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, gone).await.unwrap();
}

fn done(answer: &Value) -> bool {
    answer["structuredContent"]["applied"] == true && answer["isError"] == false
}

fn replayed(answer: &Value) -> bool {
    let told = answer["structuredContent"]["replayed"] == true;
    assert_eq!(
        answer["_meta"][REPLAYED] == true,
        told || answer["isError"] == true && !answer["_meta"][REPLAYED].is_null()
    );
    if told {
        let text = answer["content"][0]["text"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), answer["structuredContent"]);
    }
    told
}

#[tokio::test]
async fn a_call_whose_caller_went_is_done_once_and_told_to_whoever_calls_again() {
    let server = TestServer::start().await;
    let state = &server.platform.state;
    state.open.send_replace(false);
    delete_and_go(&server, json!({"name": "a"})).await;
    // It is still being done; who calls again waits for it.
    let again = tokio::spawn({
        let (address, token) = (server.mcp, format!("Bearer {}", server.token()));
        async move { send(address, &deletion(&json!({"name": "a"})).with("Authorization", &token)).await.json() }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    state.open.send_replace(true);
    let again = again.await.unwrap()["result"].clone();
    assert!(done(&again) && replayed(&again), "{again}");
    assert_eq!(*state.deletions.borrow(), 1);

    // It was told, so the next one is meant.
    let meant = delete(&server, json!({"name": "a"})).await;
    assert!(done(&meant) && !replayed(&meant), "{meant}");
    assert_eq!(*state.deletions.borrow(), 2);
    let metrics = server.admin("/metrics", None).await.body;
    assert!(metrics.contains("mcp_idempotent_replays_total 1"), "{metrics}");
    let status = server.admin("/status", Some(&server.operator_token())).await.json();
    assert_eq!(status["details"]["mutations"].as_array().unwrap().len(), 2, "what was not done is no event");
}

#[tokio::test]
async fn an_answer_that_nobody_waited_for_is_kept() {
    let server = TestServer::start().await;
    let state = &server.platform.state;
    state.open.send_replace(false);
    delete_and_go(&server, json!({"name": "a"})).await;
    state.open.send_replace(true);
    let ended = async {
        while server.admin("/metrics", None).await.body.contains("mcp_tool_calls_in_flight 1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, ended).await.unwrap();
    for (arguments, expected) in
        [(json!({"name": "b"}), false), (json!({"name": "a"}), true), (json!({"name": "a"}), false)]
    {
        let answer = delete(&server, arguments.clone()).await;
        assert!(done(&answer), "{answer}");
        assert_eq!(replayed(&answer), expected, "{arguments}");
    }
    assert_eq!(*state.deletions.borrow(), 3);
}

#[tokio::test]
async fn a_key_is_one_act_of_one_caller() {
    let server = TestServer::start().await;
    let named = |name: &str, key: &str| json!({"name": name, "idempotency_key": key});
    for (arguments, expected) in [(named("a", "one"), false), (named("a", "one"), true), (named("a", "two"), false)] {
        let answer = delete(&server, arguments.clone()).await;
        assert_eq!((done(&answer), replayed(&answer)), (true, expected), "{arguments}: {answer}");
    }
    let error = tool_error(&json!({"result": delete(&server, named("b", "one")).await}));
    assert_eq!((&error["code"], &error["argument"]), (&json!("conflict"), &json!("/idempotency_key")));
    let token = format!("Bearer {}", server.key.token("agents", "other"));
    let other = send(server.mcp, &deletion(&named("a", "one")).with("Authorization", &token)).await.json();
    assert!(done(&other["result"]) && !replayed(&other["result"]));
    assert_eq!(*server.platform.state.deletions.borrow(), 3);
    // What fails before it does anything may be tried again under its name.
    for _ in 0..2 {
        let locked = delete(&server, named("locked", "three")).await;
        assert_eq!(tool_error(&json!({ "result": locked }))["message"], "it is locked");
    }
    assert_eq!(*server.platform.state.deletions.borrow(), 5);
}

#[tokio::test]
async fn what_nobody_knows_is_not_done_blindly_again() {
    let mut config = config();
    config.limits.call_timeout = ApiDuration(Duration::from_millis(200));
    let server = TestServer::start_with(config, |_| {}).await;
    let state = &server.platform.state;
    state.open.send_replace(false);
    let late = tool_error(&json!({"result": delete(&server, json!({"name": "a"})).await}));
    assert_eq!(late["code"], "deadline_exceeded");
    assert!(late["message"].as_str().unwrap().ends_with("whether the change was made is not known"), "{late}");
    state.open.send_replace(true);
    let broken = tool_error(&json!({"result": delete(&server, json!({"name": "broken"})).await}));
    assert!(broken["message"].as_str().unwrap().ends_with("not known"), "{broken}");
    for name in ["a", "broken"] {
        let error = tool_error(&json!({"result": delete(&server, json!({ "name": name })).await}));
        assert_eq!(error["code"], "conflict");
        assert!(error["remedy"].as_str().unwrap().contains("without confirm"), "{error}");
    }
    assert_eq!(*state.deletions.borrow(), 2);
    let announced = server.call(&server.token(), "delete_fake_thing", json!({"name": "a"})).await["result"].clone();
    let plan = announced["structuredContent"]["plan"].clone();
    let meant = delete(&server, json!({"name": "a", "plan": plan})).await;
    assert!(done(&meant) && !replayed(&meant), "{meant}");
    assert_eq!(*state.deletions.borrow(), 3);
}

#[tokio::test]
async fn what_fails_before_anything_was_sent_may_be_made_again_at_once() {
    let mut config = config();
    // Only the last call takes it; the others must not on a machine that is busy.
    config.limits.call_timeout = ApiDuration(Duration::from_secs(3));
    let server = TestServer::start_with(config, |_| {}).await;
    let state = &server.platform.state;
    for (open, code) in [(true, "platform_error"), (true, "platform_error"), (false, "deadline_exceeded")] {
        state.open.send_replace(open);
        let error = tool_error(&json!({"result": delete(&server, json!({"name": "unread"})).await}));
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().ends_with("; nothing was changed"), "{error}");
        assert!(error["remedy"].is_string() && !error["remedy"].as_str().unwrap().contains("confirm"), "{error}");
    }
    assert_eq!(*state.deletions.borrow(), 3);
}

#[tokio::test]
async fn an_act_is_finished_before_the_process_ends() {
    let server = TestServer::start().await;
    let state = server.platform.state.clone();
    state.open.send_replace(false);
    delete_and_go(&server, json!({"name": "a"})).await;
    server.stop.drain.cancel();
    let closed = async {
        while TcpStream::connect(server.mcp).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ONE_MINUTE, closed).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!server.ended.is_finished());
    state.open.send_replace(true);
    server.ended.await.unwrap().unwrap();
}
