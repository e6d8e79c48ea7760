//! The agent: a process beside the server, in the pods of connectors whose credentials come from Vault. It logs in, fetches
//! them, keeps them fresh, and writes them as files into memory that both share. It knows no platform and no Kubernetes API.
//!
//! ```text
//! projected token or secret id ─▶ identity ─▶ supplier (token, secrets, leases) ─▶ writing ─▶ credential files ─▶ serve
//!                                                 │   ▲                              └─▶ state, without any secret
//!                                               Vault ┘
//! ```
//! It holds up nothing: the pod starts without it, and what it can't do stands in its state, which `serve` reports.
//!
//! [`pod`] is what runs in a pod. On a laptop, `local` runs the same agent in the server's own process.

mod identity;
pub mod pod;
mod secrets;
mod store;
mod supplier;
#[cfg(test)]
mod tests;
mod trouble;
mod writing;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

pub use self::identity::Means;
use self::{identity::Identity, store::Store, supplier::Supplier};
use api::endpoint::{AddressPolicy, EndpointError};
use credentials::supply::Supplied;
use files::DirectoryEvents;
use outbound::{Outbound, OutboundError, OutboundLimits, OutboundSettings, RequestError};
use pod_api::agent::{AgentConfig, ConfigError};
use vault_api::client::{self, Client};

/// Time between two looks at what it logs in with, for changes of which no event told.
const POLL: Duration = Duration::from_secs(10);

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

/// Fetches credentials from Vault and keeps them fresh. It has to be used within a Tokio runtime.
pub struct Agent {
    supplier: Supplier,
    /// Of what it logs in with.
    changes: Option<DirectoryEvents>,
}

impl Agent {
    /// An agent that has done nothing yet, and says so in its store.
    ///
    /// # Errors
    /// When it could never call Vault.
    fn new(config: &AgentConfig, means: Means, store: Store, addresses: AddressPolicy) -> Result<Self, AgentError> {
        let client = connect(config, addresses)?;
        let changes = means.directory().map(|directory| DirectoryEvents::watch(directory, POLL));
        let identity = Identity::new(client.clone(), means, config.login.clone());
        let mut supplier = Supplier::new(client, identity, store, config);
        supplier.tell(Instant::now());
        Ok(Self { supplier, changes })
    }

    /// As in a pod, but that it hands over the credentials and its state within this process, which is what is returned
    /// beside it.
    ///
    /// # Errors
    /// When it could never call Vault.
    pub fn in_memory(
        config: &AgentConfig,
        means: Means,
        addresses: AddressPolicy,
    ) -> Result<(Self, watch::Receiver<Supplied>), AgentError> {
        let (store, supplied) = Store::memory();
        Ok((Self::new(config, means, store, addresses)?, supplied))
    }

    /// Does what is due, and tells how it went: at first, a login, and fetching every secret.
    pub async fn step(&mut self) -> Instant {
        self.supplier.step().await;
        let next = self.supplier.next();
        self.supplier.tell(next);
        next
    }

    /// Supplies credentials until `stop`.
    pub async fn run(&mut self, stop: &CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = self.step() => next,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
                () = changed(&mut self.changes) => self.supplier.look_at_identity(),
            }
        }
    }

    /// Gives back what Vault has given, as far as that can be done within seconds. A token that somebody else owns stays.
    pub async fn close(&mut self) {
        self.supplier.close().await;
    }
}

/// Waits until there may be something else to log in with; for ever where that can't be.
async fn changed(changes: &mut Option<DirectoryEvents>) {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
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
