//! Periods of points: which of them AWS keeps of a time, which one is chosen where none is asked for, and those that expressions
//! name themselves.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Window, data::Query, invalid};
use tools::ToolError;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
pub(super) const DAY: i64 = 86_400;
/// How long AWS keeps points, by the shortest that there are: what is older is kept in the next line's
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html>).
const RETENTION: [(i64, u32); 4] = [(3 * HOUR, 1), (15 * DAY, 60), (63 * DAY, 300), (455 * DAY, 3_600)];

/// The shortest period of which AWS keeps points from the beginning of a window on; nothing if it keeps none.
pub(super) fn kept(window: Window, now: Timestamp) -> Option<u32> {
    // AWS counts from when it reads the request, which is a little later.
    let age = now.as_second() - window.from.as_second() + MINUTE;
    RETENTION.iter().find(|(kept, _)| age <= *kept).map(|(_, period)| *period)
}

/// The period of the points.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) seconds: u32,
    /// What is said where it is not the one that was asked for.
    pub(super) hint: Option<String>,
}

impl Period {
    /// The period that is asked for, made longer where AWS keeps no such points from the beginning of the window; or the
    /// shortest that it keeps and with which the points are not too many.
    ///
    /// # Errors
    /// When AWS has no such period.
    pub(super) fn new(
        window: Window,
        asked: Option<u32>,
        max_points: usize,
        now: Timestamp,
    ) -> Result<Self, ToolError> {
        if asked.is_some_and(|asked| !is_period(asked)) {
            return Err(invalid("period_seconds", "period_seconds must be 1, 5, 10, 20, 30 or a multiple of 60"));
        }
        let wanted = asked.unwrap_or_else(|| chosen(window, max_points));
        let seconds = settle(window, &mut [wanted], now).1;
        let hint = (asked.is_some() && seconds != wanted).then(|| {
            format!(
                "period_seconds is {seconds} instead of {wanted}: of a time that begins so long ago AWS keeps longer points \
                 only (of less than 60 s for 3 hours, of 60 s for 15 days, of 300 s for 63 days)"
            )
        });
        Ok(Self { seconds, hint })
    }
}

/// Whether AWS has such a period (`MetricStat` of the API reference).
pub(super) const fn is_period(seconds: u32) -> bool {
    matches!(seconds, 1 | 5 | 10 | 20 | 30) || (seconds > 0 && seconds.is_multiple_of(60))
}

/// A period with which the points of a window are not too many. Metrics come each minute, each five minutes or each hour, so it
/// is one into which those fit: with others, periods without a point come in between.
fn chosen(window: Window, max_points: usize) -> u32 {
    let points = i64::try_from(max_points).unwrap_or(i64::MAX).max(1);
    let least = u32::try_from((window.seconds() + points - 1) / points).unwrap_or(86_400);
    let fitting = [60, 300, 600, 900, 1_200, 1_800].into_iter().find(|period| least <= *period);
    fitting.unwrap_or_else(|| (least.div_ceil(3_600) * 3_600).min(86_400))
}

/// Makes periods longer where AWS keeps no such points from the beginning of a window on. The window is then one of whole
/// periods of the longest, which is told beside it: AWS' own periods begin where a request does (boto/boto3 #3457), and others
/// with each request.
pub(super) fn settle(window: Window, periods: &mut [u32], now: Timestamp) -> (Window, u32) {
    loop {
        let longest = periods.iter().copied().max().unwrap_or(60);
        let whole = window.whole(longest, now);
        match kept(whole, now).filter(|step| periods.iter().any(|period| !period.is_multiple_of(*step))) {
            None => return (whole, longest),
            Some(step) => periods.iter_mut().for_each(|period| *period = period.div_ceil(step) * step),
        }
    }
}

/// The periods that expressions name themselves: of searches in them, or in those that they refer to.
pub(super) fn own_periods(queries: &[Query]) -> Vec<Option<u32>> {
    let of = |query: &Query| search_period(query.expression.as_deref()?);
    let named: BTreeMap<&str, u32> =
        queries.iter().filter_map(|query| Some((query.id.as_deref()?, of(query)?))).collect();
    let referred = |query: &Query| {
        let words = query.expression.as_deref()?.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter_map(|word| named.get(word).copied()).max()
    };
    queries.iter().map(|query| of(query).or_else(|| referred(query))).collect()
}

/// The period that a search names in its last argument, beside which AWS passes that of its query over (grafana/grafana
/// PR 39458); the longest of several.
fn search_period(expression: &str) -> Option<u32> {
    let text = expression.to_ascii_uppercase();
    text.split("SEARCH(").skip(1).filter_map(last_argument).max()
}

/// The last argument of a function, if it is a period. The text begins after its bracket.
fn last_argument(text: &str) -> Option<u32> {
    let (mut is_quoted, mut depth, mut begins) = (false, 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' => depth += 1,
            ')' if depth == 0 => {
                return text.get(begins..at)?.trim().parse().ok().filter(|period| is_period(*period));
            }
            ')' => depth -= 1,
            ',' if depth == 0 => begins = at + 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::tools::Dimensions;

    #[test]
    fn the_period_fits_what_aws_keeps_and_what_is_answered() {
        let now: Timestamp = "2026-06-30T00:00:00Z".parse().unwrap();
        let day = SignedDuration::from_hours(24);
        for (days_ago, days_long, points, expected, of_60) in [
            (1, 1, 1_440, 60, 60),
            (1, 1, 100, 900, 60),
            (7, 7, 100, 7_200, 60),
            (15, 1, 1_440, 300, 300),
            (20, 1, 1_440, 300, 300),
            (20, 20, 100, 18_000, 300),
            (63, 1, 1_440, 3_600, 3_600),
            (100, 1, 1_440, 3_600, 3_600),
            (400, 400, 100, 86_400, 3_600),
            // Of what is older nothing is kept, whatever the period.
            (500, 1, 100, 900, 60),
        ] {
            let from = now.checked_sub(day * days_ago).unwrap();
            let window = Window { from, to: from.checked_add(day * days_long).unwrap() };
            let period = |asked| Period::new(window, asked, points, now);
            assert_eq!(period(None).unwrap().seconds, expected, "{days_ago} {days_long} {points}");
            let asked = period(Some(60)).unwrap();
            assert_eq!((asked.seconds, asked.hint.is_some()), (of_60, of_60 != 60), "{days_ago}");
            assert_eq!(period(Some(7_200)).unwrap(), Period { seconds: 7_200, hint: None }, "{days_ago}");
            assert_eq!(period(Some(90)).unwrap_err().argument.as_deref(), Some("period_seconds"));
        }
        let hour_ago = now.checked_sub(SignedDuration::from_hours(1)).unwrap();
        let lately = Window { from: hour_ago, to: now };
        assert_eq!(Period::new(lately, Some(10), 100, now).unwrap().seconds, 10);
        let before = Window { from: now.checked_sub(SignedDuration::from_hours(4)).unwrap(), to: now };
        assert_eq!(Period::new(before, Some(10), 100, now).unwrap().seconds, 60);
    }

    #[test]
    fn a_search_names_its_own_period() {
        for (expression, period) in [
            ("SEARCH('{AWS/EC2,InstanceId} MetricName=\"a\"', 'Sum', 900)", Some(900)),
            ("SORT(search(' {A,B} (x OR y), 60)', 'Sum' , 300 ), SUM)", Some(300)),
            ("SUM(SEARCH('a', 'Sum', 60)) + SUM(SEARCH('b', 'Sum', 3600))", Some(3_600)),
            ("SEARCH('{A,B} x', 'Sum')", None),
            ("SEARCH('{A,B} x', 'Sum', 7)", None),
            ("SEARCH('{A,B} x, 60", None),
            ("m1 + m2", None),
        ] {
            assert_eq!(search_period(expression), period, "{expression}");
        }
        let query = |id: &str, expression: &str| Query {
            id: Some(id.to_owned()),
            expression: Some(expression.to_owned()),
            ..Query::metric(String::new(), String::new(), Dimensions::new(), None)
        };
        let queries = [query("s1", "SEARCH('{A,B} x', 'Sum', 900)"), query("e1", "SUM(s1)"), query("e2", "s11 * 2")];
        assert_eq!(own_periods(&queries), [Some(900), Some(900), None]);
    }
}
