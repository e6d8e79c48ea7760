//! Alarms of all three types: which there are, and how one is defined.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_cloudwatch::{
    operation::describe_alarms::DescribeAlarmsOutput,
    types::{
        AlarmMuteRuleStatus, AlarmType, CompositeAlarm, EvaluationCriteria, EvaluationState, EvaluationWindow,
        LogAlarm, MetricAlarm, MetricStat, StandardUnit, StateValue, WarmUpConfiguration,
    },
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    AlarmsAsked, Dimensions, Doing, Place, Unseen, cut,
    data::{Query, begins_with_select},
    dimensions, hinted, int,
    named::alarm_named,
    read, reading, rfc3339,
    rules::MOST_RULES,
    whole,
};
use crate::CloudWatch;
use kit::args::PageArgs;
use tools::{CallContext, ErrorCode, Page, ToolDeclaration, ToolEntry, ToolError};

/// Characters of a state's reason in a list.
const REASON_IN_LIST: usize = 500;

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_cloudwatch_alarms",
    "List alarms",
    "Lists alarms of all types (on metrics, on queries of logs, and composite ones) with state, since when, and whether their \
     actions are on. With state ALARM it tells what is wrong now.",
)
.polled();
const GET: ToolDeclaration = ToolDeclaration::read(
    "get_cloudwatch_alarm",
    "Get an alarm",
    "Reads one alarm of any type: its state and why, what it looks at, thresholds, actions, and the mute rules that concern \
     it now or later.",
);

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, LIST, list), read(cloudwatch, GET, get)]
}

pub(super) const DESCRIBE: Doing = Doing::new("read alarms", "cloudwatch:DescribeAlarms");

/// State of an alarm.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema, Debug, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum State {
    /// All is well.
    Ok,
    /// The threshold is crossed.
    Alarm,
    /// There are too few points to tell.
    InsufficientData,
}

impl State {
    pub(super) fn sdk(self) -> StateValue {
        match self {
            Self::Ok => StateValue::Ok,
            Self::Alarm => StateValue::Alarm,
            Self::InsufficientData => StateValue::InsufficientData,
        }
    }
}

/// Type of an alarm.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Type {
    /// On metrics.
    Metric,
    /// On other alarms.
    Composite,
    /// On queries of logs.
    Log,
}

impl Type {
    const fn sdk(self) -> AlarmType {
        match self {
            Self::Metric => AlarmType::MetricAlarm,
            Self::Composite => AlarmType::CompositeAlarm,
            Self::Log => AlarmType::LogAlarm,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// State.
    #[serde(default)]
    state: Option<State>,
    /// Beginning of the name.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    prefix: Option<String>,
    /// Types. Defaults to all.
    #[serde(default)]
    #[schemars(length(min = 1, max = 3))]
    types: Option<Vec<Type>>,
    /// Beginning of the ARN of an action, such as a topic that is told.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1_024))]
    action_prefix: Option<String>,
    #[serde(flatten)]
    page: PageArgs<50, 100>,
}

/// An alarm, in short.
#[skip_serializing_none]
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct Alarm {
    /// Name.
    pub(super) name: String,
    /// Type: `metric`, `composite` or `log`.
    #[serde(rename = "type")]
    pub(super) type_: &'static str,
    /// State: `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub(super) state: String,
    /// Why it is in this state, as CloudWatch says.
    pub(super) reason: Option<String>,
    /// Since when it is in this state.
    pub(super) since: Option<String>,
    /// Whether changes of state cause actions; absent if AWS does not say.
    pub(super) actions_enabled: Option<bool>,
    /// Why it can't be evaluated well: `EVALUATION_ERROR`, when its definition is wrong; `EVALUATION_FAILURE`, when AWS has
    /// trouble; `PARTIAL_DATA`. Absent if it can.
    pub(super) evaluation_state: Option<String>,
    /// Who keeps the actions of a composite alarm back now: `WaitPeriod`, `ExtensionPeriod` or `Alarm`.
    pub(super) suppressed_by: Option<String>,
}

/// An alarm as AWS has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Described {
    Metric(Box<MetricAlarm>),
    Composite(Box<CompositeAlarm>),
    Log(Box<LogAlarm>),
}

impl Described {
    pub(super) fn all(answer: &DescribeAlarmsOutput) -> Vec<Self> {
        let metric = answer.metric_alarms().iter().cloned().map(|alarm| Self::Metric(Box::new(alarm)));
        let composite = answer.composite_alarms().iter().cloned().map(|alarm| Self::Composite(Box::new(alarm)));
        let log = answer.log_alarms().iter().cloned().map(|alarm| Self::Log(Box::new(alarm)));
        metric.chain(composite).chain(log).collect()
    }

    /// ARNs of what follows when it goes to a state.
    pub(super) fn actions(&self, state: State) -> &[String] {
        /// The three types have the same fields.
        macro_rules! actions {
            ($alarm:expr) => {
                match state {
                    State::Ok => $alarm.ok_actions(),
                    State::Alarm => $alarm.alarm_actions(),
                    State::InsufficientData => $alarm.insufficient_data_actions(),
                }
            };
        }
        match self {
            Self::Metric(alarm) => actions!(alarm),
            Self::Composite(alarm) => actions!(alarm),
            Self::Log(alarm) => actions!(alarm),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Metric(alarm) => alarm.alarm_name(),
            Self::Composite(alarm) => alarm.alarm_name(),
            Self::Log(alarm) => alarm.alarm_name(),
        }
        .unwrap_or_default()
    }

    /// The alarm in short.
    pub(super) fn short(&self, reason_characters: usize) -> Alarm {
        /// The three types have the same fields.
        macro_rules! short {
            ($alarm:expr, $type_:literal) => {
                Alarm {
                    name: $alarm.alarm_name().unwrap_or_default().to_owned(),
                    type_: $type_,
                    state: $alarm.state_value().map(StateValue::as_str).unwrap_or_default().to_owned(),
                    reason: $alarm.state_reason().map(|reason| cut(reason, reason_characters)),
                    since: $alarm.state_transitioned_timestamp().or($alarm.state_updated_timestamp()).and_then(rfc3339),
                    actions_enabled: $alarm.actions_enabled(),
                    evaluation_state: None,
                    suppressed_by: None,
                }
            };
        }
        let evaluation = |state: Option<&EvaluationState>| state.map(|state| state.as_str().to_owned());
        match self {
            Self::Metric(alarm) => {
                Alarm { evaluation_state: evaluation(alarm.evaluation_state()), ..short!(alarm, "metric") }
            }
            Self::Composite(alarm) => Alarm {
                suppressed_by: alarm.actions_suppressed_by().map(|by| by.as_str().to_owned()),
                ..short!(alarm, "composite")
            },
            Self::Log(alarm) => {
                Alarm { evaluation_state: evaluation(alarm.evaluation_state()), ..short!(alarm, "log") }
            }
        }
    }
}

async fn list(cloudwatch: Arc<CloudWatch>, input: ListInput, context: CallContext) -> Result<Page<Alarm>, ToolError> {
    let limit = input.page.limit();
    let place = Place::of(input.page.cursor())?;
    let asked = match &input.types {
        None => AlarmsAsked::All,
        Some(types) => AlarmsAsked::These(types.iter().map(|one| one.sdk()).collect()),
    };
    let unseen = Mutex::new(Unseen::default());
    let page = place
        .read(limit, &context, |token| {
            let (cloudwatch, asked, input, context) = (&cloudwatch, asked.clone(), &input, &context);
            let unseen = &unseen;
            async move {
                let answer = cloudwatch
                    .ask_of_types(reading(context), asked, |types| {
                        cloudwatch
                            .session
                            .metrics
                            .describe_alarms()
                            .set_alarm_types(Some(types))
                            .set_state_value(input.state.map(State::sdk))
                            .set_alarm_name_prefix(input.prefix.clone())
                            .set_action_prefix(input.action_prefix.clone())
                            .set_next_token(token.clone())
                            .max_records(int(limit))
                            .send()
                    })
                    .await;
                let is_further = token.is_some();
                let (answer, left_out) = answer.map_err(|failure| {
                    cloudwatch.failed(DESCRIBE, if is_further { failure.of_next_page() } else { failure })
                })?;
                *unseen.lock().unwrap_or_else(PoisonError::into_inner) = left_out;
                let found = Described::all(&answer).iter().map(|alarm| alarm.short(REASON_IN_LIST)).collect();
                Ok((found, answer.next_token))
            }
        })
        .await?;
    let unseen = unseen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut page = hinted(page, "no alarm matches: leave out the prefix or the state; this connector sees one region");
    page.hints.extend(unseen.hints());
    Ok(page)
}

#[derive(Deserialize, JsonSchema)]
struct GetInput {
    /// Name of the alarm, exactly as it is; or its ARN, or the link of its page.
    #[schemars(length(min = 1, max = 2_048))]
    name: String,
}

/// An alarm.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct AlarmDefinition {
    /// State, and why.
    #[serde(flatten)]
    alarm: Alarm,
    /// ARN.
    arn: Option<String>,
    /// What people wrote about it. Untrusted text.
    description: Option<String>,
    /// What an alarm on metrics looks at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<AlarmMetric>,
    /// The rule of a composite alarm.
    rule: Option<String>,
    /// The alarm that keeps the actions of a composite alarm back while it is in ALARM.
    suppressor: Option<String>,
    /// The query of an alarm on logs, or of one on PromQL.
    query: Option<String>,
    /// `insights` or `promql`.
    query_language: Option<&'static str>,
    /// Log groups of the query.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    /// What of the query's rows is compared with the threshold.
    aggregation: Option<String>,
    /// How values are compared with the threshold.
    comparison: Option<String>,
    /// The threshold.
    threshold: Option<f64>,
    /// Id of the one of `metrics` that is the threshold instead, as the band of an anomaly alarm.
    threshold_metric: Option<String>,
    /// Periods that are looked at, and how many of them must cross the threshold.
    evaluation: Option<String>,
    /// What missing points count as: `missing`, `notBreaching`, `breaching` or `ignore`.
    missing_data: Option<String>,
    /// ARNs of the actions on `ALARM`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alarm_actions: Vec<String>,
    /// ARNs of the actions on `OK`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ok_actions: Vec<String>,
    /// ARNs of the actions on `INSUFFICIENT_DATA`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    insufficient_data_actions: Vec<String>,
    /// Names of the mute rules that concern it and have not ended; absent if they could not be read.
    muted_by: Option<Vec<String>>,
    /// What to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// What an alarm on metrics looks at.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct AlarmMetric {
    /// Id, where there are several.
    id: Option<String>,
    /// Namespace.
    namespace: Option<String>,
    /// Name of the metric.
    metric: Option<String>,
    /// Dimensions.
    dimensions: Dimensions,
    /// Statistic.
    stat: Option<String>,
    /// Seconds that a point stands for.
    period_seconds: Option<i32>,
    /// Expression over other ids.
    expression: Option<String>,
    /// The account that the metric belongs to, if it is another one.
    account: Option<String>,
    /// The unit, where only points of one unit are looked at.
    unit: Option<String>,
}

/// Alarms that were asked for by name.
pub(super) struct Fetched {
    pub(super) alarms: Vec<Described>,
    /// Types of which AWS told none.
    unseen: Unseen,
    /// Whether AWS came to no end.
    cut: bool,
}

impl CloudWatch {
    /// The alarms of these names that there are.
    pub(super) async fn fetch_alarms(&self, names: &[String], context: &CallContext) -> Result<Fetched, ToolError> {
        let unseen = Mutex::new(Unseen::default());
        let found = whole(usize::MAX, |token| {
            let unseen = &unseen;
            async move {
                let asked = self.ask_of_types(reading(context), AlarmsAsked::All, |types| {
                    let request = self.session.metrics.describe_alarms().set_alarm_names(Some(names.to_vec()));
                    request.set_alarm_types(Some(types)).set_next_token(token.clone()).max_records(100).send()
                });
                let (answer, left_out) = asked.await.map_err(|failure| self.failed(DESCRIBE, failure))?;
                *unseen.lock().unwrap_or_else(PoisonError::into_inner) = left_out;
                Ok((Described::all(&answer), answer.next_token))
            }
        })
        .await?;
        let unseen = unseen.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Fetched { alarms: found.entries, unseen, cut: found.cut })
    }

    /// What is told of alarms that were not found: that there are none is only known if all types were looked at.
    pub(super) fn no_alarms(&self, fetched: &Fetched, names: &[&str], argument: &str) -> ToolError {
        let place = &self.session.place;
        let which = if names.len() == 1 { "is no alarm" } else { "are no alarms" };
        let none = format!("there {which} {} in {place}", names.join(", "));
        let remedy = "list_cloudwatch_alarms tells the names; capitals matter";
        let told = if fetched.cut {
            let message = format!("whether there are alarms {} is not known: AWS came to no end", names.join(", "));
            ToolError::new(ErrorCode::PlatformError, message).with_remedy("ask for fewer at a time")
        } else if fetched.unseen.composite {
            let message = format!("{none} that can be read, and composite alarms can't be read");
            let needs = "composite ones need cloudwatch:DescribeAlarms on all resources (*); of the others, ";
            ToolError::new(ErrorCode::PermissionDenied, message).with_remedy(format!("{needs}{remedy}"))
        } else {
            ToolError::new(ErrorCode::NotFound, none).with_remedy(remedy)
        };
        told.with_argument(argument)
    }

    /// The alarm of this name, which may be its ARN or a link.
    pub(super) async fn fetch_alarm(&self, name: &str, context: &CallContext) -> Result<Described, ToolError> {
        let name = alarm_named(name, "name", &self.session.place)?;
        let fetched = self.fetch_alarms(std::slice::from_ref(&name), context).await?;
        let missing = || self.no_alarms(&fetched, &[&name], "name");
        fetched.alarms.iter().find(|alarm| alarm.name() == name).cloned().ok_or_else(missing)
    }
}

async fn get(cloudwatch: Arc<CloudWatch>, input: GetInput, context: CallContext) -> Result<AlarmDefinition, ToolError> {
    let described = cloudwatch.fetch_alarm(&input.name, &context).await?;
    let mut definition = define(&described);
    definition.hints.extend(caveats(&described, cloudwatch.now()));
    if definition.alarm.actions_enabled == Some(true) && described.actions(State::Alarm).is_empty() {
        definition.hints.push(
            "it has no actions of its own for ALARM; rules of EventBridge and composite alarms may act on it all the \
             same"
                .to_owned(),
        );
    }
    let counting = vec![AlarmMuteRuleStatus::Scheduled, AlarmMuteRuleStatus::Active];
    match cloudwatch.rules_of(described.name(), &counting, &context).await {
        Ok(rules) => {
            if rules.cut {
                definition.hints.push(format!("more than {MOST_RULES} mute rules concern it: muted_by has some"));
            }
            definition.muted_by = Some(rules.entries);
        }
        Err(error) => definition.hints.push(format!("mute rules are not known: {}", error.message)),
    }
    Ok(definition)
}

/// The name at the end of a mute rule's ARN: `arn:aws:cloudwatch:eu-central-1:123456789012:alarm-mute-rule:NAME`.
pub(super) fn rule_name(arn: &str) -> Option<&str> {
    arn.splitn(7, ':').nth(6)
}

fn define(described: &Described) -> AlarmDefinition {
    let alarm = described.short(usize::MAX);
    let empty = AlarmDefinition {
        alarm,
        arn: None,
        description: None,
        metrics: Vec::new(),
        rule: None,
        suppressor: None,
        query: None,
        query_language: None,
        groups: Vec::new(),
        aggregation: None,
        comparison: None,
        threshold: None,
        threshold_metric: None,
        evaluation: None,
        missing_data: None,
        alarm_actions: Vec::new(),
        ok_actions: Vec::new(),
        insufficient_data_actions: Vec::new(),
        muted_by: None,
        hints: Vec::new(),
    };
    /// The three types have these fields in common.
    macro_rules! common {
        ($of:expr) => {
            AlarmDefinition {
                arn: $of.alarm_arn().map(str::to_owned),
                description: $of.alarm_description().map(str::to_owned),
                alarm_actions: $of.alarm_actions().to_vec(),
                ok_actions: $of.ok_actions().to_vec(),
                insufficient_data_actions: $of.insufficient_data_actions().to_vec(),
                ..empty
            }
        };
    }
    match described {
        Described::Composite(of) => AlarmDefinition {
            rule: of.alarm_rule().map(str::to_owned),
            suppressor: of.actions_suppressor().map(str::to_owned),
            ..common!(of)
        },
        Described::Metric(of) => AlarmDefinition {
            metrics: looked_at(of),
            query: promql(of).map(str::to_owned),
            query_language: promql(of).map(|_| "promql"),
            threshold_metric: of.threshold_metric_id().map(str::to_owned),
            hints: of_another_kind(of).map(str::to_owned).into_iter().collect(),
            comparison: of.comparison_operator().map(|operator| operator.as_str().to_owned()),
            threshold: of.threshold(),
            evaluation: of
                .evaluation_periods()
                .map(|periods| format!("{} of {periods} periods", of.datapoints_to_alarm().unwrap_or(periods)))
                .or_else(|| of.evaluation_interval().map(|seconds| format!("every {seconds} s"))),
            missing_data: of.treat_missing_data().map(str::to_owned),
            ..common!(of)
        },
        Described::Log(of) => AlarmDefinition {
            query: of.scheduled_query_configuration().and_then(|query| query.query_string()).map(str::to_owned),
            query_language: of.scheduled_query_configuration().map(|_| "insights"),
            groups: groups_of(of),
            aggregation: of
                .scheduled_query_configuration()
                .and_then(|query| query.aggregation_expression())
                .map(str::to_owned),
            comparison: of.comparison_operator().map(|operator| operator.as_str().to_owned()),
            threshold: of.threshold(),
            evaluation: of
                .query_results_to_evaluate()
                .map(|results| format!("{} of {results} results", of.query_results_to_alarm().unwrap_or(results))),
            missing_data: of.treat_missing_data().map(str::to_owned),
            ..common!(of)
        },
    }
}

/// What decides over an alarm's state and actions beside its points and its threshold.
pub(super) fn caveats(described: &Described, now: Timestamp) -> Vec<String> {
    /// The two types have the same fields.
    macro_rules! warm_up {
        ($of:expr) => {
            ($of.warm_up_configuration(), $of.alarm_configuration_updated_timestamp(), $of.state_value())
        };
    }
    let (warm_up, changed, state) = match described {
        Described::Metric(of) => warm_up!(of),
        Described::Log(of) => warm_up!(of),
        Described::Composite(_) => return Vec::new(),
    };
    let mut told: Vec<String> = warm_up
        .filter(|_| state == Some(&StateValue::InsufficientData))
        .and_then(|warm_up| warms_up(warm_up, changed.and_then(|at| Timestamp::from_second(at.secs()).ok()), now))
        .into_iter()
        .collect();
    let Described::Metric(of) = described else { return told };
    let units: BTreeSet<String> = looked_at(of).into_iter().filter_map(|metric| metric.unit).collect();
    told.extend(units.iter().map(|unit| {
        format!(
            "only points that were sent with the unit {unit} count, and AWS converts none: without any there is no data"
        )
    }));
    if of.evaluate_low_sample_count_percentile() == Some("ignore") {
        told.push(
            "periods with too few samples for its percentile do not change its state, whatever their points are \
             (EvaluateLowSampleCountPercentile)"
                .to_owned(),
        );
    }
    if let Some(EvaluationWindow::WallClockWindow(window)) = of.evaluation_window()
        && let Some(zone) = window.timezone().filter(|zone| *zone != "UTC")
    {
        told.push(format!("it looks at whole periods of the clock in {zone}: points here are of periods in UTC"));
    }
    told
}

/// What is said of an alarm without a state yet, as long as it may be because it warms up.
fn warms_up(warm_up: &WarmUpConfiguration, changed: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let minutes = warm_up.warm_up_period_duration_in_minutes()?;
    let until = changed.and_then(|at| at.checked_add(SignedDuration::from_mins(minutes.into())).ok());
    if until.is_some_and(|until| until <= now) {
        return None;
    }
    let until = until.map(|until| format!(", so until {until} at most")).unwrap_or_default();
    let or_data = match warm_up.only_start_evaluating_after_warm_up_period_ends() {
        Some(true) => "",
        _ => ", or until there is enough data",
    };
    Some(format!(
        "it may be warming up, for {minutes} minutes after it was made or changed{until}{or_data}: meanwhile it \
         carries no actions out"
    ))
}

/// Whether an alarm has a state for each of several series, of which AWS tells those in ALARM.
pub(super) fn has_contributors(of: &MetricAlarm) -> bool {
    let groups = |text: &str| begins_with_select(text) && text.to_ascii_uppercase().contains("GROUP BY");
    promql(of).is_some() || of.metrics().iter().filter_map(|query| query.expression()).any(groups)
}

/// The query of an alarm on PromQL.
pub(super) fn promql(of: &MetricAlarm) -> Option<&str> {
    match of.evaluation_criteria() {
        Some(EvaluationCriteria::PromQlCriteria(criteria)) => criteria.query(),
        _ => None,
    }
}

/// What is said of an alarm that looks at something which this version doesn't know.
pub(super) fn of_another_kind(of: &MetricAlarm) -> Option<&'static str> {
    let is_known = of.metric_name().is_some() || !of.metrics().is_empty() || promql(of).is_some();
    (!is_known)
        .then_some("what it looks at is not told: AWS does not say it, or in a way that this version does not know")
}

/// Log groups that an alarm on logs queries.
pub(super) fn groups_of(of: &LogAlarm) -> Vec<String> {
    let configuration = of.scheduled_query_configuration();
    configuration.map(|query| query.log_group_identifiers().to_vec()).unwrap_or_default()
}

impl AlarmMetric {
    /// The query that reads what the alarm looks at.
    pub(super) fn into_query(self) -> Query {
        let Self { id, namespace, metric, dimensions, stat, period_seconds, expression, account, unit } = self;
        let period = period_seconds.and_then(|period| u32::try_from(period).ok()).filter(|period| *period > 0);
        Query {
            id,
            namespace,
            metric,
            dimensions,
            stat,
            expression,
            label: None,
            answered: None,
            account,
            unit: unit.as_deref().map(StandardUnit::from),
            period,
        }
    }
}

pub(super) fn looked_at(of: &MetricAlarm) -> Vec<AlarmMetric> {
    if let Some(metric) = of.metric_name() {
        let stat = of.extended_statistic().or(of.statistic().map(aws_sdk_cloudwatch::types::Statistic::as_str));
        return vec![AlarmMetric {
            id: None,
            namespace: of.namespace().map(str::to_owned),
            metric: Some(metric.to_owned()),
            dimensions: dimensions(of.dimensions()),
            stat: stat.map(str::to_owned),
            period_seconds: of.period(),
            expression: None,
            account: None,
            unit: of.unit().map(|unit| unit.as_str().to_owned()),
        }];
    }
    let several = of.metrics().iter().map(|query| {
        let stat = query.metric_stat();
        let metric = stat.and_then(|stat| stat.metric());
        AlarmMetric {
            id: query.id().map(str::to_owned),
            namespace: metric.and_then(|metric| metric.namespace()).map(str::to_owned),
            metric: metric.and_then(|metric| metric.metric_name()).map(str::to_owned),
            dimensions: metric.map(|metric| dimensions(metric.dimensions())).unwrap_or_default(),
            stat: stat.and_then(|stat| stat.stat()).map(str::to_owned),
            period_seconds: stat.and_then(MetricStat::period).or(query.period()),
            expression: query.expression().map(str::to_owned),
            account: query.account_id().map(str::to_owned),
            unit: stat.and_then(MetricStat::unit).map(|unit| unit.as_str().to_owned()),
        }
    });
    several.collect()
}
