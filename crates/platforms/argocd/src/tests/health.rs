//! The table of health: what Argo CD answers, and what the probe makes of it.

use serde_json::{Value, json};

use super::{
    TOKEN, connect,
    double::{Double, jwt},
    with_token,
};
use kit::{
    CredentialVerdict::{self, Accepted, Expired, Rejected, Unknown},
    HealthStatus::{self, Degraded, Error, Ok},
    ProbeReport,
};

fn told(report: &ProbeReport) -> (HealthStatus, &str, bool, CredentialVerdict) {
    (report.status, report.reason.as_str(), report.passing, report.credentials)
}

#[tokio::test]
async fn a_healthy_probe_makes_five_requests() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let report = connector.probe().await;
    assert_eq!(told(&report), (Ok, "Healthy", false, Accepted), "{report:?}");
    assert_eq!((report.version.as_deref(), report.identity.as_deref()), (Some("v3.2.9+abc"), Some("ci")));
    let names: Vec<_> = report.checks.iter().map(|check| check.name.as_str()).collect();
    // The first one asks by which address Argo CD calls itself, too.
    assert_eq!((names, double.total()), (vec!["version", "identity", "rbac"], 6));
    connector.probe().await;
    assert_eq!(double.total(), 6 + 5);
}

#[tokio::test]
async fn links_are_those_of_the_argo_cd_that_calls_itself_so() {
    let double = Double::start().await;
    let connector = with_token(&double.uri());
    let status = async |host: &str| {
        let link = format!("https://{host}/applications/argocd/web");
        connector.call("get_argocd_app_status", json!({ "app": link })).await
    };
    status("production.example.com").await.unwrap();
    connector.probe().await;
    status("argocd.example.com").await.unwrap();
    status("argo.example.org").await.unwrap();
    let refused = status("production.example.com").await.unwrap_err();
    assert!(refused.message.contains("production.example.com"), "{refused:?}");
}

#[tokio::test]
async fn every_fault_has_its_finding() {
    let dialing = "connection error: desc = \"transport: Error while dialing: dial tcp";
    let table: Vec<(&str, u16, Value, HealthStatus, &str)> = vec![
        ("version", 502, json!({}), Error, "Unreachable"),
        ("version", 503, json!({}), Error, "Unreachable"),
        ("version", 504, json!({}), Error, "Unreachable"),
        ("version", 500, json!({}), Error, "ServerError"),
        ("version", 404, json!({}), Error, "NotArgoCD"),
        ("version", 401, json!({}), Error, "NotArgoCD"),
        ("version", 200, json!("planted"), Error, "NotArgoCD"),
        ("version", 429, json!({}), Degraded, "RateLimited"),
        ("session/userinfo", 401, json!({ "code": 16, "error": "x", "message": "x" }), Error, "Starting"),
        // Of something in front of it.
        ("session/userinfo", 401, json!({}), Error, "NotArgoCD"),
        ("session/userinfo", 503, json!({}), Error, "Unreachable"),
        (
            "session/userinfo",
            503,
            json!({ "code": 14, "message": format!("{dialing} 127.0.0.1:8080\"") }),
            Error,
            "Unreachable",
        ),
        (
            "session/userinfo",
            503,
            json!({ "code": 14, "message": format!("{dialing} 10.0.0.1:8081\"") }),
            Error,
            "Unreachable",
        ),
        (
            "session/userinfo",
            429,
            json!({ "code": 8, "message": "grpc: received message larger than max (2 vs. 1)" }),
            Error,
            "ServerError",
        ),
    ];
    for (path, status, body, expected, reason) in table {
        let double = Double::start().await;
        double.want(path, status, body);
        let report = with_token(&double.uri()).probe().await;
        assert_eq!(told(&report), (expected, reason, true, Unknown), "{path} {status}: {report:?}");
        let asked = if path == "version" { 1 } else { 2 };
        assert_eq!(double.total(), asked, "{path} {status}: more was asked of an Argo CD that does not answer");
    }
}

#[tokio::test]
async fn a_bad_token_is_seen_though_argocd_answers_200() {
    let double = Double::start().await;
    let now = jiff::Timestamp::now().as_second();
    let ended = jwt(now - 7_200, now - 3_600, "e");
    let rejected = connect(&double.uri(), &[("token", "a.b.planted")], &json!({})).probe().await;
    assert_eq!(told(&rejected), (Error, "TokenRejected", true, Rejected));
    let expired = connect(&double.uri(), &[("token", &ended)], &json!({})).probe().await;
    assert_eq!(told(&expired), (Error, "TokenExpired", false, Expired));
    let none = connect(&double.uri(), &[], &json!({})).probe().await;
    assert_eq!(told(&none), (Degraded, "NoCredentials", false, Unknown));
    let ending = jwt(now - 7_200, now + 3_600, "s");
    double.change(|state| state.tokens.push(ending.clone()));
    let ending = connect(&double.uri(), &[("token", &ending)], &json!({})).probe().await;
    assert_eq!(told(&ending), (Degraded, "TokenExpiring", false, Accepted));
    let later = jwt(now - 7_200, now + 30 * 86_400, "l");
    double.change(|state| state.tokens.push(later.clone()));
    let later = connect(&double.uri(), &[("token", &later)], &json!({})).probe().await;
    assert!(later.checks.iter().any(|check| check.message.starts_with("the token ends at ")), "{later:?}");
}

#[tokio::test]
async fn a_session_is_replaced_by_the_probe_itself() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), &[("username", "ci"), ("password", "planted-password")], &json!({}));
    assert_eq!(connector.probe().await.reason, "Healthy");
    double.change(|state| state.tokens.clear());
    assert_eq!(connector.probe().await.reason, "Healthy");
    assert_eq!(double.count("POST", "session"), 2);
}

#[tokio::test]
async fn a_session_that_cannot_be_renewed_yet_is_no_fault() {
    let double = Double::start().await;
    double.change(|state| state.session_seconds = 200);
    let connector = connect(&double.uri(), &[("username", "ci"), ("password", "planted-password")], &json!({}));
    let report = connector.probe().await;
    assert_eq!(told(&report), (Ok, "Refreshing", true, Accepted), "{report:?}");
}

#[tokio::test]
async fn an_account_that_sees_nothing_is_told_so_and_not_called_refused() {
    let double = Double::start().await;
    double.change(|state| state.rights = false);
    let report = with_token(&double.uri()).probe().await;
    assert_eq!(told(&report), (Degraded, "NoApplicationSeen", false, Accepted));
    assert!(report.message.contains("applications, get"));
    // An account of a project may do nothing everywhere, and sees its applications all the same.
    double.change(|state| state.rights = true);
    double.want("account/can-i/applications/get/*/*", 200, json!({ "value": "no" }));
    assert_eq!(with_token(&double.uri()).probe().await.reason, "Healthy");
}

#[tokio::test]
async fn applications_that_matter_are_looked_at() {
    let table = [
        ("Degraded", "Synced", Degraded, "ApplicationsUnhealthy"),
        ("Missing", "OutOfSync", Degraded, "ApplicationsUnhealthy"),
        ("Healthy", "OutOfSync", Ok, "ApplicationsOutOfSync"),
        ("Progressing", "Synced", Ok, "Healthy"),
        ("Unknown", "Synced", Degraded, "ApplicationsUnknown"),
        ("Healthy", "Unknown", Degraded, "ApplicationsUnknown"),
        ("Degraded", "Unknown", Degraded, "ApplicationsUnhealthy"),
    ];
    let spec = |name: &str| json!({ "criticalApplications": [{ "name": name }] });
    for (health, sync, status, reason) in table {
        let double = Double::start().await;
        double.change(|state| {
            state.app["status"]["health"]["status"] = json!(health);
            state.app["status"]["sync"]["status"] = json!(sync);
        });
        let report = connect(&double.uri(), &[("token", TOKEN)], &spec("web")).probe().await;
        assert_eq!((report.status, report.reason.as_str()), (status, reason), "{health} {sync}: {report:?}");
        assert_eq!(double.total(), 7);
    }
    let double = Double::start().await;
    let report = connect(&double.uri(), &[("token", TOKEN)], &spec("gone")).probe().await;
    assert!(report.message.contains("gone is not there"), "{}", report.message);
    double.page("applications", 502);
    let unknown = connect(&double.uri(), &[("token", TOKEN)], &spec("web")).probe().await;
    assert_eq!((unknown.status, unknown.reason.as_str()), (Degraded, "Unreachable"));
}

#[tokio::test]
async fn a_token_that_ends_hides_no_application_that_is_degraded() {
    let double = Double::start().await;
    let now = jiff::Timestamp::now().as_second();
    let ending = jwt(now - 7_200, now + 3_600, "s");
    double.change(|state| {
        state.tokens.push(ending.clone());
        state.app["status"]["health"]["status"] = json!("Degraded");
    });
    let spec = json!({ "criticalApplications": [{ "name": "web" }] });
    let connector = connect(&double.uri(), &[("token", &ending)], &spec);
    let report = connector.probe().await;
    assert_eq!(told(&report), (Degraded, "TokenExpiring", false, Accepted));
    assert_eq!(connector.platform.credentials_expiry().unwrap().as_second(), now + 3_600);
    assert!(report.message.contains("; also: of the critical applications web is degraded"), "{}", report.message);
}
