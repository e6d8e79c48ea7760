//! The way to the platform: its client, the credentials that it uses, and the counts of its requests. It can be asked
//! without being served, which is how manifests are checked.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{LoadedConfig, ServeError, ServeSettings};
use credentials::{CredentialsHandle, CredentialsState, directory, identity::Identity};
use kit::{Connect, ConnectError, Platform, PlatformEnvironment};
use outbound::OutboundMetrics;

/// The platform's client with what it goes by.
pub struct Upstream {
    /// The platform's name in `spec.platform`.
    pub name: &'static str,
    /// Its client.
    pub platform: Arc<dyn Platform>,
    /// Counts of the requests to it.
    pub requests: Arc<OutboundMetrics>,
    /// The credentials in use.
    pub credentials: CredentialsHandle,
    /// What is known of their files.
    pub credentials_state: watch::Receiver<CredentialsState>,
    /// Ends what runs in the background.
    pub background: CancellationToken,
}

impl Upstream {
    /// Reads the credentials from `source`, unless the pod has an identity of its own, and makes the platform's client with
    /// `platforms`. Nothing is asked of the platform.
    ///
    /// # Errors
    /// When the platform's client can't be made.
    pub fn connect(
        platforms: Connect,
        settings: &ServeSettings,
        loaded: &LoadedConfig,
        source: directory::Source,
    ) -> Result<Self, ServeError> {
        let config = &loaded.config;
        let declaration = config.platform.declaration().ok_or(ServeError::Connect(ConnectError::NoPlatform))?;
        let (name, requirement) = (declaration.name(), declaration.requirement());
        let background = CancellationToken::new();
        let (salt, layout) = (config.connector.uid.clone(), config.fields.clone());
        let identity = config
            .identity
            .as_ref()
            .map(|told| Identity::new(told, settings.identity_token_file.clone(), settings.pod_identity_agent.clone()));
        let (credentials, credentials_state) = match &identity {
            Some(identity) => identity.stand_in(&salt),
            None => directory::start(source, requirement, layout, salt, background.clone()),
        };
        let requests = Arc::new(OutboundMetrics::default());
        let environment = PlatformEnvironment {
            credentials: credentials.clone(),
            identity,
            ca_pem: loaded.platform_ca.clone(),
            addresses: settings.address_policy,
            proxy: config.proxy.clone(),
            limits: config.limits.platform.into(),
            metrics: requests.clone(),
        };
        let platform = platforms(&config.platform, environment).map_err(ServeError::Connect)?;
        Ok(Self { name, platform, requests, credentials, credentials_state, background })
    }

    /// Ends what runs in the background, and gives back what the platform's client holds.
    pub async fn close(&self) {
        self.background.cancel();
        self.platform.close().await;
    }
}
