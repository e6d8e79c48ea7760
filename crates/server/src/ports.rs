//! The two ports of a server, listened on and not yet served.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{ServeError, ServeSettings};

/// The two ports of a server.
#[derive(Debug)]
pub struct Ports {
    /// For probes, metrics and `/status`.
    pub admin: TcpListener,
    /// For MCP.
    pub mcp: TcpListener,
}

impl Ports {
    /// Listens at the addresses of the settings.
    ///
    /// # Errors
    /// When one of them can't be listened on.
    pub async fn bind(settings: &ServeSettings) -> Result<Self, ServeError> {
        Ok(Self { admin: bind(settings.admin_address).await?, mcp: bind(settings.mcp_address).await? })
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    common::listener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}
