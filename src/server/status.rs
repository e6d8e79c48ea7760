//! What a replica tells of itself at `/status`: one snapshot, from which the operator makes conditions and from which
//! the replica's own metrics and health endpoints come. The operator treats it as untrusted, bounded input.

use serde::{Deserialize, Serialize};

use crate::{credentials::CredentialsState, platforms::ProbeReport};

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
}
