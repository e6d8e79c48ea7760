//! Desired state: the only room that writes to the Kubernetes API. It never calls a platform and never sees a credential.
//!
//! ```text
//! watches (one task each) ─▶ stores ─▶ queue of object references ─▶ reconcile ─▶ writes, where something differs
//!                                              ▲                          │
//!                                              └──── after poll_interval ─┘
//! ```

mod api_audiences;
pub mod cache;
pub mod connector;
pub mod context;
mod controller;
pub mod credential_source;
mod events;
pub mod health;
mod http;
pub mod index;
pub mod lease;
pub mod metrics;
mod own_tokens;
mod pages;
pub mod plan;
pub mod rollout;
mod slim;
mod token_keys;
mod watches;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{Client, Config, ResourceExt, client::ClientBuilder, runtime::events::Reporter};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    context::{Context, Settings},
    controller::{Work, run_controller},
    events::Publisher,
    health::WatchHealth,
    lease::{Election, Fence},
    metrics::Metrics,
    own_tokens::OwnTokens,
    rollout::Rollout,
    token_keys::About,
    watches::{Queues, start_watches},
};
use api::FIELD_MANAGER;

/// Time in which what is told of a connector comes to one reconcile: a rollout's steps come in quick succession.
const CONNECTOR_SETTLE: Duration = Duration::from_millis(100);
/// The same of a source, whose status follows from all its connectors'.
const SOURCE_SETTLE: Duration = Duration::from_secs(1);

/// Why the operator can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It doesn't know how to reach the Kubernetes API.
    #[error("failed to find the Kubernetes API: run in a pod with a ServiceAccount token, or set KUBECONFIG")]
    InferConfig(#[source] Box<kube::config::InferConfigError>),
    /// The client can't be made.
    #[error("failed to make the client of the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
    /// It can't stand for election.
    #[error(transparent)]
    Election(#[from] lease::StartError),
    /// The HTTP client for pods can't be made.
    #[error("failed to make the HTTP client for the connectors' pods")]
    PodsClient(#[source] reqwest::Error),
    /// The health endpoints can't be served.
    #[error("failed to serve the health endpoints")]
    Serve(#[source] std::io::Error),
    /// Another replica is the leader now, or the Lease couldn't be renewed in time.
    #[error("this replica is no longer the leader")]
    LeaseLost,
    /// A task ended that never should.
    #[error("the task {0} ended")]
    TaskEnded(String),
}

/// Runs the operator until `shutdown`: serves its health endpoints at once, and leads as soon as it holds the Lease.
///
/// # Errors
/// When it can't start, or a part of it ends that never should: the process should then be started anew.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Error> {
    let mut config = Config::infer().await.map_err(|source| Error::InferConfig(Box::new(source)))?;
    // kube's own retries may hold one call for minutes; every call here has a deadline, and reconciles are tried again.
    config.default_retry = false;
    let own_token = config.auth_info.token_file.as_ref().map(PathBuf::from);
    let (fence, health) = (Fence::default(), WatchHealth::default());
    let client = leaders_client(config.clone(), &fence, &health)?;
    let lease = settings.scope.lease_name();
    // The Lease is what opens the fence, so its own requests go around it.
    let namespace = settings.operator_namespace.clone();
    let election = Election::begin(config, namespace, lease.clone(), settings.instance.clone(), fence).await?;
    let pods_http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(0)
        .build()
        .map_err(Error::PodsClient)?;

    let metrics = Metrics::default();
    let registry = metrics.registry(health.clone(), &lease);
    let address = settings.address;
    info!(%address, version = env!("CARGO_PKG_VERSION"), looks_after = %settings.scope, "operator started");
    tokio::select! {
        () = shutdown.cancelled() => {
            info!("operator stopping");
            election.release().await;
            Ok(())
        }
        served = http::serve(address, health.clone(), registry.clone()) => served.map_err(Error::Serve),
        ended = async {
            election.won().await;
            tokio::select! {
                () = election.lost() => Error::LeaseLost,
                ended = lead(client, settings, own_token, pods_http, health, metrics, &registry) => ended,
            }
        } => Err(ended),
    }
}

/// The client of the leader: it writes only while the fence is open, and what it is answered keeps its watches alive.
fn leaders_client(config: Config, fence: &Fence, health: &WatchHealth) -> Result<Client, Error> {
    let builder = ClientBuilder::try_from(config).map_err(|source| Error::Client(Box::new(source)))?;
    Ok(builder.with_layer(fence).with_layer(health).build())
}

/// What the leader does, for as long as it is the leader.
async fn lead(
    client: Client,
    settings: Settings,
    own_token: Option<PathBuf>,
    pods_http: reqwest::Client,
    health: WatchHealth,
    metrics: Metrics,
    registry: &metrics::SharedRegistry,
) -> Error {
    let (connector_queue, connector_requests) = mpsc::unbounded_channel();
    let (source_queue, source_requests) = mpsc::unbounded_channel();
    let queues = Queues { connectors: connector_queue, sources: source_queue };
    let mut watches = JoinSet::new();
    let caches = start_watches(&mut watches, &client, &settings, &health, &queues);
    let (connectors, sources) = (caches.connectors.store(), caches.sources.store());
    let rollout = Rollout::new(settings.rollout);
    metrics::register_leader(registry, connectors.clone(), rollout.clone());
    metrics.lead();

    let (keys_sender, token_keys) = watch::channel(None);
    let (audiences_sender, api_audiences) = watch::channel(None);
    let mut tasks = JoinSet::new();
    tasks.spawn(named("token keys", {
        let (client, connectors) = (client.clone(), connectors.clone());
        let about = About { client, own_token, keys: keys_sender, api_audiences: audiences_sender };
        async move { token_keys::follow(about, || queues.send_all(&connectors)).await }
    }));
    let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: Some(settings.instance.clone()) };
    let concurrency = settings.concurrency;
    let context = Arc::new(Context {
        events: Publisher::new(client.clone(), reporter),
        own_tokens: OwnTokens::new(
            client.clone(),
            &settings.operator_namespace,
            settings.operator_service_account.clone(),
        ),
        client,
        settings,
        caches,
        references: connector::references::ReferenceCache::default(),
        status_writes: tokio::sync::Semaphore::new(context::STATUS_WRITES),
        token_keys,
        api_audiences,
        pods_http,
        memory: Mutex::default(),
        mutations: connector::mutations::Published::default(),
        rollout,
        refused_requests: connector::requests::Refused::default(),
        metrics,
    });
    tasks.spawn(named("memory", forget_the_dead(Arc::clone(&context))));
    let work = Work { store: connectors, requests: connector_requests, settle: CONNECTOR_SETTLE, concurrency };
    tasks.spawn(named("connectors", {
        let (context, health) = (Arc::clone(&context), health.clone());
        async move {
            wait_until_ready(&health, &context).await;
            run_controller(connector::reconcile, context, work).await;
        }
    }));
    let work = Work { store: sources, requests: source_requests, settle: SOURCE_SETTLE, concurrency };
    tasks.spawn(named("credential sources", async move {
        wait_until_ready(&health, &context).await;
        run_controller(credential_source::reconcile, context, work).await;
    }));
    // None of them ever ends by itself; the first that does takes the process with it.
    tokio::select! {
        Some(ended) = tasks.join_next() => Error::TaskEnded(ended.map_or_else(|error| error.to_string(), str::to_owned)),
        Some(ended) = watches.join_next() => {
            Error::TaskEnded(ended.map_or_else(|error| error.to_string(), |kind| format!("watch of {kind}")))
        }
    }
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

/// Waits until all is known that a reconcile looks at: with half of the world still unlisted, or without the cluster's
/// token keys, what is there would look missing and be written again. Keys that can't be read are told in conditions.
async fn wait_until_ready(health: &WatchHealth, context: &Context) {
    while !health.starting().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut keys = context.token_keys.clone();
    drop(tokio::time::timeout(token_keys::TIMEOUT, keys.wait_for(Option::is_some)).await);
}

/// What was heard from the pods of connectors that are gone takes no room.
async fn forget_the_dead(context: Arc<Context>) {
    loop {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let living: std::collections::HashSet<String> =
            context.caches.connectors.state().iter().filter_map(|connector| connector.uid()).collect();
        connector::observe::forget_others(&context, &|uid| living.contains(uid));
        context.mutations.forget_others(&|uid| living.contains(uid));
        context.rollout.forget_others(&|uid| living.contains(uid));
        context.refused_requests.forget_others(&|uid| living.contains(uid));
        context.own_tokens.forget_others(&|uid| living.contains(uid));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use k8s_openapi::api::core::v1::{Namespace, Pod};
    use kube::{
        Api,
        api::{ListParams, PostParams},
    };

    use super::*;

    /// A client of an API server that knows no object, with what is seen of its requests.
    async fn client() -> (Client, WatchHealth) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        let list = r#"{"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}"#;
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(async move || list)).await });
        let health = WatchHealth::default();
        (leaders_client(config, &Fence::default(), &health).unwrap(), health)
    }

    #[tokio::test]
    async fn what_the_leader_is_answered_keeps_its_watches_alive() {
        let (client, health) = client().await;
        health.register("Pod", "pods".into());
        health.register("Namespace", "namespaces".into());
        let then = Instant::now();
        tokio::time::sleep(Duration::from_millis(20)).await;
        Api::<Pod>::all(client).list(&ListParams::default()).await.unwrap();
        assert_eq!(health.stuck_at(then + health::WATCH_PATIENCE + Duration::from_millis(10)), ["Namespace"]);
    }

    #[tokio::test]
    async fn before_it_leads_it_writes_nothing() {
        let (client, _) = client().await;
        let refused = Api::<Namespace>::all(client).create(&PostParams::default(), &Namespace::default()).await;
        let kube::Error::Service(error) = refused.unwrap_err() else { panic!("it was sent") };
        assert!(error.is::<lease::NotLeader>(), "{error}");
    }
}
