//! A connector put together: door, admin side, prober and what else runs in the background, without a port. It is served
//! at two ports of its own, or given connections by whoever built it, as the command `local` does.

use std::{io, sync::Arc, time::Duration};

use rmcp::ServerHandler;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tower::ServiceExt;

use super::{
    LoadedConfig, Ports, ServeError, ServeSettings, Stop, Upstream,
    access::Access,
    admin::{self, Admin},
    audit::Audit,
    auth::Authenticator,
    catalogue::Catalogue,
    check_tool,
    door::{Callers, Door},
    guards::{Guards, cache::AnswerCache, shared_rate::SharedRates},
    handler::Handler,
    lifecycle::Lifecycle,
    listener::{ListenerLimits, Port, WhenFull},
    metrics::Metrics,
    observers::recent_mutations::RecentMutations,
    prober::Prober,
    state::ReplicaState,
};
use telemetry::ExportCounts;

/// Time that calls may take which still run when it is to end, at least.
pub const LEAST_DRAIN: Duration = Duration::from_secs(25);
/// Time that giving back what the platform's client holds may take, at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections to the admin port at a time. When there are as many, the oldest makes room: the kubelet must get through to
/// the probes whoever else holds connections.
pub const ADMIN_CONNECTIONS: usize = 64;

/// A connector put together, which already probes its platform. `H` answers MCP's methods.
pub struct Server<H = Handler> {
    /// Answers requests to the MCP port.
    pub door: Arc<Door<H>>,
    /// Answers MCP's methods, for a transport that is not HTTP.
    pub handler: H,
    /// What the admin port shows.
    pub admin: Arc<Admin>,
    upstream: Upstream,
    settings: ServeSettings,
}

impl Server {
    /// Puts a connector together, and starts to write audit records to `records`. `exports` says how the export of traces
    /// goes, where there is one.
    ///
    /// # Errors
    /// When the tools can't be offered, or no connection to the shared rate limit's Redis ever could be made.
    pub fn build(
        settings: &ServeSettings,
        loaded: &LoadedConfig,
        upstream: Upstream,
        records: Box<dyn io::Write + Send>,
        exports: Option<Arc<ExportCounts>>,
    ) -> Result<Self, ServeError> {
        Self::build_extended(settings, loaded, upstream, records, exports, std::convert::identity)
    }
}

impl<H: ServerHandler + Clone> Server<H> {
    /// As [`Server::build`], with a handler that `extend` makes of the connector's own one: for servers that offer more of
    /// the protocol than connectors do, behind the same door.
    ///
    /// # Errors
    /// As [`Server::build`].
    pub fn build_extended(
        settings: &ServeSettings,
        loaded: &LoadedConfig,
        upstream: Upstream,
        records: Box<dyn io::Write + Send>,
        exports: Option<Arc<ExportCounts>>,
        extend: impl FnOnce(Handler) -> H,
    ) -> Result<Self, ServeError> {
        let config = &loaded.config;
        let (name, platform, credentials) = (upstream.name, &upstream.platform, &upstream.credentials);
        let shared_rates = match &config.limits.shared {
            None => None,
            Some(shared) => {
                let mounted = settings.shared_limit_directory.clone();
                let rates = SharedRates::new(&config.connector, shared, mounted, settings.address_policy);
                Some(Arc::new(rates.map_err(ServeError::ShareRates)?))
            }
        };
        let directory = settings.audit_directory.clone();
        let audit = Audit::start(&config.connector, name, &config.telemetry.audit, directory, records);
        let metrics = Metrics::new()
            .asking(platform.clone(), &upstream.requests, audit.clone(), exports.clone())
            .supplied(upstream.credentials_state.clone())
            .counting(shared_rates.clone());
        let metrics = Arc::new(metrics);
        let cache = Arc::new(AnswerCache::new(config.limits.cache, credentials.clone()));
        let (findings, believed) = watch::channel(None);
        let state = Arc::new(ReplicaState {
            platform: platform.clone(),
            credentials: upstream.credentials_state.clone(),
            findings: believed,
            metrics: metrics.clone(),
            audit,
            exports,
            cache: cache.clone(),
            recent_mutations: RecentMutations::default(),
            shared_rates: shared_rates.clone(),
        });
        let access = Access::new(&config.access);
        let mut tools = platform.clone().tools();
        tools.push(check_tool::build_tool(state.clone()));
        let catalogue = Catalogue::new(tools, &config.tools, &access, config.limits.cache.enabled)
            .map_err(ServeError::BuildCatalogue)?;
        let (client, uid, rates) = (platform.clone(), config.connector.uid.clone(), shared_rates.clone());
        let lifecycle = Lifecycle::default();
        let guards = Guards {
            stopping: lifecycle.draining.clone(),
            ..Guards::new(name, client, catalogue, uid, &config.limits, rates, cache)
        };
        let guards = Arc::new(guards);
        let (keys, audiences) = (settings.config_directory.clone(), config.access.audiences.clone());
        let authenticator = Arc::new(Authenticator::new(keys, audiences, &config.operator, &config.connector));
        let handler = extend(Handler::new(guards.clone(), state.clone(), platform.instructions()));
        let door = Door::new(
            config,
            settings,
            Callers { access, authenticator: authenticator.clone() },
            guards.clone(),
            handler.clone(),
            &state,
            lifecycle.clone(),
        );

        let probe = Arc::new(Notify::new());
        let prober = Prober {
            platform: platform.clone(),
            name,
            config: config.probe,
            credentials: credentials.clone(),
            asked: probe.clone(),
            findings,
            metrics: metrics.clone(),
        };
        let background = &upstream.background;
        tokio::spawn(prober.run(background.clone()));
        tokio::spawn(authenticator.clone().follow_keys(background.clone()));
        if let Some(rates) = shared_rates {
            tokio::spawn(rates.keep(background.clone()));
        }
        let following = metrics.follow_credentials(upstream.credentials_state.clone());
        tokio::spawn(background.clone().run_until_cancelled_owned(following));

        let admin = Arc::new(Admin {
            config_digest: loaded.digest.clone(),
            guards,
            authenticator,
            state,
            credentials: credentials.clone(),
            probe,
            lifecycle,
        });
        Ok(Self { door: Arc::new(door), handler, admin, upstream, settings: settings.clone() })
    }

    /// Serves at its two ports until told to stop; then drains: not ready at once, a while of answers that close their
    /// connections, no new connections, the calls that still run, and the platform's client at the very end.
    ///
    /// # Errors
    /// When it had to end before the calls that run were finished.
    pub async fn serve(self, ports: Ports, stop: Stop) -> Result<(), ServeError> {
        let [admin_address, mcp_address] =
            [&ports.admin, &ports.mcp].map(|port| port.local_addr().ok().map(tracing::field::display));
        // The admin port first and MCP last, so that whoever can connect is answered.
        let router = admin::build_router(self.admin.clone());
        let header_timeout = self.settings.header_timeout;
        let limits =
            ListenerLimits { connections: ADMIN_CONNECTIONS, when_full: WhenFull::CloseOldest, header_timeout };
        let mut admin = Port::serve(ports.admin, limits, move |request| {
            let answer = router.clone().oneshot(request);
            async move {
                match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        });
        let door = self.door.clone();
        let connections = self.settings.max_connections;
        let limits = ListenerLimits { connections, when_full: WhenFull::CloseIdle, header_timeout };
        let crowd = self.admin.lifecycle.crowd.clone();
        let mut mcp = Port::serve_telling(ports.mcp, limits, crowd, move |request| {
            let door = door.clone();
            async move { door.answer(request).await }
        });
        self.admin.lifecycle.serving.cancel();
        tracing::info!(
            platform = self.upstream.name,
            tools = self.admin.guards.catalogue.len(),
            mcp = mcp_address,
            admin = admin_address,
            "server_ready"
        );

        tokio::select! {
            () = stop.force.cancelled() => {}
            () = stop.drain.cancelled() => {}
        }
        let began = Instant::now();
        tracing::info!("draining");
        let drained = tokio::select! {
            () = stop.force.cancelled() => Err(ServeError::Forced),
            drained = self.drain(mcp.close()) => drained,
        };
        self.admin.lifecycle.abandoned.cancel();
        mcp.abort();
        self.close_platform().await;
        admin.abort();
        admin.close().await;
        self.finish_audit().await;
        let seconds = began.elapsed().as_secs_f64();
        match &drained {
            Ok(()) => tracing::info!(seconds, "server_stopped"),
            Err(error) => tracing::error!(seconds, %error, "server_stopped"),
        }
        drained
    }

    /// Begins to drain. After a while, in which callers who don't know yet still find it, waits for `connections`, which
    /// ends when the last connection is gone, and for calls that act without their callers.
    ///
    /// # Errors
    /// When the time to drain is up before.
    pub async fn drain(&self, connections: impl Future<Output = ()>) -> Result<(), ServeError> {
        self.admin.lifecycle.draining.cancel();
        tokio::time::sleep(self.settings.drain_delay).await;
        let finished = async {
            connections.await;
            self.admin.guards.settle().await;
        };
        // Whoever only waits ends at once; the others have the time that a call may take.
        let time = self.settings.drain_timeout.unwrap_or(LEAST_DRAIN.max(self.admin.guards.call_timeout));
        tokio::time::timeout(time, finished).await.map_err(|_| ServeError::DrainTimeout)
    }

    /// Gives up what still runs, gives back what the platform's client holds, and writes the audit records that are left.
    pub async fn close(self) {
        self.admin.lifecycle.abandoned.cancel();
        self.close_platform().await;
        self.finish_audit().await;
    }

    async fn close_platform(&self) {
        if tokio::time::timeout(CLOSE_TIMEOUT, self.upstream.close()).await.is_err() {
            tracing::warn!("the platform's client took too long to close");
        }
    }

    async fn finish_audit(&self) {
        let audit = self.admin.state.audit.clone();
        let _panicked = tokio::task::spawn_blocking(move || audit.finish()).await;
    }
}
