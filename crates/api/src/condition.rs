//! Conditions: their types, the closed list of core reasons, and the one function that merges new findings into an
//! object's conditions by the rules of the Kubernetes API conventions.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// Length to which a condition's message is cut. The API server refuses messages over 32,768 characters; what a person
/// reads in `kubectl describe` is far shorter.
pub const MAX_MESSAGE: usize = 1_024;

/// Types of conditions. All of them say something good when `True`, but for `Reconciling` and `Stalled`, which follow
/// kstatus and are absent unless `True`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Display, EnumString, EnumIter, IntoStaticStr)]
pub enum ConditionType {
    /// An agent that calls now can expect an answer.
    Ready,
    /// The spec is valid and its references resolve.
    Accepted,
    /// The Deployment has its minimum of ready replicas.
    Available,
    /// An MCP handshake through the Service succeeded and every ready replica serves this generation's configuration.
    EndpointReady,
    /// Every replica has loaded the newest credentials that any replica has seen mounted.
    CredentialsLoaded,
    /// The platform accepts the credentials.
    CredentialsAccepted,
    /// The platform answers well.
    PlatformHealthy,
    /// Work goes on (kstatus).
    Reconciling,
    /// Only a person can solve it (kstatus).
    Stalled,
}

/// The closed list of core reasons. Each platform adds its own declared ones, for `PlatformHealthy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Display, EnumString, EnumIter, IntoStaticStr)]
pub enum Reason {
    // Ready
    /// Everything that was asked for is there and works.
    Ready,

    // Accepted
    /// The spec is valid and its references resolve. Also of `CredentialsAccepted`: the platform took the credentials.
    Accepted,
    /// The spec contradicts itself or holds a value that can't work.
    InvalidSpec,
    /// `spec.credentials.name` names no `CredentialSource` of this namespace.
    CredentialSourceNotFound,
    /// The `CredentialSource` does not map a field that the platform needs.
    CredentialFieldMissing,
    /// The platform's host is not among the `hosts` of the `CredentialSource`.
    HostNotAllowed,
    /// Nobody who may say so allows the connector's proxy to carry the credentials of the `CredentialSource`.
    ProxyNotAllowed,
    /// A CA bundle is missing or holds no PEM certificates.
    CaBundleInvalid,
    /// An object that belongs to somebody else has the name that the operator needs.
    NameTaken,

    // Available
    /// The Deployment has its minimum of ready replicas.
    Available,
    /// Replicas are being started.
    Starting,
    /// `replicas` is 0.
    ScaledToZero,
    /// `spec.suspend` is true.
    Suspended,
    /// The node can't get the image.
    ImagePullFailed,
    /// A container starts and ends again and again.
    CrashLooping,
    /// A pod finds another configuration than it was made with, and runs on none.
    ConfigurationAltered,
    /// No node has room for a replica or matches its constraints.
    Unschedulable,
    /// The API server refuses to make pods (quota, admission).
    PodsRefused,
    /// The Secrets Store CSI driver doesn't mount what the source names, so no container can be made.
    VolumeNotMounted,
    /// The Deployment made no progress within its deadline, for none of the causes above.
    ProgressDeadlineExceeded,

    // EndpointReady
    /// The handshake succeeded and every ready replica serves this generation's configuration.
    Verified,
    /// The MCP handshake through the Service failed.
    HandshakeFailed,
    /// Some ready replica serves an older configuration, or has not told yet.
    ConfigurationPending,
    /// A replica didn't answer the operator's question for its state.
    ReplicaUnreachable,
    /// No replica runs that could be asked.
    NoReplicas,

    // CredentialsLoaded
    /// Every replica runs on the newest revision.
    Loaded,
    /// Some replicas run on the newest revision, others still load it.
    Rotating,
    /// None of the fields is there: the Secret doesn't exist, or is empty.
    NoFields,
    /// A field that is needed is missing or empty.
    FieldMissing,
    /// A field has a value that can't be used.
    FieldInvalid,
    /// Vault doesn't let the agent in, or the agent has nothing to log in with.
    VaultLoginFailed,
    /// The wrapped secret id was unwrapped before, or its time is over. If nobody should have, somebody else has it.
    WrappedSecretConsumed,
    /// The wrapped secret id was made at another path than the source says. It was not unwrapped.
    WrappedSecretMismatch,
    /// Vault gives no usable answer.
    VaultUnreachable,
    /// Vault is sealed.
    VaultSealed,
    /// Vault lets the agent in, and its policies don't let it have a secret.
    VaultPermissionMissing,
    /// Vault has no secret at a path, or the secret lacks a key.
    VaultSecretNotFound,
    /// The agent has the credentials and can't write them into the pod's memory.
    CredentialsNotWritten,
    /// The agent can't use its configuration, or met a fault of its own.
    AgentFailed,
    /// The agent has not done what it had announced.
    AgentSilent,

    // CredentialsAccepted
    /// The platform rejects the credentials.
    Rejected,
    /// The credentials have ended.
    Expired,
    /// The credentials are good and lack a permission that the connector needs.
    PermissionMissing,
    /// Not known, because the platform or the replicas couldn't be asked.
    Unknown,

    // PlatformHealthy
    /// The platform answers well.
    Healthy,
    /// No connection to the platform can be made.
    Unreachable,
    /// The platform did not answer in time.
    Timeout,
    /// The platform's certificate can't be verified.
    TlsInvalid,
    /// The platform refuses calls for their number.
    RateLimited,
    /// The platform answers with a fault of its own.
    ServerError,
    /// The address does not answer as this platform.
    UnexpectedResponse,

    // CredentialSource
    /// No connector uses the source.
    NotUsed,
    /// At least one connector that uses the source lacks what it needs.
    UserNotReady,

    // Operator
    /// The Kubernetes API refused a request of the operator.
    ApplyFailed,
    /// A new version of the operator is to replace the pods, and the connector waits for its turn.
    RolloutPending,
    /// The same, and nobody gets a turn because others did not become Ready.
    RolloutStopped,
}

impl Reason {
    /// What `CredentialsLoaded` can say while there is nothing that can be used, the worst first.
    pub const CREDENTIALS_FAULTS: [Self; 13] = [
        Self::NoFields,
        Self::FieldMissing,
        Self::FieldInvalid,
        Self::WrappedSecretConsumed,
        Self::WrappedSecretMismatch,
        Self::VaultLoginFailed,
        Self::VaultPermissionMissing,
        Self::VaultSecretNotFound,
        Self::CredentialsNotWritten,
        Self::VaultSealed,
        Self::VaultUnreachable,
        Self::AgentFailed,
        Self::AgentSilent,
    ];

    /// The reason as it stands in a condition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What was found out about one condition, before it is merged with what the object says already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The condition this is about.
    pub type_: ConditionType,
    /// `True`, `False`, or `None` for `Unknown`.
    pub status: Option<bool>,
    /// CamelCase reason: of [`Reason`], or of a platform's own list.
    pub reason: String,
    /// One or two sentences: what is, and what to do.
    pub message: String,
}

impl Finding {
    /// A finding with a core reason.
    pub fn new(type_: ConditionType, status: Option<bool>, reason: Reason, message: impl Into<String>) -> Self {
        Self { type_, status, reason: reason.as_str().to_owned(), message: message.into() }
    }

    /// The status as it stands in a condition.
    #[must_use]
    pub const fn status_text(&self) -> &'static str {
        match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// Merges findings into conditions. `lastTransitionTime` moves only where the status changes; a condition without a
/// finding is dropped, so the result holds what is known now and nothing else. The order is that of `findings`.
#[must_use]
pub fn merge(current: &[Condition], findings: &[Finding], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    findings
        .iter()
        .map(|finding| {
            let type_ = finding.type_.to_string();
            let status = finding.status_text().to_owned();
            let since = current
                .iter()
                .find(|condition| condition.type_ == type_ && condition.status == status)
                .map_or_else(|| Time(now), |condition| condition.last_transition_time.clone());
            Condition {
                last_transition_time: since,
                message: truncate(&finding.message),
                observed_generation: generation,
                reason: finding.reason.clone(),
                status,
                type_,
            }
        })
        .collect()
}

/// Finds a condition by type.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    let name: &str = type_.into();
    conditions.iter().find(|condition| condition.type_ == name)
}

fn truncate(message: &str) -> String {
    if message.chars().count() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let mut short: String = message.chars().take(MAX_MESSAGE - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let unknown = Finding::new(ConditionType::Ready, None, Reason::Starting, "starting");
        let first = merge(&[], &[unknown], Some(1), at(1));
        let ready = Finding::new(ConditionType::Ready, Some(true), Reason::Ready, "ready");
        let second = merge(&first, std::slice::from_ref(&ready), Some(1), at(2));
        assert_eq!(second[0].last_transition_time, Time(at(2)));

        let reworded = Finding { message: "still ready".into(), ..ready };
        let third = merge(&second, &[reworded], Some(2), at(3));
        assert_eq!(third[0].last_transition_time, Time(at(2)));
        assert_eq!(third[0].observed_generation, Some(2));
        assert_eq!(third[0].message, "still ready");
    }

    #[test]
    fn a_condition_without_a_finding_goes() {
        let stalled = Finding::new(ConditionType::Stalled, Some(true), Reason::InvalidSpec, "no");
        let conditions = merge(&[], &[stalled], Some(1), at(1));
        assert!(merge(&conditions, &[], Some(1), at(2)).is_empty());
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let finding = Finding::new(ConditionType::Ready, None, Reason::Starting, "ü".repeat(5_000));
        let conditions = merge(&[], &[finding], None, at(1));
        assert_eq!(conditions[0].message.chars().count(), MAX_MESSAGE);
    }
}
