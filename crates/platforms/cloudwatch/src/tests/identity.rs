//! Keys: which are taken, when they are taken anew, and roles.

use serde_json::json;

use super::{CREDENTIALS, SECRET, connect, double::Double, with_keys};
use tools::ErrorCode;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

#[tokio::test]
async fn newer_keys_are_taken_when_those_in_use_are_refused() {
    let double = Double::start().await;
    let mut connector =
        connect(&double.url(), &[("access_key_id", "planted-old"), ("secret_access_key", SECRET)], &json!({}));
    let call = connector.call("list_cloudwatch_alarms", json!({}));
    let rotate = connector.mount_when_asked(2, CREDENTIALS);
    let (answer, ()) = tokio::join!(call, rotate);
    assert_eq!(answer.unwrap()["items"][0]["name"], "cpu");
    assert_eq!((*connector.reread.borrow_and_update(), double.count("DescribeAlarms")), (1, 2));
    // Keys that are refused once are not waited for twice.
    connector.mount(3, &[("access_key_id", "planted-bad"), ("secret_access_key", SECRET)]);
    for _ in 0..2 {
        let error = connector.call("list_cloudwatch_log_groups", json!({})).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::CredentialsUnavailable);
    }
    assert_eq!((*connector.reread.borrow_and_update(), double.count("DescribeLogGroups")), (2, 2));
}

#[tokio::test]
async fn keys_that_rotate_are_used_at_once() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    double.change(|state| {
        state.keys = ["planted-new".to_owned()].into();
        state.token = Some("planted-token".to_owned());
    });
    let fields = [("access_key_id", "planted-new"), ("secret_access_key", SECRET), ("session_token", "planted-token")];
    connector.mount(2, &fields);
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!(double.count("DescribeAlarms"), 2);
}

#[tokio::test]
async fn a_role_is_assumed_once_and_anew_when_its_session_is_refused() {
    let double = Double::start().await;
    double.change(|state| {
        state.external_id = Some("mcp".to_owned());
    });
    let role = json!({ "assumeRole": { "roleArn": ROLE, "externalId": "mcp" } });
    let connector = connect(&double.url(), CREDENTIALS, &role);
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), double.count("AssumeRole")), ("Healthy", 1), "{report:?}");
    assert_eq!(report.identity.as_deref(), Some("arn:aws:sts::123456789012:assumed-role/reader/mcp-connectors"));
    assert_eq!(double.input("AssumeRole")["RoleArn"], ROLE);
    assert_eq!(connector.platform.credentials_expiry(), None);
    // The double forgets the session.
    double.change(|state| state.sessions = 5);
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!(double.count("AssumeRole"), 2);
    // Other keys make another session.
    connector.mount(2, CREDENTIALS);
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!(double.count("AssumeRole"), 3);
}

#[tokio::test]
async fn a_session_that_ends_soon_is_renewed_and_used_until_that_works() {
    let double = Double::start().await;
    double.change(|state| state.session_minutes = 4);
    let connector = connect(&double.url(), CREDENTIALS, &json!({ "assumeRole": { "roleArn": ROLE } }));
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!(double.count("AssumeRole"), 2);
    double.fail("AssumeRole", 503, "ServiceUnavailable");
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!((double.count("AssumeRole"), double.count("DescribeAlarms")), (3, 3));
    // It is not tried again by every call: one that hangs would hold up all of them.
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!((double.count("AssumeRole"), double.count("DescribeAlarms")), (3, 4));
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_told() {
    let double = Double::start().await;
    double.change(|state| state.external_id = Some("other".to_owned()));
    let connector = connect(&double.url(), CREDENTIALS, &json!({ "assumeRole": { "roleArn": ROLE } }));
    let report = connector.probe().await;
    assert_eq!(report.reason, "RoleRefused", "{report:?}");
    let error = connector.call("list_cloudwatch_alarms", json!({})).await.unwrap_err();
    assert_eq!((error.code, double.count("DescribeAlarms")), (ErrorCode::CredentialsUnavailable, 0));
    assert!(error.message.contains("role"), "{}", error.message);
    // What is wrong with the keys themselves is told as such.
    double.fail("AssumeRole", 403, "ExpiredToken");
    assert_eq!(connector.probe().await.reason, "CredentialsExpired");
}
