//! The worlds behind the connectors: one folder a platform, one line in [`PlatformSpec`] and one in [`connect`].
//!
//! A platform has two faces. Its *declaration* ([`Declaration`], in its `spec.rs`) is what the operator may know: what
//! stands in a manifest, which credentials it needs, which reasons it can state. Its *client* ([`Platform`]) is what
//! the server runs: tools and a probe. The operator never touches the second.

pub mod argocd;
pub mod circleci;
pub mod cloudwatch;
#[cfg(test)]
mod compliance;
mod failure;
pub mod jenkins;
#[cfg(test)]
pub(crate) mod testing;
mod text;
pub mod vault;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    api::{
        connector::McpConnectorSpec,
        endpoint::{AddressPolicy, Endpoint, EndpointError},
        requirement::{Field, Requirement},
    },
    credentials::{CredentialsHandle, identity::Identity},
    outbound::{Classify, OutboundError, OutboundLimits, OutboundMetrics, OutboundSettings, OutboundState},
    tools::ToolEntry,
};

/// The platform of a connector; exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(validation = Rule::new(
    "[has(self.argoCd), has(self.circleCi), has(self.cloudWatch), has(self.jenkins), has(self.vault)].exists_one(set, set)"
).message("exactly one platform must be set: argoCd, circleCi, cloudWatch, jenkins or vault"))]
#[serde(rename_all = "camelCase")]
pub struct PlatformSpec {
    /// Argo CD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argo_cd: Option<argocd::spec::ArgoCdSpec>,
    /// CircleCI: the cloud, or a CircleCI Server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circle_ci: Option<circleci::spec::CircleCiSpec>,
    /// Amazon CloudWatch: metrics, alarms and logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_watch: Option<cloudwatch::spec::CloudWatchSpec>,
    /// Jenkins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jenkins: Option<jenkins::spec::JenkinsSpec>,
    /// HashiCorp Vault, or OpenBao.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<vault::spec::VaultSpec>,
}

impl PlatformSpec {
    /// The one platform that is set, or nothing if none or several are (which the API server refuses).
    #[must_use]
    pub fn declaration(&self) -> Option<&dyn Declaration> {
        let Self { argo_cd, circle_ci, cloud_watch, jenkins, vault } = self;
        let set: [Option<&dyn Declaration>; 5] = [
            argo_cd.as_ref().map(|spec| spec as &dyn Declaration),
            circle_ci.as_ref().map(|spec| spec as &dyn Declaration),
            cloud_watch.as_ref().map(|spec| spec as &dyn Declaration),
            jenkins.as_ref().map(|spec| spec as &dyn Declaration),
            vault.as_ref().map(|spec| spec as &dyn Declaration),
        ];
        let mut set = set.into_iter().flatten();
        let one = set.next()?;
        set.next().is_none().then_some(one)
    }
}

/// Every platform's declared reasons, by the platform's name in `spec.platform`, for documentation and for the closed
/// list that the operator accepts from its pods.
#[must_use]
pub fn declared_reasons() -> Vec<(&'static str, &'static [DeclaredReason])> {
    vec![
        ("argoCd", argocd::spec::REASONS),
        ("circleCi", circleci::spec::REASONS),
        ("cloudWatch", cloudwatch::spec::REASONS),
        ("jenkins", jenkins::spec::REASONS),
        ("vault", vault::spec::REASONS),
    ]
}

/// A sample spec of every platform, from which `config/samples` is generated.
#[must_use]
pub fn examples() -> Vec<(&'static str, McpConnectorSpec)> {
    vec![
        ("argoCd", argocd::spec::example()),
        ("circleCi", circleci::spec::example()),
        ("cloudWatch", cloudwatch::spec::example()),
        ("jenkins", jenkins::spec::example()),
        ("vault", vault::spec::example()),
    ]
}

/// What the operator may know of a platform: its part of a manifest, and what follows from that alone.
pub trait Declaration: Send + Sync {
    /// The field of `spec.platform`, such as `vault`.
    fn name(&self) -> &'static str;

    /// Its name as people write it, such as `Argo CD`.
    fn title(&self) -> &'static str;

    /// The platform's address.
    ///
    /// # Errors
    /// When the URL can't be a platform's.
    fn endpoint(&self, policy: AddressPolicy) -> Result<Endpoint, EndpointError>;

    /// Further addresses that are called with the same credentials, of a platform that is several services.
    ///
    /// # Errors
    /// When a URL can't be a platform's.
    fn further_endpoints(&self, _policy: AddressPolicy) -> Result<Vec<Endpoint>, EndpointError> {
        Ok(Vec::new())
    }

    /// Path in the manifest of the field that [`Declaration::endpoint`] comes from.
    fn endpoint_field(&self) -> &'static str;

    /// Where the CA bundle lies, if the platform has one of its own.
    fn ca_bundle(&self) -> Option<&CaBundle>;

    /// The credential fields that the platform needs.
    fn requirement(&self) -> Requirement;

    /// The credential fields that a sample shows: by default the combination that is preferred.
    fn sample_fields(&self) -> &'static [Field] {
        self.requirement().alternatives().first().copied().unwrap_or_default()
    }

    /// Requests that the platform is sent at a time, by one replica, if the manifest doesn't say.
    fn requests_at_a_time(&self) -> usize {
        OutboundLimits::default().max_running
    }

    /// Requests that the platform is sent a minute, by one replica, if the manifest doesn't say; nothing if no such bound
    /// is known.
    fn requests_per_minute(&self) -> Option<u32> {
        None
    }

    /// Hosts of the provider that knows the identity of pods and gives credentials for it: they may be called without
    /// being listed in a `CredentialSource`. None where the platform knows no such identity.
    fn identity_hosts(&self) -> Vec<String> {
        Vec::new()
    }

    /// What is wrong with the spec beyond what the schema and its rules can say: `(field, what and what to do)`.
    fn problems(&self) -> Vec<(String, String)>;
}

/// Certificates of the authorities that may have signed the platform's certificate, instead of the public ones.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// Key of a ConfigMap of the same namespace, which holds PEM certificates.
    pub config_map: ConfigMapKey,
}

/// Key of a ConfigMap of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in it, such as `ca.crt`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A reason that a platform can give for `PlatformHealthy` beside the core ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredReason {
    /// CamelCase name.
    pub name: &'static str,
    /// When it is given, and what to do.
    pub meaning: &'static str,
}

/// How a platform, or one of a probe's checks, does.
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

/// One part of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Name of the check, such as `server` or `token`.
    pub name: String,
    /// How it went.
    pub status: HealthStatus,
    /// What was seen. Never a credential, never a platform's raw text.
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
    /// A reason of [`crate::api::Reason`], or one that the platform declares.
    pub reason: String,
    /// What is, and what to do. It becomes a condition's message, so it stays the same for as long as what it says does:
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

/// A platform as the server runs it.
#[async_trait]
pub trait Platform: Send + Sync {
    /// Every tool of the platform, whatever the spec offers. Called once.
    fn tools(self: Arc<Self>) -> Vec<ToolEntry>;

    /// Asks the platform how it does, within `timeout`. It never fails: what goes wrong is the finding.
    async fn probe(&self, timeout: Duration) -> ProbeReport;

    /// How soon the platform is to be probed again after the last probe, if sooner than the interval says: while it is about
    /// to change by itself.
    fn probe_again_in(&self) -> Option<Duration> {
        None
    }

    /// Text for the agent: what these tools are for and how they go together.
    fn instructions(&self) -> String;

    /// What the ways out to the platform are doing now.
    fn outbound(&self) -> Vec<OutboundState>;

    /// When the credentials in use end, if the platform has said so and nothing here renews them.
    fn credentials_expiry(&self) -> Option<jiff::Timestamp> {
        None
    }

    /// Gives back what should not outlive the process (a token that was logged in for), at shutdown.
    async fn close(&self) {}
}

/// What the server gives a platform to work with.
pub struct PlatformEnvironment {
    /// The credentials, as they are mounted now and later.
    pub credentials: CredentialsHandle,
    /// The pod's own identity, which stands in for them; only where [`Declaration::identity_hosts`] has any.
    pub identity: Option<Identity>,
    /// PEM certificates of the platform's authorities; the public ones if there are none.
    pub ca_pem: Option<String>,
    /// Which addresses may be called.
    pub addresses: AddressPolicy,
    /// HTTP proxy, with the hosts that bypass it.
    pub proxy: Option<crate::api::connector::ProxySpec>,
    /// Bounds of the way to the platform.
    pub limits: OutboundLimits,
    /// Where requests to the platform are counted.
    pub metrics: Arc<OutboundMetrics>,
}

impl PlatformEnvironment {
    /// How requests to an address are sent, with the name that the way there has in states and metrics.
    fn way_to(&self, endpoint: Endpoint, name: &'static str, classify: Classify) -> OutboundSettings {
        OutboundSettings {
            endpoint,
            ca_pem: self.ca_pem.clone(),
            addresses: self.addresses,
            proxy: self.proxy.clone(),
            name,
            classify,
            client_certificate: Some(self.credentials.clone()),
            limits: self.limits,
            metrics: Arc::clone(&self.metrics),
        }
    }
}

/// Why a platform's client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The spec names no platform, or several.
    #[error("the configuration names no platform")]
    NoPlatform,
    /// The platform's URL is wrong.
    #[error("failed to read the platform's URL")]
    Endpoint(#[source] EndpointError),
    /// The HTTP client can't be made.
    #[error("failed to make the HTTP client")]
    Outbound(#[source] OutboundError),
}

/// Makes the client of the platform that the spec names. It makes no connection: a platform that is down is a finding of
/// the probe, and no reason not to serve.
///
/// # Errors
/// When the spec or the CA bundle can't be used.
pub fn connect(spec: &PlatformSpec, environment: PlatformEnvironment) -> Result<Arc<dyn Platform>, ConnectError> {
    if spec.declaration().is_none() {
        return Err(ConnectError::NoPlatform);
    }
    let PlatformSpec { argo_cd, circle_ci, cloud_watch, jenkins, vault } = spec;
    if let Some(spec) = argo_cd {
        return Ok(Arc::new(argocd::ArgoCd::connect(spec, environment)?));
    }
    if let Some(spec) = circle_ci {
        return Ok(Arc::new(circleci::CircleCi::connect(spec, environment)?));
    }
    if let Some(spec) = cloud_watch {
        return Ok(Arc::new(cloudwatch::CloudWatch::connect(spec, environment)?));
    }
    if let Some(spec) = jenkins {
        return Ok(Arc::new(jenkins::Jenkins::connect(spec, environment)?));
    }
    if let Some(spec) = vault {
        return Ok(Arc::new(vault::Vault::connect(spec, environment)?));
    }
    Err(ConnectError::NoPlatform)
}
