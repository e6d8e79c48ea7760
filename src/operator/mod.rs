//! Desired state: the only room that writes to the Kubernetes API. It never calls a platform and never sees a credential.
//!
//! ```text
//! watches (one task each) ─▶ stores ─▶ queue of object references ─▶ reconcile ─▶ writes, where something differs
//!                                              ▲                          │
//!                                              └──── after poll_interval ─┘
//! ```

pub mod cache;
pub mod connector;
pub mod context;
pub mod credential_source;
mod events;
pub mod health;
mod http;
pub mod lease;
pub mod metrics;
mod token_keys;

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    client::ClientBuilder,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        controller::{self, Action, applier},
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    cache::{Cache, Kind, Notice, root_cause, watch as watch_kind},
    context::{Caches, Context, Settings},
    health::WatchHealth,
    lease::{Candidate, Fence},
    metrics::Metrics,
};
use crate::api::{CredentialSource, FIELD_MANAGER, LABEL_CONNECTOR, LABEL_MANAGED_BY, McpConnector};

type ConnectorRef = ObjectRef<DeserializeGuard<McpConnector>>;
type SourceRef = ObjectRef<DeserializeGuard<CredentialSource>>;

/// Why the operator can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It doesn't know how to reach the Kubernetes API.
    #[error("failed to find the Kubernetes API: run in a pod with a ServiceAccount token, or set KUBECONFIG")]
    InferConfig(#[source] Box<kube::config::InferConfigError>),
    /// The client can't be made.
    #[error("failed to make the client of the Kubernetes API")]
    Client(#[source] Box<kube::Error>),
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
    let make_client = |source| Error::Client(Box::new(source));
    let (fence, health) = (Fence::default(), WatchHealth::default());
    let client = ClientBuilder::try_from(config.clone()).map_err(make_client)?.with_layer(&fence).build();
    // The Lease is what opens the fence, so its own requests go around it.
    let candidate = Candidate::new(
        Client::try_from(config).map_err(make_client)?,
        &settings.operator_namespace,
        lease::lease_name(settings.watch_namespace.as_deref()),
        settings.instance.clone(),
        fence,
    );
    let pods_http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(0)
        .build()
        .map_err(Error::PodsClient)?;

    let metrics = Metrics::default();
    let registry = metrics.registry(health.clone());
    let address = settings.address;
    info!(%address, version = env!("CARGO_PKG_VERSION"), "operator started");
    tokio::select! {
        () = shutdown.cancelled() => {
            info!("operator stopping");
            candidate.release().await;
            Ok(())
        }
        served = http::serve(address, health.clone(), registry.clone(), shutdown.clone()) => served.map_err(Error::Serve),
        ended = async {
            candidate.acquire().await;
            tokio::select! {
                () = candidate.hold() => Error::LeaseLost,
                ended = lead(client, settings, pods_http, health, metrics, &registry) => ended,
            }
        } => Err(ended),
    }
}

/// What the leader does, for as long as it is the leader.
async fn lead(
    client: Client,
    settings: Settings,
    pods_http: reqwest::Client,
    health: WatchHealth,
    metrics: Metrics,
    registry: &metrics::SharedRegistry,
) -> Error {
    let (connector_queue, connector_requests) = mpsc::unbounded_channel();
    let (source_queue, source_requests) = mpsc::unbounded_channel();
    let mut watches = JoinSet::new();
    let caches = start_watches(&mut watches, &client, &settings, &health, &connector_queue, &source_queue);
    let (connectors, sources) = (caches.connectors.store(), caches.sources.store());
    metrics::register_conditions(registry, connectors.clone());
    metrics.lead();

    let (keys_sender, token_keys) = watch::channel(None);
    let mut tasks = JoinSet::new();
    tasks.spawn(named("token keys", {
        let (client, connectors) = (client.clone(), connectors.clone());
        async move { token_keys::follow(client, keys_sender, || enqueue_all(&connectors, &connector_queue)).await }
    }));
    let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: Some(settings.instance.clone()) };
    let concurrency = settings.concurrency;
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        settings,
        caches,
        references: connector::dereference::ReferenceCache::default(),
        token_keys,
        pods_http,
        memory: Mutex::default(),
        mutations: connector::mutations::Published::default(),
        metrics,
    });
    tasks.spawn(named("memory", forget_the_dead(Arc::clone(&context))));
    tasks.spawn(named(
        "connectors",
        run_controller(
            connector::reconcile,
            Arc::clone(&context),
            connectors,
            connector_requests,
            concurrency,
            health.clone(),
        ),
    ));
    tasks.spawn(named(
        "credential sources",
        run_controller(credential_source::reconcile, context, sources, source_requests, concurrency, health),
    ));
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

fn api<K: Kind>(client: &Client, settings: &Settings) -> Api<K> {
    match &settings.watch_namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Starts every watch. What is owned is watched by our label; what users write, whole.
fn start_watches(
    tasks: &mut JoinSet<&'static str>,
    client: &Client,
    settings: &Settings,
    health: &WatchHealth,
    connector_queue: &mpsc::UnboundedSender<ConnectorRef>,
    source_queue: &mpsc::UnboundedSender<SourceRef>,
) -> Caches {
    // A source's state follows from its connectors', a connector's acceptance from its source.
    let connectors: Cache<DeserializeGuard<McpConnector>> = {
        let (connectors, sources) = (connector_queue.clone(), source_queue.clone());
        let used: Mutex<HashMap<ConnectorRef, SourceRef>> = Mutex::default();
        let notify = move |connector: &DeserializeGuard<McpConnector>, is_gone: bool| {
            let reference = ObjectRef::from_obj(connector);
            let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
            let source = if is_gone { None } else { source_of(connector) };
            let before = match source.clone() {
                Some(source) => used.insert(reference.clone(), source),
                None => used.remove(&reference),
            };
            // Also the one that it used before: it has lost a user.
            for source in before.into_iter().filter(|before| Some(before) != source.as_ref()).chain(source.clone()) {
                send(&sources, source);
            }
            send(&connectors, reference);
        };
        watch_kind(tasks, health, "McpConnector", api(client, settings), watcher::Config::default(), move |notice| {
            match notice {
                Notice::Changed(connector) => notify(connector, false),
                Notice::Gone(connector) => notify(connector, true),
                Notice::Listed(all) => all.iter().for_each(|connector| notify(connector, false)),
            }
        })
    };
    let sources: Cache<DeserializeGuard<CredentialSource>> = {
        let (queue, own) = (connector_queue.clone(), source_queue.clone());
        let connectors = connectors.store();
        let notify = move |source: &DeserializeGuard<CredentialSource>| {
            let reference = ObjectRef::from_obj(source);
            for connector in connectors.state_filter(|connector| source_of(connector).as_ref() == Some(&reference)) {
                send(&queue, ObjectRef::from_obj(connector.as_ref()));
            }
            send(&own, reference);
        };
        watch_kind(
            tasks,
            health,
            "CredentialSource",
            api(client, settings),
            watcher::Config::default(),
            move |notice| match notice {
                Notice::Changed(source) | Notice::Gone(source) => notify(source),
                Notice::Listed(all) => all.iter().for_each(|source| notify(source)),
            },
        )
    };
    let owned = watcher::Config::default().labels(&format!("{LABEL_MANAGED_BY}={FIELD_MANAGER}"));
    let ours =
        Owned { client, settings, health, config: &owned, queue: connector_queue, connectors: &connectors.store() };
    Caches {
        service_accounts: ours.watch::<ServiceAccount>(tasks, "ServiceAccount"),
        config_maps: ours.watch::<ConfigMap>(tasks, "ConfigMap"),
        services: ours.watch::<Service>(tasks, "Service"),
        network_policies: ours.watch::<NetworkPolicy>(tasks, "NetworkPolicy"),
        pod_disruption_budgets: ours.watch::<PodDisruptionBudget>(tasks, "PodDisruptionBudget"),
        deployments: ours.watch::<Deployment>(tasks, "Deployment"),
        replica_sets: ours.watch::<PartialObjectMeta<ReplicaSet>>(tasks, "ReplicaSet"),
        pods: ours.watch::<Pod>(tasks, "Pod"),
        connectors,
        sources,
    }
}

struct Owned<'a> {
    client: &'a Client,
    settings: &'a Settings,
    health: &'a WatchHealth,
    config: &'a watcher::Config,
    queue: &'a mpsc::UnboundedSender<ConnectorRef>,
    connectors: &'a Store<DeserializeGuard<McpConnector>>,
}

impl Owned<'_> {
    /// Watches a kind by our label. A change, and a deletion above all, goes to the connector that the label names.
    fn watch<K: Kind>(&self, tasks: &mut JoinSet<&'static str>, kind: &'static str) -> Cache<K> {
        let (queue, connectors) = (self.queue.clone(), self.connectors.clone());
        watch_kind(tasks, self.health, kind, api::<K>(self.client, self.settings), self.config.clone(), move |notice| {
            match notice {
                Notice::Changed(object) | Notice::Gone(object) => {
                    if let (Some(name), Some(namespace)) = (object.labels().get(LABEL_CONNECTOR), object.namespace()) {
                        send(&queue, ObjectRef::new(name).within(&namespace));
                    }
                }
                Notice::Listed(_) => enqueue_all(&connectors, &queue),
            }
        })
    }
}

fn source_of(connector: &DeserializeGuard<McpConnector>) -> Option<SourceRef> {
    let name = &connector.0.as_ref().ok()?.spec.credentials.name;
    Some(ObjectRef::new(name).within(&connector.namespace()?))
}

fn send<T>(queue: &mpsc::UnboundedSender<T>, item: T) {
    // The receiver lives as long as its controller; without that the process is ending.
    drop(queue.send(item));
}

fn enqueue_all<K>(store: &Store<K>, queue: &mpsc::UnboundedSender<ObjectRef<K>>)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    for object in store.state() {
        send(queue, ObjectRef::from_obj(object.as_ref()));
    }
}

/// Runs one controller: requests come from the queue, and from its own earlier answers. Its inputs can't fail, so nothing
/// can make it back off as a whole; what fails is one object, which waits for itself.
async fn run_controller<K, E, R>(
    reconcile: impl Fn(Arc<K>, Arc<Context>) -> R + Send + Sync + Clone + 'static,
    context: Arc<Context>,
    store: Store<K>,
    requests: mpsc::UnboundedReceiver<ObjectRef<K>>,
    concurrency: u16,
    health: WatchHealth,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
    E: std::error::Error + Send + Sync + 'static,
    R: Future<Output = Result<Action, E>> + Send + 'static,
{
    // With half of the world still unlisted, what is there would look missing and be written again.
    while !health.starting().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What was listed before this was listening is in the store.
    let known: Vec<ObjectRef<K>> = store.state().iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect();
    let failures: Arc<Mutex<HashMap<ObjectRef<K>, u32>>> = Arc::default();
    let succeed = Arc::clone(&failures);
    let requests = futures::stream::unfold(requests, |mut requests| async {
        requests.recv().await.map(|request| (request, requests))
    });
    let queue = futures::stream::iter(known).chain(requests).map(Ok::<_, std::convert::Infallible>);
    let run = move |object: Arc<K>, context: Arc<Context>| {
        let (reference, succeed) = (ObjectRef::from_obj(object.as_ref()), Arc::clone(&succeed));
        let reconcile = reconcile.clone();
        Box::pin(async move {
            let outcome = reconcile(object, context).await;
            if outcome.is_ok() {
                succeed.lock().unwrap_or_else(PoisonError::into_inner).remove(&reference);
            }
            outcome
        })
    };
    let on_error = move |object: Arc<K>, error: &E, _: Arc<Context>| {
        let reference = ObjectRef::from_obj(object.as_ref());
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(reference.clone()).or_default();
        *count = count.saturating_add(1);
        warn!(object = %reference, failures = *count, %error, cause = %root_cause(error), "reconcile failed; it is tried again");
        Action::requeue(backoff(*count))
    };
    applier(run, on_error, context, store, queue, controller::Config::default().concurrency(concurrency))
        .for_each(|outcome| async {
            match outcome {
                // Gone between the request and its turn, or failed and told already.
                Ok(_) | Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
                Err(error) => error!(error = %root_cause(&error), "the controller's queue failed"),
            }
        })
        .await;
}

/// How long an object waits after so many failures in a row: from one second to five minutes, up to a fifth shorter.
fn backoff(failures: u32) -> Duration {
    let seconds = 2_u64.saturating_pow(failures.saturating_sub(1).min(16)).min(300);
    Duration::from_secs(seconds).mul_f64(rand::random_range(0.8..=1.0))
}

/// What was heard from the pods of connectors that are gone takes no room.
async fn forget_the_dead(context: Arc<Context>) {
    loop {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let living: std::collections::HashSet<String> =
            context.caches.connectors.state().iter().filter_map(|connector| connector.uid()).collect();
        connector::observe::forget_others(&context, &|uid| living.contains(uid));
        context.mutations.forget_others(&|uid| living.contains(uid));
    }
}
