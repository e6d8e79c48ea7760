//! Why serving ended, or didn't begin.

use std::{io, net::SocketAddr};

use super::{catalogue::CatalogueError, guards::shared_rate::SharedRateError};
use kit::ConnectError;
use pod_api::config::ConfigError;

/// Why serving ended, or didn't begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file of the configuration is missing or wrong.
    #[error("failed to read the configuration")]
    ReadConfig(#[source] ConfigError),
    /// The platform's client can't be made.
    #[error("failed to connect the platform")]
    Connect(#[source] ConnectError),
    /// Calls can't be counted for all replicas together.
    #[error("failed to prepare the shared rate limit")]
    ShareRates(#[source] SharedRateError),
    /// The tools can't be offered.
    #[error("failed to put the tools together")]
    BuildCatalogue(#[source] CatalogueError),
    /// An address can't be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals can't be received.
    #[error("failed to listen for signals")]
    ListenForSignals(#[source] io::Error),
    /// Calls were still running when the time to drain was up.
    #[error("calls were still running when the time to drain was up")]
    DrainTimeout,
    /// A second signal came.
    #[error("ended by a second signal")]
    Forced,
}
