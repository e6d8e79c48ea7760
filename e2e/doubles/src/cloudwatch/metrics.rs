//! The double's metrics, alarms and mute rules. Lists have pages of two entries at most, and after each comes one without
//! entries, as AWS' pages may be empty where more follow.
//!
//! What it refuses beyond members that there aren't is what the operations' own documentation says, as the SDK has it
//! (`aws-sdk-cloudwatch`, `src/operation/*/_*_input.rs` and `builders.rs`):
//! - `DescribeAlarms`: `ChildrenOfAlarmName` and `ParentsOfAlarmName` stand alone but for `MaxRecords` and `NextToken`, and
//!   are answered with name, ARN, state and `StateUpdatedTimestamp` (parents with name and ARN); `AlarmNames` and
//!   `AlarmNamePrefix` exclude each other; without `AlarmTypes` alarms on metrics only; composite ones want the permission on
//!   `*`.
//! - `GetMetricData`: what is older than 3 hours, 15 and 63 days has points for multiples of 60, 300 and 3600 seconds only,
//!   and after 455 days none; one Metrics Insights query; ids are unique and begin with a small letter; the newest come first
//!   unless it is said otherwise; no token where there is an expression. Points begin where the request does, which is put back
//!   to a whole minute, five minutes or an hour by its age, or to a whole period of less than a minute (`StartTime`'s
//!   documentation; boto/boto3 #3457), and one whose period goes on is the sum of what has come so far.
//!   A search with a period of its own passes that of its query over (grafana/grafana PR 39458); points of another unit
//!   than the one that is asked for are none (`Unit` of `MetricStat`), nor are percentiles of what was sent summed up
//!   (`StatisticValues` of `PutMetricData`); an unknown statistic is named by its place
//!   (yet-another-cloudwatch-exporter #385).
//! - `DescribeAlarmContributors`: the series of an alarm that are in ALARM.
//! - `ListMetrics`: `OwningAccount` goes with `IncludeLinkedAccounts`; ten dimensions.
//! - `DeleteAlarmMuteRule` of a rule that isn't there is well.

use serde_json::{Value, json};

use super::{ACCOUNT, REGION, Refusal, refuse};

/// What there is.
pub struct State {
    /// Metrics, as `ListMetrics` tells them.
    pub metrics: Vec<Value>,
    /// Value of the points of every metric, by the minute.
    pub value: fn(i64) -> Option<f64>,
    /// Seconds after which every metric comes: periods between have no point.
    pub every: i64,
    /// Series that each expression has.
    pub series: usize,
    /// What a series says besides its points.
    pub status: &'static str,
    /// Alarms with their type, as `DescribeAlarms` tells them.
    pub alarms: Vec<(&'static str, Value)>,
    /// Whether metrics are sent summed up.
    pub summed: bool,
    /// Series in ALARM, of every alarm that is asked for.
    pub contributors: Vec<Value>,
    /// What became of alarms, newest first.
    pub history: Vec<Value>,
    /// Mute rules.
    pub rules: Vec<Value>,
    /// Actions that `SetAlarmState` caused.
    pub fired: Vec<String>,
    /// Types of alarms that the endpoint knows: `LogAlarm` is the newest.
    pub types: Vec<&'static str>,
    /// Whether the identity may read some alarms only, and so no composite ones.
    pub is_scoped: bool,
    /// Codes of messages about a whole answer of `GetMetricData`, and about each of its results.
    pub messages: (Vec<&'static str>, Vec<&'static str>),
    /// Points that one answer of `GetMetricData` has at most where there is an expression.
    pub most_points: usize,
    /// A mute rule that the identity may not read.
    pub unreadable_rule: Option<String>,
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
            every: 60,
            series: 1,
            status: "Complete",
            alarms: vec![
                ("MetricAlarm", with(alarm("cpu", "ALARM"), &cpu)),
                ("MetricAlarm", with(alarm("disk", "OK"), &cpu)),
                ("CompositeAlarm", with(alarm("site", "ALARM"), &json!({ "AlarmRule": "ALARM(cpu) OR ALARM(disk)" }))),
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
            summed: false,
            contributors: Vec::new(),
            rules: Vec::new(),
            fired: Vec::new(),
            types: vec!["MetricAlarm", "CompositeAlarm", "LogAlarm"],
            is_scoped: false,
            messages: (Vec::new(), Vec::new()),
            most_points: 100_800,
            unreadable_rule: None,
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
        "DescribeAlarmContributors" => &["AlarmName", "NextToken"],
        "ListAlarmMuteRules" => &["AlarmName", "Statuses", "MaxRecords", "NextToken"],
        "GetAlarmMuteRule" | "DeleteAlarmMuteRule" => &["AlarmMuteRuleName"],
        "PutAlarmMuteRule" => &["Name", "Description", "Rule", "MuteTargets", "Tags", "StartDate", "ExpireDate"],
        "EnableAlarmActions" | "DisableAlarmActions" => &["AlarmNames"],
        "SetAlarmState" => &["AlarmName", "StateValue", "StateReason"],
        _ => return None,
    })
}

/// Two entries of a list from the place that the token says, with the token of the next ones. After each page comes one
/// without entries.
fn page(all: &[Value], input: &Value) -> Result<(Vec<Value>, Option<String>), Refusal> {
    let most = input["MaxRecords"].as_u64().map_or(2, |most| usize::try_from(most).unwrap().min(2));
    let place = |token: &str, before: &str| token.strip_prefix(before).and_then(|number| number.parse::<usize>().ok());
    let from = match input["NextToken"].as_str() {
        None => 0,
        Some(token) => match (place(token, "empty-"), place(token, "after-")) {
            (Some(from), _) => return Ok((Vec::new(), Some(format!("after-{from}")))),
            (_, Some(from)) => from,
            _ => return refuse(400, "InvalidNextToken"),
        },
    };
    let end = all.len().min(from + most);
    Ok((all[from..end].to_vec(), (end < all.len()).then(|| format!("empty-{end}"))))
}

fn says(status: u16, code: &str, words: &str) -> Refusal {
    (status, code.to_owned(), format!("{words} planted"))
}

/// Types of alarms that are asked for, as far as the endpoint knows them and the identity may.
fn types(state: &State, input: &Value) -> Result<Vec<Value>, Refusal> {
    let types = input["AlarmTypes"].as_array().cloned().unwrap_or_else(|| vec![json!("MetricAlarm")]);
    if let Some(unknown) = types.iter().find(|type_| !state.types.iter().any(|known| *type_ == known)) {
        let words = format!(
            "1 validation error detected: Value '[{unknown}]' at 'alarmTypes' failed to satisfy constraint: Member must satisfy \
             enum value set: {:?}",
            state.types
        );
        return Err(says(400, "ValidationError", &words));
    }
    if state.is_scoped && types.contains(&json!("CompositeAlarm")) {
        return refuse(403, "AccessDenied");
    }
    Ok(types)
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
            let types = types(state, input)?;
            let at = |value: &Value| value["$time"].as_f64();
            let matches = |item: &&Value| {
                let (name, kind) = (&input["AlarmName"], &input["HistoryItemType"]);
                (name.is_null() || item["AlarmName"] == *name)
                    && (kind.is_null() || item["HistoryItemType"] == *kind)
                    && types.contains(&item["AlarmType"])
                    && at(&input["StartDate"]).is_none_or(|from| at(&item["Timestamp"]) >= Some(from))
                    && at(&input["EndDate"]).is_none_or(|to| at(&item["Timestamp"]) <= Some(to))
            };
            let found: Vec<Value> = state.history.iter().filter(matches).cloned().collect();
            let (items, next) = page(&found, input)?;
            Ok(json!({ "AlarmHistoryItems": items, "NextToken": next }))
        }
        "DescribeAlarmContributors" => {
            state.alarm(&input["AlarmName"])?;
            let (contributors, next) = page(&state.contributors, input)?;
            Ok(json!({ "AlarmContributors": contributors, "NextToken": next }))
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
        "GetAlarmMuteRule" if input["AlarmMuteRuleName"].as_str() == state.unreadable_rule.as_deref() => {
            refuse(403, "AccessDenied")
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
    let is_alone = input["OwningAccount"].is_string() && input["IncludeLinkedAccounts"] != true;
    if is_alone || input["Dimensions"].as_array().is_some_and(|all| all.len() > 10) {
        return refuse(400, "InvalidParameterValue");
    }
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

/// The shortest period of which there are points from a time on; nothing where there are none.
fn kept(from: i64) -> Option<i64> {
    const DAY: i64 = 86_400;
    let age = jiff::Timestamp::now().as_second() - from;
    let lines = [(3 * 3_600, 1), (15 * DAY, 60), (63 * DAY, 300), (455 * DAY, 3_600)];
    lines.into_iter().find(|(most, _)| age <= *most).map(|(_, period)| period)
}

fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_lowercase()) && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_statistic(stat: &str) -> bool {
    ["Average", "Sum", "Minimum", "Maximum", "SampleCount"].contains(&stat)
        || stat.strip_prefix('p').is_some_and(|rest| rest.parse::<f64>().is_ok())
}

/// The period that a search names itself.
fn searched(expression: &str) -> Option<i64> {
    let (_, arguments) = expression.split_once("SEARCH(")?;
    arguments.rsplit(',').next()?.trim_matches([' ', ')']).parse().ok()
}

/// Where the first period of points begins that are asked for from a time on.
fn rounded(from: i64, period: i64) -> i64 {
    let whole = if period < 60 { period } else { kept(from).unwrap_or(3_600).max(60) };
    from.div_euclid(whole) * whole
}

/// Every series comes in two halves, the first of which is `PartialData`.
fn metric_data(state: &State, input: &Value) -> Result<Value, Refusal> {
    let second = |name: &str| input[name]["$time"].as_f64().map(|at| format!("{at:.0}").parse::<i64>().unwrap());
    let (Some(from), Some(to)) = (second("StartTime"), second("EndTime")) else {
        return refuse(400, "InvalidParameterValue");
    };
    let queries = input["MetricDataQueries"].as_array().unwrap();
    let expressions = || queries.iter().filter_map(|query| query["Expression"].as_str());
    let ids: Vec<&str> = queries.iter().map(|query| query["Id"].as_str().unwrap()).collect();
    let is_unique = ids.iter().collect::<std::collections::BTreeSet<_>>().len() == ids.len();
    if queries.is_empty()
        || queries.len() > 500
        || !is_unique
        || !ids.iter().all(|id| is_id(id))
        || expressions().filter(|text| text.starts_with("SELECT")).count() > 1
    {
        return refuse(400, "ValidationError");
    }
    if let Some(query) =
        queries.iter().find(|query| query["Expression"].as_str().is_some_and(|text| text.ends_with('+')))
    {
        let words =
            format!("Error in expression '{}': Unsupported operand type(s) for +", query["Id"].as_str().unwrap());
        return Err(says(400, "ValidationError", &words));
    }
    let wrong =
        queries.iter().position(|query| query["MetricStat"]["Stat"].as_str().is_some_and(|stat| !is_statistic(stat)));
    if let Some(wrong) = wrong {
        let words = format!(
            "The value x for parameter MetricDataQueries.member.{}.MetricStat.Stat is not a valid statistic.",
            wrong + 1
        );
        return Err(says(400, "ValidationError", &words));
    }
    let pages = expressions().next().is_none();
    let is_second = input["NextToken"] == "second-half";
    if !is_second && input["NextToken"].is_string() {
        return refuse(400, "InvalidNextToken");
    }
    let is_ascending = input["ScanBy"] == "TimestampAscending";
    let mut results = Vec::new();
    for query in queries {
        let (stat, expression) = (&query["MetricStat"], &query["Expression"]);
        if stat.is_null() == expression.is_null() {
            return refuse(400, "ValidationError");
        }
        let period = stat["Period"].as_i64().or(query["Period"].as_i64()).unwrap();
        let period = expression.as_str().and_then(searched).unwrap_or(period);
        if period <= 0 || !(period % 60 == 0 || [1, 5, 10, 20, 30].contains(&period)) {
            return refuse(400, "ValidationError");
        }
        if query["ReturnData"] == false {
            continue;
        }
        let is_none = (state.summed && stat["Stat"].as_str().is_some_and(|stat| stat.starts_with('p')))
            || stat["Unit"].as_str().is_some_and(|unit| unit != "Percent");
        let there = expression.is_string()
            || !is_none
                && state.metrics.iter().any(|one| {
                    ["Namespace", "MetricName"].iter().all(|name| one[*name] == stat["Metric"][*name])
                        && one["Dimensions"] == stat["Metric"]["Dimensions"]
                });
        let is_kept = kept(from).is_some_and(|step| period % step == 0);
        let first = rounded(from, period);
        let now = jiff::Timestamp::now().as_second();
        let comes = |at: &i64| (at + state.every - 1) / state.every * state.every < (at + period).min(now + 1);
        // Of a sum a period that goes on has a part.
        let part = |at: i64| {
            let gone = u32::try_from((now - at).clamp(0, period)).unwrap();
            if stat["Stat"] == "Sum" { f64::from(gone) / f64::from(u32::try_from(period).unwrap()) } else { 1.0 }
        };
        let times: Vec<i64> = (first..to).step_by(usize::try_from(period).unwrap()).collect();
        let points: Vec<(i64, f64)> = times
            .iter()
            .filter(|at| there && is_kept && comes(at) && !["Forbidden", "InternalError"].contains(&state.status))
            .filter_map(|at| Some((*at, (state.value)((at - first) / 60)? * part(*at))))
            .collect();
        let mut points = if is_ascending { points } else { points.into_iter().rev().collect() };
        let mut status = state.status;
        if pages {
            // Two pages, of which the first says that there are more.
            let rest = points.split_off(points.len() / 2);
            status = if is_second { status } else { "PartialData" };
            points = if is_second { rest } else { points };
        } else if points.len() > state.most_points {
            points.truncate(state.most_points);
            status = "PartialData";
        }
        let message = |code: &&str| json!({ "Code": code, "Value": "planted" });
        // A band is two series with one id and one label.
        let edges =
            if expression.as_str().is_some_and(|text| text.starts_with("ANOMALY_DETECTION_BAND")) { 2 } else { 1 };
        let edges = if expression.is_string() { edges.max(state.series) } else { 1 };
        for edge in 0..edges {
            let above = f64::from(u32::try_from(edge).unwrap()) * 1_000.0;
            results.push(json!({
                "Id": query["Id"],
                "Label": query["Label"].as_str().unwrap_or("a label"),
                "StatusCode": status,
                "Timestamps": points.iter().map(|(at, _)| time(*at)).collect::<Vec<_>>(),
                "Values": points.iter().map(|(_, value)| value + above).collect::<Vec<_>>(),
                "Messages": state.messages.1.iter().map(message).collect::<Vec<_>>(),
            }));
        }
    }
    let messages: Vec<Value> =
        state.messages.0.iter().map(|code| json!({ "Code": code, "Value": "planted" })).collect();
    let next = (pages && !is_second).then_some("second-half");
    Ok(json!({ "MetricDataResults": results, "NextToken": next, "Messages": messages }))
}

/// What is answered of a child or a parent of a composite alarm, and no more.
fn reduced(alarm: &Value, members: &[&str]) -> Value {
    members.iter().map(|name| ((*name).to_owned(), alarm[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn describe_alarms(state: &State, input: &Value) -> Result<Value, Refusal> {
    within(input, "MaxRecords", 100)?;
    let given: Vec<&str> = input.as_object().unwrap().keys().map(String::as_str).collect();
    let relation = ["ChildrenOfAlarmName", "ParentsOfAlarmName"].into_iter().find(|name| given.contains(name));
    if let Some(relation) = relation {
        if given.iter().any(|name| ![relation, "MaxRecords", "NextToken"].contains(name)) {
            return Err(says(400, "ValidationError", &format!("{relation} cannot be used with other parameters")));
        }
        if state.is_scoped {
            return refuse(403, "AccessDenied");
        }
    }
    let names = input["AlarmNames"].as_array();
    if names.is_some_and(|names| names.len() > 100 || input["AlarmNamePrefix"].is_string()) {
        return refuse(400, "ValidationError");
    }
    let types =
        if relation.is_some() { state.types.iter().map(|one| json!(one)).collect() } else { types(state, input)? };
    let of_site: &[&str] = &["cpu", "disk"];
    let members: &[&str] = match relation {
        Some("ChildrenOfAlarmName") => &["AlarmName", "AlarmArn", "StateValue", "StateUpdatedTimestamp"],
        _ => &["AlarmName", "AlarmArn"],
    };
    let matches = |(type_, alarm): &&(&str, Value)| {
        let name = alarm["AlarmName"].as_str().unwrap();
        types.contains(&json!(type_))
            && names.is_none_or(|names| names.contains(&json!(name)))
            && input["AlarmNamePrefix"].as_str().is_none_or(|prefix| name.starts_with(prefix))
            && (input["StateValue"].is_null() || alarm["StateValue"] == input["StateValue"])
            && match relation {
                Some("ChildrenOfAlarmName") => input["ChildrenOfAlarmName"] == "site" && of_site.contains(&name),
                Some(_) => name == "site" && of_site.iter().any(|child| input["ParentsOfAlarmName"] == *child),
                None => true,
            }
    };
    let told = |alarm: &Value| if relation.is_some() { reduced(alarm, members) } else { alarm.clone() };
    let found: Vec<Value> = state
        .alarms
        .iter()
        .filter(matches)
        .map(|(type_, alarm)| json!({ "type": type_, "alarm": told(alarm) }))
        .collect();
    let (items, next) = page(&found, input)?;
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
