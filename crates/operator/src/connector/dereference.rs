//! The dereference step: fetches what a connector's spec points to. Everything else works on what it found.
//!
//! ConfigMaps with CA bundles and Services of platforms are other people's objects, of which a cluster may hold tens of
//! thousands. They are read when needed and remembered for some minutes instead of being watched.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{
    Api,
    api::GetParams,
    core::{DeserializeGuard, Request},
};

use super::references::{Bundle, Key, Remember, Remembered, slim_service};
use crate::context::{API_TIMEOUT, Context};
use api::{CredentialSource, McpConnector, ca_bundle::CaBundle, endpoint::AddressPolicy, limits::RedisSpec};
use pod_api::config::TokenKeys;

/// What a connector's spec points to.
#[derive(Clone, Debug, Default)]
pub struct Dereferenced {
    /// The CredentialSource, if it exists.
    pub source: Option<Arc<CredentialSource>>,
    /// Why the CredentialSource can't be read, if it doesn't fit its schema.
    pub source_problem: Option<String>,
    /// The CA bundle, if one is asked for.
    pub ca_bundle: Bundle,
    /// The Service that the platform's host names, if it names one of this cluster.
    pub platform_service: Option<Arc<Service>>,
    /// The CA bundle of the Vault that the credentials come from, if one is asked for.
    pub vault_ca_bundle: Bundle,
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
    /// The CA bundle, if one is asked for.
    pub ca_bundle: Bundle,
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
            found.vault_ca_bundle = fetch_bundle(context, namespace, bundle).await?;
        }
        if let Ok(endpoint) = vault.address.endpoint(true, AddressPolicy::Cluster) {
            found.vault_service = fetch_service(context, namespace, &endpoint.host).await?;
        }
    }
    let Some(platform) = connector.spec.platform.declaration() else { return Ok(found) };
    if let Some(bundle) = platform.ca_bundle() {
        found.ca_bundle = fetch_bundle(context, namespace, bundle).await?;
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
        found.ca_bundle = fetch_bundle(context, namespace, bundle).await?;
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

async fn fetch_bundle(context: &Context, namespace: &str, bundle: &CaBundle) -> Result<Bundle, Error> {
    const KIND: &str = "ConfigMap";
    let (name, key) = (&bundle.config_map.name, &bundle.config_map.key);
    let client = context.client.clone();
    let read = async {
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let request = Request::new(api.resource_url()).get(name, &GetParams::default());
        // As text, of which one key is taken: the other keys may have as much as the API server takes.
        let text = match client.request_text(request.map_err(kube::Error::BuildRequest)?).await {
            Ok(text) => text,
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Bundle::NoConfigMap),
            Err(error) => return Err(error),
        };
        Bundle::read(&text, key).map_err(kube::Error::SerdeError)
    };
    let at = (namespace.to_owned(), name.clone(), key.clone());
    fetch(context, &context.references.bundles, KIND, at, read).await
}

/// The Service that a host names, if it names one of this cluster.
async fn fetch_service(context: &Context, own_namespace: &str, host: &str) -> Result<Option<Arc<Service>>, Error> {
    let Some((namespace, name)) = service_of_host(host, own_namespace, &context.settings.cluster_domain) else {
        return Ok(None);
    };
    let api = Api::<Service>::namespaced(context.client.clone(), &namespace);
    let read = async { Ok(api.get_opt(&name).await?.map(slim_service)) };
    let at = (namespace.clone(), name.clone(), String::new());
    match fetch(context, &context.references.services, "Service", at, read).await {
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

/// What is remembered, or is read now. Those who read wait for one another: what they read may be large.
async fn fetch<V: Remember>(
    context: &Context,
    remembered: &Remembered<V>,
    kind: &'static str,
    key: Key,
    read: impl Future<Output = Result<V, kube::Error>>,
) -> Result<V, Error> {
    if let Some(value) = remembered.get(&key) {
        return Ok(value);
    }
    let (namespace, name, _) = &key;
    let timeout = || Error::Timeout { kind, namespace: namespace.clone(), name: name.clone() };
    let turn = tokio::time::timeout(API_TIMEOUT, context.references.reading.acquire()).await.map_err(|_| timeout())?;
    // Somebody else may have read it meanwhile.
    if let Some(value) = remembered.get(&key) {
        return Ok(value);
    }
    let value = tokio::time::timeout(API_TIMEOUT, read).await.map_err(|_| timeout())?.map_err(|source| {
        Error::Fetch { kind, namespace: namespace.clone(), name: name.clone(), source: Box::new(source) }
    })?;
    drop(turn);
    Ok(remembered.insert(key, value))
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
