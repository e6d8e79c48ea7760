//! The table of health: what AWS answers, and what the probe makes of it.

use std::time::Duration;

use serde_json::json;

use super::{CREDENTIALS, SECRET, connect, double::Double, with_keys};
use kit::{
    Check, CheckStatus,
    CredentialVerdict::{self, Accepted, Expired, PermissionMissing, Rejected, Unknown},
    HealthStatus::{self, Degraded, Error, Ok},
    ProbeReport,
};
use platform_testing::Connected;

fn told(report: &ProbeReport) -> (HealthStatus, &str, bool, CredentialVerdict) {
    (report.status, report.reason.as_str(), report.passing, report.credentials)
}

fn check<'a>(report: &'a ProbeReport, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}: {report:?}"))
}

/// A connector whose probe tries a query on a log group.
fn with_health_log_group(double: &Double, group: &str) -> Connected {
    connect(&double.url(), CREDENTIALS, &json!({ "healthLogGroup": group }))
}

#[tokio::test]
async fn a_healthy_probe_makes_three_requests() {
    let double = Double::start().await;
    let report = with_keys(&double.url()).probe().await;
    assert_eq!(told(&report), (Ok, "Healthy", false, Accepted), "{report:?}");
    assert_eq!(report.identity.as_deref(), Some("arn:aws:sts::123456789012:user/reader"));
    let names: Vec<_> = report.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!((names, double.count("")), (vec!["identity", "alarms", "logs", "credentials", "throttle", "clock"], 3));
    assert!(report.checks.iter().all(|check| check.status == CheckStatus::Ok), "{report:?}");
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
        assert!(report.checks.iter().any(|check| check.status != CheckStatus::Ok), "{operation} {code}");
    }
}

/// AWS answers to keys that don't belong together as to one that it doesn't know (Zsmerritt/Flutter_AWS_CloudWatch #7).
#[tokio::test]
async fn keys_and_a_token_that_cannot_belong_together_are_told() {
    let (temporary, of_user) = ("ASIAplanted00planted", "AKIAplanted11planted");
    for (key, token, said) in [
        (temporary, None, Some("have no session_token")),
        (of_user, Some("planted-token"), Some("take the token out")),
        (temporary, Some("planted-token"), None),
        (of_user, None, None),
    ] {
        let double = Double::start().await;
        let mut fields = vec![("access_key_id", key), ("secret_access_key", SECRET)];
        fields.extend(token.map(|token| ("session_token", token)));
        let mut connector = connect(&double.url(), &fields, &json!({}));
        // It waits for other keys meanwhile.
        connector.patience = Duration::from_secs(1);
        let report = connector.probe().await;
        assert_eq!(told(&report), (Error, "CredentialsInvalid", true, Rejected), "{report:?}");
        assert!(report.message.contains(said.unwrap_or("does not know the access key")), "{report:?}");
    }
}

/// A VPC has a way to CloudWatch and none to STS, to which connections hang (guardian/ssm-scala #131).
#[tokio::test]
async fn where_sts_hangs_cloudwatch_is_asked_all_the_same() {
    let double = Double::start().await;
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sts = format!("http://{}", hole.local_addr().unwrap());
    let mut connector = connect(&double.url(), CREDENTIALS, &json!({ "endpoints": { "sts": sts } }));
    connector.patience = Duration::from_secs(2);
    let report = connector.probe().await;
    assert_eq!(told(&report), (Ok, "Healthy", false, Accepted), "{report:?}");
    assert_eq!(check(&report, "identity").status, CheckStatus::Unknown);
}

#[tokio::test]
async fn a_policy_that_forbids_is_told_as_that() {
    for operation in ["DescribeAlarms", "DescribeLogGroups"] {
        let double = Double::start().await;
        let message = "User: planted is not authorized to perform: logs:DescribeLogGroups on resource: planted with an \
                       explicit deny in a service control policy";
        double.fail_with(operation, 403, "AccessDeniedException", message);
        let report = with_keys(&double.url()).probe().await;
        assert!(report.message.contains("a policy forbids logs:DescribeLogGroups (service control"), "{report:?}");
        assert!(!format!("{report:?}").contains("planted"), "{report:?}");
    }
}

#[tokio::test]
async fn the_probe_asks_for_what_the_tools_ask_for() {
    let double = Double::start().await;
    double.change(|state| state.metrics.is_scoped = true);
    let report = with_keys(&double.url()).probe().await;
    assert_eq!(told(&report), (Degraded, "PermissionDenied", false, PermissionMissing), "{report:?}");
    assert!(report.message.contains("composite alarms"), "{report:?}");
    let double = Double::start().await;
    double.change(|state| state.metrics.types.pop());
    let report = with_keys(&double.url()).probe().await;
    assert_eq!(told(&report), (Ok, "Healthy", false, Accepted), "{report:?}");
    assert!(check(&report, "alarms").message.contains("none on logs"), "{report:?}");
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
        assert!(check(&report, "credentials").message.contains(&expiration), "{report:?}");
        assert_eq!(connector.platform.credentials_expiry().unwrap().to_string(), expiration);
    }
}

#[tokio::test]
async fn an_end_that_is_no_time_is_told() {
    let double = Double::start().await;
    double.change(|state| state.token = Some("planted-token".to_owned()));
    let fields = [CREDENTIALS, &[("session_token", "planted-token"), ("expiration", "planted tomorrow")]].concat();
    let report = connect(&double.url(), &fields, &json!({})).probe().await;
    assert_eq!(
        (told(&report), check(&report, "credentials").status),
        ((Ok, "Healthy", false, Accepted), CheckStatus::Unknown)
    );
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

#[tokio::test]
async fn a_query_over_one_second_is_started_on_the_health_log_group_and_stopped() {
    let double = Double::start().await;
    let report = with_health_log_group(&double, "/app/web").probe().await;
    assert_eq!(told(&report), (Ok, "Healthy", false, Accepted), "{report:?}");
    assert_eq!(check(&report, "logs").message, "a query can be started and stopped");
    let counts = ["StartQuery", "StopQuery", "GetQueryResults", "DescribeLogGroups"].map(|name| double.count(name));
    assert_eq!(counts, [1, 1, 0, 0]);
    let started = double.input("StartQuery");
    assert_eq!(started["logGroupNames"], json!(["/app/web"]));
    assert_eq!(started["endTime"].as_i64().unwrap() - started["startTime"].as_i64().unwrap(), 1);
    // One that has ended already is as good.
    double.change(|state| state.logs.script = vec!["Complete"]);
    assert_eq!(with_health_log_group(&double, "/app/web").probe().await.reason, "Healthy");
}

#[tokio::test]
async fn what_keeps_a_query_from_running_is_told_apart() {
    for (operation, status, code, expected, words) in [
        (
            "StartQuery",
            400,
            "LimitExceededException",
            (Degraded, "QueryQuotaExhausted", true, Accepted),
            "as many queries",
        ),
        (
            "StartQuery",
            400,
            "AccessDeniedException",
            (Degraded, "LogsPermissionDenied", false, PermissionMissing),
            "logs:StartQuery",
        ),
        (
            "StopQuery",
            400,
            "AccessDeniedException",
            (Degraded, "LogsPermissionDenied", false, PermissionMissing),
            "logs:StopQuery",
        ),
        ("StartQuery", 400, "ThrottlingException", (Degraded, "RateLimited", true, Accepted), "limits calls"),
        (
            "StartQuery",
            503,
            "ServiceUnavailableException",
            (Degraded, "LogsFailing", true, Accepted),
            "does not answer well",
        ),
        ("StopQuery", 500, "InternalFailure", (Degraded, "LogsFailing", true, Accepted), "does not answer well"),
    ] {
        let double = Double::start().await;
        double.fail(operation, status, code);
        let report = with_health_log_group(&double, "/app/web").probe().await;
        assert_eq!(told(&report), expected, "{operation} {code}: {report:?}");
        assert!(check(&report, "logs").message.contains(words), "{operation} {code}: {report:?}");
    }
    let double = Double::start().await;
    let report = with_health_log_group(&double, "/app/gone").probe().await;
    assert_eq!(told(&report), (Degraded, "LogGroupNotFound", false, Accepted), "{report:?}");
    assert!(report.message.contains("/app/gone") && report.message.contains("healthLogGroup"), "{report:?}");
    assert_eq!(double.count("StopQuery"), 0);
    // As many as may run already.
    double.change(|state| state.logs.others = 100);
    assert_eq!(with_health_log_group(&double, "/app/web").probe().await.reason, "QueryQuotaExhausted");
}

#[tokio::test]
async fn calls_that_were_refused_of_late_are_told_beside_a_healthy_report() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    assert_eq!(check(&connector.probe().await, "throttle").status, CheckStatus::Ok);
    double.fail("ListMetrics", 400, "ThrottlingException");
    connector.call("list_cloudwatch_metrics", json!({})).await.unwrap_err();
    double.mend();
    let report = connector.probe().await;
    assert_eq!(
        (told(&report), check(&report, "throttle").status),
        ((Ok, "Healthy", false, Accepted), CheckStatus::Degraded)
    );
}

#[tokio::test]
async fn a_clock_that_drifts_is_told_before_aws_refuses() {
    for (ahead, expected, words) in [
        (60, (Ok, "Healthy", false, Accepted), "behind that of AWS"),
        (300, (Degraded, "ClockSkew", true, Accepted), "behind that of AWS"),
        (-300, (Degraded, "ClockSkew", true, Accepted), "ahead of that of AWS"),
    ] {
        let double = Double::start().await;
        double.change(|state| state.clock = ahead);
        let report = with_keys(&double.url()).probe().await;
        assert_eq!(told(&report), expected, "{ahead}: {report:?}");
        assert!(check(&report, "clock").message.contains(words), "{ahead}: {report:?}");
        assert!(!report.message.contains(" s "), "a condition's message that changes is written each time: {report:?}");
    }
}
