//! Points of metrics.

use std::{collections::BTreeMap, sync::Arc};

use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy, StatusCode};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dimensions, Doing, Window, invalid, read, rfc3339, sdk_time};
use crate::CloudWatch;
use kit::args::Limit;
use tools::{CallContext, TimeInput, ToolDeclaration, ToolEntry, ToolError, page::fit};

/// Metrics of one call: `GetMetricData` takes as many
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>).
const MOST_QUERIES: usize = 500;
/// Points of one series that are answered.
const MOST_POINTS: usize = 1_440;
/// Answers of AWS that one call reads.
const MOST_PAGES: usize = 5;

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
    /// Namespace of the one metric, such as `AWS/EC2`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
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
    since: Option<TimeInput>,
    /// End. Defaults to now.
    #[serde(default)]
    until: Option<TimeInput>,
    /// Seconds that a point stands for: 1, 5, 10, 20, 30 or a multiple of 60. Left out, it is chosen so that the points fit
    /// into `max_points` and AWS still has them.
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
    /// Seconds that a point stands for.
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
    /// The points, oldest first.
    pub(super) points: Vec<Point>,
    /// All of its points in a few numbers, also those that are left out; absent if there are none.
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
    pub(super) fn of(points: &[Point]) -> Option<Self> {
        let last = points.last()?.value;
        let values = || points.iter().map(|point| point.value);
        #[expect(clippy::cast_precision_loss, reason = "a series has some thousand points at most")]
        let mean = values().sum::<f64>() / points.len() as f64;
        Some(Self {
            points: points.len(),
            min: values().fold(f64::INFINITY, f64::min),
            max: values().fold(f64::NEG_INFINITY, f64::max),
            mean,
            last,
        })
    }
}

async fn get(cloudwatch: Arc<CloudWatch>, input: GetInput, context: CallContext) -> Result<MetricData, ToolError> {
    let max_points = input.max_points.get();
    let window = Window::new(input.since.as_ref(), input.until.as_ref(), SignedDuration::from_hours(3))?;
    let queries = match (input.queries, input.namespace, input.metric) {
        (Some(queries), None, None) if input.dimensions.is_none() && input.stat.is_none() => queries,
        (None, Some(namespace), Some(metric)) => {
            vec![Query::metric(namespace, metric, input.dimensions.unwrap_or_default(), input.stat)]
        }
        _ => {
            return Err(invalid("queries", "give either queries, or namespace and metric (with dimensions and stat)"));
        }
    };
    let period = period(window, input.period_seconds, max_points, Timestamp::now())?;
    let read = fetch(&cloudwatch, &queries, window, period, &context).await?;
    let mut truncated = read.cut;
    let mut hints = read.hints;
    let mut series = read.series;
    for one in &mut series {
        let extra = one.points.len().saturating_sub(max_points);
        truncated |= extra > 0;
        one.points.drain(..extra);
    }
    if series.iter().all(|one| one.points.is_empty()) {
        hints.push(
            "no points: nothing was reported in this time, which is not zero; check that the dimensions are all that the \
             metric has (list_cloudwatch_metrics), and the region"
                .to_owned(),
        );
    }
    if series.iter().any(|one| one.status == "Forbidden") {
        hints.push("AWS refuses some series: the identity may not read that account's metrics".to_owned());
    }
    let (series, cut) = fit(series, context.max_result_bytes.saturating_sub(2_048));
    if cut {
        hints.push("the answer is full: ask for fewer series, or with a smaller max_points".to_owned());
    }
    Ok(MetricData {
        since: window.from.to_string(),
        until: window.to.to_string(),
        period_seconds: period,
        series,
        truncated: truncated || cut,
        hints,
    })
}

/// The period of the points: the one that is asked for, or the shortest for which AWS keeps points from the beginning of the
/// window and with which they are not too many. Points of less than a minute are kept for three hours, of one minute for 15
/// days, of five for 63 and of an hour for 455
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html>).
///
/// # Errors
/// When AWS has no such period.
pub(super) fn period(window: Window, asked: Option<u32>, max_points: usize, now: Timestamp) -> Result<u32, ToolError> {
    if let Some(asked) = asked {
        if asked > 0 && (asked.is_multiple_of(60) || [1, 5, 10, 20, 30].contains(&asked)) {
            return Ok(asked);
        }
        return Err(invalid("period_seconds", "period_seconds must be 1, 5, 10, 20, 30 or a multiple of 60"));
    }
    let age = (now.as_second() - window.from.as_second()) / 86_400;
    let step: i64 = match age {
        ..15 => 60,
        15..63 => 300,
        _ => 3_600,
    };
    let points = i64::try_from(max_points).unwrap_or(i64::MAX).max(1);
    let needed = window.seconds().div_ceil_of(points);
    let period = needed.div_ceil_of(step) * step;
    Ok(u32::try_from(period).unwrap_or(86_400).clamp(60, 86_400))
}

/// Division that rounds up, for positive numbers.
trait DivCeil {
    fn div_ceil_of(self, by: Self) -> Self;
}

impl DivCeil for i64 {
    fn div_ceil_of(self, by: Self) -> Self {
        (self + by - 1) / by
    }
}

/// What was read.
pub(super) struct Read {
    pub(super) series: Vec<Series>,
    /// Whether AWS has more.
    pub(super) cut: bool,
    pub(super) hints: Vec<String>,
}

/// Reads the points of all queries, page after page: a series that is `PartialData` goes on on the next one.
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
    let built =
        queries.iter().enumerate().map(|(index, query)| build(index, query, period)).collect::<Result<Vec<_>, _>>()?;
    let order: BTreeMap<&str, usize> =
        built.iter().enumerate().map(|(index, query)| (query.id().unwrap_or_default(), index)).collect();
    if order.len() < built.len() {
        return Err(invalid("queries", "two queries have the same id"));
    }
    let mut found: BTreeMap<(usize, String), Series> = BTreeMap::new();
    let mut hints = Vec::new();
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
                    .scan_by(ScanBy::TimestampAscending)
                    .set_next_token(token.clone())
                    .send()
            })
            .await?;
        for message in answer.messages() {
            if message.code() == Some("MaxMetricsExceeded") {
                hints.push("a search matched more metrics than AWS reads: make it narrower".to_owned());
            }
        }
        for result in answer.metric_data_results() {
            let id = result.id().unwrap_or_default();
            let label = result.label().unwrap_or_default();
            let place = order.get(id).copied().unwrap_or(usize::MAX);
            let one = found.entry((place, label.to_owned())).or_insert_with(|| Series {
                id: id.to_owned(),
                label: label.to_owned(),
                status: String::new(),
                points: Vec::new(),
                summary: None,
            });
            result.status_code().map_or("Complete", StatusCode::as_str).clone_into(&mut one.status);
            let points = result.timestamps().iter().zip(result.values());
            one.points.extend(
                points.filter_map(|(time, value)| {
                    Some(Point { time: rfc3339(time)?, value: *value, second: time.secs() })
                }),
            );
        }
        token = answer.next_token;
        if token.is_none() {
            break;
        }
        if page == MOST_PAGES {
            cut = true;
            hints.push(
                "there are more points than are read at once: ask for a shorter time, or a longer period".to_owned(),
            );
            break;
        }
    }
    let mut series: Vec<Series> = found.into_values().collect();
    for one in &mut series {
        one.points.sort_by_key(|point| point.second);
        one.summary = Summary::of(&one.points);
    }
    Ok(Read { series, cut, hints })
}

fn build(index: usize, query: &Query, period: u32) -> Result<MetricDataQuery, ToolError> {
    let id = query.id.clone().unwrap_or_else(|| format!("q{}", index + 1));
    let builder = MetricDataQuery::builder()
        .id(id)
        .set_label(query.label.clone())
        .set_account_id(query.account.clone())
        .set_return_data(query.answered.filter(|answered| !answered));
    let period = i32::try_from(period).unwrap_or(i32::MAX);
    match (&query.expression, &query.namespace, &query.metric) {
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
            Ok(builder.metric_stat(MetricStat::builder().metric(metric).period(period).stat(stat).build()).build())
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
    fn the_period_fits_what_aws_keeps_and_what_is_answered() {
        let now: Timestamp = "2026-06-30T00:00:00Z".parse().unwrap();
        let day = SignedDuration::from_hours(24);
        for (days_ago, days_long, points, expected) in [
            (1, 1, 1_440, 60),
            (1, 1, 100, 900),
            (7, 7, 100, 6_060),
            (20, 1, 1_440, 300),
            (20, 20, 100, 17_400),
            (100, 1, 1_440, 3_600),
            (400, 400, 100, 86_400),
        ] {
            let from = now.checked_sub(day * days_ago).unwrap();
            let window = Window { from, to: from.checked_add(day * days_long).unwrap() };
            assert_eq!(period(window, None, points, now).unwrap(), expected, "{days_ago} {days_long} {points}");
            assert_eq!(period(window, Some(30), points, now).unwrap(), 30);
            assert_eq!(period(window, Some(90), points, now).unwrap_err().argument.as_deref(), Some("period_seconds"));
        }
    }
}
