//! Sessions: one login for many calls, renewed in time, and never so many that Argo CD locks the user out.

use std::time::Duration;

use serde_json::json;

use super::{connect, double::Double};
use platform_testing::Connected;
use tools::ErrorCode;

const RIGHT: &[(&str, &str)] = &[("username", "ci"), ("password", "planted-password")];
const WRONG: &[(&str, &str)] = &[("username", "ci"), ("password", "planted-wrong")];

/// Lets time pass, for the connector.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn fails(connector: &Connected) -> tools::ToolError {
    connector.call("list_argocd_projects", json!({})).await.unwrap_err()
}

#[tokio::test]
async fn calls_at_once_share_one_login() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), RIGHT, &json!({}));
    let calls = (0..8).map(|_| connector.call("list_argocd_projects", json!({})));
    for outcome in futures::future::join_all(calls).await {
        outcome.unwrap();
    }
    assert_eq!(double.count("POST", "session"), 1);
}

#[tokio::test]
async fn a_session_is_renewed_five_minutes_before_it_ends() {
    let double = Double::start().await;
    double.change(|state| state.session_seconds = 3_600);
    let connector = connect(&double.uri(), RIGHT, &json!({}));
    for (minutes, logins) in [(0, 1), (54, 1), (2, 2), (54, 2), (2, 3)] {
        pass(Duration::from_secs(minutes * 60)).await;
        connector.call("list_argocd_projects", json!({})).await.unwrap();
        assert_eq!(double.count("POST", "session"), logins);
    }
}

#[tokio::test]
async fn a_revoked_session_is_replaced_at_once_and_the_call_repeated() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), RIGHT, &json!({}));
    connector.call("list_argocd_projects", json!({})).await.unwrap();
    double.change(|state| state.tokens.clear());
    connector.call("list_argocd_projects", json!({})).await.unwrap();
    assert_eq!(double.count("POST", "session"), 2);
    // A second time within a minute, something else is wrong.
    double.change(|state| state.tokens.clear());
    assert_eq!(fails(&connector).await.code, ErrorCode::CredentialsUnavailable);
    assert_eq!(double.count("POST", "session"), 2);
}

#[tokio::test]
async fn wrong_passwords_never_lock_the_user_out() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), WRONG, &json!({}));
    assert_eq!(fails(&connector).await.code, ErrorCode::CredentialsUnavailable);
    assert_eq!(connector.probe().await.reason, "LoginRejected");
    // Nothing is tried for a minute, then twice, then not for as long as Argo CD counts.
    for (seconds, logins) in [(30, 1), (31, 2), (61, 3), (61, 3), (200, 3), (60, 4)] {
        pass(Duration::from_secs(seconds)).await;
        let error = fails(&connector).await;
        assert_eq!((error.code, double.count("POST", "session")), (ErrorCode::CredentialsUnavailable, logins));
    }
    assert_eq!(connector.probe().await.reason, "LoginLockedOut");
    assert!(fails(&connector).await.retry_after_seconds.is_some_and(|seconds| seconds > 200));
}

#[tokio::test]
async fn new_credentials_are_tried_at_once() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), WRONG, &json!({}));
    fails(&connector).await;
    connector.mount(2, RIGHT);
    connector.call("list_argocd_projects", json!({})).await.unwrap();
    assert_eq!(double.count("POST", "session"), 2);
}

#[tokio::test]
async fn a_session_of_earlier_credentials_goes_on_when_new_ones_are_wrong() {
    let double = Double::start().await;
    let connector = connect(&double.uri(), RIGHT, &json!({}));
    connector.call("list_argocd_projects", json!({})).await.unwrap();
    connector.mount(2, WRONG);
    connector.call("list_argocd_projects", json!({})).await.unwrap();
    let report = connector.probe().await;
    assert_eq!((report.status, report.reason.as_str()), (kit::HealthStatus::Degraded, "LoginRejected"));
    assert_eq!(double.count("POST", "session"), 2);
}
