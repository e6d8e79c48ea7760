//! Every row of the health table.

use std::time::Duration;

use serde_json::json;

use super::{connect, double::Double, with_password, with_token};
use kit::{
    CheckStatus,
    CredentialVerdict::{self, Accepted, PermissionMissing, Rejected, Unknown},
    HealthStatus::{self, Degraded, Error, Ok},
    ProbeReport,
};

fn told(report: &ProbeReport) -> (HealthStatus, &str, CredentialVerdict) {
    (report.status, report.reason.as_str(), report.credentials)
}

fn check<'a>(report: &'a ProbeReport, name: &str) -> &'a kit::Check {
    report.checks.iter().find(|check| check.name == name).unwrap()
}

#[tokio::test]
async fn a_healthy_probe_makes_three_requests() {
    let double = Double::start().await;
    let report = with_token(&double).probe().await;
    assert_eq!(told(&report), (Ok, "Healthy", Accepted), "{report:?}");
    assert_eq!((report.version.as_deref(), report.identity.as_deref()), (Some("2.528.1"), Some("bot")));
    let names: Vec<_> = report.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!((names, double.total()), (vec!["read", "mutate", "version", "queue", "plugins"], 3));
}

#[tokio::test]
async fn credentials_are_told_apart() {
    let double = Double::start().await;
    let wrong = connect(&double.url(), &[("user", "bot"), ("api_token", "planted-old")]).probe().await;
    assert_eq!(told(&wrong), (Error, "AuthenticationFailed", Rejected));
    let none = connect(&double.url(), &[]).probe().await;
    assert_eq!(told(&none), (Degraded, "NoCredentials", Unknown));
    double.change(|state| state.drops_credentials = true);
    assert_eq!(told(&with_token(&double).probe().await), (Error, "AnonymousOnly", Rejected));
    double.change(|state| {
        state.drops_credentials = false;
        state.permissions.remove("Overall/Read");
    });
    let report = with_token(&double).probe().await;
    assert_eq!(told(&report), (Error, "PermissionDenied", PermissionMissing));
    assert!(report.message.contains("Overall/Read"));
}

#[tokio::test]
async fn a_password_is_probed_with_a_crumb_that_is_kept() {
    let double = Double::start().await;
    let connector = with_password(&double);
    assert_eq!(told(&connector.probe().await), (Ok, "Healthy", Accepted));
    assert_eq!(double.count("GET", "crumbIssuer/api/json"), 1);
    connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap();
    assert_eq!(double.count("GET", "crumbIssuer/api/json"), 1, "the probe's crumb was not used");
    double.change(|state| state.csrf = false);
    let report = connector.probe().await;
    assert_eq!(told(&report), (Ok, "CrumbDisabled", Accepted));
    connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap();
    double.change(|state| (state.csrf, state.crumb_denied) = (true, true));
    assert_eq!(told(&connector.probe().await), (Error, "CrumbDenied", PermissionMissing));
}

#[tokio::test]
async fn states_that_jenkins_tells_are_degraded() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.change(|state| state.quieting_down = true);
    assert_eq!(told(&connector.probe().await), (Degraded, "QuietingDown", Accepted));
    double.change(|state| (state.quieting_down, state.version) = (false, None));
    assert_eq!(told(&connector.probe().await), (Degraded, "VersionUnknown", Accepted));
    double.change(|state| (state.version, state.looks_until_start) = (Some("2.528.1"), None));
    connector.call("trigger_jenkins_build", json!({ "job": "plain", "wait_seconds": 0 })).await.unwrap();
    double.change(|state| state.queue.values_mut().for_each(|item| item.stuck = true));
    let report = connector.probe().await;
    assert_eq!((told(&report), check(&report, "queue").status), ((Ok, "Healthy", Accepted), CheckStatus::Degraded));
}

#[tokio::test]
async fn the_start_page_is_an_error_only_when_it_stays() {
    let double = Double::start().await;
    let connector = with_token(&double);
    double.restart();
    let report = connector.probe().await;
    assert_eq!((told(&report), report.passing), ((Degraded, "Starting", Unknown), false));
    assert_eq!(connector.platform.probe_again_in(), Some(Duration::from_secs(10)));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(301)).await;
    tokio::time::resume();
    assert_eq!(told(&connector.probe().await), (Error, "Starting", Unknown));
    double.change(|state| state.starting = false);
    assert_eq!(told(&connector.probe().await), (Ok, "Healthy", Accepted));
    assert_eq!(connector.platform.probe_again_in(), None);
    double.restart();
    assert_eq!(told(&connector.probe().await), (Degraded, "Starting", Unknown));
}

#[tokio::test]
async fn what_is_not_jenkins_is_told_from_a_proxy() {
    let table = [
        (502, "Bad Gateway", Error, "ProxyError", true),
        (503, "no server is available", Error, "ProxyError", true),
        (504, "Gateway Timeout", Error, "ProxyError", true),
        (200, "<form>log in</form>", Error, "NotJenkins", false),
        (404, "no such site", Error, "NotJenkins", false),
        (500, "boom", Error, "ServerError", true),
        (429, "slow down", Degraded, "RateLimited", true),
    ];
    for (status, body, expected, reason, passing) in table {
        let double = Double::start().await;
        double.want("whoAmI/api/json", status, body);
        let report = with_token(&double).probe().await;
        assert_eq!(told(&report), (expected, reason, Unknown), "{status}: {report:?}");
        assert_eq!((report.passing, double.total()), (passing, 1), "{status}");
    }
    let double = Double::start().await;
    let login = "https://sso.example.com/login".to_owned();
    double.want_with("whoAmI/api/json", |wanted| super::double::Wanted {
        status: 302,
        headers: vec![("location", login)],
        ..wanted
    });
    assert_eq!(told(&with_token(&double).probe().await), (Error, "NotJenkins", Unknown));
}

#[tokio::test]
async fn the_plugin_is_known_once_it_was_asked() {
    let double = Double::start().await;
    let connector = with_token(&double);
    let said = |report: &ProbeReport| check(report, "plugins").message.clone();
    assert!(said(&connector.probe().await).contains("is seen when"));
    connector.call("get_jenkins_build_stages", json!({ "job": "team/web" })).await.unwrap();
    assert!(said(&connector.probe().await).contains("answers"));
    double.change(|state| state.stage_view = false);
    connector.call("get_jenkins_build_stages", json!({ "job": "team/web" })).await.unwrap();
    assert!(said(&connector.probe().await).contains("neither"));
    double.change(|state| state.graph_view = Some(super::double::GraphView::Stages));
    connector.call("get_jenkins_build_stages", json!({ "job": "team/web" })).await.unwrap();
    assert!(said(&connector.probe().await).contains("pipeline-graph-view answers"));
}
