//! The double's log groups, events and queries. Lists have pages of two entries, whatever is asked for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ACCOUNT, REGION, Refusal, refuse};

/// A time in milliseconds is later than this, and one in seconds earlier.
const NO_SECONDS: i64 = 100_000_000_000;

/// A query.
pub struct Query {
    /// What is left of the states that it goes through; the last one stays.
    states: Vec<&'static str>,
}

/// What there is.
pub struct State {
    /// States that a new query goes through, one a look.
    pub script: Vec<&'static str>,
    /// Queries by their ids.
    pub queries: BTreeMap<String, Query>,
    /// Rows that a query has in the end.
    pub rows: usize,
    /// Queries of everybody else, which count against the limit.
    pub others: usize,
    /// Time, stream and text of events.
    pub events: Vec<(i64, &'static str, String)>,
    /// Pages of `FilterLogEvents` without events before the first one that has any.
    pub empty_pages: usize,
    /// Whether a query finds patterns instead of rows.
    pub patterns: bool,
    /// Whether there is a detector of anomalies.
    pub anomalies: bool,
}

impl State {
    pub(super) fn new() -> Self {
        let now = jiff::Timestamp::now().as_millisecond();
        let event = |ago: i64, stream: &'static str, text: &str| (now - ago * 1_000, stream, text.to_owned());
        Self {
            script: vec!["Scheduled", "Running", "Complete"],
            queries: BTreeMap::new(),
            rows: 3,
            others: 0,
            events: vec![
                event(50, "a", "one oops"),
                event(40, "b", "two"),
                event(30, "a", "three oops"),
                event(20, "a", "four"),
                event(10, "a", "five oops"),
            ],
            empty_pages: 1,
            patterns: false,
            anomalies: false,
        }
    }
}

pub(super) fn members(operation: &str) -> Option<&'static [&'static str]> {
    Some(match operation {
        "DescribeLogGroups" => &[
            "accountIdentifiers",
            "logGroupNamePrefix",
            "logGroupNamePattern",
            "nextToken",
            "limit",
            "includeLinkedAccounts",
            "logGroupClass",
            "logGroupIdentifiers",
        ],
        "StartQuery" => &[
            "queryLanguage",
            "logGroupName",
            "logGroupNames",
            "logGroupIdentifiers",
            "startTime",
            "endTime",
            "queryString",
            "limit",
        ],
        "GetQueryResults" => &["queryId", "nextToken", "maxItems"],
        "StopQuery" => &["queryId"],
        "FilterLogEvents" => &[
            "logGroupName",
            "logGroupIdentifier",
            "logStreamNames",
            "logStreamNamePrefix",
            "startTime",
            "endTime",
            "filterPattern",
            "nextToken",
            "limit",
            "startFromHead",
        ],
        "GetLogEvents" => &[
            "logGroupName",
            "logGroupIdentifier",
            "logStreamName",
            "startTime",
            "endTime",
            "nextToken",
            "limit",
            "startFromHead",
        ],
        "GetLogRecord" => &["logRecordPointer"],
        "ListAnomalies" => &["anomalyDetectorArn", "suppressionState", "limit", "nextToken"],
        "ListLogAnomalyDetectors" => &["filterLogGroupArn", "limit", "nextToken"],
        _ => return None,
    })
}

fn page(all: &[Value], token: &Value) -> Result<(Vec<Value>, Option<String>), Refusal> {
    let from = match token.as_str() {
        None => 0,
        Some(token) => match token.strip_prefix("after-").and_then(|number| number.parse().ok()) {
            Some(from) => from,
            None => return refuse(400, "InvalidParameterException"),
        },
    };
    let end = all.len().min(from + 2);
    Ok((all[from..end].to_vec(), (end < all.len()).then(|| format!("after-{end}"))))
}

fn group(name: &str) -> Value {
    // Some groups have no size.
    json!({
        "logGroupName": name, "creationTime": 1_700_000_000_000_i64, "logGroupClass": "STANDARD",
        "logGroupArn": format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}"),
    })
}

const GROUPS: [&str; 3] = ["/app/api", "/app/web", "/aws/lambda/job"];

pub(super) fn answer(state: &mut State, operation: &str, input: &Value) -> Result<Value, Refusal> {
    match operation {
        "DescribeLogGroups" => {
            if input["limit"].as_i64().is_some_and(|limit| !(1..=50).contains(&limit))
                || (input["logGroupNamePrefix"].is_string() && input["logGroupNamePattern"].is_string())
            {
                return refuse(400, "InvalidParameterException");
            }
            let matches = |name: &&&str| {
                input["logGroupNamePrefix"].as_str().is_none_or(|prefix| name.starts_with(prefix))
                    && input["logGroupNamePattern"].as_str().is_none_or(|part| name.contains(part))
            };
            let found: Vec<Value> = GROUPS.iter().filter(matches).map(|name| group(name)).collect();
            let (groups, next) = page(&found, &input["nextToken"])?;
            Ok(json!({ "logGroups": groups, "nextToken": next }))
        }
        "StartQuery" => start_query(state, input),
        "GetQueryResults" => results(state, input),
        "StopQuery" => {
            let Some(query) = state.queries.get_mut(input["queryId"].as_str().unwrap()) else {
                return refuse(400, "ResourceNotFoundException");
            };
            if !matches!(query.states[0], "Scheduled" | "Running") {
                return refuse(400, "InvalidParameterException");
            }
            query.states = vec!["Cancelled"];
            Ok(json!({ "success": true }))
        }
        "FilterLogEvents" => filter(state, input),
        "GetLogEvents" => events(state, input),
        "GetLogRecord" => match input["logRecordPointer"].as_str() {
            Some("pointer-3") => {
                let (at, stream, text) = &state.events[2];
                Ok(json!({ "logRecord": {
                    "@timestamp": at.to_string(), "@logStream": stream, "@message": text,
                    "@log": format!("{ACCOUNT}:/app/web"),
                } }))
            }
            _ => refuse(400, "InvalidParameterException"),
        },
        "ListLogAnomalyDetectors" => {
            let detector = json!({
                "anomalyDetectorArn": format!("arn:aws:logs:{REGION}:{ACCOUNT}:anomaly-detector:1"),
                "logGroupArnList": [input["filterLogGroupArn"]], "creationTimeStamp": 0, "lastModifiedTimeStamp": 0,
            });
            Ok(json!({ "anomalyDetectors": if state.anomalies { vec![detector] } else { vec![] } }))
        }
        "ListAnomalies" => Ok(json!({ "anomalies": [{
            "anomalyId": "a", "patternId": "p", "anomalyDetectorArn": input["anomalyDetectorArn"],
            "patternString": "oops <*>", "priority": "HIGH", "firstSeen": 1_790_000_000_000_i64,
            "lastSeen": 1_790_000_100_000_i64, "description": "new", "active": true, "state": "Active",
            "histogram": {}, "logSamples": [], "patternTokens": [], "logGroupArnList": [],
        }] })),
        other => panic!("{other}"),
    }
}

fn known(name: &Value) -> Result<(), Refusal> {
    if GROUPS.contains(&name.as_str().unwrap_or_default()) { Ok(()) } else { refuse(400, "ResourceNotFoundException") }
}

fn start_query(state: &mut State, input: &Value) -> Result<Value, Refusal> {
    let text = input["queryString"].as_str().unwrap();
    let given =
        ["logGroupName", "logGroupNames", "logGroupIdentifiers"].iter().filter(|name| !input[**name].is_null()).count();
    let in_seconds =
        ["startTime", "endTime"].iter().all(|name| input[*name].as_i64().is_some_and(|at| at < NO_SECONDS));
    let is_reversed = input["startTime"].as_i64() > input["endTime"].as_i64();
    if !in_seconds || is_reversed || given != usize::from(!text.starts_with("SOURCE")) {
        return refuse(400, "InvalidParameterException");
    }
    for name in input["logGroupNames"].as_array().into_iter().flatten() {
        known(name)?;
    }
    if text.contains("bad query") {
        return refuse(400, "MalformedQueryException");
    }
    let running = state.queries.values().filter(|query| matches!(query.states[0], "Scheduled" | "Running")).count();
    if running + state.others >= 100 {
        return refuse(400, "LimitExceededException");
    }
    let id = format!("query-{}", state.queries.len());
    state.queries.insert(id.clone(), Query { states: state.script.clone() });
    Ok(json!({ "queryId": id }))
}

fn results(state: &mut State, input: &Value) -> Result<Value, Refusal> {
    let rows = state.rows;
    let Some(query) = state.queries.get_mut(input["queryId"].as_str().unwrap()) else {
        return refuse(400, "ResourceNotFoundException");
    };
    let status = query.states[0];
    if query.states.len() > 1 {
        query.states.remove(0);
    }
    if input["maxItems"].as_i64().is_some_and(|most| !(1..=10_000).contains(&most)) {
        return refuse(400, "InvalidParameterException");
    }
    let found = match status {
        "Scheduled" => 0,
        "Running" | "Cancelled" => 1,
        _ => rows,
    };
    let all: Vec<Value> = (0..found)
        .map(|row| {
            json!([
                { "field": "@message", "value": format!("row {row}") },
                { "field": "@ptr", "value": format!("pointer-{row}") },
            ])
        })
        .collect();
    let pattern = json!([
        { "field": "@pattern", "value": "oops <*>" }, { "field": "@sampleCount", "value": "7" },
        { "field": "@ratio", "value": "0.7" }, { "field": "@severityLabel", "value": "ERROR" },
    ]);
    let all = if state.patterns { vec![pattern] } else { all };
    let (rows, next) = page(&all, &input["nextToken"])?;
    let statistics = json!({ "recordsMatched": found, "recordsScanned": 10.0, "bytesScanned": 1_000.0 });
    Ok(json!({ "status": status, "results": rows, "nextToken": next, "statistics": statistics }))
}

fn in_milliseconds(input: &Value) -> Result<(i64, i64), Refusal> {
    let at = |name: &str, default: i64| input[name].as_i64().unwrap_or(default);
    let (from, to) = (at("startTime", NO_SECONDS), at("endTime", i64::MAX));
    if from < NO_SECONDS || to < NO_SECONDS { refuse(400, "InvalidParameterException") } else { Ok((from, to)) }
}

/// Pages without events come first; then events come by two.
fn filter(state: &mut State, input: &Value) -> Result<Value, Refusal> {
    if input["logGroupName"].is_string() == input["logGroupIdentifier"].is_string() {
        return refuse(400, "InvalidParameterException");
    }
    if input["logGroupName"].is_string() {
        known(&input["logGroupName"])?;
    }
    let (from, to) = in_milliseconds(input)?;
    let page_number: usize = match input["nextToken"].as_str() {
        None => 0,
        Some(token) => match token.strip_prefix("page-").and_then(|number| number.parse().ok()) {
            Some(number) => number,
            None => return refuse(400, "InvalidParameterException"),
        },
    };
    let pattern = input["filterPattern"].as_str().unwrap_or_default();
    let streams = input["logStreamNames"].as_array();
    let mut found: Vec<Value> = state
        .events
        .iter()
        .enumerate()
        .filter(|(_, (at, stream, text))| {
            (from..=to).contains(at)
                && text.contains(pattern)
                && streams.is_none_or(|streams| streams.contains(&json!(stream)))
        })
        .map(|(id, (at, stream, text))| {
            json!({ "timestamp": at, "logStreamName": stream, "message": text, "eventId": id.to_string(), "ingestionTime": at })
        })
        .collect();
    if input["startFromHead"] == false {
        found.reverse();
    }
    let skipped = page_number.saturating_sub(state.empty_pages) * 2;
    let count = if page_number < state.empty_pages { 0 } else { 2 };
    let events: Vec<Value> = found.iter().skip(skipped).take(count).cloned().collect();
    let more = page_number < state.empty_pages || found.len() > skipped + 2;
    Ok(json!({ "events": events, "nextToken": more.then(|| format!("page-{}", page_number + 1)) }))
}

/// One stream, all at once. At the end the token is the one that was sent.
fn events(state: &State, input: &Value) -> Result<Value, Refusal> {
    if input["logGroupName"].is_string() == input["logGroupIdentifier"].is_string() {
        return refuse(400, "InvalidParameterException");
    }
    let (from, to) = in_milliseconds(input)?;
    let limit = usize::try_from(input["limit"].as_i64().unwrap_or(10_000)).unwrap();
    let mut found: Vec<Value> = state
        .events
        .iter()
        // The end itself is not part of it.
        .filter(|(at, stream, _)| (from..to).contains(at) && input["logStreamName"] == *stream)
        .map(|(at, _, text)| json!({ "timestamp": at, "message": text, "ingestionTime": at }))
        .collect();
    if input["startFromHead"] == true {
        found.truncate(limit);
    } else {
        let extra = found.len().saturating_sub(limit);
        found.drain(..extra);
    }
    Ok(json!({ "events": found, "nextForwardToken": "f/1", "nextBackwardToken": "b/1" }))
}
