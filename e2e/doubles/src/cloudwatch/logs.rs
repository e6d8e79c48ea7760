//! The double's log groups, events and queries. Lists have pages of two entries at most, and after each comes one without
//! entries, as AWS' pages may be empty where more follow.
//!
//! What it refuses beyond members that there aren't is what the operations' own documentation says, as the SDK has it
//! (`aws-sdk-cloudwatchlogs`, `src/operation/*/_*_input.rs`, `_*_output.rs` and `builders.rs`):
//! - `DescribeLogGroups`: prefix and pattern exclude each other; a pattern is matched with its capitals, and answered with `arn`,
//!   `creationTime` and `logGroupName` only; beside `logGroupIdentifiers` stands `includeLinkedAccounts` alone.
//!   Where data is protected the status says so, or, where a policy of the account does it (`PutAccountPolicy`), the
//!   inherited properties.
//! - `FilterLogEvents`, `GetLogEvents`: a name or an identifier; all streams are there; not for every class; the newest
//!   first from 2024 on; the token decides the direction, and at the end of a stream comes back; reading back may begin
//!   with an empty page; tokens end after a day.
//! - `StartQuery`: exactly one way to name groups, none for SQL and where the text has a SOURCE; no `*` at the end of an ARN; 50
//!   groups; 100,000 rows, or 10,000 in other languages than Logs Insights'. Times are seconds; the end is exact, so that nothing
//!   of the second is read that it begins (<https://github.com/aws/aws-sdk/issues/280>).
//! - `GetQueryResults`: pages for Logs Insights' own language only.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ACCOUNT, REGION, Refusal, refuse};

/// States of a query that has not ended.
const RUNNING: [&str; 3] = ["Scheduled", "Running", "Unknown"];
/// A time in milliseconds is later than this, and one in seconds earlier.
const NO_SECONDS: i64 = 100_000_000_000;

/// A query.
pub struct Query {
    /// What is left of the states that it goes through; the last one stays.
    states: Vec<&'static str>,
    language: String,
}

/// What there is.
pub struct State {
    /// States that a new query goes through, one a look.
    pub script: Vec<&'static str>,
    /// Queries by their ids.
    pub queries: BTreeMap<String, Query>,
    /// Rows that a query has in the end.
    pub rows: usize,
    /// What a row has beside its text and its pointer.
    pub field: Option<(&'static str, &'static str)>,
    /// Queries of everybody else, which count against the limit.
    pub others: usize,
    /// Time, stream and text of events.
    pub events: Vec<(i64, &'static str, String)>,
    /// What `GetLogRecord` says in the place of an event's text.
    pub record: Option<&'static str>,
    /// Pages of `FilterLogEvents` without events before the first one that has any.
    pub empty_pages: usize,
    /// Whether a query finds patterns instead of rows.
    pub patterns: bool,
    /// State of the detector of anomalies, if there is one.
    pub detector: Option<&'static str>,
    /// Whether the endpoint knows `startFromHead` of `FilterLogEvents`: older ones pass it over.
    pub knows_order: bool,
    /// Groups with their class and the days for which they keep events; none is for ever.
    pub groups: Vec<(&'static str, &'static str, Option<i64>)>,
    /// Whether tokens that were given are known no more.
    pub tokens_ended: bool,
    /// Groups whose data is protected.
    pub protected: Vec<&'static str>,
    /// Groups whose data is protected by a policy of the account.
    pub inheriting: Vec<&'static str>,
    /// Seconds by which its clock is ahead of that of the machine.
    pub clock: i64,
    /// When an event comes to AWS, by its time and its text. Before that nobody sees it.
    pub comes: fn(i64, &str) -> i64,
}

impl State {
    pub(super) fn new() -> Self {
        let now = jiff::Timestamp::now().as_millisecond();
        let event = |ago: i64, stream: &'static str, text: &str| (now - ago * 1_000, stream, text.to_owned());
        Self {
            script: vec!["Scheduled", "Running", "Complete"],
            queries: BTreeMap::new(),
            rows: 3,
            field: None,
            others: 0,
            events: vec![
                event(50, "a", "one oops"),
                event(40, "b", "two"),
                event(30, "a", "three oops"),
                event(20, "a", "four"),
                event(10, "a", "five oops"),
            ],
            record: None,
            empty_pages: 1,
            patterns: false,
            detector: None,
            knows_order: true,
            groups: vec![
                ("/app/api", "STANDARD", Some(30)),
                ("/app/web", "STANDARD", None),
                ("/aws/lambda/job", "STANDARD", Some(7)),
            ],
            tokens_ended: false,
            protected: Vec::new(),
            inheriting: Vec::new(),
            clock: 0,
            comes: |at, _| at,
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
    let place = |token: &str, before: &str| token.strip_prefix(before).and_then(|number| number.parse::<usize>().ok());
    let from = match token.as_str() {
        None => 0,
        Some(token) => match (place(token, "empty-"), place(token, "after-")) {
            (Some(from), _) => return Ok((Vec::new(), Some(format!("after-{from}")))),
            (_, Some(from)) => from,
            _ => return Err(says("InvalidParameterException", "The specified nextToken is invalid.")),
        },
    };
    let end = all.len().min(from + 2);
    Ok((all[from..end].to_vec(), (end < all.len()).then(|| format!("empty-{end}"))))
}

fn says(code: &str, words: &str) -> Refusal {
    (400, code.to_owned(), format!("{words} planted"))
}

fn arn(name: &str) -> String {
    format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}")
}

/// A group; some have no size.
fn group((name, class, kept): &(&str, &str, Option<i64>)) -> Value {
    let mut group = json!({
        "logGroupName": name, "creationTime": 1_700_000_000_000_i64, "logGroupClass": class,
        "arn": format!("{}:*", arn(name)), "logGroupArn": arn(name),
    });
    if let Some(days) = kept {
        group["retentionInDays"] = json!(days);
    }
    group
}

fn describe_groups(state: &State, input: &Value) -> Result<Value, Refusal> {
    let identifiers = input["logGroupIdentifiers"].as_array();
    let given = input.as_object().unwrap();
    let is_alone =
        |name: &String| ["logGroupIdentifiers", "includeLinkedAccounts", "nextToken"].contains(&name.as_str());
    if input["limit"].as_i64().is_some_and(|limit| !(1..=50).contains(&limit))
        || (input["logGroupNamePrefix"].is_string() && input["logGroupNamePattern"].is_string())
        || (identifiers.is_some() && !given.keys().all(is_alone))
        || identifiers.is_some_and(|all| all.is_empty() || all.len() > 50)
    {
        return refuse(400, "InvalidParameterException");
    }
    let pattern = input["logGroupNamePattern"].as_str();
    let matches = |(name, class, _): &&(&str, &str, Option<i64>)| {
        input["logGroupNamePrefix"].as_str().is_none_or(|prefix| name.starts_with(prefix))
            && pattern.is_none_or(|part| name.contains(part))
            && (input["logGroupClass"].is_null() || input["logGroupClass"] == *class)
            && identifiers.is_none_or(|all| all.iter().any(|one| *one == *name || *one == arn(name)))
    };
    let found = state.groups.iter().filter(matches).map(|one| {
        let mut whole = group(one);
        if state.protected.contains(&one.0) {
            whole["dataProtectionStatus"] = json!("ACTIVATED");
        }
        if state.inheriting.contains(&one.0) {
            whole["inheritedProperties"] = json!(["ACCOUNT_DATA_PROTECTION"]);
        }
        if pattern.is_none() {
            return whole;
        }
        json!({ "arn": whole["arn"], "creationTime": whole["creationTime"], "logGroupName": whole["logGroupName"] })
    });
    let found: Vec<Value> = found.collect();
    if identifiers.is_some() {
        return Ok(json!({ "logGroups": found }));
    }
    let (groups, next) = page(&found, &input["nextToken"])?;
    Ok(json!({ "logGroups": groups, "nextToken": next }))
}

pub(super) fn answer(state: &mut State, operation: &str, input: &Value) -> Result<Value, Refusal> {
    match operation {
        "DescribeLogGroups" => describe_groups(state, input),
        "StartQuery" => start_query(state, input),
        "GetQueryResults" => results(state, input),
        "StopQuery" => {
            let Some(query) = state.queries.get_mut(input["queryId"].as_str().unwrap()) else {
                return refuse(400, "ResourceNotFoundException");
            };
            if !RUNNING.contains(&query.states[0]) {
                return refuse(400, "InvalidParameterException");
            }
            query.states = vec!["Cancelled"];
            Ok(json!({ "success": true }))
        }
        "FilterLogEvents" => filter(state, input),
        "GetLogEvents" => events(state, input),
        "GetLogRecord" => {
            let pointer = input["logRecordPointer"].as_str().and_then(|pointer| pointer.strip_prefix("pointer-"));
            let place = pointer.and_then(|number| number.parse::<usize>().ok()?.checked_sub(1));
            let Some((at, stream, text)) = place.and_then(|place| state.events.get(place)) else {
                return refuse(400, "InvalidParameterException");
            };
            // Times in milliseconds (aws/aws-cli, awscli/examples/logs/get-log-record.rst).
            Ok(json!({ "logRecord": {
                "@timestamp": at.to_string(), "@logStream": stream, "@message": state.record.unwrap_or(text),
                "@log": format!("{ACCOUNT}:/app/web"),
            } }))
        }
        "ListLogAnomalyDetectors" => {
            let detector = state.detector.map(|status| {
                json!({
                    "anomalyDetectorArn": format!("arn:aws:logs:{REGION}:{ACCOUNT}:anomaly-detector:1"),
                    "anomalyDetectorStatus": status,
                    "logGroupArnList": [input["filterLogGroupArn"]], "creationTimeStamp": 0, "lastModifiedTimeStamp": 0,
                })
            });
            Ok(json!({ "anomalyDetectors": detector.into_iter().collect::<Vec<_>>() }))
        }
        "ListAnomalies" => {
            let anomaly = |state: &str, until: i64| {
                json!({
                    "anomalyId": state, "patternId": "p", "anomalyDetectorArn": input["anomalyDetectorArn"],
                    "patternString": "oops <*>", "priority": "HIGH", "firstSeen": 1_790_000_000_000_i64,
                    "lastSeen": 1_790_000_100_000_i64, "description": "new", "active": true, "state": state,
                    "suppressed": state == "Suppressed", "suppressedDate": 0, "suppressedUntil": until,
                    "histogram": {}, "logSamples": [], "patternTokens": [], "logGroupArnList": [],
                })
            };
            // An end of 0 is none.
            let all = [anomaly("Active", 0), anomaly("Suppressed", 0), anomaly("Suppressed", 1_790_000_200_000)];
            Ok(json!({ "anomalies": all }))
        }
        other => panic!("{other}"),
    }
}

/// The class of a group, which is named by its name or its ARN.
fn class_of(state: &State, named: &Value) -> Result<&'static str, Refusal> {
    let named = named.as_str().unwrap_or_default();
    if named.ends_with('*') {
        return refuse(400, "InvalidParameterException");
    }
    let found = state.groups.iter().find(|(name, _, _)| *name == named || arn(name) == named);
    found.map_or_else(|| refuse(400, "ResourceNotFoundException"), |(_, class, _)| Ok(*class))
}

/// The group of an operation that reads events: a name or an identifier, and of a class that can do this.
fn readable(state: &State, input: &Value, operation: &str) -> Result<(), Refusal> {
    if input["logGroupName"].is_string() == input["logGroupIdentifier"].is_string() {
        return refuse(400, "InvalidParameterException");
    }
    let named = if input["logGroupName"].is_string() { &input["logGroupName"] } else { &input["logGroupIdentifier"] };
    match class_of(state, named)? {
        "STANDARD" => {}
        class => {
            let words = format!(
                "The log group is of log-group-class {class}. {operation} is not supported for this log class."
            );
            return Err(says("InvalidOperationException", &words));
        }
    }
    if state.tokens_ended && input["nextToken"].is_string() {
        return Err(says("InvalidParameterException", "The specified nextToken is invalid."));
    }
    Ok(())
}

fn start_query(state: &mut State, input: &Value) -> Result<Value, Refusal> {
    let text = input["queryString"].as_str().unwrap();
    let language = input["queryLanguage"].as_str().unwrap_or("CWLI").to_owned();
    let given =
        ["logGroupName", "logGroupNames", "logGroupIdentifiers"].iter().filter(|name| !input[**name].is_null()).count();
    let in_seconds =
        ["startTime", "endTime"].iter().all(|name| input[*name].as_i64().is_some_and(|at| at < NO_SECONDS));
    let is_reversed = input["startTime"].as_i64() > input["endTime"].as_i64();
    let most = if language == "CWLI" { 100_000 } else { 10_000 };
    if !in_seconds || is_reversed || input["limit"].as_i64().is_some_and(|limit| !(1..=most).contains(&limit)) {
        return refuse(400, "InvalidParameterException");
    }
    if language == "SQL" && given > 0 {
        let words = "Log group names must be specified in the query string for SQL";
        return Err(says("InvalidParameterException", words));
    }
    let code =
        text.lines().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')).unwrap_or_default();
    let names_them = language == "SQL" || code.trim_start().starts_with("SOURCE");
    if given != usize::from(!names_them) {
        let words = "Exactly one of logGroupName, logGroupNames, or logGroupIdentifiers must be specified";
        return Err(says("InvalidParameterException", words));
    }
    for member in ["logGroupNames", "logGroupIdentifiers"] {
        let all = input[member].as_array().cloned().unwrap_or_default();
        if all.len() > 50 {
            return refuse(400, "InvalidParameterException");
        }
        for name in &all {
            let of_account = |refusal: Refusal| match refusal.1.as_str() {
                "ResourceNotFoundException" => {
                    let name = name.as_str().unwrap();
                    says(&refusal.1, &format!("Log group '{name}' does not exist for account ID '{ACCOUNT}'"))
                }
                _ => refusal,
            };
            if class_of(state, name).map_err(of_account)? == "DELIVERY" {
                return Err(says("InvalidOperationException", "The log group class does not support queries."));
            }
        }
    }
    if input["endTime"].as_i64() < Some(1_700_000_000) {
        let words = "Query's end date and time is either before the log groups creation time or exceeds the log groups log \
                     retention settings";
        return Err(says("MalformedQueryException", words));
    }
    if text.contains("bad query") {
        return refuse(400, "MalformedQueryException");
    }
    let running = state.queries.values().filter(|query| RUNNING.contains(&query.states[0])).count();
    if running + state.others >= 100 {
        return refuse(400, "LimitExceededException");
    }
    let id = format!("query-{}", state.queries.len());
    state.queries.insert(id.clone(), Query { states: state.script.clone(), language });
    Ok(json!({ "queryId": id }))
}

fn results(state: &mut State, input: &Value) -> Result<Value, Refusal> {
    let (rows, more) = (state.rows, state.field.map(|(field, value)| json!({ "field": field, "value": value })));
    let Some(query) = state.queries.get_mut(input["queryId"].as_str().unwrap()) else {
        return refuse(400, "ResourceNotFoundException");
    };
    let is_paged = query.language == "CWLI";
    let language = query.language.clone();
    if input["maxItems"].as_i64().is_some_and(|most| !(1..=10_000).contains(&most))
        || (!is_paged && (!input["maxItems"].is_null() || !input["nextToken"].is_null()))
    {
        return refuse(400, "InvalidParameterException");
    }
    let status = query.states[0];
    if query.states.len() > 1 {
        query.states.remove(0);
    }
    let found = match status {
        "Scheduled" => 0,
        "Running" | "Unknown" | "Cancelled" => 1,
        _ => rows,
    };
    let all: Vec<Value> = (0..found)
        .map(|row| {
            let text = json!({ "field": "@message", "value": format!("row {row}") });
            let pointer = json!({ "field": "@ptr", "value": format!("pointer-{row}") });
            [text, pointer].into_iter().chain(more.clone()).collect()
        })
        .collect();
    let pattern = json!([
        { "field": "@pattern", "value": "oops <*>" }, { "field": "@sampleCount", "value": "7" },
        { "field": "@ratio", "value": "0.7" }, { "field": "@severityLabel", "value": "ERROR" },
    ]);
    let all = if state.patterns { vec![pattern] } else { all };
    let (rows, next) = if is_paged { page(&all, &input["nextToken"])? } else { (all, None) };
    let statistics = json!({ "recordsMatched": found, "recordsScanned": 10.0, "bytesScanned": 1_000.0 });
    Ok(json!({
        "status": status, "results": rows, "nextToken": next, "statistics": statistics, "queryLanguage": language,
    }))
}

fn in_milliseconds(input: &Value) -> Result<(i64, i64), Refusal> {
    let at = |name: &str, default: i64| input[name].as_i64().unwrap_or(default);
    let (from, to) = (at("startTime", NO_SECONDS), at("endTime", i64::MAX));
    if from < NO_SECONDS || to < NO_SECONDS { refuse(400, "InvalidParameterException") } else { Ok((from, to)) }
}

/// Pages without events come first; then events come by two.
fn filter(state: &mut State, input: &Value) -> Result<Value, Refusal> {
    readable(state, input, "FilterLogEvents")?;
    let (from, to) = in_milliseconds(input)?;
    if (input["startFromHead"] == false && from < 1_704_067_200_000)
        || input["limit"].as_i64().is_some_and(|limit| !(1..=10_000).contains(&limit))
    {
        return refuse(400, "InvalidParameterException");
    }
    let page_number: usize = match input["nextToken"].as_str() {
        None => 0,
        Some(token) => match token.strip_prefix("page-").and_then(|number| number.parse().ok()) {
            Some(number) => number,
            None => return refuse(400, "InvalidParameterException"),
        },
    };
    let pattern = input["filterPattern"].as_str().unwrap_or_default();
    if !pattern.starts_with(['"', '{', '[']) && pattern.contains(['-', '=']) {
        return Err(says("InvalidParameterException", "Invalid character(s) in term '-'"));
    }
    let streams = input["logStreamNames"].as_array();
    if streams.into_iter().flatten().any(|stream| stream.as_str().unwrap().contains([':', '*'])) {
        let words = "1 validation error detected: Value '[planted]' at 'logStreamNames' failed to satisfy constraint: \
                     Member must satisfy regular expression pattern: [^:*]*";
        return Err(says("InvalidParameterException", words));
    }
    let is_there = |stream: &Value| state.events.iter().any(|(_, one, _)| stream == one);
    if !streams.into_iter().flatten().all(is_there) {
        return Err(says("ResourceNotFoundException", "The specified log stream does not exist."));
    }
    let now = jiff::Timestamp::now().as_millisecond() + state.clock * 1_000;
    let mut found: Vec<Value> = state
        .events
        .iter()
        .enumerate()
        .filter(|(_, (at, stream, text))| {
            (from..=to).contains(at)
                && (state.comes)(*at, text) <= now
                && text.contains(pattern)
                && streams.is_none_or(|streams| streams.contains(&json!(stream)))
        })
        .map(|(id, (at, stream, text))| {
            json!({
                "timestamp": at, "logStreamName": stream, "message": text, "eventId": id.to_string(),
                "ingestionTime": (state.comes)(*at, text),
            })
        })
        .collect();
    if input["startFromHead"] == false && state.knows_order {
        found.reverse();
    }
    let skipped = page_number.saturating_sub(state.empty_pages) * 2;
    let count = if page_number < state.empty_pages { 0 } else { 2 };
    let events: Vec<Value> = found.iter().skip(skipped).take(count).cloned().collect();
    let more = page_number < state.empty_pages || found.len() > skipped + 2;
    Ok(json!({ "events": events, "nextToken": more.then(|| format!("page-{}", page_number + 1)) }))
}

/// One stream, all at once, after an empty page: reading back, most of all, begins with one. At the end the token is the one
/// that was sent.
fn events(state: &State, input: &Value) -> Result<Value, Refusal> {
    readable(state, input, "GetLogEvents")?;
    let (from, to) = in_milliseconds(input)?;
    let limit = usize::try_from(input["limit"].as_i64().unwrap_or(10_000)).unwrap();
    let is_onward = input["startFromHead"] == true;
    let side = if is_onward { 'f' } else { 'b' };
    let place = match input["nextToken"].as_str() {
        None => 0,
        Some(token) if token.starts_with("f/") && !is_onward => return refuse(400, "InvalidParameterException"),
        Some(token) => match token.split_once('/').map(|(_, number)| number.parse::<usize>()) {
            Some(Ok(place)) => place,
            _ => return Err(says("InvalidParameterException", "The specified nextToken is invalid.")),
        },
    };
    let mut found: Vec<Value> = state
        .events
        .iter()
        // The end itself is not part of it.
        .filter(|(at, stream, _)| (from..to).contains(at) && input["logStreamName"] == *stream)
        .map(|(at, _, text)| json!({ "timestamp": at, "message": text, "ingestionTime": at }))
        .collect();
    if !is_onward {
        found.reverse();
    }
    // The first page of each side is empty.
    let skipped = place.saturating_sub(1);
    let mut told: Vec<Value> =
        if place == 0 { Vec::new() } else { found.iter().skip(skipped).take(limit).cloned().collect() };
    let next = if place == 0 { 1 } else { place + told.len() };
    if !is_onward {
        told.reverse();
    }
    let (forward, backward) = if is_onward {
        (format!("{side}/{next}"), "b/1".to_owned())
    } else {
        ("f/1".to_owned(), format!("{side}/{next}"))
    };
    Ok(json!({ "events": told, "nextForwardToken": forward, "nextBackwardToken": backward }))
}
