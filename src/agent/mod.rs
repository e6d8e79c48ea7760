//! The agent: a process beside the server, in the pods of connectors whose credentials come from Vault. It logs in, fetches
//! them, keeps them fresh, and writes them as files into memory that both share. It knows no platform and no Kubernetes API.
//!
//! ```text
//! projected token or secret id ─▶ identity ─▶ supplier (token, secrets, leases) ─▶ writing ─▶ credential files ─▶ serve
//!                                                 │   ▲                              └─▶ state, without any secret
//!                                               Vault ┘
//! ```
//! It holds up nothing: the pod starts without it, and what it can't do stands in its state, which `serve` reports.

pub mod config;
mod identity;
mod secrets;
mod supplier;
#[cfg(test)]
mod tests;
mod trouble;
mod writing;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use self::{
    config::{AgentConfig, ConfigError},
    identity::Identity,
    supplier::Supplier,
    writing::Writer,
};
use crate::{
    api::endpoint::{AddressPolicy, EndpointError},
    credentials::supply::Supply,
    files::DirectoryEvents,
    outbound::{Outbound, OutboundError, OutboundLimits, OutboundSettings, RequestError},
    vault_api::client::{self, Client},
};

/// Time between two looks at what it logs in with, for changes of which no event told.
const POLL: Duration = Duration::from_secs(10);

/// How to run an agent.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// The operator's file, of which the agent has a part.
    pub config_file: PathBuf,
    /// Where lies what it logs in with.
    pub identity_directory: PathBuf,
    /// Where it writes the credentials.
    pub credentials_directory: PathBuf,
    /// Which addresses Vault may have.
    pub address_policy: AddressPolicy,
}

/// Why an agent can't begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its configuration is missing or wrong.
    #[error("failed to read the configuration")]
    ReadConfig(#[source] ConfigError),
    /// Vault's address can't be called.
    #[error("failed to understand Vault's address")]
    Address(#[source] EndpointError),
    /// The client can't be made.
    #[error("failed to make the client of Vault")]
    Connect(#[source] OutboundError),
    /// The Vault namespace can't stand in a header.
    #[error("failed to use the Vault namespace")]
    Namespace(#[source] RequestError),
}

/// Supplies credentials until `stop`, and then gives back what Vault has given.
///
/// # Errors
/// When it can't begin.
pub async fn run(settings: AgentSettings, stop: CancellationToken) -> Result<(), AgentError> {
    let config = AgentConfig::read(&settings.config_file).map_err(AgentError::ReadConfig)?;
    let client = connect(&config, settings.address_policy)?;
    let mut events = DirectoryEvents::watch(&settings.identity_directory, POLL);
    let identity = Identity::new(client.clone(), settings.identity_directory, config.login.clone());
    let left = Supply::read(&settings.credentials_directory);
    let mut supplier = Supplier::new(client, identity, Writer::new(settings.credentials_directory), &config, left);
    tracing::info!(secrets = config.secrets.len(), "the agent begins");
    supplier.tell(tokio::time::Instant::now());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = supplier.step() => {}
        }
        let next = supplier.next();
        supplier.tell(next);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(next) => {}
            () = events.next() => supplier.look_at_identity(),
        }
    }
    supplier.close().await;
    tracing::info!("the agent has ended");
    Ok(())
}

fn connect(config: &AgentConfig, addresses: AddressPolicy) -> Result<Client, AgentError> {
    let endpoint = config.address.endpoint(config.insecure_http, addresses).map_err(AgentError::Address)?;
    let settings = OutboundSettings {
        endpoint,
        ca_pem: config.ca_pem.clone(),
        addresses,
        proxy: config.proxy.clone(),
        name: "vault",
        classify: client::verdict,
        client_certificate: None,
        limits: OutboundLimits::default(),
        metrics: Arc::default(),
    };
    let outbound = Outbound::new(settings).map_err(AgentError::Connect)?;
    let client = Client::new(outbound, config.namespace.as_deref()).map_err(AgentError::Namespace)?;
    Ok(client.on_schedule())
}
