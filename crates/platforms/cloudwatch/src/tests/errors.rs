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
        (400, "UnknownOperationException", PlatformError, "does not have the operation"),
        (418, "Teapot", PlatformError, "status 418"),
    ];
    for (status, code, expected, words) in table {
        let double = Double::start().await;
        double.fail("DescribeAlarms", *status, code);
        let error = with_keys(&double.url()).call("list_cloudwatch_alarms", json!({})).await.unwrap_err();
        assert_eq!(error.code, *expected, "{code}: {error:?}");
        assert!(error.message.contains(words), "{code}: {error:?}");
        // Where a type of alarms may be the reason, the others are asked for once more.
        let of_a_type = *expected == PermissionDenied || words.contains("refuses");
        assert_eq!(double.count("DescribeAlarms"), if of_a_type { 2 } else { 1 }, "{code}");
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

#[tokio::test]
async fn what_aws_names_is_named_with_its_code_and_the_requests_id() {
    let double = Double::start().await;
    double.change(|state| state.logs.groups.push(("/cheap", "INFREQUENT_ACCESS", None)));
    let connector = with_keys(&double.url());
    let time = "2023-01-01T00:00:00Z";
    for (tool, arguments, argument, words) in [
        ("filter_cloudwatch_log_events", json!({ "group": "/cheap" }), None, "class"),
        ("get_cloudwatch_log_context", json!({ "group": "/cheap", "stream": "a", "time": "-1h" }), None, "class"),
        (
            "filter_cloudwatch_log_events",
            json!({ "group": "/app/web", "pattern": "user-id =" }),
            Some("pattern"),
            "pattern",
        ),
        (
            "get_cloudwatch_metric_data",
            json!({ "queries": [{ "id": "e1", "expression": "m1+" }] }),
            Some("queries"),
            "the expression of e1",
        ),
        (
            "query_cloudwatch_logs",
            json!({ "groups": ["/app/web"], "query": "x", "since": "2022-12-01", "until": time }),
            Some("since"),
            "before what they keep",
        ),
    ] {
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (InvalidArgument, argument), "{tool}: {error:?}");
        assert!(error.message.contains(words) && error.message.contains("(AWS: "), "{tool}: {error:?}");
        assert!(error.message.contains(super::double::REQUEST_ID), "{tool}: {error:?}");
    }
    double.fail("ListMetrics", 400, "SomethingNew");
    let error = connector.call("list_cloudwatch_metrics", json!({})).await.unwrap_err();
    assert!(error.message.contains("SomethingNew"), "{error:?}");
    // A statistic is named with the query that it is of, where there are several.
    let one = |stat: &str| json!({ "namespace": "a", "metric": "b", "stat": stat });
    for (arguments, argument, which) in
        [(one("avg"), "stat", false), (json!({ "queries": [one("Sum"), one("Sum"), one("avg")] }), "queries", true)]
    {
        let error = connector.call("get_cloudwatch_metric_data", arguments).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (InvalidArgument, Some(argument)), "{error:?}");
        assert!(error.message.contains("no such statistic"), "{error:?}");
        assert_eq!(error.message.contains("queries[2]"), which, "{error:?}");
    }
}

#[tokio::test]
async fn what_is_missing_or_can_not_be_is_named() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    for (tool, arguments, code, argument, words) in [
        (
            "filter_cloudwatch_log_events",
            json!({ "group": "/app/web", "streams": ["a", "none"] }),
            NotFound,
            None,
            "the log group has no such stream",
        ),
        (
            "filter_cloudwatch_log_events",
            json!({ "group": "/app/web", "streams": ["a*"] }),
            InvalidArgument,
            Some("streams"),
            "it takes no such logStreamNames",
        ),
        (
            "query_cloudwatch_logs",
            json!({ "groups": ["/app/web", "/none", "/app/api"], "query": "fields @message" }),
            NotFound,
            None,
            "there is no such log group in",
        ),
    ] {
        let error = connector.call(tool, arguments).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (code, argument), "{tool}: {error:?}");
        assert!(error.message.contains(words) && !format!("{error:?}").contains("planted"), "{tool}: {error:?}");
    }
}

#[tokio::test]
async fn what_aws_names_of_a_denial_is_told() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "filter_cloudwatch_log_events";
    let denied = "User: arn:aws:iam::123456789012:user/planted is not authorized to perform:";
    for (message, words, remedy) in [
        (
            format!("{denied} logs:FilterLogEvents on resource: planted"),
            "lacks logs:FilterLogEvents",
            "ask for that permission",
        ),
        (
            format!("{denied} kms:Decrypt on resource: planted because no resource-based policy allows the action"),
            "no resource-based policy allows kms:Decrypt",
            "does not help",
        ),
        (
            format!(
                "{denied} logs:FilterLogEvents on resource: planted with an explicit deny in a service control policy"
            ),
            "a policy forbids logs:FilterLogEvents (service control policy)",
            "does not help",
        ),
        (format!("{denied} planted"), "lacks logs:FilterLogEvents", "ask for that permission"),
        (
            "User with accountId: 123456789012 is not authorized to perform FilterLogEvents on resources planted."
                .to_owned(),
            "lacks logs:FilterLogEvents",
            "of another account must be linked",
        ),
    ] {
        double.fail_with("FilterLogEvents", 400, "AccessDeniedException", &message);
        let error = connector.call(tool, json!({ "group": "/app/web" })).await.unwrap_err();
        assert_eq!(error.code, PermissionDenied, "{message}: {error:?}");
        assert!(error.message.contains(words), "{message}: {error:?}");
        assert!(error.remedy.as_ref().unwrap().contains(remedy), "{message}: {error:?}");
        assert!(!format!("{error:?}").contains("planted"), "{error:?}");
    }
}

#[tokio::test]
async fn what_stands_in_front_of_aws_is_not_taken_for_it() {
    for (operation, tool) in
        [("DescribeAlarms", "list_cloudwatch_alarms"), ("DescribeLogGroups", "list_cloudwatch_log_groups")]
    {
        for (status, kind, text) in [
            (401, "text/plain", "planted"),
            (403, "text/html", "<html><hr><center>nginx</center></html>"),
            (403, "text/plain", "RBAC: access denied"),
            (403, "application/json", "{\"message\":\"no Route matched with those values\"}"),
            (404, "text/html", "<html>planted</html>"),
            (407, "text/html", "<html>planted</html>"),
        ] {
            let double = Double::start().await;
            let connector = with_keys(&double.url());
            double.change(|state| state.in_front.insert(operation.to_owned(), (status, kind, text)));
            let error = connector.call(tool, json!({})).await.unwrap_err();
            assert_eq!(error.code, PlatformError, "{operation} {status}: {error:?}");
            assert!(error.message.contains("something in front of CloudWatch"), "{operation} {status}: {error:?}");
            let report = connector.probe().await;
            assert_eq!(report.credentials, kit::CredentialVerdict::Accepted, "{operation} {status}: {report:?}");
            assert_ne!(report.reason, "PermissionDenied", "{operation} {status}: {report:?}");
        }
        // A change that such an answer would look like the success of.
        let double = Double::start().await;
        let connector = with_keys(&double.url());
        for (kind, text) in [("text/plain", "ok"), ("text/html", "<html>planted</html>"), ("application/json", "{}")] {
            double.change(|state| state.in_front.insert("SetAlarmState".to_owned(), (200, kind, text)));
            let arguments = json!({ "name": "disk", "state": "ALARM", "reason": "test" });
            let error = connector.call("set_cloudwatch_alarm_state", arguments).await.unwrap_err();
            assert_eq!(error.code, PlatformError, "{kind}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_place_that_aws_forgot_is_told_as_the_cursor() {
    let double = Double::start().await;
    double.change(|state| state.logs.empty_pages = 0);
    let connector = with_keys(&double.url());
    let mut arguments = json!({ "group": "/app/web", "limit": 2 });
    let first = connector.call("filter_cloudwatch_log_events", arguments.clone()).await.unwrap();
    arguments["cursor"] = first["next_cursor"].clone();
    double.change(|state| state.logs.tokens_ended = true);
    let error = connector.call("filter_cloudwatch_log_events", arguments).await.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (InvalidArgument, Some("cursor")), "{error:?}");
}
