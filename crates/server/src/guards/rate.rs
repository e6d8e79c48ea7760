//! How often a caller may call. One call too many is a tool's error, `rate_limited`, with the time after which the next
//! one may come; the same numbers stand in the headers of the HTTP response.
//!
//! Its status stays 200: that of a failed tool is 200 in every revision of the protocol, and clients turn 429 into an
//! error of the transport, which a model doesn't get to read. Only who fails to prove who it is over and over gets 429,
//! at the door, where there is no call yet.
//!
//! Each replica counts by itself, so N replicas let up to N times as many calls through; unless they share a count
//! ([`super::shared_rate`]). A replica then keeps what it last heard of each bucket: it refuses by that without asking, and
//! goes on from there while nobody can be asked.

use std::{
    collections::BTreeMap,
    hash::Hash,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use lru::LruCache;
use tokio::time::Instant;

use super::{
    principal::{Principal, network},
    shared_rate::{SharedQuota, SharedRates},
};
use pod_api::config::{CallRateConfig, LimitsConfig};
use tools::{ErrorCode, ToolError};

/// Callers that are counted at a time. The one that has been quiet for longest gives way, and begins anew.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
/// Buckets that are full again and are forgotten with each call, at most.
const FORGOTTEN_AT_ONCE: usize = 4;
/// Refused callers of an address in a minute, after which further ones are told to come back later.
const FAILURES: CallRateConfig = CallRateConfig { per_minute: 100, burst: 100 };

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What is said of a rate, in headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateNote {
    /// Calls in a minute.
    pub limit: u32,
    /// Calls that may come at once now.
    pub remaining: u32,
    /// Time until as many may come at once as ever.
    pub reset: Duration,
    /// Time until one may come again, if this one may not.
    pub retry_after: Option<Duration>,
}

impl RateNote {
    /// Writes it into headers: `X-RateLimit-Limit`, `-Remaining` and `-Reset`, and `Retry-After` where a call was refused.
    /// Times are whole seconds, rounded up.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.remaining.into());
        headers.insert(RESET, HeaderValue::from(whole_seconds(self.reset)));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait).max(1)));
        }
    }

    /// Seconds until one may come again, rounded up; never 0.
    #[must_use]
    pub fn retry_after_seconds(&self) -> u64 {
        whole_seconds(self.retry_after.unwrap_or_default()).max(1)
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A rate as a bucket that fills up: a call takes one out, and one comes back each `interval`.
#[derive(Clone, Copy, Debug)]
struct Quota {
    per_minute: u32,
    interval: Duration,
    capacity: Duration,
}

impl Quota {
    fn new(rate: CallRateConfig) -> Self {
        let interval = Duration::from_mins(1) / rate.per_minute.max(1);
        Self { per_minute: rate.per_minute, interval, capacity: interval * rate.burst.max(1) }
    }

    /// Takes one out of a bucket that is full at `full_at`, and says when it is full then. A refused call takes nothing.
    fn take(&self, full_at: Option<Instant>, now: Instant) -> (Option<Instant>, RateNote) {
        let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let wanted = missing + self.interval;
        match wanted.checked_sub(self.capacity) {
            Some(over) if !over.is_zero() => (None, self.note(missing, Some(over))),
            _ => (Some(now + wanted), self.note(wanted, None)),
        }
    }

    /// What is said of a bucket that is full after `missing`.
    fn note(&self, missing: Duration, retry_after: Option<Duration>) -> RateNote {
        let left = self.capacity.saturating_sub(missing).as_nanos() / self.interval.as_nanos().max(1);
        let remaining = u32::try_from(left).unwrap_or(u32::MAX);
        RateNote { limit: self.per_minute, remaining, reset: missing, retry_after }
    }

    /// The same rate, for a bucket that replicas share.
    fn shared(&self) -> SharedQuota {
        let burst = self.capacity.as_nanos() / self.interval.as_nanos().max(1);
        SharedQuota { interval: self.interval, burst: u32::try_from(burst).unwrap_or(u32::MAX) }
    }
}

/// Buckets of many, of whom only those are kept whose bucket isn't full.
struct Buckets<K: Hash + Eq>(Mutex<LruCache<K, Instant>>);

impl<K: Hash + Eq> Buckets<K> {
    fn new() -> Self {
        Self(Mutex::new(LruCache::new(MAX_KEPT)))
    }

    fn take(&self, quota: &Quota, key: K) -> RateNote {
        let now = Instant::now();
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (full_at, note) = quota.take(buckets.get(&key).copied(), now);
        if let Some(full_at) = full_at {
            buckets.put(key, full_at);
        }
        for _ in 0..FORGOTTEN_AT_ONCE {
            if buckets.peek_lru().is_none_or(|(_, full_at)| *full_at > now) {
                break;
            }
            buckets.pop_lru();
        }
        note
    }

    /// Takes over what was heard of a bucket: it is full after `missing`.
    fn learn(&self, key: K, missing: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, Instant::now() + missing);
    }

    /// What taking one would come to.
    fn look(&self, quota: &Quota, key: &K) -> RateNote {
        let full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner).peek(key).copied();
        quota.take(full_at, Instant::now()).1
    }
}

/// How often each caller may call, and call single tools.
pub struct CallRates {
    calls: Quota,
    callers: Buckets<Principal>,
    /// By the tools' names without the prefix.
    tools: BTreeMap<&'static str, Quota>,
    callers_of_tools: Buckets<(Principal, &'static str)>,
    /// Where the buckets of all replicas are, if they share them.
    shared: Option<Arc<SharedRates>>,
}

impl CallRates {
    /// The rates of a configuration, for tools of these names without the prefix.
    #[must_use]
    pub fn new(
        limits: &LimitsConfig,
        tools: impl Iterator<Item = &'static str>,
        shared: Option<Arc<SharedRates>>,
    ) -> Self {
        let rate_of = |tool: &&'static str| {
            let matching = limits.tools.iter().filter(|entry| entry.name.matches(tool));
            matching.min_by_key(|entry| (!entry.name.is_exact(), entry.rate.per_minute, entry.rate.burst))
        };
        let tools = tools.filter_map(|tool| Some((tool, Quota::new(rate_of(&tool)?.rate)))).collect();
        let calls = Quota::new(limits.calls);
        Self { calls, callers: Buckets::new(), tools, callers_of_tools: Buckets::new(), shared }
    }

    /// What there is to say to a caller who may make no call now, as far as this replica knows; nothing to one who may.
    #[must_use]
    pub fn used_up(&self, principal: &Principal) -> Option<RateNote> {
        let note = self.callers.look(&self.calls, principal);
        note.retry_after.map(|_| note)
    }

    /// Counts a call, whatever it is for.
    ///
    /// # Errors
    /// When it is one too many.
    pub async fn enter(&self, principal: &Principal) -> (RateNote, Result<(), ToolError>) {
        let bucket = || format!("calls:{principal}");
        let note = self.take(&self.callers, &self.calls, principal.clone(), bucket).await;
        (note, refusal(&note, "calls"))
    }

    /// Counts a call of a tool. Nothing is said of tools that have no rate of their own.
    ///
    /// # Errors
    /// When it is one too many.
    pub async fn enter_tool(
        &self,
        principal: &Principal,
        tool: &'static str,
    ) -> Option<(RateNote, Result<(), ToolError>)> {
        let quota = self.tools.get(tool)?;
        let bucket = || format!("tool:{tool}:{principal}");
        let note = self.take(&self.callers_of_tools, quota, (principal.clone(), tool), bucket).await;
        Some((note, refusal(&note, "calls of this tool")))
    }

    /// Takes one out of the bucket that replicas share, or if there is none, or nobody to be asked, out of our own.
    async fn take<K: Hash + Eq>(
        &self,
        own: &Buckets<K>,
        quota: &Quota,
        key: K,
        bucket: impl FnOnce() -> String,
    ) -> RateNote {
        let Some(shared) = &self.shared else { return own.take(quota, key) };
        // The shared bucket holds no more than was heard of it, so whoever floods doesn't reach Redis.
        let heard = own.look(quota, &key);
        if heard.retry_after.is_some() {
            return heard;
        }
        let Some(counted) = shared.take(quota.shared(), &bucket()).await else { return own.take(quota, key) };
        own.learn(key, counted.missing);
        let over = (counted.missing + quota.interval).saturating_sub(quota.capacity);
        // Redis counts in microseconds, so what is over may be less than one.
        quota.note(counted.missing, (!counted.taken).then_some(over.max(Duration::from_micros(1))))
    }
}

fn refusal(note: &RateNote, what: &str) -> Result<(), ToolError> {
    let Some(wait) = note.retry_after else {
        return Ok(());
    };
    let message = format!("these are more {what} than the {} a minute that a caller may make", note.limit);
    let remedy = "call again after retry_after_seconds, and less often; spec.limits of the McpConnector sets the rate";
    Err(ToolError::new(ErrorCode::RateLimited, message).with_remedy(remedy).with_retry_after(wait))
}

/// Addresses from which callers are refused for their tokens over and over.
///
/// Behind a gateway everyone has one address, so only failures count, and tokens that were verified lately still pass.
pub struct Failures {
    quota: Quota,
    addresses: Buckets<IpAddr>,
}

impl Default for Failures {
    fn default() -> Self {
        Self { quota: Quota::new(FAILURES), addresses: Buckets::new() }
    }
}

impl Failures {
    /// Counts a failure.
    pub fn count(&self, address: Option<IpAddr>) {
        if let Some(address) = address {
            let _note = self.addresses.take(&self.quota, network(address));
        }
    }

    /// Whether there were too many of an address, and until when.
    #[must_use]
    pub fn too_many(&self, address: Option<IpAddr>) -> Option<RateNote> {
        let note = self.addresses.look(&self.quota, &network(address?));
        note.retry_after.map(|_| note)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;
    use api::pattern::NamePattern;
    use pod_api::config::ToolRateConfig;

    fn caller(name: &str) -> Principal {
        Principal::Address(Some(name.parse().unwrap()))
    }

    fn rates(calls: CallRateConfig, tools: &[(&str, u32)]) -> CallRates {
        let tool = |(name, per_minute): &(&str, u32)| ToolRateConfig {
            name: NamePattern((*name).to_owned()),
            rate: CallRateConfig::new(*per_minute, None),
        };
        let limits = LimitsConfig { calls, tools: tools.iter().map(tool).collect(), ..testing::config().limits };
        CallRates::new(&limits, ["get_a", "get_b", "list_c"].into_iter(), None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_one_a_second() {
        let rates = rates(CallRateConfig::default(), &[]);
        let triage = caller("10.0.0.1");
        for remaining in (0..20).rev() {
            let (note, verdict) = rates.enter(&triage).await;
            assert_eq!((note.limit, note.remaining, verdict), (60, remaining, Ok(())));
        }
        let (note, verdict) = rates.enter(&triage).await;
        let error = verdict.unwrap_err();
        assert_eq!((error.code, error.retry_after_seconds), (ErrorCode::RateLimited, Some(1)));
        assert_eq!((note.remaining, note.reset), (0, Duration::from_secs(20)));
        assert_eq!(rates.enter(&caller("10.0.0.2")).await.1, Ok(()), "others are not held up");
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(rates.enter(&triage).await.1.is_err());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(rates.enter(&triage).await.1.is_ok());
        assert!(rates.enter(&triage).await.1.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tool_has_the_rate_of_its_name_or_else_the_lowest() {
        let rates = rates(CallRateConfig::default(), &[("get_*", 2), ("*_b", 1), ("get_a", 3)]);
        let triage = caller("10.0.0.1");
        for (tool, allowed) in [("get_a", 3), ("get_b", 1)] {
            for _ in 0..allowed {
                assert_eq!(rates.enter_tool(&triage, tool).await.unwrap().1, Ok(()));
            }
            let (note, verdict) = rates.enter_tool(&triage, tool).await.unwrap();
            assert_eq!((note.limit, verdict.is_err()), (allowed, true), "{tool}");
        }
        assert!(rates.enter_tool(&triage, "list_c").await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_those_are_kept_who_called_lately() {
        let rates = rates(CallRateConfig::default(), &[]);
        let kept = || rates.callers.0.lock().unwrap().len();
        for number in 0..u32::try_from(MAX_KEPT.get()).unwrap() + 100 {
            rates.enter(&Principal::Address(Some(std::net::Ipv4Addr::from(number).into()))).await.1.unwrap();
        }
        assert_eq!(kept(), MAX_KEPT.get());
        tokio::time::advance(Duration::from_mins(1)).await;
        for _ in 0..MAX_KEPT.get() {
            let _verdict = rates.enter(&caller("10.0.0.1")).await;
        }
        assert_eq!(kept(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_an_address_are_too_many_for_a_while() {
        let failures = Failures::default();
        let address = Some("10.0.0.1".parse().unwrap());
        for _ in 0..100 {
            assert_eq!(failures.too_many(address), None);
            failures.count(address);
        }
        let note = failures.too_many(address).unwrap();
        assert_eq!((note.limit, note.remaining, note.retry_after_seconds()), (100, 0, 1));
        assert_eq!(failures.too_many(Some("10.0.0.2".parse().unwrap())), None);
        tokio::time::advance(Duration::from_millis(600)).await;
        assert_eq!(failures.too_many(address), None);
    }

    proptest! {
        #[test]
        fn no_more_pass_than_the_rate_and_the_burst(
            per_minute in 1_u32..=60_000,
            burst in 1_u32..=100,
            pauses in prop::collection::vec(0_u64..10_000, 1..300),
        ) {
            let quota = Quota::new(CallRateConfig { per_minute, burst });
            let start = Instant::now();
            let (mut now, mut full_at, mut passed) = (start, None, 0_u32);
            for pause in pauses {
                now += Duration::from_millis(pause);
                let (after, note) = quota.take(full_at, now);
                prop_assert_eq!(after.is_some(), note.retry_after.is_none());
                if let Some(after) = after {
                    full_at = Some(after);
                    passed += 1;
                } else {
                    let wait = note.retry_after.unwrap();
                    prop_assert!(quota.take(full_at, now + wait).0.is_some(), "after the wait one passes");
                    prop_assert!(quota.take(full_at, now + wait.saturating_sub(Duration::from_nanos(1))).0.is_none());
                    prop_assert_eq!(note.remaining, 0);
                }
            }
            let elapsed = now - start;
            let most = f64::from(burst) + elapsed.as_secs_f64() * f64::from(per_minute) / 60.0;
            prop_assert!(f64::from(passed) <= most + 1.0, "{passed} of {most}");
        }
    }
}
