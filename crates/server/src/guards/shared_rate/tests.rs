//! A server that says what a test wants, in the protocol of Redis; and the count against it. Against a real one:
//! `tests/integration/redis_real`.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    guards::{
        principal::Principal,
        rate::{CallRates, RateNote},
    },
    testing,
};
use api::pattern::NamePattern;
use pod_api::config::{CallRateConfig, LimitsConfig, ToolRateConfig};
use tools::ToolError;

const QUOTA: SharedQuota = SharedQuota { interval: Duration::from_secs(1), burst: 3 };

/// What the double does.
struct Script {
    /// Its answer to a call of the script.
    answer: Mutex<&'static str>,
    /// Whether it answers at all.
    silent: AtomicBool,
    /// Calls of the script that were about a caller.
    asked: AtomicUsize,
    /// Connections that were opened.
    connections: AtomicUsize,
    /// Ends the connections there are.
    reset: Notify,
}

/// A double, and its port.
async fn double(answer: &'static str) -> (Arc<Script>, u16) {
    let script = Arc::new(Script {
        answer: Mutex::new(answer),
        silent: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        connections: AtomicUsize::new(0),
        reset: Notify::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn({
        let script = script.clone();
        async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                script.connections.fetch_add(1, Ordering::SeqCst);
                let script = script.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(stream, &script) => {}
                        () = script.reset.notified() => {}
                    }
                });
            }
        }
    });
    (script, port)
}

async fn serve(stream: TcpStream, script: &Script) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(command) = read_command(&mut reader).await {
        if script.silent.load(Ordering::SeqCst) {
            continue;
        }
        let answer = match command[0].as_str() {
            "AUTH" if command.last().map(String::as_str) != Some("right") => "-WRONGPASS invalid password\r\n",
            "EVAL" if command[3].ends_with(":trial") => "*2\r\n:1\r\n:1000\r\n",
            "EVAL" => {
                script.asked.fetch_add(1, Ordering::SeqCst);
                *script.answer.lock().unwrap()
            }
            _ => "+OK\r\n",
        };
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_command(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<String>> {
    let mut line = String::new();
    let mut number = async |reader: &mut _| -> Option<usize> {
        line.clear();
        AsyncBufReadExt::read_line(reader, &mut line).await.ok()?;
        line.trim().get(1..)?.parse().ok()
    };
    let mut words = Vec::new();
    for _ in 0..number(reader).await? {
        let mut bytes = vec![0; number(reader).await? + 2];
        reader.read_exact(&mut bytes).await.ok()?;
        bytes.truncate(bytes.len() - 2);
        words.push(String::from_utf8(bytes).ok()?);
    }
    Some(words)
}

fn rates_at(port: u16, password: Option<&str>) -> (Arc<SharedRates>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    if let Some(password) = password {
        std::fs::write(directory.path().join("password"), password).unwrap();
    }
    let config =
        SharedRateConfig { host: "127.0.0.1".into(), port, tls: false, ca_pem: None, credentials: password.is_some() };
    let identity = testing::config().connector;
    let rates = SharedRates::new(&identity, &config, directory.path().to_owned(), AddressPolicy::Loopback).unwrap();
    (Arc::new(rates), directory)
}

/// A count that is kept, and what ends it.
fn start(rates: &Arc<SharedRates>) -> CancellationToken {
    let shutdown = CancellationToken::new();
    tokio::spawn(rates.clone().keep(shutdown.clone()));
    shutdown
}

async fn until_reason(rates: &SharedRates, reason: &str) {
    let reached = async {
        while rates.state().reason != reason {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), reached).await;
    assert!(waited.is_ok(), "{reason} was expected; it is {}", rates.state().reason);
}

#[tokio::test]
async fn what_the_server_says_holds_and_its_refusal_is_not_asked_for_again() {
    let (double, port) = double("*2\r\n:1\r\n:3000000\r\n").await;
    let (shared, _directory) = rates_at(port, None);
    let _shutdown = start(&shared).drop_guard();
    let tool = ToolRateConfig { name: NamePattern("get_a".into()), rate: CallRateConfig { per_minute: 60, burst: 10 } };
    let calls = CallRateConfig { per_minute: 60, burst: 3 };
    let limits = LimitsConfig { calls, tools: vec![tool], ..testing::config().limits };
    let rates = CallRates::new(&limits, ["get_a"].into_iter(), Some(shared.clone()));
    let caller = Principal::Address(Some("10.0.0.1".parse().unwrap()));

    // Before the server is there, the replica counts by itself.
    let (note, verdict) = rates.enter(&Principal::Address(None)).await;
    assert_eq!((note.remaining, verdict), (2, Ok(())));
    assert_eq!(shared.counts(), SharedRateCounts { shared: 0, failed: 0, local: 1 });

    until_reason(&shared, "Available").await;
    assert!(shared.state().available);
    let (note, verdict): (RateNote, Result<(), ToolError>) = rates.enter(&caller).await;
    assert_eq!((note.remaining, note.reset, verdict), (0, Duration::from_secs(3), Ok(())));
    // Others have used it up, as far as this replica knows; so it asks nobody.
    let (note, verdict) = rates.enter(&caller).await;
    assert!(verdict.is_err() && note.retry_after.unwrap() <= Duration::from_secs(1), "{note:?}");
    assert_eq!((double.asked.load(Ordering::SeqCst), shared.counts().shared), (1, 1));

    *double.answer.lock().unwrap() = "*2\r\n:0\r\n:9500000\r\n";
    let (note, verdict) = rates.enter_tool(&caller, "get_a").await.unwrap();
    assert_eq!((note.limit, note.retry_after), (60, Some(Duration::from_millis(500))));
    assert!(verdict.is_err());
    assert_eq!(double.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_is_silent_holds_calls_up_three_times_and_is_left_alone() {
    let (double, port) = double("*2\r\n:1\r\n:1000000\r\n").await;
    let (rates, _directory) = rates_at(port, None);
    let _shutdown = start(&rates).drop_guard();
    until_reason(&rates, "Available").await;
    double.silent.store(true, Ordering::SeqCst);
    // Calls of one moment are one answer that is late.
    let began = Instant::now();
    let late = futures::future::join_all((0..20).map(|_| rates.take(QUOTA, "a"))).await;
    assert!(late.iter().all(Option::is_none) && rates.state().available);
    for _ in 0..2 {
        assert_eq!(rates.take(QUOTA, "a").await, None);
    }
    assert_eq!(rates.state(), SharedRateState { available: false, reason: "Timeout".into() });
    assert!(began.elapsed() >= 3 * ANSWER_TIMEOUT && began.elapsed() < Duration::from_mins(1));
    assert_eq!(rates.counts(), SharedRateCounts { shared: 0, failed: 22, local: 0 });
    assert_eq!(rates.take(QUOTA, "a").await, None);
    assert_eq!(rates.counts().local, 1, "nobody is asked any more");

    double.silent.store(false, Ordering::SeqCst);
    until_reason(&rates, "Available").await;
    assert_eq!(rates.take(QUOTA, "a").await, Some(Counted { taken: true, missing: Duration::from_secs(1) }));
}

#[tokio::test]
async fn a_connection_that_ends_is_made_anew() {
    let (double, port) = double("*2\r\n:1\r\n:1000000\r\n").await;
    let (rates, _directory) = rates_at(port, None);
    let _shutdown = start(&rates).drop_guard();
    until_reason(&rates, "Available").await;
    double.reset.notify_waiters();
    until_reason(&rates, "Unreachable").await;
    until_reason(&rates, "Available").await;
    assert_eq!(double.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_password_is_read_anew_at_each_attempt() {
    let (double, port) = double("*2\r\n:1\r\n:1000000\r\n").await;
    let (rates, directory) = rates_at(port, Some("wrong\n"));
    let _shutdown = start(&rates).drop_guard();
    until_reason(&rates, "AuthenticationFailed").await;
    std::fs::remove_file(directory.path().join("password")).unwrap();
    until_reason(&rates, "NoPassword").await;
    std::fs::write(directory.path().join("password"), "right\n").unwrap();
    until_reason(&rates, "Available").await;
    assert!(double.connections.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn what_is_no_redis_or_refuses_the_script_is_said_by_a_word_of_ours() {
    for (answer, reason) in [
        ("-NOPERM canary\r\n", "PermissionMissing"),
        ("-READONLY canary\r\n", "ReadOnly"),
        ("-OOM canary\r\n", "Unusable"),
        ("+canary\r\n", "Unusable"),
    ] {
        let (_double, port) = double(answer).await;
        let (rates, _directory) = rates_at(port, None);
        let _shutdown = start(&rates).drop_guard();
        until_reason(&rates, "Available").await;
        assert_eq!(rates.take(QUOTA, "a").await, None);
        assert_eq!(rates.state().reason, reason, "{answer}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (rates, _directory) = rates_at(nobody, None);
    let _shutdown = start(&rates).drop_guard();
    until_reason(&rates, "Unreachable").await;
}
