//! What a replica tells of itself at `/status`: one snapshot, from which the operator makes conditions and from which
//! the replica's own metrics and health endpoints come. The operator treats it as untrusted, bounded input.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{outbound::OutboundState, report::ProbeReport};
use credentials::CredentialsState;
pub use credentials::supply::{Supply, SupplyState};

/// Bytes of a snapshot that the operator reads at most.
pub const MAX_STATUS_BYTES: usize = 64 * 1024;

/// A replica's state.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Uid of the connector whose configuration the replica runs with.
    pub connector_uid: String,
    /// [`super::config::ServeConfig::digest`] of the configuration that it runs with.
    pub config_digest: String,
    /// Version of the binary.
    pub version: String,
    /// Revisions of the protocol that it serves.
    pub protocol_versions: Vec<String>,
    /// Number of tools that a caller with every right is offered.
    pub tool_count: usize,
    /// Digest of their definitions: `sha256:` and 64 hex digits.
    pub tool_digest: String,
    /// The credential files.
    pub credentials: CredentialsState,
    /// The last finding of the probe that is believed; none before the first.
    pub probe: Option<ProbeReport>,
    /// What else there is to know. A replica of another version may know less.
    #[serde(default)]
    pub details: ReplicaDetails,
}

/// What a replica tells besides what conditions are made of.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaDetails {
    /// The ways out to the platform.
    pub outbound: Vec<OutboundState>,
    /// How the sinks of audit records do.
    pub audit: Vec<SinkState>,
    /// Whether the last export of traces failed; none where nothing is exported.
    pub trace_export_failing: Option<bool>,
    /// Seconds since the last probe that is believed.
    pub probe_age_seconds: Option<u64>,
    /// How full the cache of answers is.
    pub cache: CacheState,
    /// The last calls that changed something, the newest last. The operator publishes each as an Event.
    pub mutations: Vec<Mutation>,
    /// How the count of calls that replicas share does; none where each counts by itself.
    pub shared_rate_limit: Option<SharedRateState>,
}

/// How full the cache is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheState {
    /// Answers that are kept.
    pub entries: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Bytes that there may be.
    pub max_bytes: usize,
}

/// How the count that replicas share does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SharedRateState {
    /// Whether calls are counted there; otherwise this replica counts by itself.
    pub available: bool,
    /// `Available`, or why not: `Starting`, `NoPassword`, `Unreachable`, `Timeout`, `TlsInvalid`, `AuthenticationFailed`,
    /// `PermissionMissing`, `ReadOnly` or `Unusable`.
    pub reason: String,
}

/// How a sink of audit records does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct SinkState {
    /// `stdout` or `file`.
    pub name: String,
    /// Records that were lost since the process began.
    pub lost: u64,
    /// Whether the last record could not be written.
    pub failing: bool,
}

/// A call that changed something, or was to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The id that its audit records carry.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// Who called it.
    pub caller: String,
    /// How it ended.
    pub outcome: CallOutcome,
    /// When it ended.
    pub time: Timestamp,
}

/// How a call ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// It was answered.
    Success,
    /// It was answered with an error.
    Error,
    /// Authorisation refused it.
    Denied,
    /// The tool ended with a fault of the connector.
    Exception,
    /// Its caller had gone, or the process was ending.
    Abandoned,
}
