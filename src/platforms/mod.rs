//! The worlds behind the connectors: one folder a platform, and one line in [`connect`].
//!
//! A platform has two faces. Its *declaration* (in [`crate::api::platform`]) is what the operator may know: what stands in
//! a manifest, which credentials it needs, which reasons it can state. Its *client* ([`Platform`]) is what the server runs:
//! tools and a probe. The operator never touches the second, and knows no more of it than the report that a probe gives.

pub mod argocd;
pub mod circleci;
pub mod cloudwatch;
#[cfg(test)]
mod compliance;
mod failure;
pub mod jenkins;
pub mod report;
#[cfg(test)]
pub(crate) mod testing;
mod text;
pub mod vault;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    api::{
        connector::ProxySpec,
        endpoint::{AddressPolicy, Endpoint, EndpointError},
        platform::PlatformSpec,
    },
    credentials::{CredentialsHandle, identity::Identity},
    outbound::{Classify, OutboundError, OutboundLimits, OutboundMetrics, OutboundSettings, OutboundState},
    tools::ToolEntry,
};

pub use self::report::{Check, CredentialVerdict, HealthStatus, ProbeReport};

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

    /// Name of the connector's own tool, which tells how the connector does. Every platform has another, so that an agent with
    /// several connectors has no two tools of one name.
    fn check_tool(&self) -> &'static str;

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
    /// The pod's own identity, which stands in for them; only where the platform's declaration names hosts that know it.
    pub identity: Option<Identity>,
    /// PEM certificates of the platform's authorities; the public ones if there are none.
    pub ca_pem: Option<String>,
    /// Which addresses may be called.
    pub addresses: AddressPolicy,
    /// HTTP proxy, with the hosts that bypass it.
    pub proxy: Option<ProxySpec>,
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
