//! The table of health: what AWS answers, and what the probe makes of it.

use serde_json::json;

use super::{CREDENTIALS, connect, double::Double, with_keys};
use crate::platforms::{
    CredentialVerdict::{self, Accepted, Expired, PermissionMissing, Rejected, Unknown},
    HealthStatus::{self, Degraded, Error, Ok},
    ProbeReport,
};

fn told(report: &ProbeReport) -> (HealthStatus, &str, bool, CredentialVerdict) {
    (report.status, report.reason.as_str(), report.passing, report.credentials)
}

#[tokio::test]
async fn a_healthy_probe_makes_three_requests() {
    let double = Double::start().await;
    let report = with_keys(&double.url()).probe().await;
    assert_eq!(told(&report), (Ok, "Healthy", false, Accepted), "{report:?}");
    assert_eq!(report.identity.as_deref(), Some("arn:aws:sts::123456789012:user/reader"));
    let names: Vec<_> = report.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!((names, double.count("")), (vec!["identity", "alarms", "logs"], 3));
}

#[tokio::test]
async fn every_fault_has_its_finding() {
    let who = "GetCallerIdentity";
    let (alarms, logs) = ("DescribeAlarms", "DescribeLogGroups");
    for (operation, status, code, expected) in [
        (who, 403, "ExpiredToken", (Error, "CredentialsExpired", false, Expired)),
        (who, 403, "InvalidClientTokenId", (Error, "CredentialsInvalid", true, Rejected)),
        (who, 403, "SignatureDoesNotMatch", (Error, "CredentialsInvalid", true, Rejected)),
        (who, 403, "RequestExpired", (Error, "ClockSkew", true, Unknown)),
        // What STS has against it is no fault of CloudWatch.
        (who, 503, "ServiceUnavailable", (Ok, "Healthy", false, Accepted)),
        (who, 400, "Throttling", (Ok, "Healthy", false, Accepted)),
        (alarms, 403, "ExpiredTokenException", (Error, "CredentialsExpired", false, Expired)),
        (alarms, 403, "AccessDenied", (Error, "PermissionDenied", false, PermissionMissing)),
        (alarms, 400, "Throttling", (Degraded, "RateLimited", true, Accepted)),
        (alarms, 429, "TooManyRequestsException", (Degraded, "RateLimited", true, Accepted)),
        (alarms, 500, "InternalServiceFault", (Error, "ServerError", true, Accepted)),
        (alarms, 404, "Whatever", (Error, "NotCloudWatch", true, Accepted)),
        (logs, 400, "AccessDeniedException", (Degraded, "LogsPermissionDenied", false, PermissionMissing)),
        (logs, 400, "ThrottlingException", (Degraded, "RateLimited", true, Accepted)),
        (logs, 503, "ServiceUnavailableException", (Degraded, "LogsFailing", true, Accepted)),
    ] {
        let double = Double::start().await;
        double.fail(operation, status, code);
        let report = with_keys(&double.url()).probe().await;
        assert_eq!(told(&report), expected, "{operation} {code}: {report:?}");
        assert!(report.checks.iter().any(|check| check.status != Ok), "{operation} {code}");
    }
}

#[tokio::test]
async fn a_message_tells_a_wrong_clock_from_a_wrong_secret() {
    let double = Double::start().await;
    let words = "Signature expired: 20260131T080000Z is now earlier than 20260131T090000Z";
    double.fail_with("GetCallerIdentity", 403, "SignatureDoesNotMatch", words);
    assert_eq!(with_keys(&double.url()).probe().await.reason, "ClockSkew");
}

#[tokio::test]
async fn the_end_of_a_token_is_told_before_it_comes() {
    let double = Double::start().await;
    double.change(|state| state.token = Some("planted-token".to_owned()));
    let ends = |minutes: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes)).to_string();
    for (minutes, expected) in
        [(60, (Ok, "Healthy", false, Accepted)), (10, (Degraded, "CredentialsExpiring", false, Accepted))]
    {
        let expiration = ends(minutes);
        let fields = [CREDENTIALS, &[("session_token", "planted-token"), ("expiration", &expiration)]].concat();
        let connector = connect(&double.url(), &fields, &json!({}));
        let report = connector.probe().await;
        assert_eq!(told(&report), expected, "{report:?}");
        assert_eq!(connector.platform.credentials_expiry().unwrap().to_string(), expiration);
    }
}

#[tokio::test]
async fn an_end_that_is_no_time_is_told() {
    let double = Double::start().await;
    double.change(|state| state.token = Some("planted-token".to_owned()));
    let fields = [CREDENTIALS, &[("session_token", "planted-token"), ("expiration", "planted tomorrow")]].concat();
    let report = connect(&double.url(), &fields, &json!({})).probe().await;
    assert_eq!((told(&report), report.checks[3].status), ((Ok, "Healthy", false, Accepted), Degraded));
}

#[tokio::test]
async fn without_credentials_nothing_is_asked() {
    let double = Double::start().await;
    let report = connect(&double.url(), &[], &json!({})).probe().await;
    assert_eq!((told(&report), double.count("")), ((Degraded, "NoCredentials", false, Unknown), 0));
}

#[tokio::test]
async fn a_page_is_not_taken_for_an_answer() {
    let double = Double::start().await;
    double.change(|state| state.pages.insert("DescribeAlarms".to_owned()));
    let report = with_keys(&double.url()).probe().await;
    assert_eq!(told(&report), (Error, "NotCloudWatch", true, Accepted), "{report:?}");
}
