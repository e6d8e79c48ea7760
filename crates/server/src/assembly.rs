//! A connector put together: door, admin side, prober and what else runs in the background, without a port. Whoever has
//! one gives it connections: [`super::Instance`] two ports of its own, the command `local` one that several share.

use std::{sync::Arc, time::SystemTime};

use rmcp::ServerHandler;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    CLOSE_TIMEOUT, LoadedConfig, Parts, ServeError, ServeSettings,
    access::Access,
    admin::Admin,
    audit::Audit,
    auth::Authenticator,
    catalogue::Catalogue,
    check_tool,
    guards::{Guards, cache::AnswerCache},
    handler::Handler,
    http::{Door, DoorParts},
    metrics::Metrics,
    mutations::Mutations,
    prober::Prober,
    state::ReplicaState,
};
use credentials::CredentialsState;
use kit::Platform;

/// A connector put together, which already probes its platform.
pub struct Assembly<H> {
    /// Answers requests to the MCP port.
    pub door: Arc<Door<H>>,
    /// Answers MCP's methods, for a transport that is not HTTP.
    pub handler: H,
    /// What the admin port shows.
    pub admin: Arc<Admin>,
    /// What has to be ended.
    pub running: Running,
}

/// What has to be ended in order.
pub struct Running {
    /// Cancelled as soon as MCP is served.
    pub serving: CancellationToken,
    /// Cancelled when it begins to drain.
    pub draining: CancellationToken,
    /// The tools, and the calls that run.
    pub guards: Arc<Guards>,
    abandon: CancellationToken,
    background: CancellationToken,
    platform: Arc<dyn Platform>,
    audit: Arc<Audit>,
}

impl<H: ServerHandler + Clone> Assembly<H> {
    /// Puts a connector together. `extend` makes the handler out of the connector's own one.
    ///
    /// # Errors
    /// When the tools can't be offered.
    pub fn start(
        settings: &ServeSettings,
        loaded: &LoadedConfig,
        parts: Parts,
        extend: impl FnOnce(Handler) -> H,
    ) -> Result<Self, ServeError> {
        let config = &loaded.config;
        let metrics =
            Metrics::new().asking(parts.platform.clone(), &parts.outbound, parts.audit.clone(), parts.exports.clone());
        let metrics = metrics.supplied(parts.credentials_state.clone()).counting(parts.shared_rates.clone());
        let metrics = Arc::new(metrics);
        let access = Arc::new(Access::new(&config.access));
        let authenticator = Arc::new(Authenticator::new(
            settings.config_directory.clone(),
            config.access.audiences.clone(),
            &config.operator,
        ));
        let cache = Arc::new(AnswerCache::new(config.limits.cache, parts.credentials.clone()));
        let (findings, findings_receiver) = watch::channel(None);
        let state = Arc::new(ReplicaState {
            platform: parts.platform.clone(),
            credentials: parts.credentials_state.clone(),
            findings: findings_receiver,
            metrics: metrics.clone(),
            audit: parts.audit.clone(),
            exports: parts.exports,
            cache: cache.clone(),
            mutations: Arc::new(Mutations::default()),
            shared_rates: parts.shared_rates.clone(),
        });
        let mut tools = parts.platform.clone().tools();
        tools.push(check_tool::build_tool(state.clone()));
        let catalogue = Catalogue::new(tools, &config.tools, &access, config.limits.cache.enabled)
            .map_err(ServeError::BuildCatalogue)?;
        let uid = config.connector.uid.clone();
        let shared_rates = parts.shared_rates.clone();
        let guards = Arc::new(Guards::new(
            parts.name,
            parts.platform.clone(),
            catalogue,
            uid,
            &config.limits,
            shared_rates,
            cache,
        ));
        let (serving, draining, abandon) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let asked = Arc::new(Notify::new());
        let prober = Prober {
            platform: parts.platform.clone(),
            name: parts.name,
            config: config.probe,
            credentials: parts.credentials.clone(),
            asked: asked.clone(),
            findings,
            metrics: metrics.clone(),
        };
        tokio::spawn(prober.run(parts.background.clone()));
        tokio::spawn(authenticator.clone().follow_keys(parts.background.clone()));
        if let Some(rates) = parts.shared_rates {
            tokio::spawn(rates.keep(parts.background.clone()));
        }
        tokio::spawn(
            parts
                .background
                .clone()
                .run_until_cancelled_owned(follow_credentials(parts.credentials_state, metrics.clone())),
        );

        let admin = Arc::new(Admin {
            connector_uid: config.connector.uid.clone(),
            config_digest: loaded.digest.clone(),
            platform: parts.name,
            guards: guards.clone(),
            authenticator: authenticator.clone(),
            state: state.clone(),
            credentials: parts.credentials,
            probe: asked,
            serving: serving.clone(),
            draining: draining.clone(),
        });
        let handler = extend(Handler::new(guards.clone(), state, parts.platform.instructions()));
        let door = Arc::new(Door::new(
            config,
            DoorParts {
                origins: settings.allowed_origins.clone(),
                unproven: settings.unproven.clone(),
                authenticator,
                access,
                metrics,
                audit: parts.audit.clone(),
                handler: handler.clone(),
                draining: draining.clone(),
                abandon: abandon.clone(),
                body_timeout: settings.body_timeout,
            },
        ));
        let running = Running {
            serving,
            draining,
            guards,
            abandon,
            background: parts.background,
            platform: parts.platform,
            audit: parts.audit,
        };
        Ok(Self { door, handler, admin, running })
    }
}

impl Running {
    /// Gives up what still runs, except the probes.
    pub fn abandon(&self) {
        self.abandon.cancel();
    }

    /// Ends what runs in the background, and gives back what the platform's client holds.
    pub async fn close(&self) {
        self.abandon();
        self.background.cancel();
        if tokio::time::timeout(CLOSE_TIMEOUT, self.platform.close()).await.is_err() {
            tracing::warn!("the platform's client took too long to close");
        }
    }

    /// Writes the audit records that are left.
    pub async fn finish(self) {
        let audit = self.audit;
        let _panicked = tokio::task::spawn_blocking(move || audit.finish()).await;
    }
}

/// Keeps the time at which the credentials in use were loaded.
async fn follow_credentials(mut state: watch::Receiver<CredentialsState>, metrics: Arc<Metrics>) {
    let mut revision = None;
    loop {
        let loaded = state.borrow_and_update().loaded_revision.clone();
        if loaded != revision && loaded.is_some() {
            metrics.credentials_loaded(SystemTime::now());
        }
        revision = loaded;
        if state.changed().await.is_err() {
            return;
        }
    }
}
