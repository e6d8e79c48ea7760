//! The sidecar of connectors whose credentials come from Vault: an init container that goes on running, so that it is there
//! before the server, ends after it, and holds up neither.

use k8s_openapi::{
    api::core::v1::{
        Container, EmptyDirVolumeSource, KeyToPath, ProjectedVolumeSource, SecretVolumeSource,
        ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::deployment::{container_security, mount, resources};
use crate::{
    agent::config::{IDENTITY_DIRECTORY, TOKEN_FILE},
    operator::{
        connector::validate::{CredentialMount, SecretMount},
        context::Settings,
    },
    server::config::{CONFIG_DIRECTORY, CREDENTIALS_DIRECTORY},
};

/// Seconds that a token for Vault lives; the kubelet renews it long before.
const TOKEN_SECONDS: i64 = 3_600;
/// Room for two sets of credentials, the state, and a reserve.
const VOLUME_SIZE: &str = "1Mi";

/// The sidecar.
pub fn build_agent(settings: &Settings) -> Container {
    Container {
        name: "agent".into(),
        image: Some(settings.connector_image.clone()),
        image_pull_policy: Some(settings.connector_image_pull_policy.clone()),
        args: Some(vec!["agent".into()]),
        restart_policy: Some("Always".into()),
        resources: Some(resources(&[("cpu", "5m"), ("memory", "16Mi")], "32Mi")),
        security_context: Some(container_security()),
        volume_mounts: Some(vec![
            mount("config", CONFIG_DIRECTORY),
            VolumeMount { read_only: None, ..mount("credentials", CREDENTIALS_DIRECTORY) },
            mount("identity", IDENTITY_DIRECTORY),
        ]),
        ..Container::default()
    }
}

/// The volume with the credentials, and the one with what an agent logs in with.
pub fn build_credential_volumes(credentials: &CredentialMount) -> Vec<Volume> {
    match credentials {
        CredentialMount::Secret(secret) => vec![secret_volume("credentials", secret)],
        CredentialMount::Token { audience } => vec![in_memory(), token_volume(audience)],
        CredentialMount::SecretId(secret) => vec![in_memory(), secret_volume("identity", secret)],
    }
}

fn in_memory() -> Volume {
    Volume {
        name: "credentials".into(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".into()),
            size_limit: Some(Quantity(VOLUME_SIZE.into())),
        }),
        ..Volume::default()
    }
}

fn token_volume(audience: &str) -> Volume {
    Volume {
        name: "identity".into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(audience.to_owned()),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    path: TOKEN_FILE.into(),
                }),
                ..VolumeProjection::default()
            }]),
        }),
        ..Volume::default()
    }
}

/// A Secret as a volume.
pub fn secret_volume(name: &str, secret: &SecretMount) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.name.clone()),
            default_mode: Some(0o440),
            // A missing Secret is a condition, and not a pod that hangs.
            optional: Some(true),
            items: secret.items.as_ref().map(|items| {
                items
                    .iter()
                    .map(|(field, key)| KeyToPath { key: key.clone(), path: field.clone(), mode: None })
                    .collect()
            }),
        }),
        ..Volume::default()
    }
}
