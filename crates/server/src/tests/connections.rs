//! Connections to the MCP port: who makes room for whom, and for how long they are kept.

use super::*;

/// A connection on which nothing is said.
async fn silent(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.mcp).await.unwrap()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(ONE_MINUTE, stream.read_to_end(&mut rest)).await.is_ok()
}

fn kept_alive(request: RawRequest) -> RawRequest {
    request.without("Connection")
}

/// Reads an answer of a connection that stays open.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = async {
        loop {
            let mut bytes = [0; 4_096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "closed after {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return;
            }
        }
    };
    tokio::time::timeout(ONE_MINUTE, read).await.unwrap();
    text
}

#[tokio::test]
async fn who_shows_no_token_makes_room_for_who_does() {
    let server = TestServer::start_with(config(), |settings| settings.max_connections = 4).await;
    let list = modern_request(&server.token(), "tools/list", json!({}));
    let mut known = silent(&server).await;
    known.write_all(&kept_alive(list.clone()).bytes()).await.unwrap();
    assert!(read_answer(&mut known).await.starts_with("HTTP/1.1 200"));
    let mut held = Vec::new();
    for text in ["", "POST /mcp HTTP/1.1\r\nHost: mcp-fake\r\n", ""] {
        let mut stream = silent(&server).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        held.push(stream);
    }
    // Far below the time after which silent connections are closed.
    for _ in 0..3 {
        let answered = tokio::time::timeout(ONE_MINUTE / 4, send(server.mcp, &list)).await;
        assert_eq!(answered.unwrap().status, 200);
    }
    assert!(is_closed(&mut held[0]).await, "the one that was quiet for longest has gone");
    known.write_all(&kept_alive(list).bytes()).await.unwrap();
    assert!(read_answer(&mut known).await.starts_with("HTTP/1.1 200"), "a caller's own stays while others can go");
    assert_eq!(server.admin("/readyz", None).await.status, 200);
}

#[tokio::test]
async fn a_call_that_runs_is_not_closed_and_a_full_port_is_not_ready() {
    let server = TestServer::start_with(config(), |settings| settings.max_connections = 2).await;
    let wait = json!({"name": "wait_fake_time", "arguments": {}});
    let running: Vec<_> = ["one", "two"]
        .map(|name| {
            let (address, token) = (server.mcp, server.key.token("agents", name));
            let call = modern_request(&token, "tools/call", wait.clone());
            tokio::spawn(async move { send(address, &call).await })
        })
        .into();
    until(&mut server.platform.state.waiting.subscribe(), 2).await;
    assert_eq!(server.admin("/readyz", None).await.status, 200, "nobody waits");
    let list = modern_request(&server.token(), "tools/list", json!({}));
    let (address, third) = (server.mcp, list.clone());
    let waiting = tokio::spawn(async move { send(address, &third).await });
    let told = async {
        loop {
            let ready = server.admin("/readyz", None).await;
            if ready.status == 503 {
                return ready.body;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(tokio::time::timeout(ONE_MINUTE, told).await.unwrap(), "no connection is left for MCP");
    server.platform.state.release.notify_one();
    assert_eq!(tokio::time::timeout(ONE_MINUTE, waiting).await.unwrap().unwrap().status, 200);
    server.platform.state.release.notify_one();
    for call in running {
        let reply = call.await.unwrap();
        assert_eq!((reply.status, &reply.json()["result"]["isError"]), (200, &json!(false)), "{}", reply.body);
    }
    assert_eq!(server.admin("/readyz", None).await.status, 200);
}

#[tokio::test]
async fn one_caller_has_no_more_than_half_of_the_places() {
    let server = TestServer::start_with(config(), |settings| settings.max_connections = 4).await;
    let wait = modern_request(&server.token(), "tools/call", json!({"name": "wait_fake_time", "arguments": {}}));
    let running: Vec<_> = (0..2)
        .map(|_| {
            let (address, call) = (server.mcp, wait.clone());
            tokio::spawn(async move { send(address, &call).await })
        })
        .collect();
    until(&mut server.platform.state.waiting.subscribe(), 2).await;
    let refused = server.modern(&server.token(), "tools/list", json!({})).await;
    assert_eq!((refused.status, &refused.json()["error"]["data"]["error"]), (503, &json!("too_many_at_once")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let other = server.modern(&server.key.token("agents", "other"), "tools/list", json!({})).await;
    assert_eq!(other.status, 200);
    for _ in &running {
        server.platform.state.release.notify_one();
    }
    for call in running {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(server.modern(&server.token(), "tools/list", json!({})).await.status, 200);
}

#[tokio::test]
async fn who_reads_none_of_its_answers_is_given_up() {
    let server = TestServer::start_with(config(), |settings| settings.header_timeout = Duration::from_secs(1)).await;
    let request = kept_alive(modern_request(&server.token(), "tools/list", json!({}))).bytes();
    let mut stream = silent(&server).await;
    // Answers fill what the kernel keeps of them, and then nothing more is read of the requests.
    let given_up = async { while stream.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(ONE_MINUTE, given_up).await.unwrap();
    assert_eq!(server.modern(&server.token(), "tools/list", json!({})).await.status, 200);
}
