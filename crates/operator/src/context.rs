//! What every reconcile has at hand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{Client, core::DeserializeGuard, core::PartialObjectMeta};
use tokio::sync::{Semaphore, watch};

use super::{
    cache::Cache,
    connector::{
        mutations::Published, observe::Memory, references::ReferenceCache, requests::Refused, validate::AllowedWorkload,
    },
    events::Publisher,
    index::Index,
    metrics::Metrics,
    own_tokens::OwnTokens,
    rollout::{Limits, Rollout},
};
use api::{CredentialSource, McpConnector, credential_source::Host, endpoint::AddressPolicy, scope::Scope};
use pod_api::config::TokenKeys;

/// Time that one request to the Kubernetes API may take. kube's own limits allow minutes.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);

/// Statuses of connectors that are written at a time. The answer is the whole object, with annotations of up to 256 KiB.
pub const STATUS_WRITES: usize = 8;

/// How the operator was started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Image of the connectors' pods.
    pub connector_image: String,
    /// Its pull policy.
    pub connector_image_pull_policy: String,
    /// The namespaces to look after.
    pub scope: Scope,
    /// Namespace the operator runs in.
    pub operator_namespace: String,
    /// ServiceAccount the operator runs as.
    pub operator_service_account: String,
    /// Name of this replica of the operator.
    pub instance: String,
    /// Namespace whose pods may scrape the connectors' metrics.
    pub monitoring_namespace: Option<String>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Time between two questions to a connector's replicas; jitter only shortens it.
    pub poll_interval: Duration,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub address: std::net::SocketAddr,
    /// Reconciles at a time, of each kind.
    pub concurrency: u16,
    /// How many connectors a change of the operator's own reaches at a time.
    pub rollout: Limits,
    /// Collector of the traces of connectors that name none of their own.
    pub otlp_endpoint: Option<String>,
    /// Proxies that every connector may use, whatever its CredentialSource says.
    pub allowed_proxies: Vec<Host>,
    /// Which addresses platforms may have.
    pub addresses: AddressPolicy,
    /// Whether the cluster gives pods their user and group, as OpenShift does.
    pub cluster_assigns_user: bool,
    /// What `spec.workload` may have.
    pub allowed_workload: AllowedWorkload,
}

/// Everything that is watched.
pub struct Caches {
    /// The connectors. An object that doesn't fit the types is known as such, and can't stop the watch.
    pub connectors: Cache<DeserializeGuard<McpConnector>>,
    /// The connectors by the credential source that they use.
    pub users: Index<DeserializeGuard<McpConnector>>,
    /// The credential sources.
    pub sources: Cache<DeserializeGuard<CredentialSource>>,
    /// Owned ServiceAccounts.
    pub service_accounts: Cache<ServiceAccount>,
    /// Owned ConfigMaps.
    pub config_maps: Cache<ConfigMap>,
    /// Owned Services.
    pub services: Cache<Service>,
    /// Owned NetworkPolicies.
    pub network_policies: Cache<NetworkPolicy>,
    /// Owned PodDisruptionBudgets.
    pub pod_disruption_budgets: Cache<PodDisruptionBudget>,
    /// Owned Deployments.
    pub deployments: Cache<Deployment>,
    /// ReplicaSets of owned Deployments: whose they are.
    pub replica_sets: Cache<PartialObjectMeta<ReplicaSet>>,
    /// Pods that say they are a connector's.
    pub pods: Cache<Pod>,
    /// Those pods by the connector that they name.
    pub pods_by_connector: Index<Pod>,
}

/// What every reconcile has at hand.
pub struct Context {
    /// Kubernetes API.
    pub client: Client,
    /// How the operator was started.
    pub settings: Settings,
    /// What is watched.
    pub caches: Caches,
    /// Objects that specs refer to and that are not watched.
    pub references: ReferenceCache,
    /// Who may write a status just now.
    pub status_writes: Semaphore,
    /// The cluster's token keys; none before they were read.
    pub token_keys: watch::Receiver<Option<TokenKeys>>,
    /// The audiences that the API server accepts; none while they are not known.
    pub api_audiences: watch::Receiver<Option<Vec<String>>>,
    /// What proves to the connectors' pods who the operator is.
    pub own_tokens: OwnTokens,
    /// HTTP client for the connectors' pods.
    pub pods_http: reqwest::Client,
    /// What the pods said last, by the connector's uid.
    pub memory: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Memory>>>>,
    /// Which calls that changed something are published already.
    pub mutations: Published,
    /// Who waits for a change of the operator's own, and who had it.
    pub rollout: Rollout,
    /// Requests that could not be understood, and were told of.
    pub refused_requests: Refused,
    /// Publishes Kubernetes Events.
    pub events: Publisher,
    /// Counts.
    pub metrics: Metrics,
}
