//! The same manifests on one machine, without a cluster: checked as the API server and the operator would, and served
//! by the same code.
//!
//! ```text
//! files ─▶ documents (yaml, schema) ─▶ manifests ─▶ the operator's plan ─▶ serving ─▶ server ◀─ agent (Vault)
//!                    └──────── findings ◀──────┴──────────────┘                            │
//!                                 check, table ◀── the plan's status ◀─────────────────────┘
//! ```

pub mod check;
pub mod client_config;
pub mod documents;
pub mod door;
pub mod finding;
pub mod fleet;
pub mod manifests;
pub mod replica;
pub mod run;
pub mod schema;
pub mod serving;
pub mod stdio;
pub mod table;
pub mod vault;
pub mod yaml;

use std::{io, net::SocketAddr};

use agent::AgentError;
use server::ServeError;

/// The connectors of these files that fit their schema.
///
/// # Errors
/// When the files can't be read.
pub fn connectors(sources: &documents::Sources) -> Result<Vec<manifests::Key>, LocalError> {
    let schemas = schema::Schemas::new().map_err(LocalError::Schema)?;
    let texts = sources.read(&mut None).map_err(LocalError::Read)?;
    let (objects, _) = documents::read_objects(&texts, &schemas, &sources.namespace);
    Ok(manifests::Manifests::collect(objects).0.keys())
}

/// Why manifests can't be checked or served.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The schemas can't be put together.
    #[error("failed to put the schemas together")]
    Schema(#[source] schema::SchemaError),
    /// The manifests can't be read.
    #[error("the manifests can't be read")]
    Read(#[source] documents::ReadError),
    /// There is no object of a known kind.
    #[error("there is no McpConnector, CredentialSource, Secret or ConfigMap in these files")]
    NothingThere,
    /// A connector's configuration can't be made.
    #[error("failed to configure a connector")]
    Configure(#[source] serving::ConfigureError),
    /// A connector can't be served.
    #[error("failed to serve a connector")]
    Serve(#[source] ServeError),
    /// What fetches credentials from Vault can't begin.
    #[error("failed to fetch credentials from Vault")]
    Agent(#[source] AgentError),
    /// An address can't be listened on.
    #[error("failed to listen on {address}; --listen names another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody can be let in.
    #[error("the connectors can't be guarded")]
    Access(#[source] door::AccessError),
    /// What is to be shown can't be written.
    #[error("failed to write to standard output")]
    Print(#[source] io::Error),
    /// The connector that standard input is for isn't clear.
    #[error("{0}")]
    Choose(String),
    /// The client on standard input did not begin as the protocol wants.
    #[error("failed to speak MCP on standard input and output")]
    Speak(#[source] Box<rmcp::service::ServerInitializeError>),
}
