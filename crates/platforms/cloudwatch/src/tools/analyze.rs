//! One series in a few words: how it moves, where it jumps, and where nothing was reported.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Dimensions, Window,
    absent::nothing_there,
    data::{self, Point, Query, Summary},
    periods::Period,
    read,
};
use crate::CloudWatch;
use kit::args::Moment;
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Points that are looked at, about.
const POINTS: usize = 720;
/// Jumps and gaps that are told.
const MOST_TOLD: usize = 5;
/// Points on each side of a jump that are compared.
const SIDE: usize = 5;

const ANALYZE: ToolDeclaration = ToolDeclaration::read(
    "analyze_cloudwatch_metric",
    "Analyze a metric",
    "Sums up one metric over a time: smallest, largest and mean value, the trend, sudden changes of level with their times, \
     and gaps in which nothing was reported. It saves reading hundreds of points.",
);

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, ANALYZE, analyze)]
}

#[derive(Deserialize, JsonSchema)]
struct AnalyzeInput {
    /// Namespace, such as `AWS/EC2`.
    #[schemars(length(min = 1, max = 255))]
    namespace: String,
    /// Name of the metric, such as `CPUUtilization`.
    #[schemars(length(min = 1, max = 255))]
    metric: String,
    /// All dimensions of the metric, by name.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 30))]
    dimensions: Dimensions,
    /// Statistic: `Average`, `Sum`, `Minimum`, `Maximum`, `SampleCount`, or a percentile such as `p99`. Defaults to `Average`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    stat: Option<String>,
    /// Beginning. Defaults to three hours before `until`.
    #[serde(default)]
    since: Option<Moment>,
    /// End. Defaults to now.
    #[serde(default)]
    until: Option<Moment>,
    /// Seconds that a point stands for. Left out, it is chosen.
    #[serde(default)]
    #[schemars(range(min = 1, max = 86_400))]
    period_seconds: Option<u32>,
}

/// What a series does.
#[derive(Serialize, JsonSchema)]
struct Analysis {
    /// Seconds that a point stands for.
    period_seconds: u32,
    /// The values in a few numbers; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    /// How the values move as a whole; absent if there are fewer than three.
    #[serde(skip_serializing_if = "Option::is_none")]
    trend: Option<Trend>,
    /// Sudden changes of level, the largest first.
    steps: Vec<Step>,
    /// Times without points, the longest first.
    gaps: Vec<Gap>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// How values move: the straight line that lies nearest to them.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Trend {
    /// `rising`, `falling` or `flat`, by what the line gains over the whole time beside the spread of the values.
    direction: &'static str,
    /// What the line gains in an hour.
    change_per_hour: f64,
}

/// A change of level.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Step {
    /// First point of the new level.
    time: String,
    /// Mean before it.
    before: f64,
    /// Mean from it on.
    after: f64,
}

/// A time without points.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Gap {
    /// First missing point.
    since: String,
    /// Next point that there is; the end of the time, if there is none.
    until: String,
}

async fn analyze(
    cloudwatch: Arc<CloudWatch>,
    input: AnalyzeInput,
    context: CallContext,
) -> Result<Analysis, ToolError> {
    let now = cloudwatch.now();
    let window = Window::new(input.since.as_ref(), input.until.as_ref(), SignedDuration::from_hours(3), now)?;
    let period = Period::new(window, input.period_seconds, POINTS, now)?;
    let queries = [Query::metric(input.namespace, input.metric, input.dimensions, input.stat)];
    let read = data::fetch(&cloudwatch, &queries, window, period.seconds, &context).await?;
    let mut hints: Vec<String> = period.hint.into_iter().chain(read.hints).collect();
    let mut points = read.series.into_iter().next().map(|one| one.points).unwrap_or_default();
    if read.is_whole && points.is_empty() {
        let here = &cloudwatch.session.place;
        hints.push(nothing_there(&queries, window, period.seconds, here, now));
    }
    // Before the first point that AWS gave there may be others that it did not give.
    let first = points.first().and_then(|point| Timestamp::from_second(point.second).ok());
    let seen = first.filter(|_| !read.is_whole).map_or(read.window, |from| Window { from, ..read.window });
    let apart = usually_apart(&points, i64::from(period.seconds));
    if apart > i64::from(period.seconds) {
        hints.push(format!("its points come up to {apart} s apart, so only longer times without any are told as gaps"));
    }
    let gaps = gaps(&points, seen, i64::from(period.seconds), apart);
    points.retain(|point| !point.unfinished);
    Ok(Analysis {
        period_seconds: period.seconds,
        summary: Summary::of(&points),
        trend: trend(&points),
        steps: steps(&points),
        gaps,
        hints,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a series has some thousand points at most, over some years of seconds")]
fn trend(points: &[Point]) -> Option<Trend> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 3 {
        return None;
    }
    let count = points.len() as f64;
    let hours = |point: &Point| (point.second - first.second) as f64 / 3_600.0;
    let mean_x = points.iter().map(hours).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.value).sum::<f64>() / count;
    let spread_x: f64 = points.iter().map(|point| (hours(point) - mean_x).powi(2)).sum();
    let together: f64 = points.iter().map(|point| (hours(point) - mean_x) * (point.value - mean_y)).sum();
    let change_per_hour = together / spread_x;
    let deviation = (points.iter().map(|point| (point.value - mean_y).powi(2)).sum::<f64>() / count).sqrt();
    let gain = change_per_hour * hours(last);
    // A line through pure noise gains about as much as the noise spreads; a ramp gains three and a half times as much.
    let direction = match gain {
        _ if deviation == 0.0 || gain.abs() < 2.0 * deviation => "flat",
        gain if gain > 0.0 => "rising",
        _ => "falling",
    };
    Some(Trend { direction, change_per_hour })
}

#[expect(clippy::cast_precision_loss, reason = "few points")]
fn mean(points: &[Point]) -> f64 {
    points.iter().map(|point| point.value).sum::<f64>() / points.len() as f64
}

/// Places where the means of the points on both sides differ by more than the points on either side spread.
fn steps(points: &[Point]) -> Vec<Step> {
    let spread = |side: &[Point]| {
        let values = || side.iter().map(|point| point.value);
        values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min)
    };
    let mut found: Vec<(f64, usize, Step)> = Vec::new();
    for (index, both) in points.windows(2 * SIDE).enumerate() {
        let (left, right) = both.split_at(SIDE);
        let (before, after) = (mean(left), mean(right));
        let size = (after - before).abs();
        if size > 0.0 && size > 2.0 * spread(left).max(spread(right)) {
            let time = right.first().map(|point| point.time.clone()).unwrap_or_default();
            found.push((size, index, Step { time, before, after }));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<(usize, Step)> = Vec::new();
    for (_, index, step) in found {
        // One jump is seen at several places beside each other.
        if kept.iter().all(|(other, _)| other.abs_diff(index) >= 2 * SIDE) && kept.len() < MOST_TOLD {
            kept.push((index, step));
        }
    }
    kept.into_iter().map(|(_, step)| step).collect()
}

/// How far points are apart at most, but for one of ten: a metric that comes each five minutes has no gaps between them,
/// whatever the period is.
fn usually_apart(points: &[Point], period: i64) -> i64 {
    let mut found: Vec<i64> =
        points.iter().zip(points.iter().skip(1)).map(|(one, next)| next.second - one.second).collect();
    found.sort_unstable();
    found.get(found.len().saturating_sub(1) * 9 / 10).copied().unwrap_or(period).max(period)
}

fn gaps(points: &[Point], window: Window, period: i64, apart: i64) -> Vec<Gap> {
    let at = |second: i64| Timestamp::from_second(second).unwrap_or_default().to_string();
    let end = window.to.as_second();
    let next = points.iter().skip(1).map(|point| point.second).chain([end]);
    // The newest point may be on its way still.
    let mut found: Vec<(i64, Gap)> = points
        .iter()
        .zip(next)
        .filter(|(point, next)| next - point.second > if *next == end { 3 * apart } else { apart })
        .map(|(point, next)| (next - point.second, Gap { since: at(point.second + period), until: at(next) }))
        .collect();
    if let Some(first) = points.first()
        && first.second - window.from.as_second() > apart
    {
        let length = first.second - window.from.as_second();
        found.push((length, Gap { since: window.from.to_string(), until: first.time.clone() }));
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().take(MOST_TOLD).map(|(_, gap)| gap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: impl IntoIterator<Item = (i32, f64)>) -> Vec<Point> {
        let point = |(minute, value): (i32, f64)| {
            let second = i64::from(minute) * 60;
            Point { time: Timestamp::from_second(second).unwrap().to_string(), value, unfinished: false, second }
        };
        values.into_iter().map(point).collect()
    }

    #[test]
    fn a_trend_is_more_than_noise() {
        let line = |slope: f64| points((0..60).map(|at| (at, slope * f64::from(at) + f64::from(at % 3))));
        assert_eq!(trend(&line(1.0)).unwrap().direction, "rising");
        assert_eq!(trend(&line(-1.0)).unwrap().direction, "falling");
        assert_eq!(trend(&line(0.0)).unwrap().direction, "flat");
        assert!((trend(&line(1.0)).unwrap().change_per_hour - 60.0).abs() < 0.5);
        assert_eq!(trend(&points([(0, 1.0), (1, 2.0)])), None);
        assert_eq!(trend(&points((0..9).map(|at| (at, 7.0)))).unwrap().direction, "flat");
    }

    #[test]
    fn a_jump_is_told_once() {
        let level = |at: i32| if at < 30 { 10.0 } else { 50.0 };
        let found = steps(&points((0..60).map(|at| (at, level(at) + f64::from(at % 2)))));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].time, "1970-01-01T00:30:00Z");
        assert!(found[0].before < 11.0 && found[0].after > 50.0);
        assert_eq!(steps(&points((0..60).map(|at| (at, f64::from(at))))), []);
        assert_eq!(steps(&points((0..60).map(|at| (at, 7.0)))), []);
    }

    #[test]
    fn gaps_are_told_where_points_are_missing() {
        let window = Window { from: Timestamp::from_second(0).unwrap(), to: Timestamp::from_second(60 * 60).unwrap() };
        let with_gap = points((0..58).filter(|at| !(20..30).contains(at)).map(|at| (at, 1.0)));
        let since = |minute: i64| Timestamp::from_second(minute * 60).unwrap().to_string();
        let told = |points: &[Point], period| gaps(points, window, period, usually_apart(points, period));
        assert_eq!(told(&with_gap, 60), [Gap { since: since(20), until: since(30) }]);
        let late = points((10..40).map(|at| (at, 1.0)));
        assert_eq!(
            told(&late, 60),
            [Gap { since: since(40), until: since(60) }, Gap { since: since(0), until: since(10) }]
        );
    }

    /// A metric has a point in each period in which it comes. However the two fit, nothing is missing but what is missing.
    #[test]
    fn a_metric_that_comes_seldom_has_no_gaps() {
        let window = Window { from: Timestamp::UNIX_EPOCH, to: Timestamp::from_second(2 * 86_400).unwrap() };
        for each in [60, 120, 300, 900, 3_600] {
            for period in [60, 120, 180, 240, 300, 600, 3_600] {
                let seen = |missing: std::ops::Range<i64>| {
                    let comes = (0..2 * 86_400).step_by(each).filter(|second| !missing.contains(second));
                    let mut periods: Vec<i64> = comes.map(|second| second / period * period).collect();
                    periods.dedup();
                    let point = |second| Point { time: String::new(), value: 1.0, unfinished: false, second };
                    let points: Vec<Point> = periods.into_iter().map(point).collect();
                    gaps(&points, window, period, usually_apart(&points, period))
                };
                assert_eq!(seen(0..0), [], "each {each} s, periods of {period} s");
                let gone = seen(43_200..64_800);
                assert_eq!(gone.len(), 1, "each {each} s, periods of {period} s: {gone:?}");
            }
        }
    }
}
