//! What a connector runs with on this machine: the very file that the operator would mount, less what a cluster alone
//! can do, and its credentials from where they are.

use std::path::{Path, PathBuf};

use super::manifests::{Key, Manifests, SecretValues};
use crate::{
    api::endpoint::AddressPolicy,
    credentials::directory::MAX_FILE_BYTES,
    files::{DirectorySnapshot, FileContent},
    operator::{
        connector::{
            build,
            validate::{CredentialMount, ValidatedConnector},
        },
        context::Settings,
    },
    server::{
        LoadedConfig, ServeSettings,
        config::{AccessConfig, CONFIG_FILE, ConfigError, PLATFORM_CA_FILE},
    },
};

/// Why a connector's configuration can't be made: a fault of this program.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The operator's objects can't be built.
    #[error("failed to build the connector's configuration")]
    Build(#[source] build::Error),
    /// The server can't read what the operator would mount.
    #[error("failed to read the connector's configuration")]
    Read(#[source] ConfigError),
}

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Whoever reaches the address, with every right.
    Open,
    /// Whom `spec.access` lists, with a token that the keys of this directory verify, as in the cluster. It holds
    /// `token-keys.json`, as the ConfigMap of a connector does.
    AsInCluster(PathBuf),
}

/// The configuration that the server reads, as the operator would have mounted it.
///
/// # Errors
/// When it can't be made, which is a fault of this program.
pub fn configure(
    connector: &ValidatedConnector,
    settings: &Settings,
    inbound: &Inbound,
) -> Result<LoadedConfig, ConfigureError> {
    let mut connector = connector.clone();
    let config = &mut connector.config;
    if *inbound == Inbound::Open {
        let audiences = std::mem::take(&mut config.access.audiences);
        config.access = AccessConfig { anonymous: true, allow: Vec::new(), audiences };
    }
    // Neither the pod's volume for records nor the cluster's collector is here.
    config.telemetry.audit.file = None;
    config.telemetry.traces = None;
    // A folder has one file a field, whatever a CSI driver would call it, and there are no pods that have an identity.
    config.fields.files.clear();
    config.identity = None;
    let resources = build::build(&connector, settings).map_err(ConfigureError::Build)?;
    let mut files = resources.config_map.data.unwrap_or_default();
    let text = files.remove(CONFIG_FILE).unwrap_or_default();
    let path = format!("{CONFIG_FILE} of {}/{}", connector.namespace, connector.name);
    LoadedConfig::parse(&path, &text, files.remove(PLATFORM_CA_FILE)).map_err(ConfigureError::Read)
}

/// How connectors are served here.
#[must_use]
pub fn serve_settings(inbound: &Inbound) -> ServeSettings {
    ServeSettings {
        config_directory: match inbound {
            // There are no keys, and nobody is asked for a token.
            Inbound::Open => PathBuf::from("/nonexistent"),
            Inbound::AsInCluster(directory) => directory.clone(),
        },
        address_policy: AddressPolicy::Loopback,
        ..ServeSettings::default()
    }
}

/// Where the credentials of a connector are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// In a folder of `--credentials-dir`, one file a field.
    Folder(PathBuf),
    /// In a Secret of the documents.
    Values(SecretValues),
    /// Nowhere.
    Missing,
}

impl Credentials {
    /// Finds the credentials of a connector: `<directory>/<namespace>/<source>`, `<directory>/<source>`, or the Secret
    /// among the documents.
    #[must_use]
    pub fn find(
        key: &Key,
        connector: &ValidatedConnector,
        source: &str,
        manifests: &Manifests,
        directory: Option<&Path>,
    ) -> Self {
        let folders = directory
            .into_iter()
            .flat_map(|directory| [directory.join(&key.namespace).join(source), directory.join(source)]);
        if let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) {
            return Self::Folder(folder);
        }
        let mounts = match &connector.credentials {
            CredentialMount::Secret(mount) => std::slice::from_ref(mount),
            CredentialMount::Secrets(mounts) => mounts,
            _ => return Self::Missing,
        };
        let found: Vec<_> = mounts.iter().filter_map(|mount| manifests.credentials(&key.namespace, mount)).collect();
        if found.is_empty() { Self::Missing } else { Self::Values(found.into_iter().flatten().collect()) }
    }

    /// What a person must know of credentials that come by themselves in a cluster, where nobody gives them here.
    #[must_use]
    pub fn not_fetched(&self, connector: &ValidatedConnector) -> Option<&'static str> {
        if *self != Self::Missing {
            return None;
        }
        match &connector.credentials {
            CredentialMount::Secret(_) | CredentialMount::Secrets(_) => None,
            CredentialMount::Token { .. } | CredentialMount::SecretId(_) => Some(
                "spec.credentials: nothing is fetched from Vault on this machine; put the fields into a folder of \
                 --credentials-dir",
            ),
            CredentialMount::Csi { .. } => Some(
                "spec.credentials: no CSI driver mounts anything on this machine; put the fields into a folder of \
                 --credentials-dir",
            ),
            CredentialMount::WebIdentity { .. } | CredentialMount::Nothing => Some(
                "spec.credentials: there is no workload identity on this machine; put the platform's fields into a folder \
                 of --credentials-dir",
            ),
        }
    }

    /// The values as the kubelet would mount them; none where they are in a folder.
    #[must_use]
    pub fn snapshot(&self) -> DirectorySnapshot {
        let Self::Values(values) = self else { return DirectorySnapshot::default() };
        let content = |value: &zeroize::Zeroizing<Vec<u8>>| {
            if value.len() > MAX_FILE_BYTES { FileContent::TooLarge } else { FileContent::Bytes(value.clone()) }
        };
        DirectorySnapshot {
            any: !values.is_empty(),
            files: values.iter().map(|(field, value)| (field.clone(), content(value))).collect(),
        }
    }
}
