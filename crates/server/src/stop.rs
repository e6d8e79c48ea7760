//! How a server is told to end: in order, or at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::ServeError;

/// How to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// In order: finish what runs.
    pub drain: CancellationToken,
    /// At once.
    pub force: CancellationToken,
}

impl Stop {
    /// Follows SIGTERM and SIGINT: the first drains, the second forces.
    ///
    /// # Errors
    /// When signals can't be received.
    pub fn on_signals() -> Result<Self, ServeError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::ListenForSignals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::ListenForSignals)?;
        let stop = Self::default();
        let Self { drain, force } = stop.clone();
        tokio::spawn(async move {
            for token in [drain, force] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(stop)
    }
}
