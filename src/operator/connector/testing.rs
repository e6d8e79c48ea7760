//! What the tests of the steps share: a connector and what it points to, made from YAML as a person would write it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Service};

use super::{
    dereference::Dereferenced,
    validate::{Rejection, ValidatedConnector, validate},
};
use crate::{
    api::{CredentialSource, McpConnector},
    operator::context::Settings,
    server::config::TokenKeys,
};

/// A certificate of nobody; the tests only need its form.
pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ1F5\n-----END CERTIFICATE-----\n";

pub fn settings() -> Settings {
    Settings {
        connector_image: "registry.example.com/mcp-connectors:9".into(),
        connector_image_pull_policy: "IfNotPresent".into(),
        watch_namespace: None,
        operator_namespace: "operator-namespace".into(),
        operator_service_account: "operator-account".into(),
        instance: "operator-0".into(),
        monitoring_namespace: Some("monitoring".into()),
        cluster_domain: "cluster.local".into(),
        poll_interval: Duration::from_secs(15),
        address: ([127, 0, 0, 1], 0).into(),
        token_file: PathBuf::from("token"),
        concurrency: 1,
        otlp_endpoint: None,
    }
}

/// A connector named `tresor`, so that a label or a name with the platform's own name in it stands out.
pub fn connector(spec: &str) -> McpConnector {
    let spec = spec.replace('\n', "\n  ");
    let text = format!(
        "apiVersion: mcp-connectors.io/v1alpha1\nkind: McpConnector\nmetadata: {{name: tresor, namespace: team, \
         uid: 11111111-2222-3333-4444-555555555555, generation: 3}}\nspec:\n  {spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

pub const MINIMAL: &str = "\
platform: {vault: {url: 'https://vault.example.com:8200'}}
credentials: {name: reader}";

pub fn source(spec: &str) -> CredentialSource {
    let text = format!(
        "apiVersion: mcp-connectors.io/v1alpha1\nkind: CredentialSource\nmetadata: {{name: reader, namespace: team}}\n\
         spec: {spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

pub fn found() -> Dereferenced {
    Dereferenced {
        source: Some(Arc::new(source("{hosts: [vault.example.com], secret: {name: keys, items: {token: vault}}}"))),
        token_keys: Some(TokenKeys { issuer: "https://issuer.example.com".into(), keys: Vec::new() }),
        ..Dereferenced::default()
    }
}

pub fn config_map(key: &str, value: &str) -> Arc<ConfigMap> {
    Arc::new(ConfigMap { data: Some([(key.to_owned(), value.to_owned())].into()), ..ConfigMap::default() })
}

pub fn service(yaml: &str) -> Arc<Service> {
    Arc::new(serde_saphyr::from_str(yaml).unwrap())
}

pub fn validated(spec: &str) -> ValidatedConnector {
    check(spec, &found()).unwrap()
}

pub fn check(spec: &str, found: &Dereferenced) -> Result<ValidatedConnector, Rejection> {
    validate(&connector(spec), found, &settings())
}
