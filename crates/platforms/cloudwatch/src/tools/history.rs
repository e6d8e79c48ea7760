//! What an alarm did, and why it does what it does now.

use std::sync::Arc;

use aws_sdk_cloudwatch::types::{AlarmHistoryItem, HistoryItemType, ScanBy};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Doing, Place, Window, alarms,
    alarms::{Alarm, Described, looked_at},
    cut,
    data::{self, Query, Series},
    int, read, rfc3339, sdk_time,
};
use crate::CloudWatch;
use kit::args::PageArgs;
use tools::{CallContext, TimeInput, ToolDeclaration, ToolEntry, ToolError};

/// Children of a composite alarm that are told.
const MOST_CHILDREN: usize = 10;
/// Points that are looked at around a change of state.
const POINTS_AROUND: usize = 60;
/// Time before and after a change of state in which its cause is likely to be seen.
const AROUND: SignedDuration = SignedDuration::from_mins(15);

const HISTORY: ToolDeclaration = ToolDeclaration::read(
    "get_cloudwatch_alarm_history",
    "Get an alarm's history",
    "Lists what an alarm did, newest first: changes of state with their reasons, actions, and changes of its definition. For \
     each change to ALARM it suggests a time in which to look at logs and metrics. CloudWatch keeps 30 days.",
);
const EXPLAIN: ToolDeclaration = ToolDeclaration::read(
    "explain_cloudwatch_alarm",
    "Explain an alarm",
    "Tells why an alarm is in its state: for one on metrics the points around its last change beside the threshold, for a \
     composite one the states of its children, for one on logs its query.",
);

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, HISTORY, history), read(cloudwatch, EXPLAIN, explain)]
}

/// What is told of a history.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Changes of state.
    StateUpdate,
    /// Actions that were carried out, or were not.
    Action,
    /// Changes of the definition.
    ConfigurationUpdate,
}

#[derive(Deserialize, JsonSchema)]
struct HistoryInput {
    /// Name of the alarm, exactly as it is.
    #[schemars(length(min = 1, max = 255))]
    name: String,
    /// Only entries of this kind. Defaults to all.
    #[serde(default)]
    kind: Option<Kind>,
    /// Beginning. Defaults to 24 hours before `until`.
    #[serde(default)]
    since: Option<TimeInput>,
    /// End. Defaults to now.
    #[serde(default)]
    until: Option<TimeInput>,
    #[serde(flatten)]
    page: PageArgs<50, 100>,
}

/// An alarm's history.
#[derive(Serialize, JsonSchema)]
struct History {
    /// The entries, newest first.
    items: Vec<Entry>,
    /// Times in which to look at logs and metrics, one for each change to ALARM among the entries.
    suggested_windows: Vec<Suggested>,
    /// Whether there are more.
    truncated: bool,
    /// Pass this as `cursor` to go on; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// An entry of a history.
#[derive(Serialize, JsonSchema)]
struct Entry {
    /// When.
    time: String,
    /// `StateUpdate`, `Action`, `ConfigurationUpdate`, or another kind of CloudWatch.
    kind: String,
    /// What, in CloudWatch's words.
    summary: String,
    /// State before.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// State after.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Why the state changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A stretch of time.
#[derive(Serialize, JsonSchema)]
struct Suggested {
    /// Beginning.
    since: String,
    /// End.
    until: String,
}

async fn history(cloudwatch: Arc<CloudWatch>, input: HistoryInput, context: CallContext) -> Result<History, ToolError> {
    const DOING: Doing = Doing::new("read the alarm's history", "cloudwatch:DescribeAlarmHistory");
    let limit = input.page.limit();
    let place = Place::of(input.page.cursor())?;
    let window = Window::new(input.since.as_ref(), input.until.as_ref(), SignedDuration::from_hours(24))?;
    let kind = input.kind.map(|kind| match kind {
        Kind::StateUpdate => HistoryItemType::StateUpdate,
        Kind::Action => HistoryItemType::Action,
        Kind::ConfigurationUpdate => HistoryItemType::ConfigurationUpdate,
    });
    let answer = cloudwatch
        .ask(DOING, &context, || {
            cloudwatch
                .session
                .metrics
                .describe_alarm_history()
                .alarm_name(&input.name)
                // Without types, only alarms on metrics have one.
                .set_alarm_types(Some(alarms::TYPES.to_vec()))
                .set_history_item_type(kind.clone())
                .start_date(sdk_time(window.from))
                .end_date(sdk_time(window.to))
                .scan_by(ScanBy::TimestampDescending)
                .max_records(int(limit))
                .set_next_token(place.token.clone())
                .send()
        })
        .await?;
    let entries: Vec<Entry> = answer.alarm_history_items().iter().map(entry).collect();
    let page = place.page(entries, answer.next_token.clone(), limit);
    let mut hints = page.hints;
    if page.items.is_empty() && !page.truncated {
        hints.push(
            "nothing happened in this time, or there is no alarm of this name: list_cloudwatch_alarms tells".to_owned(),
        );
    }
    let suggested_windows = page.items.iter().filter(|entry| entry.to.as_deref() == Some("ALARM")).filter_map(around);
    Ok(History {
        suggested_windows: suggested_windows.collect(),
        items: page.items,
        truncated: page.truncated,
        next_cursor: page.next_cursor,
        hints,
    })
}

fn entry(item: &AlarmHistoryItem) -> Entry {
    // JSON, whose form CloudWatch does not promise.
    let data: Value = item.history_data().and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
    let text = |path: &str| data.pointer(path).and_then(Value::as_str);
    Entry {
        time: item.timestamp().and_then(rfc3339).unwrap_or_default(),
        kind: item.history_item_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        summary: cut(item.history_summary().unwrap_or_default(), 500),
        from: text("/oldState/stateValue").map(str::to_owned),
        to: text("/newState/stateValue").map(str::to_owned),
        reason: text("/newState/stateReason").map(|reason| cut(reason, 500)),
    }
}

fn around(entry: &Entry) -> Option<Suggested> {
    let at: Timestamp = entry.time.parse().ok()?;
    let (since, until) = (at.checked_sub(AROUND).ok()?, at.checked_add(AROUND).ok()?);
    Some(Suggested { since: since.to_string(), until: until.to_string() })
}

#[derive(Deserialize, JsonSchema)]
struct ExplainInput {
    /// Name of the alarm, exactly as it is.
    #[schemars(length(min = 1, max = 255))]
    name: String,
}

/// Why an alarm is in its state.
#[derive(Serialize, JsonSchema)]
struct Explanation {
    /// The alarm.
    alarm: Alarm,
    /// How values are compared with the threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<String>,
    /// The threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    /// Points of its metrics around its last change of state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<Series>,
    /// The rule of a composite alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Its children, those in ALARM first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Alarm>,
    /// The query of an alarm on logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// What to look at next.
    hints: Vec<String>,
}

async fn explain(
    cloudwatch: Arc<CloudWatch>,
    input: ExplainInput,
    context: CallContext,
) -> Result<Explanation, ToolError> {
    let described = cloudwatch.fetch_alarm(&input.name, &context).await?;
    let mut told = Explanation {
        alarm: described.short(usize::MAX),
        comparison: None,
        threshold: None,
        series: Vec::new(),
        rule: None,
        children: Vec::new(),
        query: None,
        hints: Vec::new(),
    };
    match &described {
        Described::Metric(alarm) => {
            told.comparison = alarm.comparison_operator().map(|operator| operator.as_str().to_owned());
            told.threshold = alarm.threshold();
            let metrics = looked_at(alarm);
            let period = metrics.iter().find_map(|metric| metric.period_seconds).unwrap_or(60).max(60);
            let window = window_of(told.alarm.since.as_deref(), period);
            let queries: Vec<Query> = metrics.into_iter().map(alarms::AlarmMetric::into_query).collect();
            let period = u32::try_from(period).unwrap_or(60);
            told.series = data::fetch(&cloudwatch, &queries, window, period, &context).await?.series;
            told.hints.push(format!("the points are those from {} to {}", window.from, window.to));
            if told.series.iter().all(|one| one.points.is_empty()) {
                told.hints.push("there were no points: the alarm follows what missing data counts as".to_owned());
            }
        }
        Described::Composite(alarm) => {
            told.rule = alarm.alarm_rule().map(str::to_owned);
            let answer = cloudwatch
                .ask(alarms::DESCRIBE, &context, || {
                    let request = cloudwatch.session.metrics.describe_alarms().children_of_alarm_name(&input.name);
                    request.set_alarm_types(Some(alarms::TYPES.to_vec())).max_records(100).send()
                })
                .await?;
            let mut children: Vec<Alarm> = Described::all(&answer).iter().map(|child| child.short(300)).collect();
            children.sort_by_key(|child| child.state != "ALARM");
            if children.len() > MOST_CHILDREN || answer.next_token.is_some() {
                children.truncate(MOST_CHILDREN);
                told.hints.push("it has more children, which are not told".to_owned());
            }
            told.hints.push("explain_cloudwatch_alarm tells more of a child".to_owned());
            told.children = children;
        }
        Described::Log(alarm) => {
            told.query =
                alarm.scheduled_query_configuration().and_then(|query| query.query_string()).map(str::to_owned);
            told.threshold = alarm.threshold();
            told.hints.push("run its query with query_cloudwatch_logs to see the events".to_owned());
        }
    }
    Ok(told)
}

/// The time around a change of state, in periods; the last ones, if it is not known.
fn window_of(since: Option<&str>, period: i32) -> Window {
    let half = SignedDuration::from_secs(i64::from(period)) * int(POINTS_AROUND / 2);
    let now = Timestamp::now();
    let at = since.and_then(|since| since.parse().ok()).unwrap_or(now);
    let from = at.checked_sub(half).unwrap_or(at);
    Window { from, to: at.checked_add(half).unwrap_or(at).min(now) }
}
