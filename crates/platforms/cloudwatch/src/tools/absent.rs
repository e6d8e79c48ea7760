//! What is said where AWS has no points of what was asked for.

use jiff::Timestamp;

use super::{
    Window,
    data::Query,
    periods::{DAY, kept},
};
use crate::place::Place;

/// What is said where AWS states that it gave all points, and there are none.
pub(super) fn nothing_there(queries: &[Query], window: Window, period: u32, here: &Place, now: Timestamp) -> String {
    if kept(Window { from: window.to, ..window }, now).is_none() {
        return "no points: this time lies before the 455 days for which CloudWatch keeps points".to_owned();
    }
    let short =
        if period < 60 { "; points of less than a minute exist only of metrics of high resolution" } else { "" };
    // awslabs/mcp #1248: as those of S3 do, whose sizes an hour has none of.
    let seldom = if window.seconds() < 2 * DAY { "; some metrics come once a day: ask for some days" } else { "" };
    let late = if window.is_fresh(now) { "; the newest points come some minutes late" } else { "" };
    // `StatisticValues` of `PutMetricData` (micrometer-metrics/micrometer #2590).
    let summed = if queries.iter().any(|query| query.stat.as_deref().is_some_and(|stat| !STATISTICS.contains(&stat))) {
        "; of metrics that are sent summed up, or with values below zero, AWS has Average, Sum, Minimum, Maximum and \
         SampleCount, and no percentiles and the like"
    } else {
        ""
    };
    let elsewhere = queries.iter().find_map(|query| elsewhere(query.namespace.as_deref()?, here));
    let elsewhere = elsewhere.map(|words| format!("; {words}")).unwrap_or_default();
    format!(
        "no points, which is not zero: AWS has none of exactly this namespace, name, dimensions and time; list_cloudwatch_metrics \
         tells what had points in the last two weeks, with all dimensions{short}{seldom}{late}{summed}{elsewhere}"
    )
}

/// Statistics that AWS has of all metrics.
const STATISTICS: [&str; 5] = ["Average", "Sum", "Minimum", "Maximum", "SampleCount"];

/// Namespaces of services without a region, whose metrics are in one region (the guides of the services:
/// AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html,
/// AmazonCloudWatch/latest/monitoring/monitor_estimated_charges_with_cloudwatch.html,
/// Route53/latest/DeveloperGuide/monitoring-cloudwatch.html, global-accelerator/latest/dg/cloudwatch-monitoring.html).
const IN_ONE_REGION: [(&str, &str); 4] = [
    ("AWS/CloudFront", "us-east-1"),
    ("AWS/Billing", "us-east-1"),
    ("AWS/Route53", "us-east-1"),
    ("AWS/GlobalAccelerator", "us-west-2"),
];

/// What is said of a namespace whose metrics are in another region than the connector's. Of other partitions it is not
/// known.
pub(super) fn elsewhere(namespace: &str, here: &Place) -> Option<String> {
    let (_, region) = IN_ONE_REGION.iter().find(|(one, _)| *one == namespace)?;
    let is_other = *region != here.region() && here.partition() == "aws";
    is_other.then(|| format!("metrics of {namespace} are in {region} only, and this connector sees {}", here.region()))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::tools::Dimensions;

    #[test]
    fn why_there_are_no_points_is_told_as_far_as_it_is_known() {
        let now: Timestamp = "2026-06-30T00:00:00Z".parse().unwrap();
        let day = SignedDuration::from_hours(24);
        let lately = Window { from: now.checked_sub(SignedDuration::from_hours(1)).unwrap(), to: now };
        let long_ago = now.checked_sub(day * 456).unwrap();
        let gone = Window { from: now.checked_sub(day * 460).unwrap(), to: long_ago };
        let none = |namespace: &str, stat: &str, window, region: &str| {
            let query = Query::metric(namespace.to_owned(), "M".to_owned(), Dimensions::new(), Some(stat.to_owned()));
            nothing_there(&[query], window, 60, &Place::new(region.to_owned()), now)
        };
        assert!(none("A", "Sum", gone, "eu-central-1").contains("455 days"));
        let just_now = Window { from: now.checked_sub(SignedDuration::from_mins(5)).unwrap(), to: now };
        for (namespace, stat, window, region, words, told) in [
            ("A", "Sum", lately, "eu-central-1", "not zero", true),
            ("A", "Sum", lately, "eu-central-1", "once a day", true),
            ("A", "Sum", lately, "eu-central-1", "minutes late", false),
            ("A", "Sum", just_now, "eu-central-1", "minutes late", true),
            ("A", "Sum", lately, "eu-central-1", "percentiles", false),
            ("A", "p99", lately, "eu-central-1", "percentiles", true),
            ("AWS/EC2", "Sum", lately, "eu-central-1", "us-east-1", false),
            ("AWS/CloudFront", "Sum", lately, "eu-central-1", "us-east-1", true),
            ("AWS/CloudFront", "Sum", lately, "us-east-1", "us-east-1", false),
            ("AWS/Billing", "Sum", lately, "cn-north-1", "us-east-1", false),
        ] {
            let hint = none(namespace, stat, window, region);
            assert_eq!(hint.contains(words), told, "{namespace} {stat} {region}: {hint}");
        }
    }
}
