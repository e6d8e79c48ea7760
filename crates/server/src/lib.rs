//! The door: MCP over HTTP, and everything that stands between a caller and a tool. Knows no platform.
//!
//! ```text
//! connection ─▶ listener ─▶ http (id, host, origin, auth, access, size) ─▶ rmcp ─▶ handler ─▶ guards ─▶ tool
//!                            admin (probes, metrics, health, status) ◀── prober ◀── platform
//! ```

pub mod access;
mod active;
pub mod admin;
pub mod assembly;
pub mod audit;
pub mod auth;
pub mod catalogue;
mod check_tool;
pub mod guards;
pub mod handler;
pub mod http;
pub mod listener;
mod loaded;
pub mod metrics;
pub mod mutations;
mod operation;
pub mod prober;
mod refusal;
mod result;
pub mod state;
pub mod text;
mod version;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rmcp::ServerHandler;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub use self::loaded::LoadedConfig;
use self::{
    access::Caller,
    assembly::{Assembly, Running},
    audit::Audit,
    catalogue::CatalogueError,
    guards::shared_rate::{SharedRateError, SharedRates},
    handler::Handler,
    listener::{Ending, ListenerLimits, WhenFull},
};
use api::{ADMIN_PORT, MCP_PORT, endpoint::AddressPolicy};
use credentials::{
    self, CredentialsHandle, CredentialsState,
    identity::{Identity, PodIdentityAgent},
};
use kit::{Connect, ConnectError, Platform, PlatformEnvironment};
use outbound::{BreakerLimits, OutboundLimits, OutboundMetrics};
use pod_api::config::{
    AUDIT_DIRECTORY, CONFIG_DIRECTORY, CREDENTIALS_DIRECTORY, ConfigError, PlatformLimitsConfig,
    SHARED_LIMIT_DIRECTORY, WEB_IDENTITY_DIRECTORY, WEB_IDENTITY_TOKEN_FILE,
};
use telemetry::ExportCounts;

/// Time that giving back what the platform's client holds may take, at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections to the admin port at a time. When there are as many, the oldest makes room: the kubelet must get through to
/// the probes whoever else holds connections.
const ADMIN_CONNECTIONS: usize = 64;

/// How to serve. The defaults are those of the container that the operator makes.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// Where the operator's ConfigMap is mounted.
    pub config_directory: PathBuf,
    /// Where the credential fields are mounted, one file each.
    pub credentials_directory: PathBuf,
    /// Where the credentials of the shared rate limit's Redis are mounted, if it asks for any.
    pub shared_limit_directory: PathBuf,
    /// Where the token is that a web identity is proved with.
    pub identity_token_file: PathBuf,
    /// What EKS has told this pod of its Pod Identity, if it has.
    pub pod_identity_agent: Option<PodIdentityAgent>,
    /// Where audit files are written, if the configuration asks for them.
    pub audit_directory: PathBuf,
    /// Where MCP is served.
    pub mcp_address: SocketAddr,
    /// Where probes, metrics and `/status` are served.
    pub admin_address: SocketAddr,
    /// Which addresses the platform may have.
    pub address_policy: AddressPolicy,
    /// Who calls where `access.anonymous` asks nobody for a token.
    pub unproven: Caller,
    /// Origins of web pages that may call, such as `http://localhost:6274`. None in a cluster: agents are no browsers.
    pub allowed_origins: Vec<String>,
    /// Connections to the MCP port at a time.
    pub max_connections: usize,
    /// Time that a request's headers may take to arrive; also the time that an idle connection is kept.
    pub header_timeout: Duration,
    /// Time that a request's body may take to arrive.
    pub body_timeout: Duration,
    /// Time between the signal to end and the end of accepting connections. The pod is being taken out of its Service
    /// meanwhile, and callers that don't know yet must still find it.
    pub drain_delay: Duration,
    /// Time that calls which run then may still take.
    pub drain_timeout: Duration,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            config_directory: CONFIG_DIRECTORY.into(),
            credentials_directory: CREDENTIALS_DIRECTORY.into(),
            shared_limit_directory: SHARED_LIMIT_DIRECTORY.into(),
            identity_token_file: Path::new(WEB_IDENTITY_DIRECTORY).join(WEB_IDENTITY_TOKEN_FILE),
            pod_identity_agent: None,
            audit_directory: AUDIT_DIRECTORY.into(),
            mcp_address: (Ipv6Addr::UNSPECIFIED, MCP_PORT).into(),
            admin_address: (Ipv6Addr::UNSPECIFIED, ADMIN_PORT).into(),
            address_policy: AddressPolicy::Cluster,
            unproven: Caller::Anonymous,
            allowed_origins: Vec::new(),
            max_connections: 1_024,
            header_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_secs(10),
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
        }
    }
}

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

/// Serves a connector until a signal ends it: credentials, platform, admin port, and the MCP port last, so that whoever
/// can connect is answered. `platforms` makes the platform's client, and `exports` says how the export of traces goes, where
/// there is one.
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
        Some(_) => credentials::directory::Source::Agent(directory),
        None => credentials::directory::Source::Directory(directory),
    };
    let parts = Parts::connect(platforms, &settings, &loaded, source, Box::new(io::stdout()), exports)?;
    Instance::start(&settings, &loaded, parts).await?.serve(stop).await
}

fn outbound_limits(config: &PlatformLimitsConfig) -> OutboundLimits {
    OutboundLimits {
        max_running: config.max_concurrent_requests,
        max_queued: config.max_queued_requests,
        requests_per_minute: config.requests_per_minute,
        attempt_timeout: config.request_timeout.0,
        max_attempts: config.max_attempts,
        breaker: BreakerLimits {
            consecutive_failures: config.breaker_consecutive_failures,
            failure_percent: config.breaker_failure_percent,
        },
    }
}

/// What an instance is made of besides its configuration.
pub struct Parts {
    /// The platform's name in `spec.platform`.
    pub name: &'static str,
    /// Its client.
    pub platform: Arc<dyn Platform>,
    /// Counts of the requests to it.
    pub outbound: Arc<OutboundMetrics>,
    /// The credentials, for the prober.
    pub credentials: CredentialsHandle,
    /// What is known of their files.
    pub credentials_state: watch::Receiver<CredentialsState>,
    /// Where audit records go.
    pub audit: Arc<Audit>,
    /// How the export of traces goes, where there is one.
    pub exports: Option<Arc<ExportCounts>>,
    /// The count of calls that replicas share, if they do.
    pub shared_rates: Option<Arc<SharedRates>>,
    /// Ends what runs in the background.
    pub background: CancellationToken,
}

impl Parts {
    /// Reads the credentials from `source`, unless the pod has an identity of its own, makes the platform's client with
    /// `platforms`, and starts to write audit records to `records`.
    ///
    /// # Errors
    /// When the platform's client can't be made, or no connection to the shared rate limit's Redis ever could.
    pub fn connect(
        platforms: Connect,
        settings: &ServeSettings,
        loaded: &LoadedConfig,
        source: credentials::directory::Source,
        records: Box<dyn io::Write + Send>,
        exports: Option<Arc<ExportCounts>>,
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
            None => credentials::directory::start(source, requirement, layout, salt, background.clone()),
        };
        let outbound = Arc::new(OutboundMetrics::default());
        let environment = PlatformEnvironment {
            credentials: credentials.clone(),
            identity,
            ca_pem: loaded.platform_ca.clone(),
            addresses: settings.address_policy,
            proxy: config.proxy.clone(),
            limits: outbound_limits(&config.limits.platform),
            metrics: outbound.clone(),
        };
        let platform = platforms(&config.platform, environment).map_err(ServeError::Connect)?;
        let directory = settings.audit_directory.clone();
        let shared_rates = match &config.limits.shared {
            None => None,
            Some(shared) => {
                let mounted = settings.shared_limit_directory.clone();
                let rates = SharedRates::new(&config.connector, shared, mounted, settings.address_policy);
                Some(Arc::new(rates.map_err(ServeError::ShareRates)?))
            }
        };
        let audit = Audit::start(&config.connector, name, &config.telemetry.audit, directory, records);
        Ok(Self { name, platform, outbound, credentials, credentials_state, audit, exports, shared_rates, background })
    }
}

/// A running server.
pub struct Instance {
    mcp_address: SocketAddr,
    admin_address: SocketAddr,
    drain_delay: Duration,
    drain_timeout: Duration,
    running: Running,
    mcp_ending: Ending,
    admin_ending: Ending,
    mcp: JoinHandle<()>,
    admin: JoinHandle<()>,
}

impl Instance {
    /// Starts to serve: the admin port first, the MCP port last.
    ///
    /// # Errors
    /// When the tools can't be offered, or a port is taken.
    pub async fn start(settings: &ServeSettings, loaded: &LoadedConfig, parts: Parts) -> Result<Self, ServeError> {
        Self::start_extended(settings, loaded, parts, std::convert::identity).await
    }

    /// Starts to serve like [`Instance::start`], with a handler that `extend` makes of the connector's own one: for
    /// servers that offer more of the protocol than connectors do, behind the same door.
    ///
    /// # Errors
    /// When the tools can't be offered, or a port is taken.
    pub async fn start_extended<H: ServerHandler + Clone>(
        settings: &ServeSettings,
        loaded: &LoadedConfig,
        parts: Parts,
        extend: impl FnOnce(Handler) -> H,
    ) -> Result<Self, ServeError> {
        let platform = parts.name;
        let Assembly { door, handler: _, admin, running } = Assembly::start(settings, loaded, parts, extend)?;
        let (admin_listener, admin_address) = listen(settings.admin_address).await?;
        let admin_ending = Ending::default();
        let router = admin::build_router(admin);
        let admin_limits = ListenerLimits {
            connections: ADMIN_CONNECTIONS,
            when_full: WhenFull::CloseOldest,
            header_timeout: settings.header_timeout,
        };
        let admin = tokio::spawn(listener::serve(admin_listener, admin_limits, admin_ending.clone(), move |request| {
            let answer = router.clone().oneshot(request);
            async move {
                match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        }));

        let (mcp_listener, mcp_address) = listen(settings.mcp_address).await?;
        let mcp_ending = Ending::default();
        let mcp_limits = ListenerLimits {
            connections: settings.max_connections,
            when_full: WhenFull::Wait,
            header_timeout: settings.header_timeout,
        };
        let mcp = tokio::spawn(listener::serve(mcp_listener, mcp_limits, mcp_ending.clone(), move |request| {
            let door = door.clone();
            async move { door.answer(request).await }
        }));
        running.serving.cancel();
        tracing::info!(
            platform,
            tools = running.guards.catalogue.len(),
            mcp = %mcp_address,
            admin = %admin_address,
            "server_ready"
        );
        Ok(Self {
            mcp_address,
            admin_address,
            drain_delay: settings.drain_delay,
            drain_timeout: settings.drain_timeout,
            running,
            mcp_ending,
            admin_ending,
            mcp,
            admin,
        })
    }

    /// Where MCP is served.
    #[must_use]
    pub const fn mcp_address(&self) -> SocketAddr {
        self.mcp_address
    }

    /// Where probes, metrics and `/status` are served.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until told to stop; then drains: not ready at once, a while of answers that close their connections, no
    /// new connections, the calls that still run, and the platform's client at the very end.
    ///
    /// # Errors
    /// When it had to end before the calls that run were finished.
    pub async fn serve(mut self, stop: Stop) -> Result<(), ServeError> {
        tokio::select! {
            () = stop.force.cancelled() => {}
            () = stop.drain.cancelled() => {}
        }
        let began = Instant::now();
        self.running.draining.cancel();
        tracing::info!("draining");
        let drained = tokio::select! {
            () = stop.force.cancelled() => Err(ServeError::Forced),
            drained = self.drain() => drained,
        };
        self.running.abandon();
        self.mcp_ending.abort.cancel();
        self.running.close().await;
        self.admin_ending.close.cancel();
        self.admin_ending.abort.cancel();
        let _panicked = self.admin.await;
        self.running.finish().await;
        let seconds = began.elapsed().as_secs_f64();
        match &drained {
            Ok(()) => tracing::info!(seconds, "server_stopped"),
            Err(error) => tracing::error!(seconds, %error, "server_stopped"),
        }
        drained
    }

    async fn drain(&mut self) -> Result<(), ServeError> {
        tokio::time::sleep(self.drain_delay).await;
        self.mcp_ending.close.cancel();
        let finished = async {
            let _panicked = (&mut self.mcp).await;
            self.running.guards.settle().await;
        };
        match tokio::time::timeout(self.drain_timeout, finished).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ServeError::DrainTimeout),
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = common::listener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
