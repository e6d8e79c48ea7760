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
    let actions = json!({ "name": "cpu", "kind": "action" });
    assert_eq!(good(&connector, "get_cloudwatch_alarm_history", actions).await["items"].as_array().unwrap().len(), 1);
    let sent = double.input("DescribeAlarmHistory");
    assert_eq!((&sent["HistoryItemType"], sent["AlarmTypes"].as_array().unwrap().len()), (&json!("Action"), 3));
    let none = good(&connector, "get_cloudwatch_alarm_history", json!({ "name": "none" })).await;
    assert!(none["hints"][0].as_str().unwrap().contains("no alarm of this name"));
}

#[tokio::test]
async fn each_type_of_alarm_is_explained_in_its_way() {
    let double = Double::start().await;
    let connector = with_keys(&double.url());
    let cpu = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "cpu" })).await;
    assert_eq!((&cpu["threshold"], &cpu["alarm"]["since"]), (&json!(90.0), &json!("2026-09-21T14:13:20Z")));
    // Thirty periods of five minutes before and after the change, as long as they have passed.
    assert_eq!(cpu["series"][0]["points"].as_array().unwrap().len(), 60, "{cpu}");
    let query = &double.input("GetMetricData")["MetricDataQueries"][0]["MetricStat"];
    assert_eq!((&query["Stat"], &query["Period"]), (&json!("Average"), &json!(300)));
    let site = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "site" })).await;
    let children: Vec<_> = site["children"].as_array().unwrap().iter().map(|child| child["name"].clone()).collect();
    assert_eq!((&site["rule"], children), (&json!("ALARM(cpu) OR ALARM(errors)"), vec![json!("cpu"), json!("errors")]));
    let errors = good(&connector, "explain_cloudwatch_alarm", json!({ "name": "errors" })).await;
    assert_eq!(errors["query"], "filter @message like /oops/");
    let error = connector.call("explain_cloudwatch_alarm", json!({ "name": "none" })).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
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
    assert_eq!(preview.would, "keep the actions of 2 alarms back for 30 minutes");
    assert_eq!((&preview.state["already"], double.count("PutAlarmMuteRule")), (&json!(false), 0));
    let muted = good(&connector, tool, quiet.clone()).await;
    assert_eq!((&muted["already"], &muted["state_before"][0]["state"]), (&json!(false), &json!("OK")));
    let sent = double.input("PutAlarmMuteRule");
    assert_eq!((&sent["Rule"]["Schedule"]["Duration"], &sent["Description"]), (&json!("PT30M"), &json!("deployment")));
    let begins: jiff::Timestamp = muted["begins"].as_str().unwrap().parse().unwrap();
    let wait = begins.as_second() - jiff::Timestamp::now().as_second();
    assert!((-1..=60).contains(&wait), "{wait}");
    // The same call again finds its own rule.
    let again = good(&connector, tool, quiet.clone()).await;
    assert_eq!((&again["already"], &again["rule"], &again["begins"]), (&json!(true), &muted["rule"], &muted["begins"]));
    assert_eq!(double.count("PutAlarmMuteRule"), 1);
    let preview = connector.preview(tool, quiet).await.unwrap();
    assert!(preview.would.starts_with("do nothing"), "{}", preview.would);
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
    assert_eq!(preview.would, "set the alarm \"disk\" from OK to ALARM, which causes its actions");
    let set = good(&connector, tool, arguments.clone()).await;
    assert_eq!((&set["before"]["state"], &set["after"]["state"]), (&json!("OK"), &json!("ALARM")));
    good(&connector, tool, arguments).await;
    assert_eq!(double.change(|state| state.metrics.fired.clone()), ["disk"]);
}

#[tokio::test]
async fn what_is_off_by_default_is_declared() {
    let connector = with_keys("http://127.0.0.1:1");
    let off: Vec<_> = connector.tools.values().filter(|tool| tool.declaration.off_by_default).collect();
    assert_eq!((off.len(), off[0].declaration.name), (1, "set_cloudwatch_alarm_state"));
    assert!(connector.tools.values().all(|tool| !tool.declaration.sensitive));
}
