//! Every tool: what it asks, and what it answers.

use std::time::Duration;

use serde_json::{Value, json};

use super::{double::Double, with_keys};
use platform_testing::Connected;
use tools::ErrorCode;

pub(super) async fn good(connector: &Connected, tool: &str, arguments: Value) -> Value {
    connector.call(tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error:?}"))
}

/// Follows the cursor to the end; the names of all entries, page by page.
async fn pages(connector: &Connected, tool: &str, mut arguments: Value, name: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    loop {
        let page = good(connector, tool, arguments.clone()).await;
        let items = page["items"].as_array().unwrap().iter();
        pages.push(items.map(|item| item[name].as_str().unwrap().to_owned()).collect());
        assert_eq!(page["truncated"], page["next_cursor"].is_string());
        if page["next_cursor"].is_null() {
            return pages;
        }
        arguments["cursor"] = page["next_cursor"].clone();
    }
}

#[tokio::test]
async fn lists_go_on_where_they_ended() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let metrics =
        pages(&connector, "list_cloudwatch_metrics", json!({ "namespace": "AWS/EC2", "limit": 1 }), "metric").await;
    // AWS' pages have two entries, ours one.
    assert_eq!(metrics, [["CPUUtilization"], ["CPUUtilization"], ["NetworkIn"]]);
    let groups = pages(&connector, "list_cloudwatch_log_groups", json!({}), "name").await;
    assert_eq!(groups, [vec!["/app/api", "/app/web"], vec!["/aws/lambda/job"]]);
    let alarms = pages(&connector, "list_cloudwatch_alarms", json!({}), "type").await;
    assert_eq!(alarms, [vec!["metric", "metric"], vec!["composite", "log"]]);
    let error = connector.call("list_cloudwatch_alarms", json!({ "cursor": "bm8" })).await.unwrap_err();
    assert_eq!(error.argument.as_deref(), Some("cursor"));
    let invented = tools::page::encode_cursor("{\"token\":\"mine\"}");
    let error = connector.call("list_cloudwatch_alarms", json!({ "cursor": invented })).await.unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::InvalidArgument, Some("cursor")));
}

#[tokio::test]
async fn filters_are_those_of_the_platform() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let of_one = json!({ "dimensions": { "InstanceId": "i-1" }, "recently_active": true, "account": "123456789012" });
    let found = good(&connector, "list_cloudwatch_metrics", of_one).await;
    assert_eq!(found["items"].as_array().unwrap().len(), 2);
    let sent = double.input("ListMetrics");
    assert_eq!((&sent["RecentlyActive"], &sent["IncludeLinkedAccounts"]), (&json!("PT3H"), &json!(true)));
    good(&connector, "list_cloudwatch_metrics", json!({ "dimensions": { "InstanceId": "" } })).await;
    assert_eq!(double.input("ListMetrics")["Dimensions"], json!([{ "Name": "InstanceId" }]));
    let none = good(&connector, "list_cloudwatch_metrics", json!({ "metric": "cpuutilization" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("must be exact"));
    assert!(none["hints"][0].as_str().unwrap().contains("two weeks"));
    let recent = json!({ "metric": "cpuutilization", "recently_active": true });
    let none = good(&connector, "list_cloudwatch_metrics", recent).await;
    let hint = none["hints"][0].as_str().unwrap();
    assert!(hint.contains("last 3 hours") && !hint.contains("two weeks"), "{hint}");
    let firing = good(&connector, "list_cloudwatch_alarms", json!({ "state": "ALARM", "types": ["composite"] })).await;
    assert_eq!((firing["items"].as_array().unwrap().len(), &firing["items"][0]["name"]), (1, &json!("site")));
    let groups = good(&connector, "list_cloudwatch_log_groups", json!({ "name_contains": "lambda" })).await;
    assert_eq!(groups["items"][0]["name"], "/aws/lambda/job");
    assert!(groups["items"][0].get("stored_bytes").is_none());
    // What AWS leaves out of such a search is read by name.
    assert_eq!((&groups["items"][0]["retention_days"], &groups["items"][0]["class"]), (&json!(7), &json!("STANDARD")));
    let web = good(&connector, "list_cloudwatch_log_groups", json!({ "name_contains": "web" })).await;
    assert_eq!((&web["items"][0]["never_expires"], web["items"][0].get("retention_days")), (&json!(true), None));
    let capitals = good(&connector, "list_cloudwatch_log_groups", json!({ "name_contains": "LAMBDA" })).await;
    assert_eq!(capitals["items"][0]["name"], "/aws/lambda/job");
    assert!(capitals["hints"][0].as_str().unwrap().contains("capitals"), "{capitals}");
    let none = good(&connector, "list_cloudwatch_log_groups", json!({ "name_contains": "nothing" })).await;
    assert_eq!((none["items"].as_array().unwrap().len(), &none["truncated"]), (0, &json!(false)));
    let both = json!({ "prefix": "a", "name_contains": "b" });
    assert_eq!(
        connector.call("list_cloudwatch_log_groups", both).await.unwrap_err().argument.as_deref(),
        Some("prefix")
    );
}

#[tokio::test]
async fn points_come_from_all_pages() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let from = hours_ago(2);
    let one = json!({
        "namespace": "AWS/EC2", "metric": "CPUUtilization", "dimensions": { "InstanceId": "i-1" },
        "since": from.to_string(), "until": hours_ago(1).to_string(), "period_seconds": 60, "max_points": 10,
    });
    let data = good(&connector, "get_cloudwatch_metric_data", one.clone()).await;
    let series = &data["series"][0];
    assert_eq!((&series["status"], &data["truncated"]), (&json!("Complete"), &json!(true)));
    assert_eq!(series["points"].as_array().unwrap().len(), 10);
    let last = from + jiff::SignedDuration::from_mins(59);
    assert_eq!(series["points"][9], json!({ "time": last.to_string(), "value": 9.0 }));
    assert_eq!(series["summary"], json!({ "points": 60, "min": 0.0, "max": 9.0, "mean": 4.5, "last": 9.0 }));
    assert_eq!(double.count("GetMetricData"), 2);
    let start = double.input("GetMetricData")["StartTime"]["$time"].as_f64().unwrap();
    assert_eq!(format!("{start:.0}"), from.as_second().to_string());
    // What AWS keeps no more with this period is asked for with another, which is said.
    let mut old = one;
    (old["since"], old["until"]) = (json!("-20d"), json!("-19d"));
    let data = good(&connector, "get_cloudwatch_metric_data", old).await;
    assert_eq!((&data["period_seconds"], data["series"][0]["points"].as_array().unwrap().len()), (&json!(300), 10));
    assert!(data["hints"][0].as_str().unwrap().contains("300 instead of 60"), "{data}");
}

#[tokio::test]
async fn a_period_that_goes_on_is_told_apart() {
    let double = Double::start().await;
    double.change(|state| state.metrics.value = |_| Some(300.0));
    let connector = with_keys(&double.url());
    for (period, since) in [(60, "-1h"), (300, "-90m"), (3_600, "-24h"), (86_400, "-9d")] {
        // Not where a minute, and so a period, ends while the call runs.
        while !(1..45).contains(&(jiff::Timestamp::now().as_second() % 60)) {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        let one = json!({
            "namespace": "AWS/EC2", "metric": "CPUUtilization", "dimensions": { "InstanceId": "i-1" }, "stat": "Sum",
            "since": since, "period_seconds": period,
        });
        let data = good(&connector, "get_cloudwatch_metric_data", one).await;
        let points = data["series"][0]["points"].as_array().unwrap();
        let (last, others) = points.split_last().unwrap();
        assert_eq!(last["unfinished"], true, "{period}: {data}");
        assert!(others.iter().all(|point| point["value"] == 300.0 && point.get("unfinished").is_none()), "{data}");
        let summary = &data["series"][0]["summary"];
        assert_eq!((&summary["min"], &summary["points"]), (&json!(300.0), &json!(others.len())), "{period}: {data}");
        assert!(data["hints"].to_string().contains("not over"), "{data}");
        // Periods are those of the clock, whenever a call comes, and the answer says which time they are.
        let second = |time: &Value| time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
        assert!(points.iter().all(|point| second(&point["time"]) % period == 0), "{period}: {data}");
        assert_eq!((&data["since"], &data["truncated"]), (&points[0]["time"], &json!(false)), "{period}: {data}");
    }
}

#[tokio::test]
async fn a_list_has_what_an_answer_has_room_for() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    // AWS' pages have two: both fit, one does, none does. One comes at least.
    for (characters, expected) in [
        (100, vec![vec!["m0", "m1"], vec!["m2"]]),
        (1_024, vec![vec!["m0"], vec!["m1"], vec!["m2"]]),
        (2_500, vec![vec!["m0"], vec!["m1"], vec!["m2"]]),
    ] {
        let metric = |number: usize| {
            let value = "x".repeat(characters);
            let dimensions: Vec<Value> = (0..30).map(|of| json!({ "Name": of.to_string(), "Value": value })).collect();
            json!({ "Namespace": "A", "MetricName": format!("m{number}"), "Dimensions": dimensions })
        };
        double.change(|state| state.metrics.metrics = (0..3).map(metric).collect());
        let found = pages(&connector, "list_cloudwatch_metrics", json!({}), "metric").await;
        assert_eq!(found, expected, "{characters}");
    }
}

/// A whole hour, at least so many ago.
pub(super) fn hours_ago(hours: i64) -> jiff::Timestamp {
    let hour = jiff::Timestamp::now().as_second() / 3_600 - hours;
    jiff::Timestamp::from_second(hour * 3_600).unwrap()
}

#[tokio::test]
async fn what_aws_says_of_points_is_told_and_nothing_is_made_up() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "get_cloudwatch_metric_data";
    let one_metric =
        json!({ "namespace": "AWS/EC2", "metric": "CPUUtilization", "dimensions": { "InstanceId": "i-1" } });
    for (status, words) in
        [("InternalError", "failed to read"), ("Forbidden", "refuses"), ("SomethingNew", "SomethingNew")]
    {
        double.change(|state| state.metrics.status = status);
        let data = good(&connector, tool, one_metric.clone()).await;
        assert!(data["hints"].to_string().contains(words), "{status}: {data}");
        assert_eq!(
            (data["hints"].to_string().contains("not zero"), &data["truncated"]),
            (false, &json!(true)),
            "{data}"
        );
        let told = good(&connector, "analyze_cloudwatch_metric", one_metric.clone()).await;
        assert!(told["hints"].to_string().contains(words), "{status}: {told}");
        assert!(!told["hints"].to_string().contains("not zero"), "{told}");
    }
    double.change(|state| state.metrics.status = "Complete");
    for code in [
        "MaxMetricsExceeded",
        "MaxQueryTimeRangeExceeded",
        "MaxQueryResultsExceeded",
        "MaxMatchingResultsExceeded",
        "ArithmeticError",
        "Forbidden",
        "SomethingNew",
    ] {
        double.change(|state| state.metrics.messages = (vec![], vec![code]));
        let of_a_result = good(&connector, tool, one_metric.clone()).await;
        double.change(|state| state.metrics.messages = (vec![code], vec![]));
        let of_all = good(&connector, tool, one_metric.clone()).await;
        for data in [of_a_result, of_all] {
            let hints =
                data["hints"].as_array().unwrap().iter().filter(|hint| !hint.to_string().contains("unfinished"));
            assert_eq!((hints.count(), &data["truncated"]), (1, &json!(true)), "{code}: {data}");
        }
    }
    // A search that names a period has points of that one, whatever is asked.
    double.change(|state| state.metrics.messages = (vec![], vec![]));
    let searched =
        json!({ "queries": [{ "id": "s1", "expression": "SEARCH('{A,B} x', 'Sum', 900)" }], "since": "-2h" });
    let data = good(&connector, tool, searched).await;
    let second = |point: &Value| point["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let points = data["series"][0]["points"].as_array().unwrap();
    assert_eq!(data["series"][0]["period_seconds"], 900, "{data}");
    assert!(points.windows(2).all(|two| second(&two[1]) - second(&two[0]) == 900), "{data}");
    // Of what is sent summed up there are no percentiles.
    double.change(|state| state.metrics.summed = true);
    let mut percentile = one_metric.clone();
    percentile["stat"] = json!("p99");
    assert!(good(&connector, tool, percentile).await["hints"].to_string().contains("percentiles"));
    // Of an expression with too many points AWS gives some, and no way to go on: they are the newest.
    double.change(|state| {
        state.metrics.messages = (vec![], vec![]);
        state.metrics.most_points = 5;
    });
    let queries = json!({ "queries": [{ "expression": "SEARCH('x', 'Sum')" }], "since": "-1h", "period_seconds": 60 });
    let data = good(&connector, tool, queries).await;
    assert!(data["hints"].to_string().contains("PartialData"), "{data}");
    let last: jiff::Timestamp = data["series"][0]["points"][4]["time"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().as_second() - last.as_second() < 180, "{data}");
}

#[tokio::test]
async fn many_metrics_are_one_request_a_page() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let metric = |id: &str| json!({ "id": id, "namespace": "AWS/EC2", "metric": "CPUUtilization", "dimensions": { "InstanceId": "i-1" } });
    let mut hidden = metric("m1");
    hidden["answered"] = json!(false);
    let queries = json!([hidden, metric("m2"), { "expression": "m1/m2", "label": "ratio" }]);
    let data = good(&connector, "get_cloudwatch_metric_data", json!({ "queries": queries })).await;
    let ids: Vec<_> = data["series"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!((ids, &data["series"][1]["label"]), (vec!["m2", "q3"], &json!("ratio")));
    assert_eq!(double.count("GetMetricData"), 1);

    let missing = json!({ "namespace": "AWS/EC2", "metric": "CPUUtilization" });
    let none = good(&connector, "get_cloudwatch_metric_data", missing).await;
    assert!(none["hints"][0].as_str().unwrap().contains("not zero"), "{none}");
    double.change(|state| state.metrics.status = "Forbidden");
    let one = json!({ "queries": [metric("m1")] });
    let forbidden = good(&connector, "get_cloudwatch_metric_data", one).await;
    assert_eq!(forbidden["series"][0]["status"], "Forbidden");
    // A graph that somebody pasted.
    let graph = "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#metricsV2:graph=\
                 ~(metrics~(~(~'AWS*2fEC2~'CPUUtilization~'InstanceId~'i-1))~stat~'Maximum)";
    let pasted = good(&connector, "get_cloudwatch_metric_data", json!({ "namespace": graph })).await;
    assert_eq!(pasted["series"].as_array().unwrap().len(), 1, "{pasted}");
    assert_eq!(double.input("GetMetricData")["MetricDataQueries"][0]["MetricStat"]["Stat"], "Maximum");
    for (wrong, argument) in [
        (json!({ "namespace": "AWS/EC2" }), "queries"),
        (json!({ "queries": [{ "namespace": "a" }] }), "queries"),
        (json!({ "queries": [metric("m1"), metric("m1")] }), "queries"),
        (json!({ "queries": [{ "expression": "m1", "dimensions": { "a": "b" } }] }), "queries"),
        (json!({ "queries": [{ "expression": "m1", "stat": "Sum" }] }), "queries"),
        (json!({ "metric": "a" }), "queries"),
        (json!({ "queries": [metric("m1")], "period_seconds": 90 }), "period_seconds"),
        (json!({ "queries": [metric("m1")], "since": "now", "until": "-1h" }), "since"),
    ] {
        let error = connector.call("get_cloudwatch_metric_data", wrong.clone()).await.unwrap_err();
        assert_eq!(error.argument.as_deref(), Some(argument), "{wrong}: {error:?}");
    }
}

#[tokio::test]
async fn alarms_of_all_types_are_told() {
    let double = Double::start().await;
    double.change(|state| {
        let arn = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm-mute-rule:deploy";
        let rule = json!({ "Name": "deploy", "AlarmMuteRuleArn": arn, "Status": "ACTIVE", "MuteTargets": { "AlarmNames": ["cpu"] } });
        state.metrics.rules.push(rule);
    });
    let connector = with_keys(&double.url());
    let cpu = good(&connector, "get_cloudwatch_alarm", json!({ "name": "cpu" })).await;
    assert_eq!((&cpu["state"], &cpu["evaluation"]), (&json!("ALARM"), &json!("2 of 3 periods")));
    assert_eq!((&cpu["metrics"][0]["stat"], &cpu["muted_by"]), (&json!("Average"), &json!(["deploy"])));
    let site = good(&connector, "get_cloudwatch_alarm", json!({ "name": "site" })).await;
    assert_eq!(site["rule"], "ALARM(cpu) OR ALARM(disk)");
    let errors = good(&connector, "get_cloudwatch_alarm", json!({ "name": "errors" })).await;
    assert_eq!(
        (&errors["query"], &errors["evaluation"]),
        (&json!("filter @message like /oops/"), &json!("1 of 3 results"))
    );
    assert_eq!(
        connector.call("get_cloudwatch_alarm", json!({ "name": "CPU" })).await.unwrap_err().code,
        ErrorCode::NotFound
    );
    // Without the right to see mute rules, the alarm is told all the same.
    double.fail("ListAlarmMuteRules", 403, "AccessDenied");
    let cpu = good(&connector, "get_cloudwatch_alarm", json!({ "name": "cpu" })).await;
    assert!(cpu["muted_by"].is_null() && cpu["hints"][0].as_str().unwrap().contains("ListAlarmMuteRules"), "{cpu}");
}

#[tokio::test]
async fn a_query_is_asked_for_until_it_ends() {
    let double = Double::start().await;
    double.change(|state| state.logs.script = vec!["Running", "Complete"]);
    let connector = with_keys(&double.url());
    let arguments = json!({ "groups": ["/app/web"], "query": "fields @message | limit 5", "limit": 7, "since": "-1h" });
    let answer = good(&connector, "query_cloudwatch_logs", arguments).await;
    assert_eq!((&answer["status"], answer["rows"].as_array().unwrap().len()), (&json!("Complete"), 2));
    assert_eq!(answer["statistics"]["bytes_scanned"], 1_000.0);
    assert!(answer["hints"][0].as_str().unwrap().contains("limit of its own"));
    let sent = double.input("StartQuery");
    assert_eq!((&sent["queryString"], sent.get("limit")), (&json!("fields @message | limit 5"), None));
    assert_eq!(sent["endTime"].as_i64().unwrap() - sent["startTime"].as_i64().unwrap(), 3_600);
    assert_eq!((double.count("GetQueryResults"), double.count("StopQuery")), (2, 0));
    let more = json!({ "query_id": answer["query_id"], "cursor": answer["next_cursor"] });
    good(
        &connector,
        "query_cloudwatch_logs",
        json!({ "groups": ["/app/web"], "query": "fields @message", "limit": 7, "wait_seconds": 0 }),
    )
    .await;
    assert_eq!(double.input("StartQuery")["limit"], json!(7));
    let rest = good(&connector, "get_cloudwatch_query", more).await;
    assert_eq!((&rest["rows"][0]["@ptr"], &rest["truncated"]), (&json!("pointer-2"), &json!(false)));
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_stopped() {
    let double = Double::start().await;
    double.change(|state| state.logs.script = vec!["Running"]);
    let connector = with_keys(&double.url());
    let arguments = json!({ "groups": ["/app/web"], "query": "fields @message", "wait_seconds": 1 });
    let answer = good(&connector, "query_cloudwatch_logs", arguments).await;
    assert_eq!((&answer["status"], answer["rows"].as_array().unwrap().len()), (&json!("Stopped"), 1));
    assert_eq!(double.count("StopQuery"), 1);
    let left = json!({ "groups": ["/app/web"], "query": "fields @message", "wait_seconds": 0 });
    let answer = good(&connector, "query_cloudwatch_logs", left).await;
    assert_eq!((&answer["status"], double.count("StopQuery")), (&json!("Scheduled"), 1));
    let running = good(&connector, "get_cloudwatch_query", json!({ "query_id": answer["query_id"] })).await;
    assert_eq!((&running["status"], running["hints"].as_array().unwrap().len()), (&json!("Running"), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_caller_has_gone_is_stopped() {
    let double = Double::start().await;
    double.change(|state| state.logs.script = vec!["Running"]);
    let connector = with_keys(&double.url());
    let arguments = json!({ "groups": ["/app/web"], "query": "fields @message" });
    let asked = async {
        while double.count("GetQueryResults") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        outcome = connector.call("query_cloudwatch_logs", arguments) => panic!("{outcome:?}"),
        () = asked => {}
    }
    for _ in 0..200 {
        if double.count("StopQuery") == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the query runs on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_of_a_query_has_its_words() {
    let ends = [
        ("Failed", ErrorCode::PlatformError),
        ("Cancelled", ErrorCode::Conflict),
        ("Timeout", ErrorCode::DeadlineExceeded),
    ];
    let all = ends.map(|(status, code)| async move {
        let double = Double::start().await;
        double.change(|state| state.logs.script = vec![status]);
        let connector = with_keys(&double.url());
        let arguments = json!({ "groups": ["/app/web"], "query": "fields @message" });
        let error = connector.call("query_cloudwatch_logs", arguments).await.unwrap_err();
        assert_eq!((error.code, double.count("StopQuery")), (code, 0), "{status}");
        assert!(error.message.contains("query-0") && error.message.contains(status), "{}", error.message);
        let seen = good(&connector, "get_cloudwatch_query", json!({ "query_id": "query-0" })).await;
        assert!(seen["hints"][0].as_str().unwrap().contains(status), "{seen}");
    });
    futures::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_says_nothing_is_no_end() {
    let double = Double::start().await;
    double.change(|state| state.logs.script = vec!["Unknown", "Complete"]);
    let connector = with_keys(&double.url());
    let arguments =
        |seconds: u64| json!({ "groups": ["/app/web"], "query": "fields @message", "wait_seconds": seconds });
    let found = good(&connector, "query_cloudwatch_logs", arguments(20)).await;
    assert_eq!((&found["status"], double.count("StopQuery")), (&json!("Complete"), 0), "{found}");
    double.change(|state| state.logs.script = vec!["Unknown"]);
    let stopped = good(&connector, "query_cloudwatch_logs", arguments(1)).await;
    assert_eq!((&stopped["status"], double.count("StopQuery")), (&json!("Stopped"), 1), "{stopped}");
    let left = good(&connector, "query_cloudwatch_logs", arguments(0)).await;
    let query = json!({ "query_id": left["query_id"] });
    let seen = good(&connector, "get_cloudwatch_query", query.clone()).await;
    assert!(seen["hints"][0].as_str().unwrap().contains("AWS does not say"), "{seen}");
    assert_eq!(good(&connector, "stop_cloudwatch_query", query).await["outcome"], "stopped");
}

#[tokio::test]
async fn a_query_is_refused_for_what_is_wrong_with_it() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/app/web:*";
    let sql = "SELECT * FROM `/app/web`";
    for (arguments, code, argument) in [
        (json!({ "query": "fields @message" }), ErrorCode::InvalidArgument, Some("groups")),
        (json!({ "query": "fields @message", "language": "ppl" }), ErrorCode::InvalidArgument, Some("groups")),
        (
            json!({ "query": sql, "language": "sql", "groups": ["/app/web"] }),
            ErrorCode::InvalidArgument,
            Some("groups"),
        ),
        (json!({ "query": "bad query", "groups": ["/app/web"] }), ErrorCode::InvalidArgument, Some("query")),
        (json!({ "query": "x", "groups": ["/none"] }), ErrorCode::NotFound, None),
        (
            json!({ "query": "x", "groups": ["/app/web"], "wait_seconds": 61 }),
            ErrorCode::InvalidArgument,
            Some("wait_seconds"),
        ),
    ] {
        let error = connector.call("query_cloudwatch_logs", arguments.clone()).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (code, argument), "{arguments}: {error:?}");
    }
    good(&connector, "query_cloudwatch_logs", json!({ "query": "x", "groups": [arn], "wait_seconds": 0 })).await;
    assert_eq!(double.input("StartQuery")["logGroupIdentifiers"], json!([arn.trim_end_matches(":*")]));
    // Names and ARNs go together, and a link names a group, too.
    let link = "https://console.aws.amazon.com/cloudwatch/home?region=eu-central-1#logsV2:log-groups/log-group/$252Fapp$252Fapi";
    good(&connector, "query_cloudwatch_logs", json!({ "query": "x", "groups": [link, arn], "wait_seconds": 0 })).await;
    assert_eq!(double.input("StartQuery")["logGroupIdentifiers"], json!(["/app/api", arn.trim_end_matches(":*")]));
    let commented = json!({ "query": "# of all\nSOURCE logGroups(namePrefix: ['/app'])", "wait_seconds": 0 });
    good(&connector, "query_cloudwatch_logs", commented).await;
    let source = json!({ "query": "SOURCE logGroups(namePrefix: ['/app']) | fields @message", "wait_seconds": 0 });
    good(&connector, "query_cloudwatch_logs", source).await;
    double.change(|state| state.logs.others = 100);
    let full = json!({ "query": "x", "groups": ["/app/web"] });
    let error = connector.call("query_cloudwatch_logs", full).await.unwrap_err();
    assert_eq!((error.code, error.retry_after_seconds), (ErrorCode::RateLimited, Some(10)));
}

#[tokio::test]
async fn a_query_in_another_language_has_no_pages_of_aws() {
    let double = Double::start().await;
    double.change(|state| state.logs.script = vec!["Running"]);
    let connector = with_keys(&double.url());
    for (arguments, id) in [
        (json!({ "language": "sql", "query": "SELECT * FROM `/app/web`", "wait_seconds": 0 }), "query-0"),
        (
            json!({ "language": "ppl", "query": "fields @message", "groups": ["/app/web"], "wait_seconds": 0 }),
            "query-1",
        ),
    ] {
        let begun = good(&connector, "query_cloudwatch_logs", arguments).await;
        assert_eq!(begun["query_id"], id);
        let running = good(&connector, "get_cloudwatch_query", json!({ "query_id": id })).await;
        assert_eq!((&running["status"], running["rows"].as_array().unwrap().len()), (&json!("Running"), 1));
        let stopped = good(&connector, "stop_cloudwatch_query", json!({ "query_id": id })).await;
        assert_eq!(stopped["outcome"], "stopped");
    }
    double.change(|state| state.logs.script = vec!["Complete"]);
    let arguments = json!({ "language": "ppl", "query": "fields @message", "groups": ["/app/web"], "limit": 2 });
    let first = good(&connector, "query_cloudwatch_logs", arguments).await;
    assert_eq!((first["rows"].as_array().unwrap().len(), &first["truncated"]), (2, &json!(true)));
    let rest = json!({ "query_id": first["query_id"], "cursor": first["next_cursor"] });
    assert_eq!(good(&connector, "get_cloudwatch_query", rest).await["rows"][0]["@ptr"], "pointer-2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_some_queries_run_at_a_time() {
    let double = Double::start().await;
    double.change(|state| state.logs.script = vec!["Running"]);
    let connector = with_keys(&double.url());
    let arguments = json!({ "groups": ["/app/web"], "query": "fields @message", "wait_seconds": 1 });
    let calls = (0..6).map(|_| connector.call("query_cloudwatch_logs", arguments.clone()));
    let outcomes = futures::future::join_all(calls).await;
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!((refused.len(), refused[0].code, double.count("StartQuery")), (1, ErrorCode::RateLimited, 5));
}
