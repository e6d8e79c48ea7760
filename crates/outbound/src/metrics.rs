//! What is counted of the requests to platforms. Made once in a process, registered by the server, used by every stack.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Buckets of `connector_outbound_request_duration_seconds`.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    platform: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlatformLabels {
    platform: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RetryLabels {
    platform: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabels {
    platform: &'static str,
    by: &'static str,
}

/// Who refused a request before it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The circuit breaker.
    Breaker,
    /// The bulkhead.
    Bulkhead,
    /// The bound of the rate.
    Pace,
}

/// Counts of the requests to platforms.
#[derive(Debug)]
pub struct OutboundMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<PlatformLabels, Histogram, fn() -> Histogram>,
    retries: Family<RetryLabels, Counter>,
    rejections: Family<RejectionLabels, Counter>,
}

impl Default for OutboundMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            retries: Family::default(),
            rejections: Family::default(),
        }
    }
}

impl OutboundMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        let requests = "Attempts of requests to the platform by what came of them";
        registry.register("connector_outbound_requests", requests, self.requests.clone());
        let durations = "Time that attempts of requests to the platform took";
        registry.register("connector_outbound_request_duration_seconds", durations, self.durations.clone());
        let retries = "Requests to the platform that were sent again, by why";
        registry.register("connector_outbound_retries", retries, self.retries.clone());
        let rejections = "Requests to the platform that were not sent, by what refused them";
        registry.register("connector_outbound_rejected", rejections, self.rejections.clone());
    }

    pub(super) fn asked(&self, platform: &'static str, outcome: &'static str, lasted: Duration) {
        self.requests.get_or_create(&RequestLabels { platform, outcome }).inc();
        self.durations.get_or_create(&PlatformLabels { platform }).observe(lasted.as_secs_f64());
    }

    pub(super) fn repeated(&self, platform: &'static str, class: &'static str) {
        self.retries.get_or_create(&RetryLabels { platform, class }).inc();
    }

    pub(super) fn rejected(&self, platform: &'static str, by: Rejection) {
        let by = match by {
            Rejection::Breaker => "breaker",
            Rejection::Bulkhead => "bulkhead",
            Rejection::Pace => "pace",
        };
        self.rejections.get_or_create(&RejectionLabels { platform, by }).inc();
    }
}
