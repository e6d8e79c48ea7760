//! What agents are told when AWS says no.

use serde_json::json;

use super::{REGION, double::Double, with_keys};
use outbound::BreakerPosition;
use tools::ErrorCode::{
    self, CredentialsUnavailable, InvalidArgument, NotFound, PermissionDenied, PlatformError, PlatformUnavailable,
    RateLimited,
};

#[tokio::test]
async fn each_code_has_its_words() {
    let table: &[(u16, &str, ErrorCode, &str)] = &[
        (403, "ExpiredToken", CredentialsUnavailable, "have expired"),
        (403, "ExpiredTokenException", CredentialsUnavailable, "have expired"),
        (400, "UnrecognizedClientException", CredentialsUnavailable, "does not accept"),
        (403, "InvalidClientTokenId", CredentialsUnavailable, "does not accept"),
        (403, "SignatureDoesNotMatch", CredentialsUnavailable, "does not accept"),
        (400, "RequestExpired", CredentialsUnavailable, "too old or too new"),
        (403, "AccessDenied", PermissionDenied, "lacks cloudwatch:DescribeAlarms"),
        (400, "com.amazonaws.cloudwatch#AccessDeniedException", PermissionDenied, "lacks cloudwatch:DescribeAlarms"),
        (400, "Throttling", RateLimited, "AWS limits calls"),
        (400, "RequestLimitExceeded", RateLimited, "AWS limits calls"),
        (429, "", RateLimited, "AWS limits calls"),
        (400, "LimitExceededFault", RateLimited, "quota"),
        (400, "InvalidParameterValue", InvalidArgument, "refuses to read alarms"),
        (400, "InvalidParameterCombination", InvalidArgument, "refuses to read alarms"),
        (400, "InvalidNextToken", InvalidArgument, "cursor"),
        (404, "ResourceNotFound", NotFound, "no such object"),
        (500, "InternalServiceFault", PlatformUnavailable, "not available (500)"),
        (503, "ServiceUnavailable", PlatformUnavailable, "not available (503)"),
        (418, "Teapot", PlatformError, "status 418"),
    ];
    for (status, code, expected, words) in table {
        let double = Double::start().await;
        double.fail("DescribeAlarms", *status, code);
        let error = with_keys(&double.url()).call("list_cloudwatch_alarms", json!({})).await.unwrap_err();
        assert_eq!(error.code, *expected, "{code}: {error:?}");
        assert!(error.message.contains(words), "{code}: {error:?}");
        assert_eq!(double.count("DescribeAlarms"), 1, "{code}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_with_where_it_was_looked_for() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let looked_for = [
        ("get_cloudwatch_alarm", json!({ "name": "none" })),
        ("mute_cloudwatch_alarms", json!({ "names": ["none"], "minutes": 5, "reason": "test" })),
        ("filter_cloudwatch_log_events", json!({ "group": "/none" })),
        ("query_cloudwatch_logs", json!({ "groups": ["/none"], "query": "fields @message" })),
    ];
    // Whose account it is, is known once AWS was asked.
    for place in [format!("the connector's account, region {REGION}"), format!("account 123456789012, region {REGION}")]
    {
        for (tool, arguments) in looked_for.clone() {
            let error = connector.call(tool, arguments).await.unwrap_err();
            assert_eq!((error.code, error.message.contains(&place)), (NotFound, true), "{tool}: {error:?}");
        }
        connector.probe().await;
    }
}

#[tokio::test]
async fn an_expired_key_is_known_in_both_protocols() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    double.fail("DescribeLogGroups", 400, "ExpiredTokenException");
    let error = connector.call("list_cloudwatch_log_groups", json!({})).await.unwrap_err();
    assert_eq!((error.code, error.message.contains("expired")), (CredentialsUnavailable, true));
    double.mend();
    connector.call("list_cloudwatch_log_groups", json!({})).await.unwrap();
}

#[tokio::test]
async fn throttling_slows_the_way_down_and_opens_no_breaker() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    double.fail("DescribeLogGroups", 400, "ThrottlingException");
    let error = connector.call("list_cloudwatch_log_groups", json!({})).await.unwrap_err();
    assert_eq!(error.code, RateLimited);
    let ways = connector.platform.outbound();
    let names: Vec<_> = ways.iter().map(|way| way.name.as_str()).collect();
    assert_eq!(names, ["cloudWatch", "cloudWatch-logs", "cloudWatch-sts"]);
    assert!(ways[1].pace.requests_per_minute.is_some() && ways[0].pace.requests_per_minute.is_none(), "{ways:?}");
    assert!(
        ways.iter().all(|way| way.breaker.state == BreakerPosition::Closed && way.breaker.consecutive_failures == 0)
    );
}
