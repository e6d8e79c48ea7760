//! Identities of the pod instead of keys: who issues sessions for them, what is read anew for each, and what is told when
//! nobody does.

use std::path::Path;

use serde_json::json;
use url::Url;

use super::double::{
    Double,
    identity::{AUDIENCE, POD_TOKEN, ROLE, token},
};
use credentials::identity::{Identity, PodIdentityAgent};
use kit::{CredentialVerdict::Rejected, HealthStatus::Error};
use platform_testing::Connected;
use tools::ErrorCode;

const SUBJECT: &str = "system:serviceaccount:team:mcp-metrics";

fn connect(double: &Double, identity: Identity, extra: &serde_json::Value) -> Connected {
    let mut spec = json!({ "region": super::REGION, "endpoint": double.url(), "insecureHttp": true });
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Connected::with_identity(crate::connect, &json!({ "cloudWatch": spec }), identity)
}

fn web_identity(token_file: &Path, role: &str) -> Identity {
    Identity::WebIdentity {
        role_arn: role.to_owned(),
        session_name: "mcp-metrics.team".to_owned(),
        token_file: token_file.to_owned(),
    }
}

fn pod_identity(double: &Double, token_file: &Path) -> Identity {
    let url = Url::parse(&format!("{}/v1/credentials", double.url())).unwrap();
    Identity::PodIdentity(Some(PodIdentityAgent { url, token_file: token_file.to_owned() }))
}

#[tokio::test]
async fn a_role_is_assumed_with_the_token_of_now() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let first = token(AUDIENCE, SUBJECT, 60);
    std::fs::write(&file, format!("{first}\n")).unwrap();
    let double = Double::start().await;
    let connector = connect(&double, web_identity(&file, ROLE), &json!({}));
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), double.count("AssumeRoleWithWebIdentity")), ("Healthy", 1), "{report:?}");
    assert_eq!(report.identity.as_deref(), Some("arn:aws:sts::123456789012:assumed-role/reader/mcp-metrics.team"));
    let asked = double.input("AssumeRoleWithWebIdentity");
    assert_eq!((asked["WebIdentityToken"].as_str(), asked["RoleArn"].as_str()), (Some(first.as_str()), Some(ROLE)));
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!(double.count("AssumeRoleWithWebIdentity"), 1, "a session is kept");

    // The kubelet has renewed the token meanwhile, and the double forgets the session.
    let second = token(AUDIENCE, SUBJECT, 120);
    std::fs::write(&file, &second).unwrap();
    double.change(|state| state.sessions = 5);
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!(double.count("AssumeRoleWithWebIdentity"), 2);
    assert_eq!(double.input("AssumeRoleWithWebIdentity")["WebIdentityToken"], second);
}

#[tokio::test]
async fn a_session_of_the_identity_ends_and_is_renewed_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, token(AUDIENCE, SUBJECT, 60)).unwrap();
    let double = Double::start().await;
    double.change(|state| state.session_minutes = 4);
    let connector = connect(&double, web_identity(&file, ROLE), &json!({}));
    for _ in 0..2 {
        connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    }
    assert_eq!(double.count("AssumeRoleWithWebIdentity"), 2);
    double.fail("AssumeRoleWithWebIdentity", 503, "ServiceUnavailable");
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!((double.count("AssumeRoleWithWebIdentity"), double.count("DescribeAlarms")), (3, 3));
}

#[tokio::test]
async fn another_role_is_assumed_with_the_identity() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, token(AUDIENCE, SUBJECT, 60)).unwrap();
    let double = Double::start().await;
    let role = json!({ "assumeRole": { "roleArn": "arn:aws:iam::210987654321:role/other" } });
    let connector = connect(&double, web_identity(&file, ROLE), &role);
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!((double.count("AssumeRoleWithWebIdentity"), double.count("AssumeRole")), (1, 1));
}

#[tokio::test]
async fn what_aws_has_against_a_token_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let other = "arn:aws:iam::123456789012:role/other";
    for (text, role, reason, part) in [
        (token(AUDIENCE, SUBJECT, 60), other, "RoleRefused", "trust policy"),
        (token(AUDIENCE, "system:node:a", 60), ROLE, "RoleRefused", "trust policy"),
        (token("vault", SUBJECT, 60), ROLE, "IdentityRejected", "OIDC provider"),
        (token(AUDIENCE, SUBJECT, -1), ROLE, "IdentityRejected", "OIDC provider"),
        ("no token".to_owned(), ROLE, "IdentityRejected", "OIDC provider"),
    ] {
        std::fs::write(&file, text).unwrap();
        let double = Double::start().await;
        let connector = connect(&double, web_identity(&file, role), &json!({}));
        let report = connector.probe().await;
        assert_eq!((report.status, report.reason.as_str()), (Error, reason), "{report:?}");
        assert_eq!(report.credentials, Rejected);
        assert!(report.credentials_message.contains(part), "{report:?}");
        let error = connector.call("list_cloudwatch_alarms", json!({})).await.unwrap_err();
        assert_eq!((error.code, double.count("DescribeAlarms")), (ErrorCode::CredentialsUnavailable, 0), "{error:?}");
        // It is mended without a restart.
        std::fs::write(&file, token(AUDIENCE, SUBJECT, 60)).unwrap();
        assert_eq!(connector.probe().await.reason == "Healthy", role == ROLE);
    }
    let double = Double::start().await;
    double.fail("AssumeRoleWithWebIdentity", 400, "IDPCommunicationError");
    let report = connect(&double, web_identity(&file, ROLE), &json!({})).probe().await;
    assert_eq!((report.reason.as_str(), report.passing), ("IdentityUnavailable", true), "{report:?}");
}

#[tokio::test]
async fn the_agent_of_the_node_is_shown_the_token_of_now() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "planted-of-another-pod").unwrap();
    let double = Double::start().await;
    let connector = connect(&double, pod_identity(&double, &file), &json!({}));
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), report.credentials), ("IdentityRejected", Rejected), "{report:?}");
    assert!(report.message.contains("Pod Identity association"), "{report:?}");
    std::fs::write(&file, format!("{POD_TOKEN}\n")).unwrap();
    assert_eq!(connector.probe().await.reason, "Healthy");
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!(double.count("PodIdentity"), 2);

    double.change(|state| state.sessions = 5);
    double.fail("PodIdentity", 500, "");
    let report = connector.probe().await;
    assert_eq!((report.reason.as_str(), report.passing), ("IdentityUnavailable", true), "{report:?}");
}

#[tokio::test]
async fn the_role_of_the_node_is_asked_for_with_a_token_of_the_metadata_service() {
    let double = Double::start().await;
    let identity = || Identity::InstanceProfile { url: double.url() };
    let connector = connect(&double, identity(), &json!({}));
    connector.call("list_cloudwatch_alarms", json!({})).await.unwrap();
    assert_eq!((double.count("InstanceToken"), double.count("InstanceRole")), (1, 2));
    double.fail("InstanceRole", 404, "");
    let report = connect(&double, identity(), &json!({})).probe().await;
    assert_eq!((report.reason.as_str(), report.credentials), ("IdentityRejected", Rejected), "{report:?}");
}
