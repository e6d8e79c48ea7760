//! Points of metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_sdk_cloudwatch::types::{
    Dimension, MessageData, Metric, MetricDataQuery, MetricStat, ScanBy, StandardUnit, StatusCode,
};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Dimensions, Doing, Window,
    absent::nothing_there,
    graph::graph_of,
    invalid,
    periods::{DAY, Period, own_periods, settle},
    read, rfc3339, sdk_time,
};
use crate::{CloudWatch, error::said::Denial};
use kit::args::{Limit, Moment};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError, page::fit};

/// Metrics of one call: `GetMetricData` takes as many
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>).
const MOST_QUERIES: usize = 500;
/// Points of one series that are answered.
const MOST_POINTS: usize = 1_440;
/// Answers of AWS that one call reads.
const MOST_PAGES: usize = 5;
/// Messages of AWS about one answer that are told.
const MOST_MESSAGES: usize = 10;

/// How far back Metrics Insights reads.
const INSIGHTS_READS: i64 = 14 * DAY;

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_cloudwatch_metric_data",
    "Get metric data",
    "Reads points of metrics, each summed up. Give one metric by namespace, metric, dimensions and stat, or up to 500 of them \
     as queries, which is one request and cheaper. Queries may be expressions over others by their ids (m1/m2*100), or \
     Metrics Insights (SELECT ...). Dimensions must be all that the metric has, as list_cloudwatch_metrics says.",
);

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, GET, get)]
}

#[derive(Deserialize, JsonSchema)]
struct GetInput {
    /// Metrics and expressions. Not together with `namespace` and `metric`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 500))]
    queries: Option<Vec<Query>>,
    /// Namespace of the one metric, such as `AWS/EC2`; or, alone, the link to a graph of AWS' console.
    #[serde(default)]
    #[schemars(length(min = 1, max = 4_096))]
    namespace: Option<String>,
    /// Name of the one metric, such as `CPUUtilization`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    metric: Option<String>,
    /// All dimensions of the one metric, by name.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 30))]
    dimensions: Option<Dimensions>,
    /// Statistic of the one metric: `Average`, `Sum`, `Minimum`, `Maximum`, `SampleCount`, or a percentile such as `p99`.
    /// Defaults to `Average`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    stat: Option<String>,
    /// Beginning. Defaults to three hours before `until`.
    #[serde(default)]
    since: Option<Moment>,
    /// End. Defaults to now.
    #[serde(default)]
    until: Option<Moment>,
    /// Seconds that a point stands for: 1, 5, 10, 20, 30 or a multiple of 60. Left out, it is chosen so that the points fit
    /// into `max_points`. It is made longer where AWS keeps no such points any more.
    #[serde(default)]
    #[schemars(range(min = 1, max = 86_400))]
    period_seconds: Option<u32>,
    /// Points of each series to answer at most, the newest.
    #[serde(default)]
    max_points: Limit<100, MOST_POINTS>,
}

/// A metric, or an expression.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Name by which expressions refer to it: a small letter, then letters, digits and underscores. Left out, `q1`, `q2` and
    /// so on.
    #[serde(default)]
    #[schemars(length(min = 1), regex(pattern = "^[a-z][A-Za-z0-9_]{0,254}$"))]
    pub(super) id: Option<String>,
    /// Namespace of a metric.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    pub(super) namespace: Option<String>,
    /// Name of a metric.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    pub(super) metric: Option<String>,
    /// All dimensions of the metric, by name.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 30))]
    pub(super) dimensions: Dimensions,
    /// Statistic. Defaults to `Average`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub(super) stat: Option<String>,
    /// An expression instead of a metric: metric math over ids, `SEARCH(...)`, or Metrics Insights (`SELECT ...`).
    #[serde(default)]
    #[schemars(length(min = 1, max = 2_048))]
    pub(super) expression: Option<String>,
    /// How the series is called in the answer.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    pub(super) label: Option<String>,
    /// False for what is only a part of an expression, and not answered itself. Defaults to true.
    #[serde(default)]
    pub(super) answered: Option<bool>,
    /// In a monitoring account: the linked account that the metric belongs to.
    #[serde(default)]
    #[schemars(length(min = 12), regex(pattern = "^[0-9]{12}$"))]
    pub(super) account: Option<String>,
    /// Only points of this unit, as an alarm says it.
    #[serde(skip)]
    #[schemars(skip)]
    pub(super) unit: Option<StandardUnit>,
    /// Seconds that a point of it stands for, where an alarm or a graph says it.
    #[serde(skip)]
    #[schemars(skip)]
    pub(super) period: Option<u32>,
}

impl Query {
    /// A single metric.
    pub(super) fn metric(namespace: String, metric: String, dimensions: Dimensions, stat: Option<String>) -> Self {
        Self {
            id: None,
            namespace: Some(namespace),
            metric: Some(metric),
            dimensions,
            stat,
            expression: None,
            label: None,
            answered: None,
            account: None,
            unit: None,
            period: None,
        }
    }
}

/// Points of several metrics.
#[derive(Serialize, JsonSchema)]
struct MetricData {
    /// Beginning.
    since: String,
    /// End.
    until: String,
    /// Seconds that a point stands for, unless its series says another number.
    period_seconds: u32,
    /// One for each metric or expression; a search gives several.
    series: Vec<Series>,
    /// Whether points or series were left out.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// Points of one metric.
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct Series {
    /// Id of the query.
    pub(super) id: String,
    /// How AWS, or the query, calls it.
    pub(super) label: String,
    /// `Complete`; `PartialData`, when AWS did not give all points; `Forbidden` or `InternalError`, when it gave none.
    pub(super) status: String,
    /// Seconds that a point stands for.
    pub(super) period_seconds: u32,
    /// The points, oldest first.
    pub(super) points: Vec<Point>,
    /// All of its points in a few numbers, also those that are left out, but for one whose period goes on; absent if there are
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) summary: Option<Summary>,
}

/// A value at a time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Point {
    /// Beginning of the period.
    pub(super) time: String,
    /// The value.
    pub(super) value: f64,
    /// True where the period is not over: the value is that of a part of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unfinished: bool,
    #[serde(skip)]
    pub(super) second: i64,
}

/// A series in a few numbers.
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct Summary {
    /// Number of points.
    points: usize,
    /// The smallest value.
    min: f64,
    /// The largest value.
    max: f64,
    /// The mean of the values.
    mean: f64,
    /// The newest value.
    last: f64,
}

impl Summary {
    /// Of the points whose periods are over: the beginning of one would be told as a fall.
    pub(super) fn of(points: &[Point]) -> Option<Self> {
        let values = || points.iter().filter(|point| !point.unfinished).map(|point| point.value);
        let (last, count) = (values().next_back()?, values().count());
        #[expect(clippy::cast_precision_loss, reason = "a series has some thousand points at most")]
        let mean = values().sum::<f64>() / count as f64;
        Some(Self {
            points: count,
            min: values().fold(f64::INFINITY, f64::min),
            max: values().fold(f64::NEG_INFINITY, f64::max),
            mean,
            last,
        })
    }
}

async fn get(cloudwatch: Arc<CloudWatch>, input: GetInput, context: CallContext) -> Result<MetricData, ToolError> {
    let max_points = input.max_points.get();
    let now = cloudwatch.now();
    let window = Window::new(input.since.as_ref(), input.until.as_ref(), SignedDuration::from_hours(3), now)?;
    let neither = || invalid("queries", "give either queries, or namespace and metric (with dimensions and stat)");
    let queries = match (input.queries, input.namespace, input.metric) {
        (Some(queries), None, None) if input.dimensions.is_none() && input.stat.is_none() => queries,
        (None, Some(namespace), Some(metric)) => {
            vec![Query::metric(namespace, metric, input.dimensions.unwrap_or_default(), input.stat)]
        }
        (None, Some(link), None) if input.dimensions.is_none() && input.stat.is_none() => {
            graph_of(&link, "namespace", &cloudwatch.session.place)?.ok_or_else(neither)?
        }
        _ => return Err(neither()),
    };
    let period = Period::new(window, input.period_seconds, max_points, now)?;
    let asked = input.period_seconds.map(|_| period.seconds);
    let queries: Vec<Query> = queries.into_iter().map(|one| Query { period: asked.or(one.period), ..one }).collect();
    let read = fetch(&cloudwatch, &queries, window, period.seconds, &context).await?;
    let mut truncated = !read.is_whole;
    let mut hints: Vec<String> = period.hint.into_iter().chain(read.hints).collect();
    let mut series = read.series;
    for one in &mut series {
        let extra = one.points.len().saturating_sub(max_points);
        // The first period may begin before the time that was asked for.
        truncated |= one.points.drain(..extra).any(|point| point.second >= window.from.as_second());
    }
    if read.is_whole && series.iter().all(|one| one.points.is_empty()) {
        hints.push(nothing_there(&queries, window, period.seconds, &cloudwatch.session.place, now));
    }
    let is_insights = |query: &Query| query.expression.as_ref().is_some_and(|text| begins_with_select(text));
    if now.as_second() - window.from.as_second() > INSIGHTS_READS && queries.iter().any(is_insights) {
        hints.push(
            "Metrics Insights (SELECT) reads the last two weeks only: what is older is not in its series".to_owned(),
        );
    }
    let (series, cut) = fit(series, context.max_result_bytes.saturating_sub(2_048));
    if cut {
        hints.push("the answer is full: ask for fewer series, or with a smaller max_points".to_owned());
    }
    Ok(MetricData {
        since: read.window.from.to_string(),
        until: read.window.to.to_string(),
        period_seconds: period.seconds,
        series,
        truncated: truncated || cut,
        hints,
    })
}

pub(super) fn begins_with_select(text: &str) -> bool {
    text.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("SELECT"))
}

/// What was read.
pub(super) struct Read {
    pub(super) series: Vec<Series>,
    /// The time that was read.
    pub(super) window: Window,
    /// Whether AWS states that these are all points, with nothing to say about them.
    pub(super) is_whole: bool,
    /// Why they are not all, as far as AWS says.
    pub(super) hints: Vec<String>,
}

/// What is told for a message of AWS, by its code: for the whole answer, or for one result. The codes are those that Grafana's
/// data source knows (grafana/grafana, pkg/tsdb/cloudwatch/response_parser.go); others are told by themselves.
fn in_words(message: &MessageData) -> String {
    match message.code().unwrap_or_default() {
        "MaxMetricsExceeded" => "a search matched more metrics than AWS reads: make it narrower".to_owned(),
        "MaxQueryTimeRangeExceeded" => {
            "the time is longer than AWS reads for such a query, and only a part of it was read: ask for a shorter one".to_owned()
        }
        "MaxQueryResultsExceeded" => {
            "the query has more series than AWS answers (500): make it narrower, or add ORDER BY and LIMIT".to_owned()
        }
        "MaxMatchingResultsExceeded" => {
            "the query matched more metrics than AWS reads (10000), so its values are of a part of them: make it narrower"
                .to_owned()
        }
        "ArithmeticError" => {
            "points were left out because an expression has no number there, as in a division by zero".to_owned()
        }
        // grafana/grafana #79829
        "Forbidden" => {
            let denial = Denial::of(message.value().unwrap_or_default());
            let unknown = "a permission that an expression needs, as DB_PERF_INSIGHTS needs pi:GetResourceMetrics";
            let permission = denial.permission.as_deref().unwrap_or(unknown);
            let cause = denial.cause(permission).unwrap_or_else(|| format!("the identity lacks {permission}"));
            format!("AWS refuses a part of it (Forbidden): {cause}")
        }
        code => {
            let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
            format!("AWS adds a message about this answer, which this version does not know: {code}")
        }
    }
}

/// What is told for the status of series.
fn of_status(status: &str, count: usize) -> Option<String> {
    Some(match status {
        "Complete" => return None,
        "PartialData" => format!(
            "AWS did not give all points of {count} series (PartialData), the oldest are missing: ask for a shorter time, a \
             longer period or fewer series"
        ),
        "InternalError" => {
            format!("AWS failed to read {count} series (InternalError), of which nothing is known: ask again later")
        }
        "Forbidden" => {
            format!(
                "AWS refuses {count} series (Forbidden): the identity lacks a permission for them, or their account is \
                 not linked to this one"
            )
        }
        other => format!("AWS says of {count} series: {}", super::cut(other, 64)),
    })
}

/// Reads the points of all queries, page after page: a series that is `PartialData` goes on on the next one. The newest come
/// first, so that what is left out is the oldest. The period is that of queries which have none of their own.
pub(super) async fn fetch(
    cloudwatch: &CloudWatch,
    queries: &[Query],
    window: Window,
    period: u32,
    context: &CallContext,
) -> Result<Read, ToolError> {
    const DOING: Doing = Doing::new("read metrics", "cloudwatch:GetMetricData");
    if queries.is_empty() || queries.len() > MOST_QUERIES {
        return Err(invalid("queries", format!("queries must hold from 1 to {MOST_QUERIES} entries")));
    }
    let now = cloudwatch.now();
    let own = own_periods(queries);
    let mut periods: Vec<u32> =
        queries.iter().zip(&own).map(|(query, own)| own.or(query.period).unwrap_or(period)).collect();
    let (window, longest) = settle(window, &mut periods, now);
    let built = build_all(queries, &periods)?;
    periods.iter_mut().zip(own).for_each(|(period, own)| *period = own.unwrap_or(*period));
    let order: BTreeMap<&str, usize> =
        built.iter().enumerate().map(|(index, query)| (query.id().unwrap_or_default(), index)).collect();
    // AWS may give several series with one id and one label, as the two edges of a band: they are told apart by their place.
    let mut found: BTreeMap<(usize, String, usize), Series> = BTreeMap::new();
    let mut hints = BTreeSet::new();
    let mut token: Option<String> = None;
    let mut cut = false;
    for page in 1.. {
        let answer = cloudwatch
            .ask(DOING, context, || {
                cloudwatch
                    .session
                    .metrics
                    .get_metric_data()
                    .set_metric_data_queries(Some(built.clone()))
                    .start_time(sdk_time(window.from))
                    .end_time(sdk_time(window.to))
                    .scan_by(ScanBy::TimestampDescending)
                    .set_next_token(token.clone())
                    .send()
            })
            .await?;
        hints.extend(answer.messages().iter().map(in_words));
        let mut places: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        for result in answer.metric_data_results() {
            let id = result.id().unwrap_or_default();
            let label = result.label().unwrap_or_default();
            let query = order.get(id).copied().unwrap_or(usize::MAX);
            let period = periods.get(query).copied().unwrap_or(longest);
            let place = places.entry((query, label)).and_modify(|place| *place += 1).or_insert(0);
            let one = found.entry((query, label.to_owned(), *place)).or_insert_with(|| Series {
                id: id.to_owned(),
                label: label.to_owned(),
                status: String::new(),
                period_seconds: period,
                points: Vec::new(),
                summary: None,
            });
            result.status_code().map_or("Complete", StatusCode::as_str).clone_into(&mut one.status);
            hints.extend(result.messages().iter().map(in_words));
            let points = result.timestamps().iter().zip(result.values());
            one.points.extend(points.filter_map(|(time, value)| {
                let unfinished = time.secs() + i64::from(period) > now.as_second();
                Some(Point { time: rfc3339(time)?, value: *value, unfinished, second: time.secs() })
            }));
        }
        if answer.next_token.is_none() {
            break;
        }
        if page == MOST_PAGES || answer.next_token == token {
            cut = true;
            break;
        }
        token = answer.next_token;
    }
    let mut series: Vec<Series> = found.into_values().collect();
    for one in &mut series {
        one.points.sort_by_key(|point| point.second);
        // A page that comes again has them again.
        one.points.dedup_by_key(|point| point.second);
        one.summary = Summary::of(&one.points);
    }
    let mut hints: Vec<String> = hints.into_iter().take(MOST_MESSAGES).collect();
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &series {
        *statuses.entry(&one.status).or_default() += 1;
    }
    let mut incomplete: Vec<String> = statuses.iter().filter_map(|(status, count)| of_status(status, *count)).collect();
    let is_whole = hints.is_empty() && incomplete.is_empty() && !cut;
    hints.append(&mut incomplete);
    if cut {
        hints.push(
            "there are more points than are read at once, and the oldest are left out: ask for a shorter time, or a longer \
             period"
                .to_owned(),
        );
    }
    if series.iter().any(|one| one.points.last().is_some_and(|point| point.unfinished)) {
        hints.push(
            "the newest period is not over: a sum or a count of it grows still (unfinished), and summaries leave it out"
                .to_owned(),
        );
    }
    Ok(Read { series, window, is_whole, hints })
}

/// The queries as AWS takes them, each with an id of its own.
fn build_all(queries: &[Query], periods: &[u32]) -> Result<Vec<MetricDataQuery>, ToolError> {
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for id in queries.iter().filter_map(|query| query.id.as_deref()) {
        if !taken.insert(id) {
            return Err(invalid("queries", format!("two queries have the id {id}")));
        }
    }
    let made = |index: usize| {
        let mut id = format!("q{}", index + 1);
        while taken.contains(id.as_str()) {
            id.push('_');
        }
        id
    };
    let id_of = |index: usize, query: &Query| query.id.clone().unwrap_or_else(|| made(index));
    let each = queries.iter().zip(periods).enumerate();
    each.map(|(index, (query, period))| build(index, query, id_of(index, query), *period)).collect()
}

fn build(index: usize, query: &Query, id: String, period: u32) -> Result<MetricDataQuery, ToolError> {
    let builder = MetricDataQuery::builder()
        .id(id)
        .set_label(query.label.clone())
        .set_account_id(query.account.clone())
        .set_return_data(query.answered.filter(|answered| !answered));
    let period = i32::try_from(period).unwrap_or(i32::MAX);
    match (&query.expression, &query.namespace, &query.metric) {
        (Some(_), None, None) if !query.dimensions.is_empty() || query.stat.is_some() => {
            let message = format!("queries[{index}] has an expression, beside which dimensions and stat mean nothing");
            Err(invalid("queries", message).with_remedy("write them into the expression, or give a metric instead"))
        }
        (Some(expression), None, None) => Ok(builder.expression(expression).period(period).build()),
        (None, Some(namespace), Some(metric)) => {
            let dimensions =
                query.dimensions.iter().map(|(name, value)| Dimension::builder().name(name).value(value).build());
            let metric = Metric::builder()
                .namespace(namespace)
                .metric_name(metric)
                .set_dimensions(Some(dimensions.collect()).filter(|dimensions: &Vec<_>| !dimensions.is_empty()))
                .build();
            let stat = query.stat.as_deref().unwrap_or("Average");
            let stat = MetricStat::builder().metric(metric).period(period).stat(stat).set_unit(query.unit.clone());
            Ok(builder.metric_stat(stat.build()).build())
        }
        _ => {
            let message = format!("queries[{index}] must have either an expression, or namespace and metric");
            Err(invalid("queries", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_and_every_status_has_words() {
        let message = |code: &str| in_words(&MessageData::builder().code(code).value("planted").build());
        for code in ["MaxMetricsExceeded", "MaxQueryTimeRangeExceeded", "ArithmeticError", "SomethingNew"] {
            assert!(!message(code).contains("planted"), "{code}");
        }
        assert!(message("SomethingNew").contains("SomethingNew"));
        assert!(message("Forbidden").contains("pi:GetResourceMetrics"));
        let denied = "User: planted is not authorized to perform: cloudwatch:GetInsightRuleReport on resource: planted";
        let told = in_words(&MessageData::builder().code("Forbidden").value(denied).build());
        assert!(told.ends_with("lacks cloudwatch:GetInsightRuleReport"), "{told}");
        let denied = format!("{denied} with an explicit deny in a service control policy");
        let told = in_words(&MessageData::builder().code("Forbidden").value(denied).build());
        let forbids = ": a policy forbids cloudwatch:GetInsightRuleReport (service control policy)";
        assert!(told.ends_with(forbids), "{told}");
        assert_eq!(of_status("Complete", 1), None);
        assert!(of_status("SomethingNew", 2).unwrap().contains("2 series: SomethingNew"));
    }

    #[test]
    fn a_made_id_is_free() {
        let query = |id: Option<&str>| Query {
            id: id.map(str::to_owned),
            ..Query::metric("A".to_owned(), "M".to_owned(), Dimensions::new(), None)
        };
        let built = build_all(&[query(Some("q2")), query(None), query(None)], &[60; 3]).unwrap();
        let ids: Vec<_> = built.iter().map(|one| one.id().unwrap()).collect();
        assert_eq!(ids, ["q2", "q2_", "q3"]);
        assert!(build_all(&[query(Some("a")), query(Some("a"))], &[60; 2]).is_err());
    }
}
