//! What an agent is told when its platform fails, through the whole server: the answer, the time that it takes, how often
//! the platform is asked, what is shown, and that everything is well again when the platform is. The layers have closer
//! tests of their own: `crates/outbound` of TLS, breaker and retries, `crates/platform-testing` of every tool and fault.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_upstream::{Fault, Faulty};

use crate::served::{Served, serve};

/// Calls that are made of a platform that fails. No more than 1.2 times as many requests may be made
/// (`crates/outbound/src/retry.rs`).
const CALLS: usize = 60;

/// What the platform does with requests of the tool. The probe's are answered well or badly in the same way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// An answer.
    Well,
    /// An answer after a while.
    Slow,
    /// No answer.
    Hang,
    /// The end of the connection, before the request was read.
    Reset,
    /// A status, and when to come back.
    Status(u16, Option<u32>),
    /// Half of what was promised.
    Truncated,
    /// More than anybody reads.
    Enormous,
    /// No HTTP.
    Garbage,
    /// A page for people.
    Page,
    /// One request of four fails.
    Flapping,
}

/// What the tool is answered where all is well.
const GOOD: &str = r#"{"busyExecutors":0,"totalExecutors":0,"computer":[]}"#;
/// How a request of the tool begins.
const OF_THE_TOOL: &str = "GET /computer/";

impl Act {
    fn fault(self) -> Fault {
        let jenkins = "X-Jenkins: 2.528.1";
        let json = "Content-Type: application/json";
        let ok = |kind: &str, body: &str| Fault::with_headers(200, &[kind, jenkins], body);
        match self {
            Self::Well => ok(json, GOOD),
            Self::Slow => Fault::Late(Duration::from_millis(200), Box::new(Self::Well.fault())),
            Self::Hang => Fault::Hangs,
            Self::Reset => Fault::Closes,
            Self::Status(status, None) => Fault::with_headers(status, &[jenkins], "canary-of-the-platform"),
            Self::Status(status, Some(wait)) => {
                let wait = format!("Retry-After: {wait}");
                Fault::with_headers(status, &[jenkins, &wait], "canary-of-the-platform")
            }
            Self::Truncated => {
                let (length, half) = (GOOD.len(), &GOOD[..GOOD.len() / 2]);
                let text = format!("HTTP/1.1 200 OK\r\n{jenkins}\r\n{json}\r\nContent-Length: {length}\r\n\r\n{half}");
                Fault::Sends(text.into_bytes(), Duration::ZERO)
            }
            Self::Enormous => ok(json, &format!("[{}]", " ".repeat(9 * 1024 * 1024))),
            Self::Garbage => Fault::Sends(b"canary-of-the-platform \x00\x01\r\n\r\n".to_vec(), Duration::ZERO),
            Self::Page => ok("Content-Type: text/html", "<html>canary-of-the-platform</html>"),
            Self::Flapping => {
                let well = || Self::Well.fault();
                Fault::InTurn(vec![Self::Status(503, None).fault(), well(), well(), well()])
            }
        }
    }
}

/// A connector to a Jenkins at a URL. A request may take two seconds, a call six.
struct Connector(Served);

impl Connector {
    async fn start(url: &str) -> Self {
        let limits = json!({
            "callTimeout": "6s",
            "maxConcurrentCalls": 64,
            "maxResultBytes": 65536,
            "calls": { "perMinute": 60000, "burst": 10000 },
            "repeats": { "enabled": false, "window": "1m", "warnAfter": 2, "refuseAfter": 5 },
            "cache": { "enabled": false, "maxBytes": 65536 },
            "platform": {
                "maxConcurrentRequests": 4, "maxQueuedRequests": 20, "requestTimeout": "2s", "maxAttempts": 4,
                "breakerConsecutiveFailures": 7, "breakerFailurePercent": 50,
            },
        });
        let platform = json!({ "jenkins": { "url": url, "insecureHttp": true } });
        Self(serve(&platform, &limits, &[("user", "bot"), ("api_token", "canary-token")], "1s").await)
    }

    /// Calls a tool. The error's code, or nothing; and the time until a call is worth while again.
    async fn call(&self) -> (Option<String>, Option<u64>) {
        let (code, retry_after, _) = self.0.call("list_jenkins_nodes").await;
        (code, retry_after)
    }

    async fn shown(&self, path: &str) -> String {
        self.0.shown(path).await
    }

    /// Waits until a call succeeds.
    async fn recovers(&self, within: Duration) {
        let begun = Instant::now();
        loop {
            let outcome = self.call().await;
            if outcome.0.is_none() {
                return;
            }
            assert!(begun.elapsed() < within, "still {outcome:?} after {:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// What is to be seen of a fault.
struct Seen {
    act: Act,
    /// What calls may be answered with; empty for an answer.
    codes: &'static [&'static str],
    /// Whether the breaker opens.
    opens: bool,
}

const fn seen(act: Act, opens: bool, codes: &'static [&'static str]) -> Seen {
    Seen { act, codes, opens }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_has_its_answer_in_time_and_passes_with_its_cause() {
    let table = [
        seen(Act::Slow, false, &[""]),
        seen(Act::Hang, true, &["deadline_exceeded", "rate_limited", "platform_unavailable"]),
        seen(Act::Reset, true, &["platform_unavailable"]),
        seen(Act::Status(429, Some(2)), false, &["rate_limited"]),
        seen(Act::Status(429, None), false, &["rate_limited"]),
        seen(Act::Status(503, None), true, &["platform_unavailable"]),
        seen(Act::Truncated, true, &["platform_unavailable"]),
        seen(Act::Enormous, false, &["result_too_large", "rate_limited"]),
        seen(Act::Garbage, true, &["platform_unavailable"]),
        seen(Act::Page, false, &["platform_error"]),
        seen(Act::Flapping, false, &["", "platform_unavailable"]),
    ];
    for Seen { act, codes, opens } in table {
        let upstream = Faulty::start(Act::Well.fault());
        let connector = Connector::start(&upstream.url()).await;
        connector.recovers(Duration::from_secs(30)).await;
        upstream.now_does(act.fault());
        let before = upstream.asked_for(OF_THE_TOOL);
        let mut outcomes = Vec::new();
        for _ in 0..CALLS / 6 {
            let begun = Instant::now();
            outcomes.extend(futures::future::join_all((0..6).map(|_| connector.call())).await);
            assert!(begun.elapsed() < Duration::from_secs(30), "{act:?}: {:?}", begun.elapsed());
        }
        for (code, wait) in &outcomes {
            let code = code.as_deref().unwrap_or_default();
            assert!(codes.contains(&code), "{act:?}: {code}");
            assert!(act != Act::Status(429, Some(2)) || wait.is_some(), "{act:?}: it doesn't say when to come back");
        }
        let asked = upstream.asked_for(OF_THE_TOOL) - before;
        assert!(asked * 5 <= CALLS * 6, "{act:?}: {asked} requests for {CALLS} calls");
        let metrics = connector.shown("/metrics").await;
        let open = metrics.lines().any(|line| {
            line.starts_with("connector_outbound_breaker_state") && !line.contains("closed") && line.ends_with(" 1")
        });
        assert_eq!(open, opens, "{act:?}: {metrics}");
        assert!(!opens || asked < CALLS, "{act:?}: {asked} requests, though it was left alone");

        upstream.now_does(Act::Well.fault());
        connector.recovers(Duration::from_secs(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_platform_is_told_of_at_once_and_in_health() {
    let connector = Connector::start("http://127.0.0.1:1").await;
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(connector.call().await.0.as_deref(), Some("platform_unavailable"));
    }
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    let health: Value = serde_json::from_str(&connector.shown("/health").await).unwrap();
    assert_eq!((&health["status"], &health["reason"]), (&json!("error"), &json!("Unreachable")), "{health}");
    assert_eq!(connector.shown("/readyz").await, "ok", "agents are to be told of it");
}
