//! The admin port.

use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use credentials::CredentialsHandle;

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
    let platform = FakePlatform::default();
    let catalogue = Catalogue::new(platform.entries(), &config().tools, &access, true).unwrap();
    let guards = Guards::new("fake", Arc::new(platform), catalogue, "uid".into(), &config().limits, None, no_cache());
    let admin = Admin {
        config_digest: "digest".into(),
        guards: Arc::new(guards),
        authenticator: Arc::new(Authenticator::new(
            "/nonexistent".into(),
            vec![],
            &config().operator,
            &config().connector,
        )),
        state: Arc::new(starting()),
        credentials: CredentialsHandle::new(watch::channel(None).1, watch::channel(0).0),
        probe: Arc::default(),
        lifecycle: lifecycle::Lifecycle::default(),
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
