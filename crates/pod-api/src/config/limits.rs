//! Bounds of calls, and of the way to the platform, with the defaults of [`api::limits`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use api::{duration::ApiDuration, limits::DEFAULT_REQUESTS_AT_A_TIME, pattern::NamePattern};

/// Bounds of a tool call. See [`api::limits::LimitsSpec`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsConfig {
    /// Time that a call may take in all.
    pub call_timeout: ApiDuration,
    /// Calls at a time.
    pub max_concurrent_calls: usize,
    /// Bytes of an answer.
    pub max_result_bytes: usize,
    /// Calls that each caller may make.
    #[serde(default)]
    pub calls: CallRateConfig,
    /// Calls that each caller may make of single tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolRateConfig>,
    /// Where calls are counted for all replicas together; each counts by itself if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedRateConfig>,
    /// When repeated calls are warned of and refused.
    #[serde(default)]
    pub repeats: RepeatsConfig,
    /// Answers that are given again.
    #[serde(default)]
    pub cache: CacheConfig,
    /// Bounds of the way to the platform.
    #[serde(default)]
    pub platform: PlatformLimitsConfig,
}

/// Bounds of the way to the platform. See [`api::limits::PlatformLimitsSpec`], whose defaults these are.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformLimitsConfig {
    /// Requests at a time.
    pub max_concurrent_requests: usize,
    /// Requests that may wait.
    pub max_queued_requests: usize,
    /// Requests a minute, if they are bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Time that one attempt may take.
    pub request_timeout: ApiDuration,
    /// Attempts of one request, the first included.
    pub max_attempts: u32,
    /// Failures in a row at which the circuit breaker opens.
    pub breaker_consecutive_failures: u32,
    /// Percent of failures at which it opens.
    pub breaker_failure_percent: u32,
}

impl Default for PlatformLimitsConfig {
    fn default() -> Self {
        Self {
            max_concurrent_requests: DEFAULT_REQUESTS_AT_A_TIME,
            max_queued_requests: 20,
            requests_per_minute: None,
            request_timeout: ApiDuration(Duration::from_secs(10)),
            max_attempts: 4,
            breaker_consecutive_failures: 7,
            breaker_failure_percent: 50,
        }
    }
}

/// Where calls are counted for all replicas together. See [`api::limits::SharedLimitSpec`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedRateConfig {
    /// Host of the Redis; IPv6 addresses in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is spoken to through TLS.
    pub tls: bool,
    /// Certificates that its certificate is verified with, in PEM, instead of the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
    /// Whether it asks for a password, which lies in [`super::SHARED_LIMIT_DIRECTORY`].
    pub credentials: bool,
}

/// How often a caller may call. See [`api::limits::CallRateSpec`], whose defaults these are.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallRateConfig {
    /// Calls in a minute.
    pub per_minute: u32,
    /// Calls at once after a pause.
    pub burst: u32,
}

impl CallRateConfig {
    /// Calls at once after a pause where nothing is said, unless fewer are allowed in a minute.
    const DEFAULT_BURST: u32 = 20;

    /// A rate with the burst that was given, or that belongs to it.
    #[must_use]
    pub fn new(per_minute: u32, burst: Option<u32>) -> Self {
        let per_minute = per_minute.max(1);
        Self { per_minute, burst: burst.unwrap_or(Self::DEFAULT_BURST.min(per_minute)).max(1) }
    }
}

impl Default for CallRateConfig {
    fn default() -> Self {
        Self::new(60, None)
    }
}

/// How often a caller may call a tool. See [`api::limits::ToolRateSpec`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolRateConfig {
    /// Its name without the prefix, or a pattern.
    pub name: NamePattern,
    /// How often.
    pub rate: CallRateConfig,
}

/// When repeated calls are warned of and refused. See [`api::limits::RepeatsSpec`], whose defaults these are.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepeatsConfig {
    /// Whether they are looked for.
    pub enabled: bool,
    /// Time within which identical calls are counted.
    pub window: ApiDuration,
    /// Identical calls after which the answers carry a warning.
    pub warn_after: usize,
    /// Identical calls after which further ones are refused.
    pub refuse_after: usize,
}

impl Default for RepeatsConfig {
    fn default() -> Self {
        Self { enabled: true, window: ApiDuration::from_secs(60), warn_after: 2, refuse_after: 5 }
    }
}

/// Answers that are given again. See [`api::limits::CacheSpec`], whose defaults these are.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheConfig {
    /// Whether answers are kept.
    pub enabled: bool,
    /// Bytes of the answers that are kept.
    pub max_bytes: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { enabled: true, max_bytes: 8 * 1024 * 1024 }
    }
}
