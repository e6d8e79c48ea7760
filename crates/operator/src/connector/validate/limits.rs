//! What `spec.limits` comes to, with every default resolved.

use api::{
    duration::ApiDuration,
    limits::{CacheSpec, CallRateSpec, LimitsSpec, PlatformLimitsSpec, RepeatsSpec, ToolRateSpec},
    platform::Declaration,
};
use pod_api::config::{
    CacheConfig, CallRateConfig, LimitsConfig, PlatformLimitsConfig, RepeatsConfig, SharedRateConfig, ToolRateConfig,
};

const DEFAULT_CALL_TIMEOUT: ApiDuration = ApiDuration::from_secs(30);
const DEFAULT_MAX_CONCURRENT_CALLS: i32 = 256;
const DEFAULT_MAX_RESULT_BYTES: i32 = 262_144;

/// Resolves the limits of a connector to a platform. `shared` is what `spec.shared` came to.
pub fn resolve(spec: LimitsSpec, shared: Option<SharedRateConfig>, platform: &dyn Declaration) -> LimitsConfig {
    LimitsConfig {
        call_timeout: spec.call_timeout.unwrap_or(DEFAULT_CALL_TIMEOUT),
        max_concurrent_calls: at_least_one(spec.max_concurrent_calls.unwrap_or(DEFAULT_MAX_CONCURRENT_CALLS)),
        max_result_bytes: at_least_one(spec.max_result_bytes.unwrap_or(DEFAULT_MAX_RESULT_BYTES)),
        calls: resolve_calls(&spec.calls.unwrap_or_default()),
        tools: spec.tools.unwrap_or_default().into_iter().map(resolve_tool).collect(),
        shared,
        repeats: resolve_repeats(&spec.repeats.unwrap_or_default()),
        cache: resolve_cache(&spec.cache.unwrap_or_default()),
        platform: resolve_platform(spec.platform.unwrap_or_default(), platform),
    }
}

fn at_least_one(value: i32) -> usize {
    usize::try_from(value.max(1)).unwrap_or(1)
}

fn count(given: Option<i32>, default: u32) -> u32 {
    given.and_then(|given| u32::try_from(given).ok()).unwrap_or(default)
}

fn resolve_calls(spec: &CallRateSpec) -> CallRateConfig {
    let per_minute = count(spec.per_minute, CallRateConfig::default().per_minute);
    CallRateConfig::new(per_minute, spec.burst.and_then(|burst| u32::try_from(burst).ok()))
}

fn resolve_tool(spec: ToolRateSpec) -> ToolRateConfig {
    let calls = CallRateSpec { per_minute: Some(spec.per_minute), burst: spec.burst };
    ToolRateConfig { name: spec.name, rate: resolve_calls(&calls) }
}

fn resolve_repeats(spec: &RepeatsSpec) -> RepeatsConfig {
    let default = RepeatsConfig::default();
    RepeatsConfig {
        enabled: spec.enabled.unwrap_or(default.enabled),
        window: spec.window.unwrap_or(default.window),
        warn_after: spec.warn_after.map_or(default.warn_after, at_least_one),
        refuse_after: spec.refuse_after.map_or(default.refuse_after, at_least_one),
    }
}

fn resolve_cache(spec: &CacheSpec) -> CacheConfig {
    let default = CacheConfig::default();
    CacheConfig {
        enabled: spec.enabled.unwrap_or(default.enabled),
        max_bytes: spec.max_bytes.map_or(default.max_bytes, at_least_one),
    }
}

fn resolve_platform(spec: PlatformLimitsSpec, platform: &dyn Declaration) -> PlatformLimitsConfig {
    let default = PlatformLimitsConfig::default();
    let breaker = spec.breaker.unwrap_or_default();
    PlatformLimitsConfig {
        max_concurrent_requests: spec
            .max_concurrent_requests
            .map_or_else(|| platform.requests_at_a_time(), at_least_one),
        max_queued_requests: spec
            .max_queued_requests
            .and_then(|given| usize::try_from(given).ok())
            .unwrap_or(default.max_queued_requests),
        requests_per_minute: spec
            .requests_per_minute
            .and_then(|given| u32::try_from(given).ok())
            .or(platform.requests_per_minute()),
        request_timeout: spec.request_timeout.unwrap_or_else(|| platform.request_timeout()),
        max_attempts: count(spec.max_attempts, default.max_attempts).max(1),
        breaker_consecutive_failures: count(breaker.consecutive_failures, default.breaker_consecutive_failures).max(1),
        breaker_failure_percent: count(breaker.failure_percent, default.breaker_failure_percent).clamp(1, 100),
    }
}
