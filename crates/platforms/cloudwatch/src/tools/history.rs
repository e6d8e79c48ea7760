//! What an alarm did, and why it does what it does now.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_cloudwatch::types::{
    AlarmContributor, AlarmHistoryItem, CompositeAlarm, HistoryItemType, MetricAlarm, ScanBy,
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use super::{
    AlarmsAsked, Doing, Place, Unseen, Window, alarms,
    alarms::{Alarm, Described, looked_at},
    cut,
    data::{self, Point, Query, Series},
    int,
    named::alarm_named,
    periods::settle,
    read, reading, rfc3339, sdk_time, whole,
};
use crate::CloudWatch;
use kit::args::{Moment, PageArgs};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError, page::fit};

/// Children of a composite alarm that are told.
const MOST_CHILDREN: usize = 10;
/// Points that are looked at around a change of state.
const POINTS_AROUND: usize = 60;
/// Series of an alarm in ALARM that are told.
const MOST_CONTRIBUTORS: usize = 50;
/// Time before and after a change of state in which its cause is likely to be seen.
const AROUND: SignedDuration = SignedDuration::from_mins(15);
/// Children of a composite alarm whose states are read.
const MOST_READ: usize = 500;
/// For how long CloudWatch keeps points, but for two hours of 455 days.
const POINTS_KEPT: SignedDuration = SignedDuration::from_hours(455 * 24 - 2);
/// For how long CloudWatch keeps what alarms did.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

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
     composite one the states of its children, for one on logs or PromQL its query.",
);

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, HISTORY, history), read(cloudwatch, EXPLAIN, explain)]
}

/// What is told of a history.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Changes of state, of the alarm and of its series.
    StateUpdate,
    /// Actions that were carried out, or were not.
    Action,
    /// Changes of the definition.
    ConfigurationUpdate,
}

impl Kind {
    /// Whether AWS' type of an entry is of this kind. Those of single series of an alarm are types of their own.
    fn has(self, type_: &HistoryItemType) -> bool {
        use HistoryItemType as Of;
        match self {
            Self::StateUpdate => matches!(type_, Of::StateUpdate | Of::AlarmContributorStateUpdate),
            Self::Action => matches!(type_, Of::Action | Of::AlarmContributorAction),
            Self::ConfigurationUpdate => matches!(type_, Of::ConfigurationUpdate),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct HistoryInput {
    /// Name of the alarm, exactly as it is; or its ARN, or the link of its page.
    #[schemars(length(min = 1, max = 2_048))]
    name: String,
    /// Only entries of this kind. Defaults to all.
    #[serde(default)]
    kind: Option<Kind>,
    /// Beginning. Defaults to 24 hours before `until`.
    #[serde(default)]
    since: Option<Moment>,
    /// End. Defaults to now.
    #[serde(default)]
    until: Option<Moment>,
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
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Entry {
    /// When.
    time: String,
    /// `StateUpdate`, `Action`, `ConfigurationUpdate`, or another kind of CloudWatch, as `AlarmContributorStateUpdate`.
    kind: String,
    /// Of an alarm with several series: the one that it is about, by its attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    contributor: BTreeMap<String, String>,
    /// What, in CloudWatch's words.
    summary: String,
    /// State before.
    from: Option<String>,
    /// State after.
    to: Option<String>,
    /// Why the state changed.
    reason: Option<String>,
}

/// A stretch of time.
#[derive(PartialEq, Eq, Serialize, JsonSchema)]
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
    let now = cloudwatch.now();
    let window = Window::new(input.since.as_ref(), input.until.as_ref(), SignedDuration::from_hours(24), now)?;
    let kind = input.kind;
    // A request takes one type, so where a kind has several all are read.
    let only = matches!(kind, Some(Kind::ConfigurationUpdate)).then_some(HistoryItemType::ConfigurationUpdate);
    let name = alarm_named(&input.name, "name", &cloudwatch.session.place)?;
    let unseen = Mutex::new(Unseen::default());
    let page = place
        .read(limit, &context, |token| {
            let (cloudwatch, context, name, only, unseen) = (&cloudwatch, &context, &name, &only, &unseen);
            async move {
                let answer = cloudwatch
                    // Without types, only alarms on metrics have one.
                    .ask_of_types(reading(context), AlarmsAsked::All, |types| {
                        cloudwatch
                            .session
                            .metrics
                            .describe_alarm_history()
                            .alarm_name(name)
                            .set_alarm_types(Some(types))
                            .set_history_item_type(only.clone())
                            .start_date(sdk_time(window.from))
                            .end_date(sdk_time(window.to))
                            .scan_by(ScanBy::TimestampDescending)
                            .max_records(100)
                            .set_next_token(token.clone())
                            .send()
                    })
                    .await;
                let is_further = token.is_some();
                let (answer, left_out) = answer.map_err(|failure| {
                    cloudwatch.failed(DOING, if is_further { failure.of_next_page() } else { failure })
                })?;
                *unseen.lock().unwrap_or_else(PoisonError::into_inner) = left_out;
                let is_wanted = |item: &&AlarmHistoryItem| {
                    kind.is_none_or(|kind| item.history_item_type().is_some_and(|type_| kind.has(type_)))
                };
                let entries: Vec<Entry> = answer.alarm_history_items().iter().filter(is_wanted).map(entry).collect();
                Ok((entries, answer.next_token))
            }
        })
        .await?;
    let mut hints = page.hints;
    if page.items.is_empty() {
        if page.next_cursor.is_some() {
            hints.push("nothing so far, and AWS has more: go on with next_cursor".to_owned());
        } else if !page.truncated {
            let none = if kind.is_some() {
                "no entry of this kind in this time: leave kind out to see whether there are others"
            } else {
                "AWS has no history of such an alarm in this time; it says the same of a name that no alarm has: \
                 list_cloudwatch_alarms tells the names"
            };
            hints.push(none.to_owned());
        }
        hints.extend(unseen.into_inner().unwrap_or_else(PoisonError::into_inner).hints());
    }
    if window.from < now - KEPT {
        hints.push("CloudWatch keeps what alarms did for 30 days, so what is older is not told".to_owned());
    }
    let to_alarm = page.items.iter().filter(|entry| entry.to.as_deref() == Some("ALARM"));
    let mut suggested_windows: Vec<Suggested> = to_alarm.filter_map(around).collect();
    suggested_windows.dedup();
    Ok(History {
        suggested_windows,
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
        contributor: attributes(item.alarm_contributor_attributes(), item.alarm_contributor_id()),
        time: item.timestamp().and_then(rfc3339).unwrap_or_default(),
        kind: item.history_item_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        summary: cut(item.history_summary().unwrap_or_default(), 500),
        from: text("/oldState/stateValue").map(str::to_owned),
        to: text("/newState/stateValue").map(str::to_owned),
        reason: text("/newState/stateReason").map(|reason| cut(reason, 500)),
    }
}

/// What tells one series of an alarm from the others.
fn attributes(given: Option<&HashMap<String, String>>, id: Option<&str>) -> BTreeMap<String, String> {
    let given = given.into_iter().flatten();
    let mut told: BTreeMap<String, String> = given.map(|(name, of)| (name.clone(), cut(of, 255))).collect();
    if let Some(id) = id.filter(|_| told.is_empty()) {
        told.insert("id".to_owned(), id.to_owned());
    }
    told
}

fn around(entry: &Entry) -> Option<Suggested> {
    let at: Timestamp = entry.time.parse().ok()?;
    let (since, until) = (at.checked_sub(AROUND).ok()?, at.checked_add(AROUND).ok()?);
    Some(Suggested { since: since.to_string(), until: until.to_string() })
}

#[derive(Deserialize, JsonSchema)]
struct ExplainInput {
    /// Name of the alarm, exactly as it is; or its ARN, or the link of its page.
    #[schemars(length(min = 1, max = 2_048))]
    name: String,
}

/// Why an alarm is in its state.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Explanation {
    /// The alarm.
    alarm: Alarm,
    /// How values are compared with the threshold.
    comparison: Option<String>,
    /// The threshold.
    threshold: Option<f64>,
    /// Id of the series that is the threshold instead, as the band of an anomaly alarm.
    threshold_metric: Option<String>,
    /// Of an alarm with several series: those that are in ALARM now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contributors: Vec<Contributor>,
    /// Points of its metrics around its last change of state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<Series>,
    /// The rule of a composite alarm.
    rule: Option<String>,
    /// Its children, those in ALARM first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Alarm>,
    /// The query of an alarm on logs, or of one on PromQL.
    query: Option<String>,
    /// Log groups of the query.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    /// What to look at next.
    hints: Vec<String>,
}

/// A series of an alarm that is in ALARM.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Contributor {
    /// Which one, by its attributes.
    attributes: BTreeMap<String, String>,
    /// Since when.
    since: Option<String>,
    /// Why, as CloudWatch says.
    reason: Option<String>,
}

impl Contributor {
    fn of(one: &AlarmContributor) -> Self {
        Self {
            attributes: attributes(one.contributor_attributes(), one.contributor_id()),
            since: one.state_transitioned_timestamp().and_then(rfc3339),
            reason: one.state_reason().map(|reason| cut(reason, 300)),
        }
    }
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
        threshold_metric: None,
        contributors: Vec::new(),
        series: Vec::new(),
        rule: None,
        children: Vec::new(),
        query: None,
        groups: Vec::new(),
        hints: alarms::caveats(&described, cloudwatch.now()),
    };
    match &described {
        Described::Metric(alarm) => {
            if alarms::has_contributors(alarm) {
                tell_contributors(&cloudwatch, described.name(), &mut told, &context).await;
            }
            explain_metric(&cloudwatch, alarm, &mut told, &context).await;
        }
        Described::Composite(alarm) => explain_composite(&cloudwatch, alarm, &mut told, &context).await?,
        Described::Log(alarm) => {
            told.query =
                alarm.scheduled_query_configuration().and_then(|query| query.query_string()).map(str::to_owned);
            told.groups = alarms::groups_of(alarm);
            told.threshold = alarm.threshold();
            told.hints.push("run its query with query_cloudwatch_logs to see the events".to_owned());
        }
    }
    if let Some(state) = &told.alarm.evaluation_state {
        told.hints.push(format!("AWS can't evaluate it well ({state}): its state may be that of an earlier time"));
    }
    Ok(told)
}

/// Tells which series of an alarm are in ALARM.
async fn tell_contributors(cloudwatch: &CloudWatch, name: &str, told: &mut Explanation, context: &CallContext) {
    const DOING: Doing =
        Doing::new("read which series of the alarm are in ALARM", "cloudwatch:DescribeAlarmContributors");
    let found = whole(MOST_CONTRIBUTORS, |token| async move {
        let request = |token| {
            cloudwatch.session.metrics.describe_alarm_contributors().alarm_name(name).set_next_token(token).send()
        };
        let answer = cloudwatch.ask_page(DOING, context, token, request).await?;
        Ok((answer.alarm_contributors.unwrap_or_default(), answer.next_token))
    });
    match found.await {
        Ok(found) => {
            told.contributors = found.entries.iter().map(Contributor::of).collect();
            if found.cut {
                told.hints.push(format!("there are more series in ALARM than these {}", found.entries.len()));
            }
        }
        Err(error) => told.hints.push(format!("which of its series are in ALARM is not known: {}", error.message)),
    }
}

/// What an alarm on metrics looked at when its state changed. Points that can't be read are no reason to tell nothing.
async fn explain_metric(cloudwatch: &CloudWatch, alarm: &MetricAlarm, told: &mut Explanation, context: &CallContext) {
    told.comparison = alarm.comparison_operator().map(|operator| operator.as_str().to_owned());
    told.threshold = alarm.threshold();
    told.threshold_metric = alarm.threshold_metric_id().map(str::to_owned);
    if let Some(query) = alarms::promql(alarm) {
        told.query = Some(query.to_owned());
        told.hints.push(
            "it looks at PromQL, whose series this connector does not read; the reason tells the values".to_owned(),
        );
        return;
    }
    let metrics = looked_at(alarm);
    if metrics.is_empty() {
        told.hints.extend(alarms::of_another_kind(alarm).map(str::to_owned));
        return;
    }
    let mut queries: Vec<Query> = metrics.into_iter().map(alarms::AlarmMetric::into_query).collect();
    // What an expression doesn't say is the longest of what it is about.
    let mut longest = queries.iter().filter_map(|query| query.period).max().unwrap_or(60);
    let own: Vec<u32> = queries.iter().map(|query| query.period.unwrap_or(longest)).collect();
    let now = cloudwatch.now();
    let changed = told.alarm.since.as_deref().and_then(|since| since.parse().ok()).unwrap_or(now);
    // The points that an alarm saw are kept for a while only; then there are longer ones.
    let (window, periods) = loop {
        let mut periods = own.clone();
        match settle(around_change(changed, longest, now), &mut periods, now) {
            (window, reached) if reached <= longest => break (window, periods),
            (_, longer) => longest = longer,
        }
    };
    told.hints.push(format!("the points are those from {} to {}", window.from, window.to));
    if let Some((own, period)) = own.iter().zip(&periods).find(|(own, period)| own != period) {
        told.hints.push(format!(
            "its period is {own} s, and AWS keeps such points for a while only: each of these stands for {period} s, so what \
             the alarm saw may have been higher or lower"
        ));
    }
    for (query, period) in queries.iter_mut().zip(periods) {
        query.period = Some(period);
    }
    match data::fetch(cloudwatch, &queries, window, longest, context).await {
        Ok(read) => {
            told.hints.extend(read.hints);
            if read.is_whole && read.series.iter().all(|one| one.points.is_empty()) {
                told.hints.push("AWS has no points in this time; the reason tells what the alarm saw".to_owned());
            }
            tell_series(read.series, changed, told, context);
        }
        Err(error) => told.hints.push(format!("its points are not known: {}", error.message)),
    }
}

/// Tells the points next to the change of state, of as many series as an answer has room for: those first that crossed the
/// threshold.
fn tell_series(mut series: Vec<Series>, changed: Timestamp, told: &mut Explanation, context: &CallContext) {
    for one in &mut series {
        let after = one.points.partition_point(|point| point.second < changed.as_second());
        one.points.drain(..after.saturating_sub(POINTS_AROUND / 2));
        one.points.truncate(POINTS_AROUND + 1);
    }
    let used = serde_json::to_vec(&*told).map_or(0, |text| text.len());
    let room = context.max_result_bytes.saturating_sub(used + 2_048);
    let (all, (kept, cut)) = (series.len(), fit(series.clone(), room));
    if !cut {
        told.series = kept;
        return;
    }
    let crosses = crossing(told.comparison.as_deref().unwrap_or_default(), told.threshold);
    series.sort_by_key(|one| !one.points.iter().any(&crosses));
    told.series = fit(series, room).0;
    told.hints.push(format!(
        "it looks at {all} series, of which these {} are told, those first with points across the threshold: \
         get_cloudwatch_metric_data with its query and a small max_points tells all",
        told.series.len()
    ));
}

/// Whether a point lies across a threshold, by the name of the comparison; nothing does where there is none.
fn crossing(comparison: &str, threshold: Option<f64>) -> impl Fn(&Point) -> bool {
    let (is_upper, or_equal) = (comparison.starts_with("GreaterThan"), comparison.contains("OrEqualTo"));
    move |point| {
        threshold.is_some_and(|threshold| match point.value.total_cmp(&threshold) {
            Ordering::Equal => or_equal,
            Ordering::Greater => is_upper,
            Ordering::Less => !is_upper,
        })
    }
}

/// The states of a composite alarm's children, those in ALARM first. AWS tells little of children, so more of the first ones is
/// read by name.
async fn explain_composite(
    cloudwatch: &CloudWatch,
    alarm: &CompositeAlarm,
    told: &mut Explanation,
    context: &CallContext,
) -> Result<(), ToolError> {
    let name = alarm.alarm_name().unwrap_or_default();
    told.rule = alarm.alarm_rule().map(str::to_owned);
    let found = whole(MOST_READ, |token| async move {
        let answer = cloudwatch
            .ask_page(alarms::DESCRIBE, context, token, |token| {
                // Nothing else may be said beside it but where the page begins.
                let request = cloudwatch.session.metrics.describe_alarms().children_of_alarm_name(name);
                request.max_records(100).set_next_token(token).send()
            })
            .await?;
        Ok((Described::all(&answer), answer.next_token))
    })
    .await?;
    let mut children: Vec<Alarm> = found.entries.iter().map(|child| child.short(300)).collect();
    children.sort_by_key(|child| child.state != "ALARM");
    if found.cut {
        told.hints.push(format!("it has more than {MOST_READ} children, of which these are some"));
    } else if children.len() > MOST_CHILDREN {
        told.hints.push(format!("it has {} children, of which these are the first", children.len()));
    }
    children.truncate(MOST_CHILDREN);
    let names: Vec<String> = children.iter().map(|child| child.name.clone()).collect();
    if !names.is_empty() {
        match cloudwatch.fetch_alarms(&names, context).await {
            Ok(fetched) => {
                for child in &mut children {
                    if let Some(whole) = fetched.alarms.iter().find(|one| one.name() == child.name) {
                        *child = whole.short(300);
                    }
                }
            }
            Err(error) => told.hints.push(format!("only the states of its children are known: {}", error.message)),
        }
        told.hints.push("explain_cloudwatch_alarm tells more of a child".to_owned());
    }
    if let (Some(by), Some(suppressor)) = (&told.alarm.suppressed_by, alarm.actions_suppressor()) {
        told.hints.push(format!("its actions are kept back now ({by}) by {suppressor}"));
    }
    told.children = children;
    Ok(())
}

/// The time around a change of state, in periods, as far as AWS keeps points.
fn around_change(at: Timestamp, period: u32, now: Timestamp) -> Window {
    let half = SignedDuration::from_secs(i64::from(period)) * int(POINTS_AROUND / 2);
    let (from, kept) = (at.checked_sub(half).unwrap_or(at), now - POINTS_KEPT);
    Window { from: if at > kept { from.max(kept) } else { from }, to: at.checked_add(half).unwrap_or(at).min(now) }
}
