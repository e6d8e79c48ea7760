//! What a platform's answers say of how often it may be asked: how long to wait (`Retry-After`), and how many requests
//! are left until they are counted anew (`RateLimit-*`, draft-ietf-httpapi-ratelimit-headers up to its version 07, and
//! `X-RateLimit-*`, which was there before it).

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{DATE, RETRY_AFTER},
};

use super::Response;

/// The longest wait that is believed.
const LONGEST: Duration = Duration::from_hours(1);
/// Numbers from which on a reset is a time, in seconds since 1970, and not a number of seconds.
const EPOCH: u64 = 1_000_000_000;
/// Time after which requests are counted anew where an answer doesn't say: most limits are by the minute.
const UNNAMED_RESET: Duration = Duration::from_mins(1);
/// Both kinds of headers: the limit, what remains of it, and when it is counted anew.
const HEADERS: [[HeaderName; 3]; 2] = [
    [
        HeaderName::from_static("ratelimit-limit"),
        HeaderName::from_static("ratelimit-remaining"),
        HeaderName::from_static("ratelimit-reset"),
    ],
    [
        HeaderName::from_static("x-ratelimit-limit"),
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderName::from_static("x-ratelimit-reset"),
    ],
];

/// What an account may still ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Requests in all; at least one.
    pub(super) limit: u32,
    /// Requests that are left.
    pub(super) remaining: u32,
    /// Time until they are counted anew; at least a second.
    pub(super) resets_in: Duration,
}

impl Allowance {
    fn share(self) -> f64 {
        f64::from(self.remaining) / f64::from(self.limit)
    }
}

impl Response {
    /// The wait that `Retry-After` asks for, in seconds or by a date (RFC 9110, section 10.2.3), at most an hour; without
    /// it, for a 429, what `RateLimit-Reset` or `X-RateLimit-Reset` says. A date is compared with the answer's own `Date`,
    /// so that a clock that is wrong does no harm, or with ours if it has none.
    pub fn retry_after(&self) -> Option<Duration> {
        let Some(asked) = text(&self.headers, &RETRY_AFTER) else {
            let is_refused = self.status == StatusCode::TOO_MANY_REQUESTS;
            return HEADERS.iter().filter(|_| is_refused).find_map(|[_, _, reset]| time_until(&self.headers, reset));
        };
        let wait = if let Ok(seconds) = asked.parse() {
            Duration::from_secs(seconds)
        } else {
            let until = httpdate::parse_http_date(asked).ok()?;
            until.duration_since(sent_at(&self.headers)).unwrap_or_default()
        };
        Some(wait.min(LONGEST))
    }
}

/// What headers say of the requests that are left: the scarcer one, where both kinds are there. A limit of none is taken
/// for no limit.
pub(super) fn read(headers: &HeaderMap) -> Option<Allowance> {
    let of_kind = |[limit, remaining, reset]: &[HeaderName; 3]| {
        let resets_in = time_until(headers, reset).unwrap_or(UNNAMED_RESET).max(Duration::from_secs(1));
        Some(Allowance {
            limit: count(headers, limit).filter(|limit| *limit > 0)?,
            remaining: count(headers, remaining)?,
            resets_in,
        })
    };
    HEADERS.iter().filter_map(of_kind).min_by(|one, other| one.share().total_cmp(&other.share()))
}

/// The first number of a header; several policies may follow a comma.
fn count(headers: &HeaderMap, name: &HeaderName) -> Option<u32> {
    let number: u64 = text(headers, name)?.split([',', ';']).next()?.trim().parse().ok()?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

/// The time that a reset names: most give seconds, some the time in place of the seconds until then.
fn time_until(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let seconds: u64 = text(headers, name)?.split([',', ';']).next()?.trim().parse().ok()?;
    let since_1970 = || sent_at(headers).duration_since(SystemTime::UNIX_EPOCH).ok();
    let passed = (seconds >= EPOCH).then(since_1970).flatten().unwrap_or_default();
    Some(Duration::from_secs(seconds).saturating_sub(passed).min(LONGEST))
}

fn sent_at(headers: &HeaderMap) -> SystemTime {
    let date = text(headers, &DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    date.unwrap_or_else(SystemTime::now)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn told(limit: u32, remaining: u32, seconds: u64) -> Allowance {
        Allowance { limit, remaining, resets_in: Duration::from_secs(seconds) }
    }

    #[test]
    fn the_scarcer_of_both_kinds_of_header_counts() {
        let both = headers(&[
            ("ratelimit-limit", "100, 100;w=60"),
            ("ratelimit-remaining", "50"),
            ("ratelimit-reset", "30"),
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", "80"),
            ("x-ratelimit-reset", "20"),
        ]);
        assert_eq!(read(&both), Some(told(1_000, 80, 20)));
    }

    #[test]
    fn a_reset_may_be_a_time_by_the_answers_own_clock_and_may_be_missing() {
        let at = [("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000060")];
        let mut dated = headers(&at);
        // 1,700,000,000 seconds after 1970.
        dated.insert(DATE, "Tue, 14 Nov 2023 22:13:20 GMT".parse().unwrap());
        assert_eq!(read(&dated), Some(told(10, 0, 60)));
        // By our clock that is long ago, and far in the future is not believed.
        assert_eq!(read(&headers(&at)), Some(told(10, 0, 1)));
        let far = headers(&[("ratelimit-limit", "10"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "86400")]);
        assert_eq!(read(&far), Some(told(10, 0, 3_600)));
        assert_eq!(read(&headers(&[("ratelimit-limit", "10"), ("ratelimit-remaining", "9")])), Some(told(10, 9, 60)));
    }

    #[test]
    fn what_says_nothing_is_no_allowance() {
        for pairs in [
            &[][..],
            &[("ratelimit-remaining", "0")],
            &[("ratelimit-limit", "10")],
            &[("ratelimit-limit", "0"), ("ratelimit-remaining", "0")],
            &[("ratelimit-limit", "ten"), ("ratelimit-remaining", "x")],
        ] {
            assert_eq!(read(&headers(pairs)), None, "{pairs:?}");
        }
    }
}
