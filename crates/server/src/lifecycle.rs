//! How far a replica is in its life: starting, serving, draining, giving up.

use tokio_util::sync::CancellationToken;

use super::listener::Crowd;

/// How far a replica is. Everybody who goes by it has a clone.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    /// Cancelled as soon as MCP is served.
    pub serving: CancellationToken,
    /// Cancelled when it begins to drain.
    pub draining: CancellationToken,
    /// Cancelled when calls that still run are given up.
    pub abandoned: CancellationToken,
    /// Whether the MCP port has no place for those who wait.
    pub crowd: Crowd,
}

impl Lifecycle {
    /// Whether the replica serves MCP, goes on doing so, and takes further connections.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.serving.is_cancelled() && !self.draining.is_cancelled() && !self.crowd.is_full()
    }
}
