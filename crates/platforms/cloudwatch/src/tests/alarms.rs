//! Alarms: their history, why they fire, and what keeps them quiet.

use serde_json::{Value, json};

use super::{double::Double, tools::good, with_keys};
use tools::ErrorCode;

#[tokio::test]
async fn a_history_suggests_where_to_look() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let arguments = json!({ "name": "cpu", "since": "2026-09-01T00:00:00Z", "until": "2026-10-01T00:00:00Z" });
    let first = good(&connector, "get_cloudwatch_alarm_history", arguments.clone()).await;
    assert_eq!((&first["items"][0]["from"], &first["items"][0]["to"]), (&json!("OK"), &json!("ALARM")));
    assert_eq!(first["items"][0]["reason"], "Threshold Crossed");
    let window = json!([{ "since": "2026-09-21T13:58:20Z", "until": "2026-09-21T14:28:20Z" }]);
    assert_eq!(first["suggested_windows"], window);
    let mut more = arguments;
    more["cursor"] = first["next_cursor"].clone();
    let rest = good(&connector, "get_cloudwatch_alarm_history", more).await;
    assert_eq!((&rest["items"][0]["kind"], &rest["truncated"]), (&json!("Action"), &json!(false)));
    let actions = json!({ "name": "cpu", "kind": "action", "since": "2026-09-01" });
    assert_eq!(good(&connector, "get_cloudwatch_alarm_history", actions).await["items"].as_array().unwrap().len(), 1);
    let sent = double.input("DescribeAlarmHistory");
    assert_eq!((sent.get("HistoryItemType"), sent["AlarmTypes"].as_array().unwrap().len()), (None, 3));
    // A time may end within a second.
    let until = json!({ "name": "cpu", "since": "2026-09-01", "until": "2026-09-22T00:00:10.5Z" });
    good(&connector, "get_cloudwatch_alarm_history", until).await;
    assert_eq!(double.input("DescribeAlarmHistory")["EndDate"]["$time"], json!(1_790_035_210.5));
    // What single series of an alarm did is told with which one it was, and asked for as what the alarm did.
    double.change(|state| {
        let of_series = |type_: &str, attributes: Value| {
            json!({
                "AlarmName": "many", "AlarmType": "MetricAlarm", "Timestamp": { "$time": 1_790_000_000 },
                "HistoryItemType": type_, "HistorySummary": "Contributor updated from OK to ALARM",
                "HistoryData": "{\"newState\":{\"stateValue\":\"ALARM\"}}",
                "AlarmContributorId": "c1", "AlarmContributorAttributes": attributes,
            })
        };
        state.metrics.history = vec![
            of_series("AlarmContributorAction", json!({ "InstanceId": "i-1" })),
            of_series("ConfigurationUpdate", json!({})),
            of_series("AlarmContributorStateUpdate", json!({ "InstanceId": "i-1" })),
            of_series("AlarmContributorStateUpdate", json!({})),
            of_series("ConfigurationUpdate", json!({})),
        ];
    });
    let many = |kind: &str| json!({ "name": "many", "kind": kind, "since": "2026-09-01" });
    let updates = good(&connector, "get_cloudwatch_alarm_history", many("state_update")).await;
    let told: Vec<_> = updates["items"].as_array().unwrap().iter().map(|item| item["contributor"].clone()).collect();
    assert_eq!(told, [json!({ "InstanceId": "i-1" }), json!({ "id": "c1" })]);
    assert_eq!(updates["suggested_windows"].as_array().unwrap().len(), 1, "{updates}");
    let actions = good(&connector, "get_cloudwatch_alarm_history", many("action")).await;
    assert_eq!((actions["items"].as_array().unwrap().len(), &actions["items"][0]["to"]), (1, &json!("ALARM")));
    good(&connector, "get_cloudwatch_alarm_history", many("configuration_update")).await;
    assert_eq!(double.input("DescribeAlarmHistory")["HistoryItemType"], "ConfigurationUpdate");
    let none = good(&connector, "get_cloudwatch_alarm_history", json!({ "name": "none" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("a name that no alarm has"), "{none}");
}

#[tokio::test]
async fn each_type_of_alarm_is_explained_in_its_way() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let changed = |ago: i64| {
        let at = jiff::Timestamp::now().as_second() - ago;
        double.change(|state| state.metrics.alarms[0].1["StateUpdatedTimestamp"] = json!({ "$time": at }));
    };
    // Thirty periods before and after the change, as long as they have passed; longer ones where AWS keeps no others.
    for (hours_ago, period) in [(24, 300), (20 * 24, 300), (63 * 24 - 1, 3_600), (70 * 24, 3_600)] {
        changed(hours_ago * 3_600);
        let cpu = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "cpu" })).await;
        let points = cpu["series"][0]["points"].as_array().unwrap().len();
        assert!(
            (cpu["threshold"] == json!(90.0)) && (points.abs_diff(60) <= 1 || period == 3_600),
            "{hours_ago}: {cpu}"
        );
        assert!(points > 30, "{hours_ago}: {cpu}");
        let query = &double.input("GetMetricData")["MetricDataQueries"][0]["MetricStat"];
        assert_eq!((&query["Stat"], &query["Period"]), (&json!("Average"), &json!(period)), "{hours_ago}");
        assert_eq!(cpu["hints"].to_string().contains("stands for 3600 s"), period == 3_600, "{cpu}");
    }
    // What is not known of the points is no reason to tell nothing.
    double.fail("GetMetricData", 500, "InternalServiceFault");
    let cpu = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "cpu" })).await;
    assert!(cpu["hints"].to_string().contains("points are not known"), "{cpu}");
    double.mend();
    let site = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "site" })).await;
    let children: Vec<_> = site["children"].as_array().unwrap().iter().map(|child| child["name"].clone()).collect();
    assert_eq!((&site["rule"], children), (&json!("ALARM(cpu) OR ALARM(disk)"), vec![json!("cpu"), json!("disk")]));
    assert_eq!(
        (&site["children"][0]["actions_enabled"], &site["children"][0]["type"]),
        (&json!(true), &json!("metric"))
    );
    let errors = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "errors" })).await;
    assert_eq!(errors["query"], "filter @message like /oops/");
    let error = connector.call("explain_cloudwatch_alarm", json!({ "name": "none" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}

/// An alarm on metrics that changed its state some seconds ago.
fn on_metrics(name: &str, ago: i64, more: &Value) -> (&'static str, Value) {
    let mut alarm = super::double::alarm(name, "ALARM");
    alarm["StateUpdatedTimestamp"] = json!({ "$time": jiff::Timestamp::now().as_second() - ago });
    alarm.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ("MetricAlarm", alarm)
}

#[tokio::test]
async fn an_alarm_is_explained_by_points_of_its_own_periods() {
    let metric = |name: &str| json!({ "Namespace": "AWS/EC2", "MetricName": name, "Dimensions": [{ "Name": "InstanceId", "Value": "i-1" }] });
    let stat = |id: &str, period: i64| json!({ "Id": id, "ReturnData": true, "MetricStat": { "Metric": metric("CPUUtilization"), "Period": period, "Stat": "Sum" } });
    let single = |period: i64| {
        let mut of = metric("CPUUtilization");
        of.as_object_mut()
            .unwrap()
            .extend([("Period".to_owned(), json!(period)), ("Statistic".to_owned(), json!("Sum"))]);
        of
    };
    let (minute, hour, day) = (60, 3_600, 86_400);
    for (name, ago, more, asked) in [
        ("burst", 5 * minute, single(10), vec![10]),
        ("burst", 5 * minute, single(30), vec![30]),
        // What is older than three hours is kept by the minute.
        ("burst", 4 * hour, single(10), vec![60]),
        ("slow", hour, single(300), vec![300]),
        (
            "mixed",
            hour,
            json!({ "Metrics": [stat("m1", 60), stat("m2", 300), { "Id": "e1", "Expression": "m1/m2", "Period": 300 }] }),
            vec![60, 300, 300],
        ),
        (
            "mixed",
            hour,
            json!({ "Metrics": [stat("m1", 60), stat("m2", 300), { "Id": "e1", "Expression": "m1/m2" }] }),
            vec![60, 300, 300],
        ),
        // Nothing is asked for that is not kept at all.
        ("ancient", 455 * day - 4 * hour, single(300), vec![3_600]),
        ("mixed", 20 * day, json!({ "Metrics": [stat("m1", 60), stat("m2", 3_600)] }), vec![300, 3_600]),
    ] {
        let double = Double::start().await;
        double.change(|state| state.metrics.alarms.push(on_metrics(name, ago, &more)));
        let connector = with_keys(&double.url());
        let told = good(&connector, "explain_cloudwatch_alarm", json!({ "name": name })).await;
        let sent = double.input("GetMetricData")["MetricDataQueries"].as_array().unwrap().clone();
        let sent: Vec<_> =
            sent.iter().map(|one| one["MetricStat"].get("Period").unwrap_or(&one["Period"]).clone()).collect();
        assert_eq!(sent, asked, "{name} {ago}: {told}");
        let series = told["series"].as_array().unwrap();
        let periods: Vec<_> = series.iter().map(|one| one["period_seconds"].as_i64().unwrap()).collect();
        assert_eq!(periods, asked, "{name} {ago}: {told}");
        let own = more["Metrics"][0]["MetricStat"]["Period"].as_i64().or(more["Period"].as_i64()).unwrap();
        assert_eq!(told["hints"].to_string().contains("for a while only"), asked[0] != own, "{name} {ago}: {told}");
        // Those next to the change, in order, and in periods of the clock.
        let changed = jiff::Timestamp::now().as_second() - ago;
        for (one, period) in series.iter().zip(&asked) {
            let times: Vec<i64> = one["points"]
                .as_array()
                .unwrap()
                .iter()
                .map(|point| point["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second())
                .collect();
            assert!(!times.is_empty() && times.len() <= 61 && times.is_sorted(), "{name} {ago}: {told}");
            assert!(times.iter().all(|time| time % period == 0), "{name} {ago}: {told}");
            assert!(times[0] < changed && times[times.len() - 1] + 2 * period > changed, "{name} {ago}: {told}");
        }
    }
}

#[tokio::test]
async fn an_alarm_with_more_series_than_an_answer_holds_is_explained() {
    let double = Double::start().await;
    let query = json!({
        "Metrics": [{ "Id": "q1", "Expression": "SELECT AVG(a) FROM b GROUP BY c", "ReturnData": true, "Period": 60 }],
        "Threshold": 398_500.0, "ComparisonOperator": "GreaterThanThreshold",
    });
    double.change(|state| {
        state.metrics.alarms.push(on_metrics("many", 3_600, &query));
        state.metrics.series = 400;
        state.metrics.value = |_| Some(1.0);
    });
    let connector = with_keys(&double.url());
    let told = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "many" })).await;
    assert!(serde_json::to_vec(&told).unwrap().len() <= 65_536);
    let series = told["series"].as_array().unwrap();
    assert!((2..400).contains(&series.len()), "{} series", series.len());
    let above = |one: &Value| one["summary"]["max"].as_f64().unwrap() > 398_500.0;
    assert!(above(&series[0]) && !above(&series[1]), "{}", series[0]);
    assert!(told["hints"].to_string().contains("looks at 400 series"), "{}", told["hints"]);
}

#[tokio::test]
async fn series_in_alarm_are_told_of_an_alarm_on_several() {
    let double = Double::start().await;
    let query = json!({
        "Metrics": [{ "Id": "q1", "Expression": "SELECT AVG(a) FROM b GROUP BY c", "ReturnData": true, "Period": 60 }],
    });
    let contributor = |number: usize| {
        json!({
            "ContributorId": format!("c{number}"), "ContributorAttributes": { "InstanceId": format!("i-{number}") },
            "StateReason": "Threshold Crossed", "StateTransitionedTimestamp": { "$time": 1_790_000_000 },
        })
    };
    double.change(|state| {
        state.metrics.alarms.push(on_metrics("many", 3_600, &query));
        state.metrics.contributors = (0..3).map(contributor).collect();
    });
    let connector = with_keys(&double.url());
    let many = json!({ "name": "many" });
    let told = good(&connector, "explain_cloudwatch_alarm", many.clone()).await;
    assert_eq!(told["contributors"].as_array().unwrap().len(), 3, "{told}");
    let first = json!({
        "attributes": { "InstanceId": "i-0" }, "since": "2026-09-21T14:13:20Z", "reason": "Threshold Crossed",
    });
    assert_eq!(told["contributors"][0], first);
    double.change(|state| state.metrics.contributors = (0..60).map(contributor).collect());
    let told = good(&connector, "explain_cloudwatch_alarm", many.clone()).await;
    assert!(told["hints"].to_string().contains("more series in ALARM"), "{told}");
    // Without the permission the rest is told.
    double.fail("DescribeAlarmContributors", 403, "AccessDenied");
    let told = good(&connector, "explain_cloudwatch_alarm", many).await;
    assert!(told["hints"].to_string().contains("lacks cloudwatch:DescribeAlarmContributors"), "{told}");
    assert!(told["series"].is_array(), "{told}");
    let count = double.count("DescribeAlarmContributors");
    good(&connector, "explain_cloudwatch_alarm", json!({ "name": "cpu" })).await;
    assert_eq!(double.count("DescribeAlarmContributors"), count);
}

#[tokio::test]
async fn what_else_decides_over_an_alarm_is_told() {
    let double = Double::start().await;
    let metric = json!({
        "Namespace": "AWS/EC2", "MetricName": "CPUUtilization", "Period": 300, "Statistic": "Average",
        "Dimensions": [{ "Name": "InstanceId", "Value": "i-1" }],
    });
    let with = |name: &str, more: &Value| {
        let mut of = metric.clone();
        of.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        on_metrics(name, 3_600, &of)
    };
    let now = jiff::Timestamp::now().as_second();
    let until = jiff::Timestamp::from_second(now + 7_200).unwrap();
    let warm_up = |state: &str, ago: i64, whole: bool| {
        json!({
            "WarmUpConfiguration": {
                "WarmUpPeriodDurationInMinutes": 120, "OnlyStartEvaluatingAfterWarmUpPeriodEnds": whole,
            },
            "AlarmConfigurationUpdatedTimestamp": { "$time": now - ago }, "StateValue": state,
        })
    };
    double.change(|state| {
        state.metrics.alarms.extend([
            with("unit", &json!({ "Unit": "Seconds", "AlarmActions": [] })),
            with("few", &json!({ "ExtendedStatistic": "p99", "EvaluateLowSampleCountPercentile": "ignore" })),
            with("new", &warm_up("INSUFFICIENT_DATA", 0, false)),
            with("whole", &warm_up("INSUFFICIENT_DATA", 0, true)),
            with("over", &warm_up("INSUFFICIENT_DATA", 7_200, true)),
            with("warm", &warm_up("OK", 0, false)),
            with("daily", &json!({ "EvaluationWindow": { "WallClockWindow": { "Timezone": "America/New_York" } } })),
            with("utc", &json!({ "EvaluationWindow": { "WallClockWindow": {} }, "Unit": "Percent" })),
        ]);
    });
    let connector = with_keys(&double.url());
    for (name, words) in [
        ("unit", "the unit Seconds count"),
        ("few", "too few samples"),
        ("new", &format!("until {until} at most, or until there is enough data:")),
        ("whole", &format!("until {until} at most:")),
        ("daily", "the clock in America/New_York"),
        ("utc", "the unit Percent count"),
    ] {
        for tool in ["get_cloudwatch_alarm", "explain_cloudwatch_alarm"] {
            let told = good(&connector, tool, json!({ "name": name })).await;
            assert!(told["hints"].to_string().contains(words), "{tool} {name}: {told}");
            assert!(!told["hints"].to_string().contains("clock in UTC"), "{told}");
        }
    }
    for name in ["over", "warm"] {
        let told = good(&connector, "explain_cloudwatch_alarm", json!({ "name": name })).await;
        assert!(!told["hints"].to_string().contains("warming up"), "{told}");
    }
    let unit = good(&connector, "get_cloudwatch_alarm", json!({ "name": "unit" })).await;
    assert_eq!(unit["metrics"][0]["unit"], "Seconds");
    assert!(unit["hints"].to_string().contains("no actions of its own for ALARM"), "{unit}");
    let cpu = good(&connector, "get_cloudwatch_alarm", json!({ "name": "cpu" })).await;
    assert_eq!((cpu.get("hints"), cpu["metrics"][0].get("unit")), (None, None), "{cpu}");
}

#[tokio::test]
async fn what_aws_does_not_say_of_a_child_is_not_told() {
    let double = Double::start().await;
    // Children that nothing more can be read of.
    double.change(|state| {
        for (_, alarm) in &mut state.metrics.alarms {
            if alarm["AlarmName"] != "site" {
                let name = alarm["AlarmName"].clone();
                *alarm = json!({ "AlarmName": name, "StateValue": "OK" });
            }
        }
    });
    let connector = with_keys(&double.url());
    let site = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "site" })).await;
    assert_eq!(site["children"][0], json!({ "name": "cpu", "type": "metric", "state": "OK" }));
    let listed = good(&connector, "list_cloudwatch_alarms", json!({ "prefix": "cpu" })).await;
    assert_eq!(listed["items"][0].get("actions_enabled"), None);
    let off = json!({ "names": ["cpu"], "enabled": false });
    let preview = connector.preview("set_cloudwatch_alarm_actions_enabled", off).await.unwrap();
    assert!(preview.would.contains("switch the actions of 1 alarms off"), "{}", preview.would);
}

#[tokio::test]
async fn alarms_that_look_at_something_else_are_told_as_what_they_are() {
    let double = Double::start().await;
    let metric = json!({ "Namespace": "AWS/EC2", "MetricName": "CPUUtilization", "Dimensions": [{ "Name": "InstanceId", "Value": "i-1" }] });
    let with = |name: &str, more: Value| on_metrics(name, 3_600, &more);
    double.change(|state| {
        state.metrics.alarms.extend([
            with(
                "promql",
                json!({ "EvaluationInterval": 60, "EvaluationCriteria": { "PromQLCriteria": { "Query": "rate(a[5m]) > 5" } } }),
            ),
            with(
                "band",
                json!({
                    "ThresholdMetricId": "ad1",
                    "Metrics": [
                        { "Id": "m1", "ReturnData": true, "MetricStat": { "Metric": metric, "Period": 300, "Stat": "Average" } },
                        { "Id": "ad1", "ReturnData": true, "Expression": "ANOMALY_DETECTION_BAND(m1, 2)" },
                    ],
                }),
            ),
            with("broken", json!({ "EvaluationState": "EVALUATION_ERROR", "MetricName": "a", "Namespace": "b" })),
            with("newer", json!({})),
        ]);
        state.metrics.value = |_| Some(1.0);
        let site = state.metrics.alarms.iter_mut().find(|(_, alarm)| alarm["AlarmName"] == "site").unwrap();
        site.1["ActionsSuppressor"] = json!("maintenance");
        site.1["ActionsSuppressedBy"] = json!("Alarm");
    });
    let connector = with_keys(&double.url());
    let explain = async |name: &str| good(&connector, "explain_cloudwatch_alarm", json!({ "name": name })).await;
    let get = async |name: &str| good(&connector, "get_cloudwatch_alarm", json!({ "name": name })).await;
    let promql = explain("promql").await;
    assert_eq!((&promql["query"], promql["hints"].to_string().contains("PromQL")), (&json!("rate(a[5m]) > 5"), true));
    let promql = get("promql").await;
    assert_eq!(
        (&promql["query"], &promql["query_language"], &promql["evaluation"]),
        (&json!("rate(a[5m]) > 5"), &json!("promql"), &json!("every 60 s"))
    );
    assert_eq!(get("band").await["threshold_metric"], "ad1");
    // Both edges have one id and one label, and each is one series.
    let band = explain("band").await;
    let edges: Vec<f64> = band["series"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["id"] == "ad1")
        .map(|one| one["summary"]["mean"].as_f64().unwrap())
        .collect();
    assert_eq!((edges, &band["threshold_metric"]), (vec![1.0, 1_001.0], &json!("ad1")), "{band}");
    assert_eq!(get("broken").await["evaluation_state"], "EVALUATION_ERROR");
    assert!(explain("broken").await["hints"].to_string().contains("EVALUATION_ERROR"));
    assert!(explain("newer").await["hints"].to_string().contains("does not know"));
    assert!(get("newer").await["hints"].to_string().contains("does not know"));
    assert_eq!(get("site").await["suppressor"], "maintenance");
    assert!(explain("site").await["hints"].to_string().contains("by maintenance"));
}

#[tokio::test]
async fn a_type_of_alarms_that_aws_refuses_costs_no_other() {
    for (refuse, type_, words, requests) in [
        ("scoped", "composite", "on all resources (*)", 2),
        ("older", "log", "this endpoint does not know the type", 2),
    ] {
        let double = Double::start().await;
        double.change(|state| {
            state.metrics.is_scoped = refuse == "scoped";
            if refuse == "older" {
                state.metrics.types.pop();
            }
        });
        let connector = with_keys(&double.url());
        let listed = good(&connector, "list_cloudwatch_alarms", json!({})).await;
        assert!(listed["hints"].to_string().contains(words), "{refuse}: {listed}");
        assert_eq!(double.count("DescribeAlarms"), requests, "{refuse}");
        // It is remembered.
        assert_eq!(good(&connector, "get_cloudwatch_alarm", json!({ "name": "cpu" })).await["state"], "ALARM");
        good(&connector, "explain_cloudwatch_alarm", json!({ "name": "cpu" })).await;
        good(&connector, "get_cloudwatch_alarm_history", json!({ "name": "cpu" })).await;
        connector.preview("mute_cloudwatch_alarms", mute(&["disk"], &json!({}))).await.unwrap();
        assert_eq!(double.count("DescribeAlarms"), requests + 3, "{refuse}");
        connector.call("list_cloudwatch_alarms", json!({ "types": [type_] })).await.unwrap_err();
        // That there is none is not known where a type can't be looked at.
        let error = connector.call("get_cloudwatch_alarm", json!({ "name": "site2" })).await.unwrap_err();
        let expected = if refuse == "scoped" { ErrorCode::PermissionDenied } else { ErrorCode::NotFound };
        assert_eq!((error.code, error.argument.as_deref()), (expected, Some("name")), "{refuse}: {error:?}");
    }
}

#[tokio::test]
async fn alarms_are_named_by_arns_and_links_too() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let arn = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:disk";
    let link = "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1#alarmsV2:alarm/disk?";
    for name in [arn, link] {
        assert_eq!(good(&connector, "get_cloudwatch_alarm", json!({ "name": name })).await["name"], "disk");
        good(&connector, "get_cloudwatch_alarm_history", json!({ "name": name })).await;
        assert_eq!(double.input("DescribeAlarmHistory")["AlarmName"], "disk");
    }
    let muted = good(&connector, "mute_cloudwatch_alarms", mute(&[arn], &json!({}))).await;
    assert_eq!(double.input("PutAlarmMuteRule")["MuteTargets"]["AlarmNames"], json!(["disk"]));
    let again = good(&connector, "mute_cloudwatch_alarms", mute(&[link], &json!({}))).await;
    assert_eq!((&again["rule"], &again["already"]), (&muted["rule"], &json!(true)));
    let unmuted = good(&connector, "unmute_cloudwatch_alarms", json!({ "names": [link] })).await;
    assert_eq!(unmuted["removed"], json!([muted["rule"]]));
}

#[tokio::test]
async fn all_mute_rules_of_an_alarm_are_looked_at() {
    let double = Double::start().await;
    let rule = |number: usize, names: Value| {
        let name = format!("rule-{number}");
        let arn = format!("arn:aws:cloudwatch:eu-central-1:123456789012:alarm-mute-rule:{name}");
        json!({ "Name": name, "AlarmMuteRuleArn": arn, "Status": "ACTIVE", "MuteTargets": { "AlarmNames": names } })
    };
    double.change(|state| state.metrics.rules.extend((0..5).map(|number| rule(number, json!(["disk"])))));
    let connector = with_keys(&double.url());
    let disk = good(&connector, "get_cloudwatch_alarm", json!({ "name": "disk" })).await;
    assert_eq!(disk["muted_by"].as_array().unwrap().len(), 5, "{disk}");
    // One that can't be read is said, and the others are told.
    double.change(|state| state.metrics.unreadable_rule = Some("rule-1".to_owned()));
    let listed = good(&connector, "list_cloudwatch_mute_rules", json!({ "alarm": "disk" })).await;
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["truncated"]), (1, &json!(true)));
    assert!(listed["hints"].to_string().contains("rule-1"), "{listed}");
    double.change(|state| state.metrics.unreadable_rule = None);
    let unmuted = good(&connector, "unmute_cloudwatch_alarms", json!({ "names": ["disk"] })).await;
    assert_eq!(unmuted["removed"].as_array().unwrap().len(), 5, "{unmuted}");
}

#[tokio::test]
async fn a_mute_rule_is_told_with_its_time_zone() {
    let double = Double::start().await;
    let rule = |name: &str, schedule: Value, more: Value| {
        let arn = format!("arn:aws:cloudwatch:eu-central-1:123456789012:alarm-mute-rule:{name}");
        let mut rule = json!({
            "Name": name, "AlarmMuteRuleArn": arn, "Status": "SCHEDULED", "MuteTargets": { "AlarmNames": ["disk"] },
            "Rule": { "Schedule": schedule },
        });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let nightly = json!({ "Expression": "cron(0 2 * * *)", "Duration": "PT4H", "Timezone": "Asia/Tokyo" });
    let once = json!({ "Expression": "at(2027-01-01T00:00)", "Duration": "P15D" });
    double.change(|state| {
        let starts = json!({ "StartDate": { "$time": 1_790_000_000 } });
        state.metrics.rules = vec![rule("nightly", nightly.clone(), starts), rule("once", once, json!({}))];
    });
    let connector = with_keys(&double.url());
    let listed = good(&connector, "list_cloudwatch_mute_rules", json!({})).await;
    let told: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|one| (&one["timezone"], one.get("starts"))).collect();
    assert_eq!(told, [(&json!("Asia/Tokyo"), Some(&json!("2026-09-21T14:13:20Z"))), (&json!("UTC"), None)]);
    // When a rule of ours begins to which somebody has given another schedule is not known.
    let muted = good(&connector, "mute_cloudwatch_alarms", mute(&["disk"], &json!({}))).await;
    double.change(|state| {
        let own = state.metrics.rules.iter_mut().find(|one| one["Name"] == muted["rule"]).unwrap();
        own["Rule"]["Schedule"]["Timezone"] = json!("Asia/Tokyo");
    });
    let again = good(&connector, "mute_cloudwatch_alarms", mute(&["disk"], &json!({}))).await;
    assert_eq!((&again["already"], again.get("begins"), again.get("ends")), (&json!(true), None, None), "{again}");
}

fn mute(names: &[&str], more: &Value) -> Value {
    let mut arguments = json!({ "names": names, "minutes": 30, "reason": "deployment" });
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    arguments
}

#[tokio::test]
async fn alarms_are_muted_once_and_for_a_time() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "mute_cloudwatch_alarms";
    let quiet = mute(&["disk", "errors"], &json!({}));
    let preview = connector.preview(tool, quiet.clone()).await.unwrap();
    assert_eq!(preview.would, "keep the actions of 2 alarms back for 30 minutes, from the next whole minute on");
    assert_eq!((&preview.state["already"], double.count("PutAlarmMuteRule")), (&json!(false), 0));
    let muted = good(&connector, tool, quiet.clone()).await;
    assert_eq!((&muted["already"], &muted["state_before"][0]["state"]), (&json!(false), &json!("OK")));
    let sent = double.input("PutAlarmMuteRule");
    assert_eq!((&sent["Rule"]["Schedule"]["Duration"], &sent["Description"]), (&json!("PT30M"), &json!("deployment")));
    let begins: jiff::Timestamp = muted["begins"].as_str().unwrap().parse().unwrap();
    let wait = begins.as_second() - jiff::Timestamp::now().as_second();
    assert!((0..=65).contains(&wait), "{wait}");
    // The same call again finds its own rule.
    let again = good(&connector, tool, quiet.clone()).await;
    assert_eq!((&again["already"], &again["rule"], &again["begins"]), (&json!(true), &muted["rule"], &muted["begins"]));
    assert_eq!(double.count("PutAlarmMuteRule"), 1);
    let preview = connector.preview(tool, quiet.clone()).await.unwrap();
    assert!(preview.would.starts_with("do nothing"), "{}", preview.would);
    // One that somebody has given other alarms mutes these no more, and one with more of them does.
    for (alarms, mutes) in [(json!(["cpu", "errors", "disk"]), true), (json!(["disk", "cpu"]), false)] {
        double.change(|state| state.metrics.rules[0]["MuteTargets"]["AlarmNames"] = alarms.clone());
        let outcome = connector.call(tool, quiet.clone()).await;
        assert_eq!(outcome.as_ref().is_ok_and(|muted| muted["already"] == true), mutes, "{alarms}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!((error.code, error.message.contains("errors")), (ErrorCode::Conflict, true), "{error:?}");
        }
    }
    assert_eq!(double.count("PutAlarmMuteRule"), 1);
    // One whose time has passed is made anew, whatever its status is.
    double.change(|state| {
        state.metrics.rules[0]["MuteTargets"]["AlarmNames"] = json!(["disk", "errors"]);
        state.metrics.rules[0]["Rule"]["Schedule"]["Expression"] = json!("at(2026-01-01T00:00)");
    });
    let anew = good(&connector, tool, quiet).await;
    assert_eq!((&anew["already"], double.count("PutAlarmMuteRule")), (&json!(false), 2), "{anew}");
}

#[tokio::test]
async fn what_fires_is_not_muted_unless_that_is_meant() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "mute_cloudwatch_alarms";
    for (arguments, code, argument) in [
        (mute(&["cpu", "disk"], &json!({})), ErrorCode::Conflict, "allow_firing"),
        (mute(&["disk", "none"], &json!({})), ErrorCode::NotFound, "names"),
        (mute(&["disk"], &json!({ "start": "-1h" })), ErrorCode::InvalidArgument, "start"),
        (mute(&["disk"], &json!({ "minutes": 21_601 })), ErrorCode::InvalidArgument, "minutes"),
        (mute(&[], &json!({})), ErrorCode::InvalidArgument, "names"),
    ] {
        let error = connector.call(tool, arguments.clone()).await.unwrap_err();
        assert_eq!((error.code, error.argument.as_deref()), (code, Some(argument)), "{arguments}: {error:?}");
        assert!(connector.preview(tool, arguments).await.is_err());
    }
    assert_eq!(double.count("PutAlarmMuteRule"), 0);
    good(&connector, tool, mute(&["cpu"], &json!({ "allow_firing": true }))).await;
    let listed = good(&connector, "list_cloudwatch_mute_rules", json!({ "alarm": "cpu" })).await;
    assert_eq!((&listed["items"][0]["alarms"], &listed["items"][0]["status"]), (&json!(["cpu"]), &json!("ACTIVE")));
    assert_eq!(double.count("GetAlarmMuteRule"), 2);
}

#[tokio::test]
async fn alarms_are_unmuted_by_rule_or_by_name() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "unmute_cloudwatch_alarms";
    let one = good(&connector, "mute_cloudwatch_alarms", mute(&["disk"], &json!({}))).await;
    let both = good(&connector, "mute_cloudwatch_alarms", mute(&["disk", "errors"], &json!({}))).await;
    let preview = connector.preview(tool, json!({ "names": ["disk"] })).await.unwrap();
    assert_eq!(preview.state, json!({ "delete": [one["rule"]], "keep": [both["rule"]] }));
    let unmuted = good(&connector, tool, json!({ "names": ["disk"] })).await;
    assert_eq!((&unmuted["removed"], &unmuted["kept"]), (&json!([one["rule"]]), &json!([both["rule"]])));
    good(&connector, tool, json!({ "rule": both["rule"] })).await;
    assert_eq!(double.change(|state| state.metrics.rules.len()), 0);
    let none = good(&connector, tool, json!({ "names": ["disk"] })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("no mute rule concerns"));
    let error = connector.call(tool, json!({ "rule": both["rule"] })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert_eq!(connector.call(tool, json!({})).await.unwrap_err().argument.as_deref(), Some("rule"));
}

#[tokio::test]
async fn actions_are_switched_where_they_differ() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "set_cloudwatch_alarm_actions_enabled";
    double.change(|state| state.metrics.alarms[0].1["ActionsEnabled"] = json!(false));
    let off = json!({ "names": ["cpu", "site"], "enabled": false });
    let preview = connector.preview(tool, off.clone()).await.unwrap();
    assert_eq!(preview.would, "switch the actions of 1 alarms off; 1 are so already");
    let switched = good(&connector, tool, off.clone()).await;
    assert_eq!(double.input("DisableAlarmActions")["AlarmNames"], json!(["site"]));
    let enabled =
        |of: &Value| of.as_array().unwrap().iter().map(|one| one["actions_enabled"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (enabled(&switched["before"]), enabled(&switched["after"])),
        (vec![json!(false), json!(true)], vec![json!(false); 2])
    );
    good(&connector, tool, off).await;
    assert_eq!(double.count("DisableAlarmActions"), 1);
    good(&connector, tool, json!({ "names": ["cpu", "site"], "enabled": true })).await;
    assert_eq!(double.input("EnableAlarmActions")["AlarmNames"], json!(["cpu", "site"]));
    let error = connector.call(tool, json!({ "names": ["none"], "enabled": true })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_state_that_is_set_fires_once() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "set_cloudwatch_alarm_state";
    let arguments = json!({ "name": "disk", "state": "ALARM", "reason": "a test of the pager" });
    let preview = connector.preview(tool, arguments.clone()).await.unwrap();
    assert_eq!(
        preview.would,
        "set the alarm \"disk\" from OK to ALARM, which causes its actions unless they are muted"
    );
    let without = json!({ "name": "disk", "state": "INSUFFICIENT_DATA", "reason": "a test of the pager" });
    assert!(connector.preview(tool, without).await.unwrap().would.ends_with("for which it has no actions of its own"));
    let set = good(&connector, tool, arguments.clone()).await;
    assert_eq!((&set["before"]["state"], &set["after"]["state"]), (&json!("OK"), &json!("ALARM")));
    good(&connector, tool, arguments.clone()).await;
    assert_eq!(double.change(|state| state.metrics.fired.clone()), ["disk"]);
    assert!(connector.preview(tool, arguments).await.unwrap().would.starts_with("do nothing"));
}

#[tokio::test]
async fn what_is_off_by_default_is_declared() {
    let connector = with_keys("http://127.0.0.1:1");
    let off: Vec<_> = connector.tools.values().filter(|tool| tool.declaration.off_by_default).collect();
    assert_eq!((off.len(), off[0].declaration.name), (1, "set_cloudwatch_alarm_state"));
    assert!(connector.tools.values().all(|tool| !tool.declaration.sensitive));
}
