//! What a probe of a platform found out: made by the platform's client, shown by the server, read by the operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a platform does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// All is well.
    Ok,
    /// It works, with something that deserves attention.
    Degraded,
    /// It doesn't work.
    Error,
}

/// How one part of a probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// It is well.
    Ok,
    /// It works, with something that deserves attention.
    Degraded,
    /// It doesn't work.
    Error,
    /// It could not be found out.
    Unknown,
}

impl From<HealthStatus> for CheckStatus {
    fn from(status: HealthStatus) -> Self {
        match status {
            HealthStatus::Ok => Self::Ok,
            HealthStatus::Degraded => Self::Degraded,
            HealthStatus::Error => Self::Error,
        }
    }
}

/// One part of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Name of the check, such as `server` or `token`.
    pub name: String,
    /// How it went.
    pub status: CheckStatus,
    /// What was seen, or why it is not known. Never a credential, never a platform's raw text.
    pub message: String,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
}

/// What the platform thinks of the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialVerdict {
    /// It accepts them.
    Accepted,
    /// It rejects them.
    Rejected,
    /// They have ended.
    Expired,
    /// They are good and lack a permission that the connector needs.
    PermissionMissing,
    /// It couldn't be asked.
    Unknown,
}

/// What a probe found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The whole: the worst of what matters.
    pub status: HealthStatus,
    /// A reason of [`api::Reason`], or one that the platform declares.
    pub reason: String,
    /// What is, and what to do: the worst first, then whatever else isn't well, and the names of the checks whose outcome is
    /// not known. It becomes a condition's message, so it stays the same for as long as what it says does:
    /// no counts, no time that is left.
    pub message: String,
    /// Whether the fault may pass by itself, so that it is believed only after `failureThreshold` in a row. Faults that
    /// the platform states itself are believed at once.
    pub passing: bool,
    /// What the platform thinks of the credentials.
    pub credentials: CredentialVerdict,
    /// What is wrong with the credentials, and what to do; who they are, if all is well. As stable as `message`.
    pub credentials_message: String,
    /// Version that the platform states.
    pub version: Option<String>,
    /// Who the platform takes the credentials for. Never a credential.
    pub identity: Option<String>,
    /// The platform's own word for its state, such as `active` or `sealed`.
    pub state: Option<String>,
    /// The parts.
    pub checks: Vec<Check>,
}
