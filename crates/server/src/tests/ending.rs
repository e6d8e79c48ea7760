//! The end of a replica.

use super::*;

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
            settings.drain_timeout = Some(if forced { ONE_MINUTE } else { Duration::from_millis(50) });
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
