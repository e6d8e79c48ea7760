//! What CircleCI says of its rate limit: how much of it is left, and until when a token that has spent it is to be quiet,
//! so that 429 need not come. (`Retry-After` is kept to by `outbound`.) It publishes no figure; its documents name headers
//! `RateLimit-*` or `X-RateLimit-*`, of which the lower one counts. One account a token: what a new token may do is not
//! known from what the old one used up.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::HeaderMap;
use tokio::time::Instant;

use crate::outbound::Response;

/// Seconds at most for which the connector is quiet without asking again.
const LONGEST: u64 = 600;
/// Numbers from which on a reset is a time and not a number of seconds.
const EPOCH: u64 = 1_000_000_000;

/// The account of the token in use.
#[derive(Debug, Default)]
pub(super) struct Rate(Mutex<Account>);

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Generation of the token.
    token: u64,
    quiet_until: Option<Instant>,
    /// Requests of a thousand that are left, and when they were.
    share: Option<(u64, Instant)>,
}

impl Rate {
    /// The time for which no request is to be made with this token.
    pub(super) fn quiet(&self, token: u64) -> Option<Duration> {
        let account = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = account.quiet_until.filter(|_| account.token == token)?;
        Some(until.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }

    /// Whether less than a tenth of the requests was left a short while ago.
    pub(super) fn is_low(&self) -> bool {
        let account = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        account.share.is_some_and(|(share, at)| share < 100 && at.elapsed() < Duration::from_mins(2))
    }

    /// Remembers what an answer to this token says.
    pub(super) fn note(&self, token: u64, response: &Response) {
        let now = Instant::now();
        let limits = limits(&response.headers);
        let lowest = limits.iter().min_by_key(|limit| limit.share);
        let is_over = |limit: &&Limit| limit.remaining == 0 || response.status.as_u16() == 429;
        let wait = lowest.filter(is_over).and_then(|limit| limit.reset);
        let mut account = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if account.token != token {
            *account = Account { token, ..Account::default() };
        }
        if let Some(limit) = lowest {
            account.share = Some((limit.share, now));
        }
        if let Some(wait) = wait {
            let until = now + wait;
            account.quiet_until = account.quiet_until.filter(|earlier| *earlier > until).or(Some(until));
        }
    }
}

struct Limit {
    remaining: u64,
    /// Of a thousand.
    share: u64,
    reset: Option<Duration>,
}

fn limits(headers: &HeaderMap) -> Vec<Limit> {
    let number = |prefix: &str, name: &str| -> Option<u64> {
        let value = headers.get(format!("{prefix}ratelimit-{name}"))?.to_str().ok()?;
        // Several policies may follow a comma.
        value.split([',', ';']).next()?.trim().parse().ok()
    };
    ["", "x-"]
        .into_iter()
        .filter_map(|prefix| {
            let remaining = number(prefix, "remaining")?;
            let share = number(prefix, "limit").and_then(|limit| remaining.saturating_mul(1_000).checked_div(limit));
            let reset = number(prefix, "reset").and_then(|reset| match reset {
                0..EPOCH => Some(reset),
                at => u64::try_from(jiff::Timestamp::now().as_second()).ok().map(|now| at.saturating_sub(now)),
            });
            let reset = reset.map(|seconds| Duration::from_secs(seconds.min(LONGEST)));
            Some(Limit { remaining, share: share.unwrap_or(1_000), reset })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_lower_of_both_kinds_of_header_counts() {
        let both = limits(&headers(&[
            ("ratelimit-limit", "100, 100;w=60"),
            ("ratelimit-remaining", "50"),
            ("ratelimit-reset", "30"),
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", "80"),
        ]));
        assert_eq!(both.iter().map(|limit| limit.share).min(), Some(80));
        assert_eq!(both[0].reset, Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_reset_may_be_a_time() {
        let at = (jiff::Timestamp::now().as_second() + 60).to_string();
        let found = limits(&headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &at)]));
        assert!(found[0].reset.is_some_and(|wait| (58..=60).contains(&wait.as_secs())), "{:?}", found[0].reset);
        assert_eq!(limits(&headers(&[("ratelimit-remaining", "x")])).len(), 0);
        assert_eq!(limits(&headers(&[("ratelimit-limit", "0"), ("ratelimit-remaining", "0")]))[0].share, 1_000);
    }
}
