//! The table of health: what CircleCI answers, and what the probe makes of it.

use serde_json::{Value, json};

use super::{TOKEN, cloud, connect, double::Double, good, server};
use kit::{
    CheckStatus,
    CredentialVerdict::{self, Accepted, PermissionMissing, Rejected, Unknown},
    HealthStatus::{self, Degraded, Error, Ok},
    ProbeReport,
};

fn told(report: &ProbeReport) -> (HealthStatus, &str, bool, CredentialVerdict) {
    (report.status, report.reason.as_str(), report.passing, report.credentials)
}

#[tokio::test]
async fn a_healthy_probe_makes_one_request_and_one_for_a_project() {
    let double = Double::start().await;
    let report = cloud(&double).probe().await;
    assert_eq!(told(&report), (Ok, "Healthy", false, Accepted), "{report:?}");
    assert_eq!((report.identity.as_deref(), report.version.as_deref()), (Some("bot"), Some("API v3")));
    let names = |report: &ProbeReport| report.checks.iter().map(|check| check.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&report), double.total()), (vec!["token".into(), "version".into(), "rate".into()], 1));
    let spec = json!({ "apiVersion": "V3", "projects": ["gh/acme/*", "gh/acme/web"] });
    let report = connect(&double.uri(), &[("token", TOKEN)], &spec).probe().await;
    assert_eq!((report.reason.as_str(), names(&report).last().unwrap().as_str()), ("Healthy", "project"));
    assert_eq!(double.total(), 3);
}

#[tokio::test]
async fn every_fault_has_its_finding() {
    let table: Vec<(u16, HealthStatus, &str, bool, CredentialVerdict)> = vec![
        (401, Error, "TokenInvalidOrRevoked", false, Rejected),
        (403, Error, "TokenNotAllowed", false, PermissionMissing),
        (404, Error, "NotCircleCI", true, Unknown),
        (410, Error, "EndpointRetired", false, Unknown),
        (429, Degraded, "RateLimited", false, Unknown),
        (500, Error, "UpstreamError", false, Unknown),
        (502, Error, "UpstreamError", false, Unknown),
        (503, Error, "UpstreamError", false, Unknown),
    ];
    for (status, expected, reason, passing, verdict) in table {
        for (path, is_server) in [("v3/users", false), ("v2/me", true)] {
            let double = if is_server { Double::start_server().await } else { Double::start().await };
            double.fail(path, status, "x");
            let connector = if is_server { server(&double) } else { cloud(&double) };
            let report = connector.probe().await;
            assert_eq!(told(&report), (expected, reason, passing, verdict), "{path} {status}: {report:?}");
            assert_eq!(double.total(), 1, "{path} {status}: more was asked of a CircleCI that does not answer");
        }
    }
}

#[tokio::test]
async fn pages_and_faults_with_pages_are_told_apart() {
    for (status, reason) in [(200, "NotCircleCI"), (404, "NotCircleCI"), (502, "UpstreamError")] {
        let double = Double::start().await;
        double.page("v3/users", status);
        assert_eq!(cloud(&double).probe().await.reason, reason, "{status}");
    }
    let nobody = connect("http://127.0.0.1:1", &[("token", TOKEN)], &json!({ "apiVersion": "V2" })).probe().await;
    assert_eq!(told(&nobody), (Error, "Unreachable", true, Unknown));
    let none = connect("http://127.0.0.1:1", &[], &json!({ "apiVersion": "V2" })).probe().await;
    assert_eq!(told(&none), (Degraded, "NoCredentials", false, Unknown));
}

#[tokio::test]
async fn a_limit_is_no_outage_and_few_requests_deserve_a_note() {
    let double = Double::start().await;
    double.change(|state| {
        state.headers = vec![("x-ratelimit-limit", "1000".into()), ("x-ratelimit-remaining", "50".into())];
    });
    let connector = cloud(&double);
    let report = connector.probe().await;
    assert_eq!(told(&report), (Degraded, "RateLow", false, Accepted), "{report:?}");
    let rate = |report: &ProbeReport| report.checks.iter().find(|check| check.name == "rate").unwrap().clone();
    assert_eq!(rate(&report).status, CheckStatus::Degraded);
    assert!(
        rate(&report).message.starts_with("50 of 1000 requests are left, which are counted anew in "),
        "{report:?}"
    );
    // A condition whose message changes with each answer would be written each time.
    assert!(!report.message.contains("50"), "{report:?}");
    double
        .change(|state| state.headers = vec![("ratelimit-limit", "100".into()), ("ratelimit-remaining", "90".into())]);
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), rate(&report).status), ("Healthy", CheckStatus::Ok));
    assert!(rate(&report).message.contains("90 of 100"), "{report:?}");
}

#[tokio::test]
async fn a_project_that_is_not_visible_is_told() {
    let double = Double::start().await;
    let spec = json!({ "apiVersion": "V3", "projects": ["gh/acme/gone"] });
    let connector = connect(&double.uri(), &[("token", TOKEN)], &spec);
    let report = connector.probe().await;
    assert_eq!(told(&report), (Degraded, "ProjectNotVisible", false, Accepted));
    assert!(report.message.contains("gh/acme/gone"));
    double.fail("v2/project/gh/acme/gone", 503, "x");
    assert_eq!(told(&connector.probe().await), (Degraded, "UpstreamError", false, Accepted));
}

#[tokio::test]
async fn v3_is_looked_for_once_where_it_is_not_known() {
    let (with, without) = (Double::start().await, Double::start_server().await);
    let auto = |double: &Double| connect(&double.uri(), &[("token", TOKEN)], &json!({}));
    let (newer, older) = (auto(&with), auto(&without));
    assert_eq!(told(&newer.probe().await), (Ok, "Healthy", false, Accepted));
    for _ in 0..2 {
        let report = older.probe().await;
        assert_eq!(told(&report), (Ok, "UsingV2", false, Accepted), "{report:?}");
        assert_eq!(report.version.as_deref(), Some("API v2"));
    }
    assert_eq!((with.total(), without.count("GET", "v3/users"), without.count("GET", "v2/me")), (1, 1, 2));
    // A tool finds it out by itself, too.
    let fresh = auto(&without);
    let runs: Value = good(&fresh, "list_circleci_runs", json!({ "project_slug": "gh/acme/web", "limit": 1 })).await;
    assert_eq!((runs["items"][0]["number"].as_u64(), without.count("GET", "v3/users")), (Some(5), 2));
    // What doesn't answer says nothing about versions.
    let silent = Double::start().await;
    silent.fail("v3/users", 503, "x");
    let connector = auto(&silent);
    assert_eq!(told(&connector.probe().await), (Error, "UpstreamError", false, Unknown));
    silent.change(|state| state.wanted.clear());
    assert_eq!(connector.probe().await.version.as_deref(), Some("API v3"));
}

#[tokio::test]
async fn a_token_that_was_revoked_and_replaced_is_seen() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), &[("token", "planted-old")], &json!({ "apiVersion": "V3" }));
    assert_eq!(told(&connector.probe().await), (Error, "TokenInvalidOrRevoked", false, Rejected));
    connector.mount(2, &[("token", TOKEN)]);
    assert_eq!(connector.probe().await.reason, "Healthy");
}
