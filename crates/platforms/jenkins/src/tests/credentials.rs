//! Tokens, passwords, crumbs and the sessions that they belong to.

use serde_json::json;

use super::{TOKEN, USER, connect, double::Double, good, with_password, with_token};
use tools::ErrorCode;

#[tokio::test]
async fn a_token_needs_no_crumb_and_a_password_one_for_many_changes() {
    let double = Double::start().await;
    let trigger = || json!({ "job": "plain" });
    good(&with_token(&double), "trigger_jenkins_build", trigger()).await;
    assert_eq!(double.count("GET", "crumbIssuer/api/json"), 0);
    let connector = with_password(&double);
    for _ in 0..3 {
        good(&connector, "trigger_jenkins_build", trigger()).await;
    }
    assert_eq!(double.count("GET", "crumbIssuer/api/json"), 1);
}

#[tokio::test]
async fn a_restart_costs_one_fresh_crumb() {
    let double = Double::start().await;
    double.change(|state| state.crumb_field = "X-My-Crumb");
    let connector = with_password(&double);
    good(&connector, "trigger_jenkins_build", json!({ "job": "plain" })).await;
    double.restart();
    let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::PlatformUnavailable);
    assert!(error.message.contains("starting") && error.retry_after_seconds == Some(60), "{error:?}");
    double.change(|state| state.starting = false);
    let posts = double.count("POST", "job/plain/build");
    good(&connector, "trigger_jenkins_build", json!({ "job": "plain" })).await;
    assert_eq!(double.count("POST", "job/plain/build") - posts, 2, "the refused one, and its replay");
    assert_eq!(double.count("GET", "crumbIssuer/api/json"), 2);
}

#[tokio::test]
async fn a_crumb_is_replayed_once_and_no_permission_is_taken_for_one() {
    let double = Double::start().await;
    let connector = with_password(&double);
    double.want("job/plain/build", 403, "No valid crumb was included in the request");
    let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::CredentialsUnavailable);
    assert!(error.message.contains("refused the crumb twice"), "{error:?}");
    assert_eq!(double.count("POST", "job/plain/build"), 2);
    let double = Double::start().await;
    double.change(|state| state.permissions.remove("Job/Build"));
    for connector in [with_password(&double), with_token(&double)] {
        let posts = double.count("POST", "job/plain/build");
        let error = connector.call("trigger_jenkins_build", json!({ "job": "plain" })).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::PermissionDenied);
        assert!(error.message.contains("lacks Job/Build"), "{error:?}");
        assert_eq!(double.count("POST", "job/plain/build") - posts, 1);
    }
}

#[tokio::test]
async fn newer_credentials_are_taken_when_some_are_refused() {
    let double = Double::start().await;
    let mut connector = connect(&double.url(), &[("user", USER), ("api_token", "planted-old")]);
    let call = connector.call("get_jenkins_job", json!({ "job": "plain" }));
    let rotate = connector.mount_when_asked(2, &[("user", USER), ("api_token", TOKEN)]);
    let (answer, ()) = tokio::join!(call, rotate);
    assert_eq!(answer.unwrap()["name"], "plain");
    assert_eq!(*connector.reread.borrow_and_update(), 1);
    connector.mount(3, &[("user", USER), ("api_token", "planted-bad")]);
    for _ in 0..2 {
        let error = connector.call("get_jenkins_build_log", json!({ "job": "plain" })).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::CredentialsUnavailable);
    }
    assert_eq!(*connector.reread.borrow_and_update(), 2, "files were read again for credentials known to be refused");
}

#[tokio::test]
async fn the_token_is_preferred_to_a_password() {
    let double = Double::start().await;
    let both = [("user", USER), ("password", "planted-wrong"), ("api_token", TOKEN)];
    good(&connect(&double.url(), &both), "trigger_jenkins_build", json!({ "job": "plain" })).await;
}
