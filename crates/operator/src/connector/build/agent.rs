//! The sidecar of connectors whose credentials come from Vault: an init container that goes on running, so that it is there
//! before the server, ends after it, and holds up neither.

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{
    ValidatedConnector,
    deployment::{arguments, container_security, mount, resources},
};
use crate::context::Settings;
use pod_api::{
    agent::IDENTITY_DIRECTORY,
    config::{CONFIG_DIRECTORY, CREDENTIALS_DIRECTORY},
};

/// The sidecar.
pub fn build_agent(connector: &ValidatedConnector, settings: &Settings, whole_digest: &str) -> Container {
    Container {
        name: "agent".into(),
        image: Some(settings.connector_image.clone()),
        image_pull_policy: Some(settings.connector_image_pull_policy.clone()),
        args: Some(arguments("agent", whole_digest)),
        restart_policy: Some("Always".into()),
        resources: Some(
            connector
                .workload
                .agent_resources
                .clone()
                .unwrap_or_else(|| resources(&[("cpu", "5m"), ("memory", "16Mi")], "32Mi")),
        ),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![
            mount("config", CONFIG_DIRECTORY),
            VolumeMount { read_only: None, ..mount("credentials", CREDENTIALS_DIRECTORY) },
            mount("identity", IDENTITY_DIRECTORY),
        ]),
        ..Container::default()
    }
}
