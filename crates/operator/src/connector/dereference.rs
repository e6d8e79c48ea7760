//! The dereference step: fetches what a connector's spec points to. Everything else works on what it found.
//!
//! ConfigMaps with CA bundles and Services of platforms are other people's objects, of which a cluster may hold tens of
//! thousands. They are read when needed and remembered for some minutes instead of being watched.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{Api, Client, core::DeserializeGuard};

use crate::{
    cache::Kind,
    context::{API_TIMEOUT, Context},
};
use api::{CredentialSource, McpConnector, endpoint::AddressPolicy, limits::RedisSpec};
use pod_api::config::TokenKeys;

/// What was there is looked at again after this time.
pub const FOUND_FOR: Duration = Duration::from_mins(5);
/// What was missing is looked at again after this time.
const MISSING_FOR: Duration = Duration::from_secs(15);

/// What a connector's spec points to.
#[derive(Clone, Debug, Default)]
pub struct Dereferenced {
    /// The CredentialSource, if it exists.
    pub source: Option<Arc<CredentialSource>>,
    /// Why the CredentialSource can't be read, if it doesn't fit its schema.
    pub source_problem: Option<String>,
    /// The ConfigMap with the CA bundle, if one is asked for and exists.
    pub ca_config_map: Option<Arc<ConfigMap>>,
    /// The Service that the platform's host names, if it names one of this cluster.
    pub platform_service: Option<Arc<Service>>,
    /// The ConfigMap with the CA bundle of the Vault that the credentials come from, if one is asked for and exists.
    pub vault_ca_config_map: Option<Arc<ConfigMap>>,
    /// The Service that Vault's host names, if the credentials come from one of this cluster.
    pub vault_service: Option<Arc<Service>>,
    /// What `spec.limits.shared` points to.
    pub shared_limit: FoundSharedLimit,
    /// The cluster's token keys.
    pub token_keys: Option<TokenKeys>,
    /// The audiences that the API server accepts; none while they are not known.
    pub api_audiences: Option<Vec<String>>,
}

/// What `spec.limits.shared` points to.
#[derive(Clone, Debug, Default)]
pub struct FoundSharedLimit {
    /// The CredentialSource, if one is named and exists.
    pub source: Option<Arc<CredentialSource>>,
    /// Why the CredentialSource can't be read, if it doesn't fit its schema.
    pub source_problem: Option<String>,
    /// The ConfigMap with the CA bundle, if one is asked for and exists.
    pub ca_config_map: Option<Arc<ConfigMap>>,
    /// The Service that the address names, if it names one of this cluster.
    pub service: Option<Arc<Service>>,
}

/// Why a reference can't be followed. A missing object is not an error here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or failed.
    #[error("failed to read {kind} {namespace}/{name}")]
    Fetch {
        /// Kind of the object.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("the API server did not answer in time for {kind} {namespace}/{name}")]
    Timeout {
        /// Kind of the object.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

type Remembered<K> = Mutex<HashMap<(String, String), (Instant, Option<Arc<K>>)>>;

/// Objects that specs refer to and that are not watched.
#[derive(Default)]
pub struct ReferenceCache {
    config_maps: Remembered<ConfigMap>,
    services: Remembered<Service>,
}

/// Fetches what the connector's spec points to.
///
/// # Errors
/// When the API server fails. A missing object is none: it is left out.
pub async fn dereference(context: &Context, connector: &McpConnector, namespace: &str) -> Result<Dereferenced, Error> {
    let mut found = Dereferenced {
        token_keys: context.token_keys.borrow().clone(),
        api_audiences: context.api_audiences.borrow().clone(),
        ..Dereferenced::default()
    };
    (found.source, found.source_problem) = find_source(context, namespace, &connector.spec.credentials.name);
    if let Some(shared) = connector.spec.limits.as_ref().and_then(|limits| limits.shared.as_ref()) {
        found.shared_limit = dereference_shared_limit(context, &shared.redis, namespace).await?;
    }
    if let Some(vault) = found.source.as_ref().and_then(|source| source.spec.vault.clone()) {
        if let Some(bundle) = &vault.ca_bundle {
            found.vault_ca_config_map = fetch_config_map(context, namespace, &bundle.config_map.name).await?;
        }
        if let Ok(endpoint) = vault.address.endpoint(true, AddressPolicy::Cluster) {
            found.vault_service = fetch_service(context, namespace, &endpoint.host).await?;
        }
    }
    let Some(platform) = connector.spec.platform.declaration() else { return Ok(found) };
    if let Some(bundle) = platform.ca_bundle() {
        found.ca_config_map = fetch_config_map(context, namespace, &bundle.config_map.name).await?;
    }
    if let Ok(endpoint) = platform.endpoint(AddressPolicy::Cluster) {
        found.platform_service = fetch_service(context, namespace, &endpoint.host).await?;
    }
    Ok(found)
}

async fn dereference_shared_limit(
    context: &Context,
    redis: &RedisSpec,
    namespace: &str,
) -> Result<FoundSharedLimit, Error> {
    let mut found = FoundSharedLimit::default();
    if let Some(credentials) = &redis.credentials {
        (found.source, found.source_problem) = find_source(context, namespace, &credentials.name);
    }
    if let Some(bundle) = &redis.ca_bundle {
        found.ca_config_map = fetch_config_map(context, namespace, &bundle.config_map.name).await?;
    }
    if let Ok(endpoint) = redis.as_url().endpoint(true, AddressPolicy::Cluster) {
        found.service = fetch_service(context, namespace, &endpoint.host).await?;
    }
    Ok(found)
}

/// A source that is watched, or why it can't be read; neither if it isn't there.
fn find_source(context: &Context, namespace: &str, name: &str) -> (Option<Arc<CredentialSource>>, Option<String>) {
    match context.caches.sources.get(namespace, name).as_deref() {
        Some(DeserializeGuard(Ok(source))) => (Some(Arc::new(source.clone())), None),
        Some(DeserializeGuard(Err(invalid))) => (None, Some(invalid.error.clone())),
        None => (None, None),
    }
}

async fn fetch_config_map(context: &Context, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, Error> {
    fetch(&context.client, &context.references.config_maps, "ConfigMap", namespace, name).await
}

/// The Service that a host names, if it names one of this cluster.
async fn fetch_service(context: &Context, own_namespace: &str, host: &str) -> Result<Option<Arc<Service>>, Error> {
    let Some((namespace, name)) = service_of_host(host, own_namespace, &context.settings.cluster_domain) else {
        return Ok(None);
    };
    match fetch(&context.client, &context.references.services, "Service", &namespace, &name).await {
        // An operator of one namespace may not look into others; the policy is then derived as for a host outside.
        Err(Error::Fetch { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.is_forbidden()) => {
            Ok(None)
        }
        other => other,
    }
}

/// The Service that a host name means inside the cluster: `name`, `name.namespace.svc` or
/// `name.namespace.svc.<cluster domain>`. Two labels alone could as well be a public name and are taken for one.
pub fn service_of_host(host: &str, own_namespace: &str, cluster_domain: &str) -> Option<(String, String)> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let short = host.strip_suffix(&format!(".{}", cluster_domain.to_ascii_lowercase())).unwrap_or(&host);
    match *short.split('.').collect::<Vec<_>>().as_slice() {
        [name] if short == host && !name.is_empty() && !name.starts_with('[') => {
            Some((own_namespace.to_owned(), name.to_owned()))
        }
        [name, namespace, "svc"] => Some((namespace.to_owned(), name.to_owned())),
        _ => None,
    }
}

async fn fetch<K: Kind>(
    client: &Client,
    remembered: &Remembered<K>,
    kind: &'static str,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<K>>, Error> {
    let key = (namespace.to_owned(), name.to_owned());
    let counts = |(at, object): &(Instant, Option<Arc<K>>)| {
        at.elapsed() < if object.is_some() { FOUND_FOR } else { MISSING_FOR }
    };
    if let Some(entry) =
        remembered.lock().unwrap_or_else(PoisonError::into_inner).get(&key).filter(|entry| counts(entry))
    {
        return Ok(entry.1.clone());
    }
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let object = tokio::time::timeout(API_TIMEOUT, api.get_opt(name))
        .await
        .map_err(|_| Error::Timeout { kind, namespace: namespace.to_owned(), name: name.to_owned() })?
        .map_err(|source| Error::Fetch {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            source: Box::new(source),
        })?
        .map(Arc::new);
    let mut entries = remembered.lock().unwrap_or_else(PoisonError::into_inner);
    // Where something is added, room is made.
    entries.retain(|_, entry| counts(entry));
    entries.insert(key, (Instant::now(), object.clone()));
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_services() {
        let cases = [
            ("vault", Some(("here", "vault"))),
            ("vault.vault.svc", Some(("vault", "vault"))),
            ("Vault.vault.SVC", Some(("vault", "vault"))),
            ("vault.vault.svc.cluster.local", Some(("vault", "vault"))),
            ("vault.vault.svc.cluster.local.", Some(("vault", "vault"))),
            ("example.com", None),
            ("vault.example.com", None),
            ("10.0.0.1", None),
            ("[2001:db8::1]", None),
        ];
        for (host, expected) in cases {
            let expected = expected.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
            assert_eq!(service_of_host(host, "here", "cluster.local"), expected, "{host}");
        }
    }
}
