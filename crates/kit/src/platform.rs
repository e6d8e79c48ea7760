//! A platform as the server runs it.
//!
//! A platform has two faces. Its *declaration* (in [`api::platform`]) is what the operator may know: what stands in
//! a manifest, which credentials it needs, which reasons it can state. Its *client* ([`Platform`]) is what the server runs:
//! tools and a probe. The operator never touches the second, and knows no more of it than the report that a probe gives.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use api::{
    connector::ProxySpec,
    endpoint::{AddressPolicy, Endpoint, EndpointError},
    platform::PlatformSpec,
};
use credentials::{CredentialsHandle, identity::Identity};
use outbound::{Classify, OutboundError, OutboundLimits, OutboundMetrics, OutboundSettings, OutboundState};
use pod_api::report::ProbeReport;
use tools::ToolEntry;

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
    pub fn way_to(&self, endpoint: Endpoint, name: &'static str, classify: Classify) -> OutboundSettings {
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

/// Makes the client of the platform that a spec names. It makes no connection: a platform that is down is a finding of the
/// probe, and no reason not to serve.
pub type Connect = fn(&PlatformSpec, PlatformEnvironment) -> Result<Arc<dyn Platform>, ConnectError>;

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
