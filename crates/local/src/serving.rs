//! What a connector runs with on this machine: the very file that the operator would mount, less what a cluster alone
//! can do, and its credentials from where they are.

use std::{fmt, path::PathBuf, time::Duration};

use tokio::sync::watch;

use super::{
    manifests::{Key, Manifests, SecretValues},
    vault::{MachineLogins, VaultLogin},
};
use agent::{Agent, AgentError};
pub use api::credential_source::Host;
use api::endpoint::{AddressPolicy, PlatformUrl};
use common::foreign::whole_line;
use credentials::{directory::MAX_FILE_BYTES, supply::Supplied};
use files::{DirectorySnapshot, FileContent};
use operator::plan::{BuildError, CredentialMount, Plan};
use pod_api::{
    agent::AgentConfig,
    config::{AccessConfig, CONFIG_FILE, ConfigError, PLATFORM_CA_FILE, ServeConfig},
};
use server::{LoadedConfig, ServeSettings, access::Caller};

/// Why a connector's configuration can't be made: a fault of this program.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The operator's objects can't be built.
    #[error("failed to build the connector's configuration")]
    Build(#[source] BuildError),
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
pub fn configure(plan: &Plan, inbound: &Inbound) -> Result<LoadedConfig, ConfigureError> {
    let files = plan.files(|config| {
        if *inbound == Inbound::Open {
            let audiences = std::mem::take(&mut config.access.audiences);
            config.access = AccessConfig { anonymous: true, allow: Vec::new(), audiences };
        }
        // Neither the pod's volume for records nor the cluster's collector is here, nor another replica to count with.
        config.telemetry.audit.file = None;
        config.telemetry.traces = None;
        config.limits.shared = None;
        // A folder has one file a field, whatever a CSI driver would call it, and there are no pods that have an identity.
        config.fields.files.clear();
        config.identity = None;
    });
    let mut files = files.map_err(ConfigureError::Build)?;
    let text = files.remove(CONFIG_FILE).unwrap_or_default();
    let connector = &plan.config().connector;
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
        unproven: Caller::Local,
        // Nobody finds a connector here through a Service that may not know yet.
        drain_delay: Duration::ZERO,
        ..ServeSettings::default()
    }
}

/// Where credentials may be found on this machine, and what may carry them.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// A directory with one folder a CredentialSource.
    pub directory: Option<PathBuf>,
    /// What logs in to Vault.
    pub vault: MachineLogins,
    /// Proxies that may carry credentials, whatever a CredentialSource says.
    pub proxies: Vec<Host>,
}

/// Where the credentials of a connector are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// In a folder of `--credentials-dir`, one file a field.
    Folder(PathBuf),
    /// In a Secret of the documents.
    Values {
        /// Name of the Secret.
        secret: String,
        /// Its fields.
        values: SecretValues,
    },
    /// In Vault, where an agent in this process fetches them.
    Vault {
        /// The address of Vault.
        address: PlatformUrl,
        /// Certificates (PEM) of the authorities that it is verified with, instead of the public ones.
        authorities: Option<String>,
        /// With what it logs in.
        login: VaultLogin,
    },
    /// Where this machine has no way to them; the text says what would be one.
    NotHere(String),
    /// Nowhere.
    Missing,
}

impl Credentials {
    /// Finds the credentials of a connector: `<directory>/<namespace>/<source>`, `<directory>/<source>`, the Secret among
    /// the documents, or a login to Vault.
    #[must_use]
    pub fn find(key: &Key, plan: &Plan, source: &str, manifests: &Manifests, keyring: &Keyring) -> Self {
        let folders = keyring
            .directory
            .iter()
            .flat_map(|directory| [directory.join(&key.namespace).join(source), directory.join(source)]);
        if let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) {
            return Self::Folder(folder);
        }
        if let Some(agent) = &plan.config().agent {
            return match keyring.vault.find(key, plan, agent, manifests, &keyring.proxies) {
                Ok((login, authorities)) => Self::Vault { address: agent.address.clone(), authorities, login },
                Err(message) => Self::NotHere(message),
            };
        }
        let mounts = match plan.credentials() {
            CredentialMount::Secret(mount) => std::slice::from_ref(mount),
            CredentialMount::Secrets(mounts) => mounts,
            CredentialMount::Csi { .. } => return Self::not_here("no CSI driver mounts anything on this machine"),
            CredentialMount::WebIdentity { .. } | CredentialMount::Nothing => {
                return Self::not_here("there is no workload identity on this machine");
            }
            // With an agent, which was looked for before.
            CredentialMount::Token { .. } | CredentialMount::SecretId(_) => return Self::Missing,
        };
        let found = mounts.iter().filter_map(|mount| Some((mount, manifests.credentials(&key.namespace, mount)?)));
        let (secrets, values): (Vec<_>, Vec<_>) = found.map(|(mount, values)| (mount.name.as_str(), values)).unzip();
        if secrets.is_empty() {
            return Self::Missing;
        }
        Self::Values { secret: secrets.join(", "), values: values.into_iter().flatten().collect() }
    }

    fn not_here(why: &str) -> Self {
        Self::NotHere(format!("spec.credentials: {why}; put the platform's fields into a folder of --credentials-dir"))
    }

    /// Whether they are known now, and handed over when they change.
    #[must_use]
    pub fn are_handed_over(&self) -> bool {
        matches!(self, Self::Values { .. } | Self::NotHere(_) | Self::Missing)
    }

    /// The values as the kubelet would mount them; none where they are elsewhere.
    #[must_use]
    pub fn supplied(&self) -> Supplied {
        let Self::Values { values, .. } = self else { return Supplied::default() };
        let content = |value: &zeroize::Zeroizing<Vec<u8>>| {
            if value.len() > MAX_FILE_BYTES { FileContent::TooLarge } else { FileContent::Bytes(value.clone()) }
        };
        let files = DirectorySnapshot {
            any: !values.is_empty(),
            files: values.iter().map(|(field, value)| (field.clone(), content(value))).collect(),
        };
        Supplied { files, supply: None }
    }

    /// The agent that fetches them, and what it will supply; none where they are not in Vault.
    ///
    /// # Errors
    /// When it could never call Vault.
    pub fn agent(&self, config: &ServeConfig) -> Result<Option<(Agent, watch::Receiver<Supplied>)>, AgentError> {
        let (Self::Vault { login, authorities, .. }, Some(config)) = (self, &config.agent) else { return Ok(None) };
        let config = AgentConfig { ca_pem: authorities.clone(), ..config.clone() };
        Agent::in_memory(&config, login.means(), AddressPolicy::Loopback).map(Some)
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "from the folder {}", whole_line(&folder.display().to_string())),
            Self::Values { secret, .. } => write!(f, "from the Secret {}", whole_line(secret)),
            Self::Vault { address, login, .. } => {
                write!(f, "from Vault at {}, by {}", address.0, whole_line(&login.to_string()))
            }
            Self::NotHere(_) => f.write_str("none: this machine has no way to them"),
            Self::Missing => f.write_str("none"),
        }
    }
}
