//! What stands around every request to a platform, the same for all platforms:
//!
//! ```text
//! deadline ─▶ breaker ─▶ ( bulkhead ─▶ attempt ) ─▶ retry? ─▶ breaker learns
//! ```
//! Every wait takes from the one deadline. A retry gives its place back while it waits. The breaker is outside of the
//! retries and sees what came of all of them. The connector's own health probe passes breaker and bulkhead, because it
//! has to tell the truth at any time, and its outcome closes the breaker, so that recovery needs no caller.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{Instrument, field::Empty};

use super::{
    RequestError, Response, allowance,
    breaker::{Breaker, BreakerLimits, Sign},
    bulkhead::{Bulkhead, Full},
    changes::{Purpose, Sending},
    metrics::{OutboundMetrics, Rejection},
    pace::Pace,
    retry::{self, Budget, Classify, Repeat, Verdict},
};
use pod_api::{config::PlatformLimitsConfig, outbound::OutboundState};
use telemetry::traces::TRACE_TARGET;

/// Time that must be left for an attempt to be worth beginning.
const LEAST_TIME: Duration = Duration::from_millis(50);
/// When a request that found no place should come back.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// A timeout that came sooner says more about the caller's patience than about the platform.
const TELLING_TIMEOUT: Duration = Duration::from_secs(1);

/// Bounds of the way to one platform. See `spec.limits.platform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundLimits {
    /// Requests at a time.
    pub max_running: usize,
    /// Requests that may wait for their turn.
    pub max_queued: usize,
    /// Requests a minute; nothing if the platform's own answers alone bound them.
    pub requests_per_minute: Option<u32>,
    /// Time that one attempt may take.
    pub attempt_timeout: Duration,
    /// Attempts of one request, the first included.
    pub max_attempts: u32,
    /// When the circuit breaker opens.
    pub breaker: BreakerLimits,
}

impl From<PlatformLimitsConfig> for OutboundLimits {
    fn from(config: PlatformLimitsConfig) -> Self {
        Self {
            max_running: config.max_concurrent_requests,
            max_queued: config.max_queued_requests,
            requests_per_minute: config.requests_per_minute,
            attempt_timeout: config.request_timeout.0,
            max_attempts: config.max_attempts,
            breaker: BreakerLimits {
                consecutive_failures: config.breaker_consecutive_failures,
                failure_percent: config.breaker_failure_percent,
            },
        }
    }
}

impl Default for OutboundLimits {
    fn default() -> Self {
        PlatformLimitsConfig::default().into()
    }
}

/// How a request is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Treatment {
    pub(super) purpose: Purpose,
    pub(super) repeat: Repeat,
    pub(super) is_probe: bool,
    /// Whose requests the platform counts, and tells of in its answers; nothing if it doesn't.
    pub(super) account: Option<u64>,
}

pub(super) struct Stack {
    name: &'static str,
    limits: OutboundLimits,
    classify: Classify,
    breaker: Breaker,
    bulkhead: Bulkhead,
    pace: Pace,
    budget: Budget,
    metrics: Arc<OutboundMetrics>,
}

impl Stack {
    pub(super) fn new(
        name: &'static str,
        limits: OutboundLimits,
        classify: Classify,
        metrics: Arc<OutboundMetrics>,
    ) -> Self {
        Self {
            name,
            limits,
            classify,
            breaker: Breaker::new(limits.breaker),
            bulkhead: Bulkhead::new(limits.max_running, limits.max_queued),
            pace: Pace::new(limits.requests_per_minute),
            budget: Budget::new(),
            metrics,
        }
    }

    pub(super) fn state(&self) -> OutboundState {
        OutboundState {
            name: self.name.to_owned(),
            bulkhead: self.bulkhead.state(),
            breaker: self.breaker.state(),
            pace: self.pace.state(),
        }
    }

    /// Makes a request out of attempts, each of which ends by the instant that it is given.
    pub(super) async fn run<R>(
        &self,
        treatment: Treatment,
        deadline: Instant,
        attempt: impl Fn(Instant) -> R,
    ) -> Result<Response, RequestError>
    where
        R: Future<Output = Result<Response, RequestError>>,
    {
        if treatment.is_probe {
            let (outcome, lasted) = self.attempt(treatment, deadline, 1, &attempt).await;
            if let Some(sign) = sign(&outcome, lasted) {
                self.breaker.told(sign);
            }
            return outcome.map(|(response, _)| response);
        }
        let admission = self.breaker.admit().map_err(|wait| {
            self.metrics.rejected(self.name, Rejection::Breaker);
            RequestError::CircuitOpen(wait)
        })?;
        self.budget.deposit();
        let mut number = 1;
        let (outcome, lasted) = loop {
            self.pace.turn(treatment.account, deadline, number > 1).await.map_err(|wait| {
                self.metrics.rejected(self.name, Rejection::Pace);
                RequestError::TooFast(wait)
            })?;
            let place = self.bulkhead.enter(deadline).await.map_err(|Full| {
                self.metrics.rejected(self.name, Rejection::Bulkhead);
                RequestError::Busy(BUSY_PAUSE)
            })?;
            let (outcome, lasted) = self.attempt(treatment, deadline, number, &attempt).await;
            drop(place);
            let Some(wait) = self.wait_before_next(&outcome, treatment.repeat, number, deadline) else {
                break (outcome, lasted);
            };
            tokio::time::sleep(wait).await;
            number += 1;
        };
        if let Some(sign) = sign(&outcome, lasted) {
            admission.tell(sign);
        }
        outcome.map(|(response, _)| response)
    }

    async fn attempt<R>(
        &self,
        treatment: Treatment,
        deadline: Instant,
        number: u32,
        attempt: &impl Fn(Instant) -> R,
    ) -> (Result<(Response, Verdict), RequestError>, Duration)
    where
        R: Future<Output = Result<Response, RequestError>>,
    {
        let began = Instant::now();
        // Names as in the OpenTelemetry conventions for HTTP clients; the rest is known where the request is sent.
        let span = tracing::error_span!(
            target: TRACE_TARGET,
            "platform request",
            otel.kind = "client",
            mcp_connectors.platform = self.name,
            http.request.resend_count = (number > 1).then(|| number - 1),
            http.request.method = Empty,
            server.address = Empty,
            server.port = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
            otel.status_code = Empty,
        );
        let sending = (began < deadline).then(|| Sending::begin(treatment.purpose));
        let answer = attempt(deadline.min(began + self.limits.attempt_timeout)).instrument(span.clone()).await;
        let outcome = answer.map(|response| {
            let verdict = (self.classify)(&response);
            (response, verdict)
        });
        if let Some(sending) = sending.filter(|_| !retry::was_taken(&outcome)) {
            sending.was_not_taken();
        }
        if let Ok((response, _)) = &outcome {
            span.record("http.response.status_code", response.status.as_u16());
        }
        if !matches!(outcome, Ok((_, Verdict::Answered | Verdict::Refused))) {
            span.record("error.type", word(&outcome)).record("otel.status_code", "ERROR");
        }
        if let (Some(account), Ok((response, _))) = (treatment.account, &outcome) {
            self.pace.told(account, allowance::read(&response.headers));
        }
        if let Ok((response, Verdict::Throttled)) = &outcome {
            self.pace.refused(response.retry_after());
        }
        self.metrics.asked(self.name, word(&outcome), began.elapsed());
        (outcome, began.elapsed())
    }

    /// The wait before the next attempt, if there is to be one.
    fn wait_before_next(
        &self,
        outcome: &Result<(Response, Verdict), RequestError>,
        repeat: Repeat,
        number: u32,
        deadline: Instant,
    ) -> Option<Duration> {
        let cause = retry::cause(outcome, repeat)?;
        let wait = retry::wait(number, cause.at_least);
        let fits = Instant::now() + wait + LEAST_TIME < deadline;
        let again = number < self.limits.max_attempts && fits && self.budget.withdraw();
        tracing::debug!(platform = self.name, attempt = number, class = cause.class, will_retry = again, "no answer");
        if again {
            self.metrics.repeated(self.name, cause.class);
        }
        again.then_some(wait)
    }
}

/// What came of an attempt, in a word of a closed list.
fn word(outcome: &Result<(Response, Verdict), RequestError>) -> &'static str {
    match outcome {
        Ok((_, Verdict::Answered | Verdict::Refused)) => "answered",
        Ok((_, Verdict::Throttled | Verdict::ThrottledInPart)) => "throttled",
        Ok((_, Verdict::Transient | Verdict::NotYet)) => "outage",
        Err(RequestError::Unreachable | RequestError::DnsFailed | RequestError::AddressRefused(_)) => "unreachable",
        Err(RequestError::TlsInvalid(_)) => "tls_invalid",
        Err(RequestError::Timeout) => "timeout",
        Err(RequestError::Interrupted) => "interrupted",
        Err(_) => "unusable",
    }
}

/// What an outcome says of the platform; nothing if it says nothing.
fn sign(outcome: &Result<(Response, Verdict), RequestError>, lasted: Duration) -> Option<Sign> {
    match outcome {
        Err(RequestError::Timeout) => (lasted >= TELLING_TIMEOUT).then_some(Sign::Bad),
        Ok((_, Verdict::Transient | Verdict::NotYet))
        | Err(
            RequestError::Unreachable
            | RequestError::DnsFailed
            | RequestError::TlsInvalid(_)
            | RequestError::Interrupted,
        ) => Some(Sign::Bad),
        Ok((_, Verdict::Answered | Verdict::Refused))
        | Err(RequestError::BodyTooLarge | RequestError::Redirected(_)) => Some(Sign::Good),
        // A platform that counts requests is there; that does not say that the way is well, either.
        Ok((_, Verdict::Throttled | Verdict::ThrottledInPart)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
