//! What the way out to a platform is doing now, for `/status`, the connector's own tool and the metrics: one snapshot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// The way out to one platform.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct OutboundState {
    /// Which one: the platform's name, such as `vault`; with a suffix where a platform has several.
    pub name: String,
    /// Requests that run and wait.
    pub bulkhead: BulkheadState,
    /// Whether requests are let through.
    pub breaker: BreakerState,
    /// How fast requests are sent.
    pub pace: PaceState,
}

/// How fast requests are sent.
#[skip_serializing_none]
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq)]
pub struct PaceState {
    /// Requests a minute that are sent at most; absent while nothing bounds them.
    pub requests_per_minute: Option<f64>,
    /// Seconds until the next request is sent, rounded up; absent unless the platform asked for a pause, or has no
    /// request left for the connector.
    pub paused_seconds: Option<u64>,
    /// Seconds since the platform last refused a request for their number; absent if it never has.
    pub refused_seconds_ago: Option<u64>,
    /// What the platform said last of the requests that are left; absent while it says nothing.
    pub allowance: Option<AllowanceState>,
}

/// What the platform says of the requests that are left.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowanceState {
    /// Requests that may be made in all.
    pub limit: u32,
    /// Requests that are left.
    pub remaining: u32,
    /// Seconds until they are counted anew, rounded up.
    pub resets_in_seconds: u64,
    /// Whether less than a tenth is left, so that requests are spread over the time until then.
    pub low: bool,
}

/// Requests that run and wait.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkheadState {
    /// Requests that run now.
    pub running: usize,
    /// Requests that wait for their turn.
    pub queued: usize,
    /// Requests that may run at a time.
    pub max_running: usize,
    /// Requests that may wait.
    pub max_queued: usize,
}

/// Whether requests are let through.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerState {
    /// The state.
    pub state: BreakerPosition,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Seconds until a request is tried again, rounded up; absent unless open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

/// The state of a circuit breaker.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum BreakerPosition {
    /// Requests go through.
    Closed,
    /// Requests are refused without asking the platform.
    Open,
    /// One request is tried; the others are refused.
    HalfOpen,
}

impl BreakerPosition {
    /// The state as it stands in `/status` and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}
