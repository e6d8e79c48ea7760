//! The volumes that credentials come in, and the one with what somebody proves who he is with: an agent, or the server.

use k8s_openapi::{
    api::core::v1::{
        CSIVolumeSource, EmptyDirVolumeSource, KeyToPath, ProjectedVolumeSource, SecretProjection, SecretVolumeSource,
        ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::deployment::mount;
use crate::connector::validate::{CredentialMount, SecretMount};
use pod_api::{
    agent::TOKEN_FILE,
    config::{CREDENTIALS_DIRECTORY, WEB_IDENTITY_DIRECTORY, WEB_IDENTITY_TOKEN_FILE},
};

/// Seconds that a token lives with which somebody proves who he is; the kubelet renews it long before.
const TOKEN_SECONDS: i64 = 3_600;
/// Room for two sets of credentials, the state, and a reserve.
const VOLUME_SIZE: &str = "1Mi";
/// Who can read mounted credentials: the owner, and the group of the pod.
const MODE: i32 = 0o440;
/// The driver that mounts what a SecretProviderClass names (secrets-store-csi-driver.sigs.k8s.io).
const CSI_DRIVER: &str = "secrets-store.csi.k8s.io";

/// The volume with the credentials, and the one with what an agent logs in with.
pub fn build_credential_volumes(credentials: &CredentialMount) -> Vec<Volume> {
    match credentials {
        CredentialMount::Secret(secret) => vec![secret_volume("credentials", secret)],
        CredentialMount::Secrets(secrets) => {
            vec![projected("credentials", secrets.iter().map(secret_projection).collect())]
        }
        CredentialMount::Csi { secret_provider_class } => vec![csi_volume(secret_provider_class)],
        CredentialMount::Token { audience } => vec![in_memory(), token_volume(audience, TOKEN_FILE)],
        CredentialMount::SecretId(secret) => vec![in_memory(), secret_volume("identity", secret)],
        CredentialMount::WebIdentity { audience } => vec![token_volume(audience, WEB_IDENTITY_TOKEN_FILE)],
        CredentialMount::Nothing => Vec::new(),
    }
}

/// What of it the server reads.
pub fn build_credential_mounts(credentials: &CredentialMount) -> Vec<VolumeMount> {
    match credentials {
        CredentialMount::Secret(_)
        | CredentialMount::Secrets(_)
        | CredentialMount::Csi { .. }
        | CredentialMount::Token { .. }
        | CredentialMount::SecretId(_) => vec![mount("credentials", CREDENTIALS_DIRECTORY)],
        CredentialMount::WebIdentity { .. } => vec![mount("identity", WEB_IDENTITY_DIRECTORY)],
        CredentialMount::Nothing => Vec::new(),
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

fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: name.to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(MODE), sources: Some(sources) }),
        ..Volume::default()
    }
}

fn token_volume(audience: &str, path: &str) -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(audience.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: path.to_owned(),
    };
    projected("identity", vec![VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() }])
}

/// The driver refuses a volume that may be written to.
fn csi_volume(secret_provider_class: &str) -> Volume {
    Volume {
        name: "credentials".into(),
        csi: Some(CSIVolumeSource {
            driver: CSI_DRIVER.into(),
            read_only: Some(true),
            volume_attributes: Some([("secretProviderClass".to_owned(), secret_provider_class.to_owned())].into()),
            ..CSIVolumeSource::default()
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
            default_mode: Some(MODE),
            // A missing Secret is a condition, and not a pod that hangs.
            optional: Some(true),
            items: key_paths(secret),
        }),
        ..Volume::default()
    }
}

fn secret_projection(secret: &SecretMount) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection { name: secret.name.clone(), optional: Some(true), items: key_paths(secret) }),
        ..VolumeProjection::default()
    }
}

fn key_paths(secret: &SecretMount) -> Option<Vec<KeyToPath>> {
    let path = |(field, key): (&String, &String)| KeyToPath { key: key.clone(), path: field.clone(), mode: None };
    secret.items.as_ref().map(|items| items.iter().map(path).collect())
}
