//! Events of logs: searched, followed, and read around one; patterns; and a metric that is summed up.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    double::Double,
    tools::{good, hours_ago},
    with_keys,
};
use tools::ErrorCode;

fn messages(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|item| item["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_search_goes_over_empty_pages_and_on_at_its_cursor() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "filter_cloudwatch_log_events";
    let mut arguments = json!({ "group": "/app/web", "pattern": "oops", "limit": 1 });
    let mut found = Vec::new();
    loop {
        let page = good(&connector, tool, arguments.clone()).await;
        found.extend(messages(&page).into_iter().map(str::to_owned));
        if page["next_cursor"].is_null() {
            break;
        }
        arguments["cursor"] = page["next_cursor"].clone();
    }
    assert_eq!(found, ["five oops", "three oops", "one oops"]);
    let sent = double.input("FilterLogEvents");
    assert_eq!((&sent["startFromHead"], &sent["filterPattern"]), (&json!(false), &json!("oops")));
    assert_eq!(sent["endTime"].as_i64().unwrap() - sent["startTime"].as_i64().unwrap(), 3_600_000);
    let oldest = json!({ "group": "/app/web", "newest_first": false, "streams": ["a"], "limit": 2 });
    assert_eq!(messages(&good(&connector, tool, oldest).await), ["one oops", "three oops"]);
}

#[tokio::test]
async fn a_search_without_an_end_says_where_it_is() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "filter_cloudwatch_log_events";
    double.change(|state| state.logs.empty_pages = 12);
    let first = good(&connector, tool, json!({ "group": "/app/web", "pattern": "oops" })).await;
    assert_eq!((messages(&first).len(), double.count("FilterLogEvents")), (0, 10));
    assert!(first["hints"][0].as_str().unwrap().contains("go on with next_cursor"));
    let more = json!({ "group": "/app/web", "pattern": "oops", "cursor": first["next_cursor"] });
    assert_eq!(messages(&good(&connector, tool, more).await).len(), 3);
    let none = good(&connector, tool, json!({ "group": "/app/web", "pattern": "Oops", "since": "-5m" })).await;
    assert_eq!(none["truncated"], true, "empty pages first");
    let arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/app/web:*";
    good(&connector, tool, json!({ "group": arn })).await;
    assert_eq!(double.input("FilterLogEvents")["logGroupIdentifier"], arn.trim_end_matches(":*"));
    for (arguments, code) in [
        (json!({ "group": "/none" }), ErrorCode::NotFound),
        (
            json!({ "group": "/app/web", "since": "2023-01-01T00:00:00Z", "newest_first": true }),
            ErrorCode::InvalidArgument,
        ),
        (json!({ "group": "/app/web", "cursor": "e30" }), ErrorCode::InvalidArgument),
    ] {
        assert_eq!(connector.call(tool, arguments.clone()).await.unwrap_err().code, code, "{arguments}");
    }
    // Before 2024 AWS gives the oldest first, which is said where nobody asked for it.
    double.change(|state| state.logs.empty_pages = 0);
    for (newest_first, is_said) in [(None, true), (Some(false), false)] {
        let old = json!({ "group": "/app/web", "since": "2023-01-01T00:00:00Z", "newest_first": newest_first });
        let old = good(&connector, tool, old).await;
        assert!(double.input("FilterLogEvents")["startFromHead"].is_null());
        assert_eq!(old["hints"].to_string().contains("oldest come first"), is_said, "{old}");
    }
}

#[tokio::test]
async fn the_oldest_first_is_not_told_as_the_newest() {
    let double = Double::start().await;
    double.change(|state| state.logs.knows_order = false);
    let connector = with_keys(&double.url());
    let tool = "filter_cloudwatch_log_events";
    let whole = good(&connector, tool, json!({ "group": "/app/web", "pattern": "oops" })).await;
    assert_eq!((messages(&whole), whole.get("hints")), (vec!["five oops", "three oops", "one oops"], None));
    let mut part = json!({ "group": "/app/web", "pattern": "oops", "limit": 2 });
    let first = good(&connector, tool, part.clone()).await;
    assert_eq!(messages(&first), ["one oops", "three oops"]);
    assert!(first["hints"][0].as_str().unwrap().contains("oldest events first"), "{first}");
    part["cursor"] = first["next_cursor"].clone();
    assert_eq!(messages(&good(&connector, tool, part).await), ["five oops"]);
    let asked = json!({ "group": "/app/web", "pattern": "oops", "newest_first": false });
    assert_eq!(messages(&good(&connector, tool, asked).await), ["one oops", "three oops", "five oops"]);
}

#[tokio::test]
async fn logs_are_followed_for_a_while() {
    let double = Double::start().await;
    double.change(|state| state.logs.empty_pages = 0);
    let connector = with_keys(&double.url());
    let ahead = jiff::Timestamp::now().as_millisecond() + 500;
    double.change(|state| {
        for number in 0..3 {
            state.logs.events.push((ahead + number, "a", format!("new {number}")));
        }
    });
    let arguments = json!({ "group": "/app/web", "seconds": 4 });
    let followed = good(&connector, "tail_cloudwatch_logs", arguments).await;
    // Each once, though it is seen at each look, and nothing from before.
    assert_eq!((messages(&followed), &followed["ended_by"]), (vec!["new 0", "new 1", "new 2"], &json!("time")));
    assert!(double.count("FilterLogEvents") > 2);
    let enough = json!({ "group": "/app/web", "seconds": 1, "max_events": 1, "pattern": "none" });
    let nothing = good(&connector, "tail_cloudwatch_logs", enough).await;
    assert!(nothing["hints"][0].as_str().unwrap().contains("no event came"));
}

/// Waits until events were looked for so many times.
async fn looked(double: &Double, times: usize) {
    while double.count("FilterLogEvents") < times {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Follows events that come while it looks. The time is that of AWS, whose clock is ahead by these seconds.
async fn follows_what_comes(clock: i64) {
    let double = Double::start().await;
    let now = || jiff::Timestamp::now().as_millisecond() + clock * 1_000;
    double.change(|state| {
        (state.clock, state.logs.clock, state.logs.empty_pages) = (clock, clock, 0);
        state.logs.events = vec![(now() - 30_000, "a", "old".to_owned())];
        state.logs.comes = |at, text| match text {
            "late" => at + 20_000,
            "ahead" => at - 60_000,
            _ => at,
        };
    });
    let connector = with_keys(&double.url());
    good(&connector, "list_cloudwatch_log_groups", json!({})).await;
    let comes = async {
        looked(&double, 1).await;
        double.change(|state| {
            state.logs.events.push((now() - 20_000, "b", "late".to_owned()));
            state.logs.events.push((now() + 60_000, "a", "ahead".to_owned()));
        });
        // What is dated ahead is seen before the other one comes.
        looked(&double, double.count("FilterLogEvents") + 1).await;
        double.change(|state| state.logs.events.push((now(), "a", "then".to_owned())));
    };
    let follow = good(&connector, "tail_cloudwatch_logs", json!({ "group": "/app/web", "seconds": 8 }));
    let both = async { tokio::join!(follow, comes) };
    let (followed, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    assert_eq!(messages(&followed), ["late", "then", "ahead"], "{clock}: {followed}");
    assert_eq!(followed["truncated"], false, "{clock}: {followed}");
}

#[tokio::test]
async fn what_comes_late_or_is_dated_ahead_is_followed() {
    tokio::join!(follows_what_comes(0), follows_what_comes(-90));
}

#[tokio::test]
async fn what_may_have_come_late_unseen_is_said() {
    let double = Double::start().await;
    let ago = |seconds: i64| jiff::Timestamp::now().as_millisecond() - seconds * 1_000;
    // More of the last minute than is looked through for what came late.
    double.change(|state| {
        state.logs.empty_pages = 0;
        state.logs.events = (0..30).map(|number| (ago(30), "a", format!("old {number}"))).collect();
    });
    let connector = with_keys(&double.url());
    let followed = good(&connector, "tail_cloudwatch_logs", json!({ "group": "/app/web", "seconds": 1 })).await;
    assert_eq!((messages(&followed).len(), &followed["truncated"]), (0, &json!(true)), "{followed}");
    assert!(followed["hints"].to_string().contains("came late may be missing"), "{followed}");
}

#[tokio::test]
async fn what_may_be_masked_or_on_its_way_is_said() {
    let double = Double::start().await;
    double.change(|state| {
        state.logs.empty_pages = 0;
        state.logs.protected = vec!["/app/web"];
        state.logs.inheriting = vec!["/aws/lambda/job"];
    });
    let connector = with_keys(&double.url());
    for (prefix, expected) in [("/app", vec![None, Some(true)]), ("/aws", vec![Some(true)])] {
        let groups = good(&connector, "list_cloudwatch_log_groups", json!({ "prefix": prefix })).await;
        let groups = groups["items"].as_array().unwrap();
        let told: Vec<_> = groups.iter().map(|group| group.get("data_protected").and_then(Value::as_bool)).collect();
        assert_eq!(told, expected, "{groups:?}");
    }
    let search = json!({ "group": "/app/web", "since": "-2m" });
    let says = |text: &str| {
        double.change(|state| state.logs.events.iter_mut().for_each(|event| text.clone_into(&mut event.2)));
    };
    for text in ["four", "********", "welcome\n== ****** ==\n** bold **"] {
        says(text);
        let plain = good(&connector, "filter_cloudwatch_log_events", search.clone()).await;
        assert_eq!(plain.get("hints"), None, "{plain}");
    }
    says("mail ********");
    let around = json!({ "group": "/app/web", "stream": "a", "time": "30s ago" });
    for (tool, arguments) in [("filter_cloudwatch_log_events", search.clone()), ("get_cloudwatch_log_context", around)]
    {
        let masked = good(&connector, tool, arguments).await;
        assert!(masked["hints"].to_string().contains("logs:Unmask"), "{tool}: {masked}");
    }
    // A field of a row may be masked from end to end.
    for (field, is_said) in [(None, false), (Some(("mail", "********")), true)] {
        double.change(|state| (state.logs.field, state.logs.script) = (field, vec!["Complete"]));
        let query = json!({ "groups": ["/app/web"], "query": "fields @message, mail" });
        let rows = good(&connector, "query_cloudwatch_logs", query).await;
        assert_eq!(rows["rows"].as_array().unwrap().len(), 2, "{rows}");
        assert_eq!(rows["hints"].to_string().contains("logs:Unmask"), is_said, "{rows}");
    }
    // That nothing is there says less of a time that began just now.
    double.change(|state| state.logs.events.clear());
    for (since, until, is_fresh) in [("-2m", "now", true), ("-2h", "now", false), ("-3d", "-2d", false)] {
        let none = json!({ "group": "/app/web", "since": since, "until": until });
        let none = good(&connector, "filter_cloudwatch_log_events", none).await;
        assert_eq!(none["hints"].to_string().contains("some time late"), is_fresh, "{since}: {none}");
    }
}

#[tokio::test]
async fn an_event_has_neighbours() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let tool = "get_cloudwatch_log_context";
    // As long as the connector's own account is not known, the group may be that of another one.
    let group = "arn:aws:logs:eu-central-1:123456789012:log-group:/app/web";
    let unknown = good(&connector, tool, json!({ "ptr": "pointer-3" })).await;
    assert_eq!(
        (&unknown["group"], &double.input("GetLogEvents")["logGroupIdentifier"]),
        (&json!(group), &json!(group))
    );
    connector.probe().await;
    let around = good(&connector, tool, json!({ "ptr": "pointer-3", "before": 1, "after": 2 })).await;
    assert_eq!(messages(&around), ["one oops", "three oops", "four"]);
    assert_eq!((&around["group"], &around["stream"]), (&json!("/app/web"), &json!("a")));
    let named = json!({ "group": "/app/web", "stream": "a", "time": around["time"], "before": 5, "after": 5 });
    assert_eq!(messages(&good(&connector, tool, named).await).len(), 4);
    // A link to a stream, and times as people write them.
    let link = "https://console.aws.amazon.com/cloudwatch/home?region=eu-central-1#logsV2:log-groups/log-group/\
                $252Fapp$252Fweb/log-events/a";
    let linked = json!({ "group": link, "time": "30s ago", "before": 5, "after": 5 });
    assert_eq!(messages(&good(&connector, tool, linked).await).len(), 4);
    for (wrong, code) in [
        (json!({ "ptr": "invented" }), ErrorCode::InvalidArgument),
        (json!({ "group": "/app/web", "stream": "a" }), ErrorCode::InvalidArgument),
        (json!({ "ptr": "pointer-3", "stream": "a" }), ErrorCode::InvalidArgument),
    ] {
        assert_eq!(connector.call(tool, wrong.clone()).await.unwrap_err().code, code, "{wrong}");
    }
}

/// Lines of a tight loop have one time, and keep the order in which they came (floci-io/floci #1584).
#[tokio::test]
async fn an_event_is_found_among_others_of_its_millisecond() {
    let double = Double::start().await;
    let now = jiff::Timestamp::now().as_millisecond() - 60_000;
    double.change(|state| {
        let line = |number: i64| (now, "a", format!("line {number}\n"));
        state.logs.events = vec![(now - 5, "a", "before".to_owned())];
        state.logs.events.extend((0..30).map(line));
        state.logs.events.push((now + 5, "a", "behind".to_owned()));
    });
    let connector = with_keys(&double.url());
    let tool = "get_cloudwatch_log_context";
    for (pointer, expected) in [
        ("pointer-2", vec!["before", "line 0", "line 1"]),
        ("pointer-12", vec!["line 8", "line 9", "line 10", "line 11"]),
        ("pointer-31", vec!["line 27", "line 28", "line 29", "behind"]),
    ] {
        let around = good(&connector, tool, json!({ "ptr": pointer, "before": 2, "after": 2 })).await;
        assert_eq!((messages(&around), around.get("hints")), (expected, None), "{pointer}");
    }
    // By its time alone it may be any of them.
    let time = jiff::Timestamp::from_millisecond(now).unwrap().to_string();
    for (after, told, is_said) in [(10, 11, true), (50, 32, false)] {
        let named = json!({ "group": "/app/web", "stream": "a", "time": time, "before": 5, "after": after });
        let around = good(&connector, tool, named).await;
        assert_eq!(messages(&around).len(), told, "{around}");
        assert_eq!(around["hints"].to_string().contains("this very time"), is_said, "{around}");
    }
    // A text that is told in another way than the events': masked, say.
    double.change(|state| state.logs.record = Some("line ***"));
    let unknown = good(&connector, tool, json!({ "ptr": "pointer-31", "before": 2, "after": 2 })).await;
    assert_eq!(messages(&unknown), ["before", "line 0", "line 1"]);
    assert!(unknown["hints"].to_string().contains("was not found"), "{unknown}");
}

/// AWS' end of a query is exact to the millisecond of the whole second that it is given (aws/aws-sdk #280).
#[tokio::test]
async fn a_query_reads_the_last_second_whole() {
    let double = Double::start().await;
    double.change(|state| state.logs.script = vec!["Complete"]);
    let connector = with_keys(&double.url());
    let day = hours_ago(24);
    let second = day.as_second();
    let at = |millisecond: i64| jiff::Timestamp::from_millisecond(second * 1_000 + millisecond).unwrap().to_string();
    for (until, expected) in [(10_000, 10), (10_001, 11), (10_900, 11)] {
        let query = json!({ "groups": ["/app/web"], "query": "fields @message", "since": at(200), "until": at(until) });
        good(&connector, "query_cloudwatch_logs", query).await;
        let sent = double.input("StartQuery");
        assert_eq!((&sent["startTime"], &sent["endTime"]), (&json!(second), &json!(second + expected)), "{until}");
    }
}

#[tokio::test]
async fn patterns_come_with_anomalies_where_there_is_a_detector() {
    let double = Double::start().await;
    double.change(|state| {
        state.logs.script = vec!["Complete"];
        state.logs.patterns = true;
    });
    let connector = with_keys(&double.url());
    let tool = "find_cloudwatch_log_patterns";
    let found = good(&connector, tool, json!({ "group": "/app/web" })).await;
    assert_eq!(found["patterns"][0], json!({ "pattern": "oops <*>", "count": 7.0, "ratio": 0.7, "severity": "ERROR" }));
    assert!(found["hints"][0].as_str().unwrap().contains("no anomaly detector"));
    for (status, words) in [("ANALYZING", false), ("TRAINING", true), ("PAUSED", true), ("FAILED", true), ("NEW", true)]
    {
        double.change(|state| state.logs.detector = Some(status));
        let found = good(&connector, tool, json!({ "group": "/app/web" })).await;
        let (states, ends): (Vec<_>, Vec<_>) = found["anomalies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["state"].as_str().unwrap(), one["suppressed_until"].as_str()))
            .unzip();
        assert_eq!(states, ["Active", "Suppressed", "Suppressed"]);
        assert_eq!(ends, [None, None, Some("2026-09-21T14:16:40Z")]);
        assert_eq!(found["anomalies"][0]["priority"], "HIGH");
        assert_eq!(found["hints"].to_string().contains(&format!("{status}, not ANALYZING")), words, "{found}");
    }
    double.fail("ListAnomalies", 400, "AccessDeniedException");
    let found = good(&connector, tool, json!({ "group": "/app/web" })).await;
    assert!(found["hints"][0].as_str().unwrap().contains("lacks logs:ListAnomalies"), "{found}");
}

#[tokio::test]
async fn a_metric_is_summed_up() {
    let double = Double::start().await;
    double.change(|state| {
        state.metrics.value = |minute| match minute {
            40..50 => None,
            minute => Some(if minute < 90 { 10.0 } else { 50.0 }),
        };
    });
    let connector = with_keys(&double.url());
    let from = hours_ago(5);
    let minute = |minute: i64| (from + jiff::SignedDuration::from_mins(minute)).to_string();
    let arguments = json!({
        "namespace": "AWS/EC2", "metric": "CPUUtilization", "dimensions": { "InstanceId": "i-1" },
        "since": minute(0), "until": minute(180), "period_seconds": 60,
    });
    let told = good(&connector, "analyze_cloudwatch_metric", arguments).await;
    assert_eq!((&told["summary"]["points"], &told["trend"]["direction"]), (&json!(170), &json!("rising")), "{told}");
    assert_eq!(told["steps"], json!([{ "time": minute(90), "before": 10.0, "after": 50.0 }]));
    assert_eq!(told["gaps"], json!([{ "since": minute(40), "until": minute(50) }]));
    // One that comes each five minutes has no gaps between, and the period that goes on is no fall.
    double.change(|state| {
        state.metrics.value = |_| Some(300.0);
        state.metrics.every = 300;
    });
    let slow = json!({
        "namespace": "AWS/EC2", "metric": "CPUUtilization", "dimensions": { "InstanceId": "i-1" }, "stat": "Sum",
    });
    let told = good(&connector, "analyze_cloudwatch_metric", slow).await;
    assert_eq!(
        (&told["period_seconds"], &told["gaps"], &told["steps"]),
        (&json!(60), &json!([]), &json!([])),
        "{told}"
    );
    assert_eq!((&told["summary"]["min"], &told["trend"]["direction"]), (&json!(300.0), &json!("flat")), "{told}");
    assert!(told["hints"].to_string().contains("300 s apart"), "{told}");
    let missing = json!({ "namespace": "AWS/EC2", "metric": "none" });
    let none = good(&connector, "analyze_cloudwatch_metric", missing).await;
    assert!(none["summary"].is_null() && none["hints"][0].as_str().unwrap().contains("not zero"), "{none}");
}

#[tokio::test]
async fn a_query_is_stopped_when_it_runs() {
    let double = Double::start().await;
    double.change(|state| state.logs.script = vec!["Running"]);
    let connector = with_keys(&double.url());
    let left = json!({ "groups": ["/app/web"], "query": "fields @message", "wait_seconds": 0 });
    let id = good(&connector, "query_cloudwatch_logs", left).await["query_id"].clone();
    let arguments = json!({ "query_id": id });
    assert_eq!(connector.preview("stop_cloudwatch_query", arguments.clone()).await.unwrap().would, "stop the query");
    let stopped = good(&connector, "stop_cloudwatch_query", arguments.clone()).await;
    assert_eq!(stopped, json!({ "outcome": "stopped", "status_before": "Running" }));
    let again = good(&connector, "stop_cloudwatch_query", arguments).await;
    assert_eq!((&again["outcome"], double.count("StopQuery")), (&json!("already_ended"), 1));
    let unknown = connector.call("stop_cloudwatch_query", json!({ "query_id": "none" })).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NotFound);
}
