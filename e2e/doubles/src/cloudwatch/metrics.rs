//! The double's metrics, alarms and mute rules. Lists have pages of two entries, whatever is asked for.

use serde_json::{Value, json};

use super::{ACCOUNT, REGION, Refusal, refuse};

/// What there is.
pub struct State {
    /// Metrics, as `ListMetrics` tells them.
    pub metrics: Vec<Value>,
    /// Value of the points of every metric; one a minute.
    pub value: fn(i64) -> Option<f64>,
    /// What a series says besides its points.
    pub status: &'static str,
    /// Alarms with their type, as `DescribeAlarms` tells them.
    pub alarms: Vec<(&'static str, Value)>,
    /// What became of alarms, newest first.
    pub history: Vec<Value>,
    /// Mute rules.
    pub rules: Vec<Value>,
    /// Actions that `SetAlarmState` caused.
    pub fired: Vec<String>,
}

fn time(second: i64) -> Value {
    json!({ "$time": second })
}

/// An alarm in some state.
pub fn alarm(name: &str, state: &str) -> Value {
    json!({
        "AlarmName": name,
        "AlarmArn": format!("arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"),
        "StateValue": state,
        "StateReason": "Threshold Crossed: 1 datapoint (91.0) was greater than the threshold (90.0).",
        "StateUpdatedTimestamp": time(1_790_000_000),
        "ActionsEnabled": true,
        "AlarmActions": [format!("arn:aws:sns:{REGION}:{ACCOUNT}:page")],
    })
}

fn with(mut base: Value, more: &Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    base
}

impl State {
    pub(super) fn new() -> Self {
        let metric = |name: &str, id: &str| {
            json!({
                "Namespace": "AWS/EC2",
                "MetricName": name,
                "Dimensions": [{ "Name": "InstanceId", "Value": id }],
            })
        };
        let cpu = json!({
            "MetricName": "CPUUtilization", "Namespace": "AWS/EC2", "Statistic": "Average", "Period": 300,
            "Dimensions": [{ "Name": "InstanceId", "Value": "i-1" }],
            "EvaluationPeriods": 3, "DatapointsToAlarm": 2, "Threshold": 90.0,
            "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "missing",
        });
        let query = json!({
            "ScheduledQueryConfiguration": { "QueryString": "filter @message like /oops/" },
            "QueryResultsToEvaluate": 3, "QueryResultsToAlarm": 1, "Threshold": 5.0,
            "ComparisonOperator": "GreaterThanThreshold",
        });
        Self {
            metrics: vec![metric("CPUUtilization", "i-1"), metric("CPUUtilization", "i-2"), metric("NetworkIn", "i-1")],
            value: |minute| Some(f64::from(i32::try_from(minute % 10).unwrap())),
            status: "Complete",
            alarms: vec![
                ("MetricAlarm", with(alarm("cpu", "ALARM"), &cpu)),
                ("MetricAlarm", alarm("disk", "OK")),
                (
                    "CompositeAlarm",
                    with(alarm("site", "ALARM"), &json!({ "AlarmRule": "ALARM(cpu) OR ALARM(errors)" })),
                ),
                ("LogAlarm", with(alarm("errors", "OK"), &query)),
            ],
            history: vec![
                json!({
                    "AlarmName": "cpu", "AlarmType": "MetricAlarm", "Timestamp": time(1_790_000_000),
                    "HistoryItemType": "StateUpdate", "HistorySummary": "Alarm updated from OK to ALARM",
                    "HistoryData": "{\"oldState\":{\"stateValue\":\"OK\"},\"newState\":{\"stateValue\":\"ALARM\",\
                        \"stateReason\":\"Threshold Crossed\"}}",
                }),
                json!({
                    "AlarmName": "cpu", "AlarmType": "MetricAlarm", "Timestamp": time(1_789_990_000),
                    "HistoryItemType": "StateUpdate", "HistorySummary": "Alarm updated from ALARM to OK",
                    "HistoryData": "{\"oldState\":{\"stateValue\":\"ALARM\"},\"newState\":{\"stateValue\":\"OK\"}}",
                }),
                json!({
                    "AlarmName": "cpu", "AlarmType": "MetricAlarm", "Timestamp": time(1_789_980_000),
                    "HistoryItemType": "Action", "HistorySummary": "Successfully executed action",
                }),
            ],
            rules: Vec::new(),
            fired: Vec::new(),
        }
    }

    fn alarm(&mut self, name: &Value) -> Result<&mut Value, Refusal> {
        let found = self.alarms.iter_mut().find(|(_, alarm)| alarm["AlarmName"] == *name);
        found.map_or_else(|| refuse(404, "ResourceNotFound"), |(_, alarm)| Ok(alarm))
    }
}

pub(super) fn members(operation: &str) -> Option<&'static [&'static str]> {
    Some(match operation {
        "ListMetrics" => &[
            "Namespace",
            "MetricName",
            "Dimensions",
            "NextToken",
            "RecentlyActive",
            "IncludeLinkedAccounts",
            "OwningAccount",
        ],
        "GetMetricData" => &["MetricDataQueries", "StartTime", "EndTime", "NextToken", "ScanBy", "MaxDatapoints"],
        "DescribeAlarms" => &[
            "AlarmNames",
            "AlarmNamePrefix",
            "AlarmTypes",
            "ChildrenOfAlarmName",
            "ParentsOfAlarmName",
            "StateValue",
            "ActionPrefix",
            "MaxRecords",
            "NextToken",
        ],
        "DescribeAlarmHistory" => {
            &["AlarmName", "AlarmTypes", "HistoryItemType", "StartDate", "EndDate", "MaxRecords", "NextToken", "ScanBy"]
        }
        "ListAlarmMuteRules" => &["AlarmName", "Statuses", "MaxRecords", "NextToken"],
        "GetAlarmMuteRule" | "DeleteAlarmMuteRule" => &["AlarmMuteRuleName"],
        "PutAlarmMuteRule" => &["Name", "Description", "Rule", "MuteTargets", "Tags", "StartDate", "ExpireDate"],
        "EnableAlarmActions" | "DisableAlarmActions" => &["AlarmNames"],
        "SetAlarmState" => &["AlarmName", "StateValue", "StateReason"],
        _ => return None,
    })
}

/// Two entries of a list from the place that the token says, with the token of the next two.
fn page(all: &[Value], input: &Value) -> Result<(Vec<Value>, Option<String>), Refusal> {
    let from = match input["NextToken"].as_str() {
        None => 0,
        Some(token) => match token.strip_prefix("after-").and_then(|number| number.parse().ok()) {
            Some(from) => from,
            None => return refuse(400, "InvalidNextToken"),
        },
    };
    let end = all.len().min(from + 2);
    Ok((all[from..end].to_vec(), (end < all.len()).then(|| format!("after-{end}"))))
}

fn within(input: &Value, name: &str, most: i64) -> Result<(), Refusal> {
    match input[name].as_i64() {
        Some(given) if !(1..=most).contains(&given) => refuse(400, "InvalidParameterValue"),
        _ => Ok(()),
    }
}

pub(super) fn answer(state: &mut State, operation: &str, input: &Value) -> Result<Value, Refusal> {
    match operation {
        "ListMetrics" => list_metrics(state, input),
        "GetMetricData" => metric_data(state, input),
        "DescribeAlarms" => describe_alarms(state, input),
        "DescribeAlarmHistory" => {
            within(input, "MaxRecords", 100)?;
            let matches = |item: &&Value| {
                let (name, kind) = (&input["AlarmName"], &input["HistoryItemType"]);
                (name.is_null() || item["AlarmName"] == *name) && (kind.is_null() || item["HistoryItemType"] == *kind)
            };
            let found: Vec<Value> = state.history.iter().filter(matches).cloned().collect();
            let (items, next) = page(&found, input)?;
            Ok(json!({ "AlarmHistoryItems": items, "NextToken": next }))
        }
        "ListAlarmMuteRules" => {
            let concerns = |rule: &&Value| {
                let names = rule["MuteTargets"]["AlarmNames"].as_array().cloned().unwrap_or_default();
                let status = input["Statuses"].as_array().is_none_or(|all| all.contains(&rule["Status"]));
                status && (input["AlarmName"].is_null() || names.contains(&input["AlarmName"]))
            };
            // A summary has no targets and no name but in its ARN.
            let summary = |rule: &Value| json!({ "AlarmMuteRuleArn": rule["AlarmMuteRuleArn"], "Status": rule["Status"], "MuteType": "ONE_TIME" });
            let found: Vec<Value> = state.rules.iter().filter(concerns).map(summary).collect();
            let (items, next) = page(&found, input)?;
            Ok(json!({ "AlarmMuteRuleSummaries": items, "NextToken": next }))
        }
        "GetAlarmMuteRule" => {
            let found = state.rules.iter().find(|rule| rule["Name"] == input["AlarmMuteRuleName"]);
            found.cloned().map_or_else(|| refuse(404, "ResourceNotFoundException"), Ok)
        }
        "PutAlarmMuteRule" => put_rule(state, input),
        "DeleteAlarmMuteRule" => {
            state.rules.retain(|rule| rule["Name"] != input["AlarmMuteRuleName"]);
            Ok(json!({}))
        }
        "EnableAlarmActions" | "DisableAlarmActions" => {
            for name in input["AlarmNames"].as_array().unwrap() {
                state.alarm(name)?["ActionsEnabled"] = json!(operation == "EnableAlarmActions");
            }
            Ok(json!({}))
        }
        "SetAlarmState" => {
            let alarm = state.alarm(&input["AlarmName"])?;
            alarm["StateValue"] = input["StateValue"].clone();
            alarm["StateReason"] = input["StateReason"].clone();
            let name = alarm["AlarmName"].as_str().unwrap().to_owned();
            state.fired.push(name);
            Ok(json!({}))
        }
        other => panic!("{other}"),
    }
}

fn list_metrics(state: &State, input: &Value) -> Result<Value, Refusal> {
    let matches = |metric: &&Value| {
        let same = |name: &str| input[name].is_null() || metric[name] == input[name];
        let dimensions = input["Dimensions"].as_array().cloned().unwrap_or_default();
        let has = |wanted: &Value| {
            let all = metric["Dimensions"].as_array().unwrap();
            all.iter().any(|one| {
                one["Name"] == wanted["Name"] && (wanted["Value"].is_null() || one["Value"] == wanted["Value"])
            })
        };
        same("Namespace") && same("MetricName") && dimensions.iter().all(has)
    };
    let found: Vec<Value> = state.metrics.iter().filter(matches).cloned().collect();
    let (metrics, next) = page(&found, input)?;
    Ok(json!({ "Metrics": metrics, "NextToken": next }))
}

/// Every series comes in two halves, the first of which is `PartialData`.
fn metric_data(state: &State, input: &Value) -> Result<Value, Refusal> {
    let second = |name: &str| input[name]["$time"].as_f64().map(|at| format!("{at:.0}").parse::<i64>().unwrap());
    let (Some(from), Some(to)) = (second("StartTime"), second("EndTime")) else {
        return refuse(400, "InvalidParameterValue");
    };
    let queries = input["MetricDataQueries"].as_array().unwrap();
    if queries.is_empty() || queries.len() > 500 {
        return refuse(400, "ValidationError");
    }
    let is_second = input["NextToken"] == "second-half";
    let mut results = Vec::new();
    for query in queries {
        if query["ReturnData"] == false {
            continue;
        }
        let (stat, expression) = (&query["MetricStat"], &query["Expression"]);
        if stat.is_null() == expression.is_null() {
            return refuse(400, "ValidationError");
        }
        let period = stat["Period"].as_i64().or(query["Period"].as_i64()).unwrap();
        let there = expression.is_string()
            || state.metrics.iter().any(|one| {
                ["Namespace", "MetricName"].iter().all(|name| one[*name] == stat["Metric"][*name])
                    && one["Dimensions"] == stat["Metric"]["Dimensions"]
            });
        let first = (from + period - 1) / period * period;
        let times: Vec<i64> = (first..to).step_by(usize::try_from(period).unwrap()).collect();
        let middle = times.len() / 2;
        let half = if is_second { &times[middle..] } else { &times[..middle] };
        let points: Vec<(i64, f64)> = half
            .iter()
            .filter(|_| there && state.status != "Forbidden")
            .filter_map(|at| Some((*at, (state.value)((at - first) / 60)?)))
            .collect();
        results.push(json!({
            "Id": query["Id"],
            "Label": query["Label"].as_str().unwrap_or("a label"),
            "StatusCode": if is_second { state.status } else { "PartialData" },
            "Timestamps": points.iter().map(|(at, _)| time(*at)).collect::<Vec<_>>(),
            "Values": points.iter().map(|(_, value)| value).collect::<Vec<_>>(),
        }));
    }
    Ok(json!({ "MetricDataResults": results, "NextToken": (!is_second).then_some("second-half"), "Messages": [] }))
}

fn describe_alarms(state: &State, input: &Value) -> Result<Value, Refusal> {
    within(input, "MaxRecords", 100)?;
    let names = input["AlarmNames"].as_array();
    let types = input["AlarmTypes"].as_array().cloned().unwrap_or_else(|| vec![json!("MetricAlarm")]);
    let children: &[&str] = if input["ChildrenOfAlarmName"] == "site" { &["cpu", "errors"] } else { &[] };
    let matches = |(type_, alarm): &&(&str, Value)| {
        let name = alarm["AlarmName"].as_str().unwrap();
        types.contains(&json!(type_))
            && names.is_none_or(|names| names.contains(&json!(name)))
            && input["AlarmNamePrefix"].as_str().is_none_or(|prefix| name.starts_with(prefix))
            && (input["StateValue"].is_null() || alarm["StateValue"] == input["StateValue"])
            && (input["ChildrenOfAlarmName"].is_null() || children.contains(&name))
    };
    let found: Vec<Value> =
        state.alarms.iter().filter(matches).map(|(type_, alarm)| json!({ "type": type_, "alarm": alarm })).collect();
    // Asked for by name they all come at once.
    let (items, next) = if names.is_some() { (found, None) } else { page(&found, input)? };
    let of = |type_: &str| -> Vec<Value> {
        items.iter().filter(|item| item["type"] == type_).map(|item| item["alarm"].clone()).collect()
    };
    Ok(json!({
        "MetricAlarms": of("MetricAlarm"), "CompositeAlarms": of("CompositeAlarm"), "LogAlarms": of("LogAlarm"),
        "NextToken": next,
    }))
}

fn put_rule(state: &mut State, input: &Value) -> Result<Value, Refusal> {
    let schedule = &input["Rule"]["Schedule"];
    let (expression, duration) = (schedule["Expression"].as_str().unwrap(), schedule["Duration"].as_str().unwrap());
    let at = expression.strip_prefix("at(").and_then(|rest| rest.strip_suffix(')'));
    let is_time = at.is_some_and(|at| at.len() == 16 && jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M", at).is_ok());
    let length: Result<jiff::Span, _> = duration.parse();
    let Ok(length) = length else { return refuse(400, "ValidationError") };
    let minutes = length.total((jiff::Unit::Minute, jiff::civil::date(2026, 1, 1))).unwrap();
    if !is_time || !(1.0..=21_600.0).contains(&minutes) {
        return refuse(400, "ValidationError");
    }
    for name in input["MuteTargets"]["AlarmNames"].as_array().unwrap() {
        state.alarm(name)?;
    }
    state.rules.retain(|rule| rule["Name"] != input["Name"]);
    let arn = format!("arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm-mute-rule:{}", input["Name"].as_str().unwrap());
    state
        .rules
        .push(with(input.clone(), &json!({ "AlarmMuteRuleArn": arn, "Status": "ACTIVE", "MuteType": "ONE_TIME" })));
    Ok(json!({}))
}
