//! The door: MCP over HTTP, and everything that stands between a caller and a tool. Knows no platform.
//!
//! ```text
//! connection ─▶ listener ─▶ door (id, host, origin, auth, access, size) ─▶ rmcp ─▶ handler ─▶ guards ─▶ tool
//!                            admin (probes, metrics, health, status) ◀── prober ◀── upstream: platform
//! ```
//!
//! [`Server::build`] puts all of it together, and [`Server::serve`] gives it its ports.

mod accepts;
pub mod access;
mod active;
pub mod admin;
pub mod audit;
pub mod auth;
mod body;
pub mod catalogue;
mod check_tool;
pub mod door;
mod error;
pub mod guards;
pub mod handler;
pub mod lifecycle;
pub mod listener;
mod loaded_config;
mod malformed;
pub mod metrics;
mod observers;
mod operation;
mod patience;
mod ports;
pub mod prober;
mod refusal;
mod result;
mod server;
mod settings;
pub mod state;
mod stop;
pub mod text;
mod upstream;
mod version;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{io, sync::Arc};

pub use self::{
    error::ServeError, loaded_config::LoadedConfig, ports::Ports, server::Server, settings::ServeSettings, stop::Stop,
    upstream::Upstream,
};
use credentials::directory::Source;
use kit::Connect;
use telemetry::ExportCounts;

/// Serves a connector until a signal ends it. `platforms` makes the platform's client, and `exports` says how the export of
/// traces goes, where there is one.
///
/// # Errors
/// When it can't begin, or has to end before the calls that run are finished. The process then exits with 1.
pub async fn run(
    platforms: Connect,
    settings: ServeSettings,
    loaded: LoadedConfig,
    exports: Option<Arc<ExportCounts>>,
) -> Result<(), ServeError> {
    let stop = Stop::on_signals()?;
    loaded.log();
    let directory = settings.credentials_directory.clone();
    let source = match loaded.config.agent {
        Some(_) => Source::Agent(directory),
        None => Source::Directory(directory),
    };
    let upstream = Upstream::connect(platforms, &settings, &loaded, source)?;
    let server = Server::build(&settings, &loaded, upstream, Box::new(io::stdout()), exports)?;
    server.serve(Ports::bind(&settings).await?, stop).await
}
