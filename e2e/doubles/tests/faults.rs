//! The program's faults, credentials and counters, over its sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use platform_doubles::{Platform, admin, circleci, cloudwatch, faults::Control, jenkins, serving};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Program {
    platform: SocketAddr,
    admin: SocketAddr,
}

impl Program {
    async fn start(platform: Arc<dyn Platform>) -> Self {
        let router = Arc::clone(&platform).router();
        let credentials = platform.default_credentials();
        let control = Arc::new(Control::new(platform, credentials).unwrap());
        let [listener, for_admin] =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let (platform, admin) = (listener.local_addr().unwrap(), for_admin.local_addr().unwrap());
        let wishes = admin::router(Arc::clone(&control));
        tokio::spawn(async move { axum::serve(for_admin, wishes).await });
        tokio::spawn(serving::serve(listener, None, router, control));
        Self { platform, admin }
    }

    /// Asks for a fault, or for other credentials; gives the status.
    async fn wish(&self, path: &str, wish: &Value) -> u16 {
        let body = wish.to_string();
        let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n");
        let answer = send(self.admin, &format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await.unwrap();
        answer.status
    }

    async fn fault(&self, fault: &Value) {
        assert_eq!(self.wish("/fault", fault).await, 204, "{fault}");
    }

    async fn requests(&self) -> Value {
        let request = "GET /requests HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        serde_json::from_str(&send(self.admin, request).await.unwrap().body).unwrap()
    }

    /// Asks the platform something that it answers, with credentials in a header; nothing if it closes the connection.
    async fn get(&self, path: &str, header: &str) -> Option<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\nconnection: close\r\n\r\n");
        timeout(PATIENCE, send(self.platform, &request)).await.expect("no answer")
    }

    async fn status(&self, path: &str, header: &str) -> Option<u16> {
        self.get(path, header).await.map(|answer| answer.status)
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn send(address: SocketAddr, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut bytes = Vec::new();
    // A connection that is closed may be reset.
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.read_to_end(&mut bytes).await.ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().unwrap();
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

const VERSION: &str = "/jenkins/api/json?tree=quietingDown,mode";
/// `bot:planted-token`
const BOT: &str = "authorization: Basic Ym90OnBsYW50ZWQtdG9rZW4=";

async fn jenkins() -> Program {
    Program::start(Arc::new(jenkins::world())).await
}

#[tokio::test]
async fn every_fault_is_what_it_says_until_it_ends() {
    let program = jenkins().await;
    assert_eq!(program.status(VERSION, BOT).await, Some(200));
    program.fault(&json!({ "mode": "unauthorized" })).await;
    assert_eq!(program.status(VERSION, BOT).await, Some(401));
    program.fault(&json!({ "mode": "rate-limited", "seconds": 7 })).await;
    let limited = program.get(VERSION, BOT).await.unwrap();
    assert!(limited.status == 429 && limited.head.contains("retry-after: 7"), "{}", limited.head);
    program.fault(&json!({ "mode": "server-error" })).await;
    assert_eq!(program.status(VERSION, BOT).await, Some(500));
    program.fault(&json!({ "mode": "html" })).await;
    let page = program.get(VERSION, BOT).await.unwrap();
    assert!(page.status == 200 && page.head.contains("text/html") && !page.head.contains("x-jenkins"), "{}", page.head);
    program.fault(&json!({ "mode": "down" })).await;
    assert_eq!(program.status(VERSION, BOT).await, None);
    program.fault(&json!({ "mode": "up" })).await;
    assert_eq!(program.status(VERSION, BOT).await, Some(200));
}

#[tokio::test]
async fn going_down_closes_connections_that_are_open() {
    let program = jenkins().await;
    program.fault(&json!({ "mode": "slow", "seconds": 3600 })).await;
    let mut open = TcpStream::connect(program.platform).await.unwrap();
    open.write_all(format!("GET {VERSION} HTTP/1.1\r\nhost: x\r\n{BOT}\r\n\r\n").as_bytes()).await.unwrap();
    program.fault(&json!({ "mode": "down" })).await;
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, open.read_to_end(&mut rest)).await.expect("the connection stays open");
    assert!(read.is_err() || rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_slow_path_leaves_others_as_fast_as_they_are() {
    let program = Arc::new(jenkins().await);
    program.fault(&json!({ "mode": "slow", "seconds": 3600, "path": "job/plain" })).await;
    assert_eq!(program.status(VERSION, BOT).await, Some(200));
    let slow = tokio::spawn({
        let program = Arc::clone(&program);
        async move { program.status("/jenkins/job/plain/api/json?tree=name", BOT).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!slow.is_finished());
    // What waits is answered when the fault ends.
    program.fault(&json!({ "mode": "up" })).await;
    assert_eq!(timeout(PATIENCE, slow).await.expect("still slow").unwrap(), Some(200));
}

#[tokio::test]
async fn only_the_rotated_credentials_are_good() {
    let program = jenkins().await;
    assert_eq!(program.wish("/credentials", &json!({ "user": "bot", "api_token": "new" })).await, 204);
    assert_eq!(program.status(VERSION, BOT).await, Some(401));
    let new = "authorization: Basic Ym90Om5ldw==";
    assert_eq!(program.status(VERSION, new).await, Some(200));
    // They come into force while nobody is let in, and are good afterwards.
    program.fault(&json!({ "mode": "unauthorized" })).await;
    assert_eq!(program.wish("/credentials", &json!({ "user": "bot", "api_token": "planted-token" })).await, 204);
    assert_eq!(program.status(VERSION, BOT).await, Some(401));
    program.fault(&json!({ "mode": "up" })).await;
    assert_eq!((program.status(VERSION, BOT).await, program.status(VERSION, new).await), (Some(200), Some(401)));
}

#[tokio::test]
async fn wishes_that_make_no_sense_are_refused() {
    let program = jenkins().await;
    for (path, wish) in [
        ("/fault", json!({ "mode": "slow" })),
        ("/fault", json!({ "mode": "up", "seconds": 1 })),
        ("/fault", json!({ "mode": "down", "path": "job" })),
        ("/fault", json!({ "mode": "tired" })),
        ("/fault", json!({ "mode": "up", "minutes": 1 })),
        ("/credentials", json!({ "token": "a" })),
        ("/credentials", json!({ "api_token": "a" })),
    ] {
        let status = program.wish(path, &wish).await;
        assert!((400..500).contains(&status), "{wish}: {status}");
    }
    assert_eq!(program.status(VERSION, BOT).await, Some(200));
}

#[tokio::test]
async fn requests_are_counted_and_refusals_told() {
    let program = jenkins().await;
    for _ in 0..2 {
        program.status("/jenkins/api/json?tree=mdoe", BOT).await;
    }
    program.status("/jenkins/job/plain/api/json?tree=name", BOT).await;
    let told = program.requests().await;
    assert_eq!((&told["total"], &told["paths"]["GET /jenkins/api/json"]), (&json!(3), &json!(2)));
    let refused = told["refused"].as_array().unwrap();
    assert_eq!((refused.len(), &refused[0]["status"]), (2, &json!(400)));
    assert!(refused[0]["why"].as_str().unwrap().contains("a name that no bean has"), "{refused:?}");
    assert_eq!(told["offences"], json!([]));
}

#[tokio::test]
async fn each_platform_fails_in_its_own_words() {
    let program = Program::start(Arc::new(circleci::world("http://x", "http://y"))).await;
    let token = "circle-token: planted-token";
    assert_eq!(program.status("/api/v2/me", token).await, Some(200));
    program.fault(&json!({ "mode": "rate-limited", "seconds": 9 })).await;
    let limited = program.get("/api/v2/me", token).await.unwrap();
    assert!(limited.head.contains("retry-after: 9") && limited.head.contains("x-ratelimit-remaining: 0"));
    assert!(limited.status == 429 && limited.body.contains("\"message\""), "{}", limited.body);
    program.fault(&json!({ "mode": "server-error" })).await;
    let failed = program.get("/api/v3/users", token).await.unwrap();
    assert!(failed.status == 500 && failed.body.contains("\"title\""), "{}", failed.body);

    let program = Program::start(Arc::new(cloudwatch::world())).await;
    program.fault(&json!({ "mode": "rate-limited", "seconds": 9 })).await;
    let logs = "x-amz-target: Logs_20140328.DescribeLogGroups";
    let limited = program.get("/", logs).await.unwrap();
    assert!(limited.status == 400 && limited.body.contains("ThrottlingException"), "{}", limited.body);
    let metrics = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms";
    let limited = program.get(metrics, "accept: application/cbor").await.unwrap();
    assert!(limited.head.contains("application/cbor") && limited.body.contains("ThrottlingException"));
    let sts = program.get("/", "content-type: application/x-www-form-urlencoded").await.unwrap();
    assert!(sts.body.contains("<Code>ThrottlingException</Code>"), "{}", sts.body);
}

#[tokio::test]
async fn what_no_client_of_aws_sends_is_an_offence() {
    let program = Program::start(Arc::new(cloudwatch::world())).await;
    assert_eq!(program.status("/", "x-amz-target: Logs_20140328.DescribeLogGroups").await, Some(418));
    assert_eq!(program.requests().await["offences"].as_array().unwrap().len(), 1);
}

#[test]
fn a_certificate_that_is_not_there_is_named() {
    let missing = Path::new("/nowhere/tls.crt");
    let Err(error) = serving::tls(missing, missing) else { panic!("it was read") };
    assert!(error.contains("/nowhere/tls.crt"), "{error}");
}

#[test]
fn credentials_that_the_platform_does_not_have_are_refused_at_once() {
    let wrong: BTreeMap<String, String> = [("key".to_owned(), "a".to_owned())].into();
    let Err(error) = Control::new(Arc::new(jenkins::world()), wrong) else { panic!("they were taken") };
    assert!(error.contains("user, api_token, password"), "{error}");
}

#[test]
fn a_user_of_aws_has_one_key_or_two() {
    let world = cloudwatch::world();
    let accepted = |given: &[(&str, &str)]| {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        world.accept(Some(&given)).unwrap();
        world.lock().unwrap().keys.iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(accepted(&[("access_key_id", "a"), ("second_access_key_id", "b")]), ["a", "b"]);
    assert_eq!(accepted(&[("access_key_id", "b")]), ["b"]);
}
