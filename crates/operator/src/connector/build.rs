//! The build step: a [`ValidatedConnector`] becomes the objects it owns. Pure; one file a kind.

mod agent;
mod config_map;
mod credentials;
pub(super) mod deployment;
mod network_policy;
mod pod_disruption_budget;
mod service;
mod service_account;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::validate::ValidatedConnector;
use crate::context::Settings;
use api::{self, FIELD_MANAGER, LABEL_CONNECTOR, LABEL_MANAGED_BY, LABEL_NAME, LABEL_NAME_VALUE, LABEL_PLATFORM};
use pod_api::config::ServeConfig;

/// Everything that a connector owns, as it should be.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Identity of the pods, without any right.
    pub service_account: ServiceAccount,
    /// The server's configuration and the cluster's token keys.
    pub config_map: ConfigMap,
    /// Who may reach the pods, and whom they may reach.
    pub network_policy: NetworkPolicy,
    /// The endpoint.
    pub service: Service,
    /// Keeps one of several replicas through voluntary disruptions; none for a single replica, which it would only
    /// keep from being moved.
    pub pod_disruption_budget: Option<PodDisruptionBudget>,
    /// The pods.
    pub deployment: Deployment,
    /// Digest of the configuration that the pods are to run with.
    pub config_digest: String,
}

/// Why objects can't be built: a fault of this program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration can't be written as JSON.
    #[error("failed to write the server's configuration")]
    WriteConfig(#[source] serde_json::Error),
}

/// Builds everything that a connector owns.
///
/// # Errors
/// When the configuration can't be written, which is a fault of this program.
pub fn build(connector: &ValidatedConnector, settings: &Settings) -> Result<Resources, Error> {
    let config = connector.config.to_json().map_err(Error::WriteConfig)?;
    let token_keys = serde_json::to_string_pretty(&connector.token_keys).map_err(Error::WriteConfig)?;
    let platform_ca = connector.platform_ca.as_deref();
    let config_digest = ServeConfig::digest(&config, platform_ca);
    let whole_digest = ServeConfig::whole_digest(&config, platform_ca);
    Ok(Resources {
        service_account: service_account::build_service_account(connector),
        config_map: config_map::build_config_map(connector, config, token_keys),
        network_policy: network_policy::build_network_policy(connector, settings),
        service: service::build_service(connector),
        pod_disruption_budget: pod_disruption_budget::build_pod_disruption_budget(connector),
        deployment: deployment::build_deployment(connector, settings, &config_digest, &whole_digest),
        config_digest,
    })
}

/// Labels by which a connector's pods are selected. A Deployment's selector can't be changed, so these never do.
#[must_use]
pub fn selector_labels(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_NAME.to_owned(), LABEL_NAME_VALUE.to_owned()),
        (LABEL_CONNECTOR.to_owned(), name.to_owned()),
    ])
}

/// Labels of everything that is owned. The instance label of Argo CD and Helm is not among them: with it, a GitOps tool
/// would take the object for its own.
fn labels(connector: &ValidatedConnector) -> BTreeMap<String, String> {
    let mut labels = selector_labels(&connector.name);
    labels.insert(LABEL_MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned());
    labels.insert(LABEL_PLATFORM.to_owned(), connector.platform.to_owned());
    labels
}

fn selector(connector: &ValidatedConnector) -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels(&connector.name)), ..LabelSelector::default() }
}

fn metadata(connector: &ValidatedConnector) -> ObjectMeta {
    ObjectMeta {
        name: Some(api::owned_name(&connector.name)),
        namespace: Some(connector.namespace.clone()),
        labels: Some(labels(connector)),
        owner_references: Some(vec![connector.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
