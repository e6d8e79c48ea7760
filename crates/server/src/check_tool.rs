//! The connector's own tool, which every connector has as `check_<platform>_connector`: an agent whose calls fail finds out whether the platform, the
//! credentials or the way between them is the cause, without asking the platform once more.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::state::ReplicaState;
use kit::{Check, HealthStatus};
use outbound::{BreakerPosition, BreakerState, BulkheadState, PaceState};
use pod_api::status::{CacheState, SinkState};
use tools::{CallContext, ToolDeclaration, ToolEntry};

/// What the tool is, under the name that the platform gives it.
fn declaration(name: &'static str) -> ToolDeclaration {
    ToolDeclaration::read(
    name,
    "Check the connector",
    "Answers how this connector and its way to the platform do: the last probe, the credentials, requests that run and \
     wait, and whether requests are held back because the platform failed. It does not call the platform. Use it to \
     find out why other tools fail.",
)
.polled()
.without_platform()
}

#[derive(Deserialize, JsonSchema)]
struct Input {}

/// How the connector does.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Output {
    /// `ok`, `degraded` or `error`, as the last probe found it; `starting` before the first.
    status: &'static str,
    /// Requests to the platform that run and wait, by the way out.
    bulkheads: BTreeMap<String, BulkheadState>,
    /// How fast requests are sent to the platform, by its name.
    pace: BTreeMap<String, PaceState>,
    /// Whether requests to the platform are let through, by the way out.
    circuit_breakers: BTreeMap<String, CircuitBreaker>,
    /// How often answers were given again without asking the platform.
    cache: Cache,
    /// What is known of the credentials. Never a credential.
    credentials: Credentials,
    /// The last probe of the platform; none before the first.
    probe: Option<Probe>,
    /// How the sinks of audit records do.
    audit: Vec<SinkState>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CircuitBreaker {
    /// Whether requests are refused without asking the platform.
    open: bool,
    #[serde(flatten)]
    state: BreakerState,
}

#[derive(Serialize, JsonSchema)]
struct Cache {
    /// Calls that were answered from it.
    hits: u64,
    /// Calls that could have been, and were not.
    misses: u64,
    /// How full it is.
    #[serde(flatten)]
    state: CacheState,
}

#[derive(Serialize, JsonSchema)]
struct Credentials {
    /// `Loaded`, `NoFields`, `FieldMissing` or `FieldInvalid`: about the files that are mounted.
    state: String,
    /// Revision of the set in use; none while there is none.
    revision: Option<String>,
    /// What the platform thinks of them: `Accepted`, `Rejected`, `Expired`, `PermissionMissing` or `Unknown`.
    accepted: String,
}

#[derive(Serialize, JsonSchema)]
struct Probe {
    /// `ok`, `degraded` or `error`.
    status: &'static str,
    /// Why, as one word.
    reason: String,
    /// Why, and what to do: the worst first, then whatever else is not well.
    message: String,
    /// Each thing that was looked at, in order.
    checks: Vec<Check>,
    /// Seconds since the probe ended.
    age_seconds: u64,
}

/// The tool, which answers from `state`.
pub fn build_tool(state: Arc<ReplicaState>) -> ToolEntry {
    ToolEntry::read(declaration(state.platform.check_tool()), move |_: Input, _: CallContext| {
        let output = output(&state);
        async move { Ok(output) }
    })
}

fn output(state: &ReplicaState) -> Output {
    let finding = state.finding();
    let credentials = state.credentials();
    let cache = state.metrics.cache_counts();
    let outbound = state.outbound();
    Output {
        status: finding.as_ref().map_or("starting", |finding| word(finding.report.status)),
        pace: outbound.iter().map(|way| (way.name.clone(), way.pace)).collect(),
        bulkheads: outbound.iter().map(|way| (way.name.clone(), way.bulkhead)).collect(),
        circuit_breakers: outbound
            .into_iter()
            .map(|way| {
                let open = way.breaker.state == BreakerPosition::Open;
                (way.name, CircuitBreaker { open, state: way.breaker })
            })
            .collect(),
        cache: Cache { hits: cache.hits, misses: cache.misses, state: state.cache.state() },
        credentials: Credentials {
            state: credentials.reason,
            revision: credentials.loaded_revision,
            accepted: finding
                .as_ref()
                .map_or_else(|| "Unknown".to_owned(), |finding| format!("{:?}", finding.report.credentials)),
        },
        probe: finding.map(|finding| Probe {
            status: word(finding.report.status),
            reason: finding.report.reason.clone(),
            message: finding.report.message.clone(),
            checks: finding.report.checks.clone(),
            age_seconds: finding.at.elapsed().as_secs(),
        }),
        audit: state.audit.states(),
    }
}

fn word(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Ok => "ok",
        HealthStatus::Degraded => "degraded",
        HealthStatus::Error => "error",
    }
}
