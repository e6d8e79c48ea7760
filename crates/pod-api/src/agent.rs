//! What the operator tells an agent: part of the file that `serve` reads, with every default resolved, and no secret.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::config::{self, StartFiles};
use api::{connector::ProxySpec, duration::ApiDuration, endpoint::PlatformUrl};

/// Directory in the agent's container where lies what it logs in with.
pub const IDENTITY_DIRECTORY: &str = "/var/run/secrets/mcp-connectors.io/vault";
/// The token of the connector's ServiceAccount, in [`IDENTITY_DIRECTORY`].
pub const TOKEN_FILE: &str = "token";
/// The secret id of an AppRole or its wrapping token, in [`IDENTITY_DIRECTORY`].
pub const SECRET_ID_FILE: &str = "secret_id";

/// Where an agent logs in, and what it fetches there. See [`api::vault_source::VaultSource`].
#[skip_serializing_none]
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// Vault's address.
    pub address: PlatformUrl,
    /// Whether the address may be `http://`.
    #[serde(default)]
    pub insecure_http: bool,
    /// Vault namespace.
    pub namespace: Option<String>,
    /// PEM certificates of Vault's authorities, instead of the public ones.
    pub ca_pem: Option<String>,
    /// HTTP proxy for calls to Vault.
    pub proxy: Option<ProxySpec>,
    /// How it logs in.
    pub login: LoginConfig,
    /// What it fetches.
    pub secrets: Vec<SecretConfig>,
    /// Time between two looks at what has no lease.
    pub refresh_interval: ApiDuration,
}

/// How an agent logs in. Mounts are written without `auth/`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum LoginConfig {
    /// With [`TOKEN_FILE`]; the methods `kubernetes` and `jwt` take the same request.
    Token {
        /// Where the method is mounted.
        mount: String,
        /// The role.
        role: String,
    },
    /// With [`SECRET_ID_FILE`].
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role id.
        role_id: String,
        /// Where the wrapping token was made, if the file holds one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        creation_path: Option<String>,
    },
}

/// One secret that an agent fetches.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretConfig {
    /// Where it comes from.
    pub origin: Origin,
    /// Field to key.
    pub fields: BTreeMap<String, String>,
}

/// Where a secret comes from.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Origin {
    /// KV version 1: the path with its mount.
    Kv1 {
        /// Where the engine is mounted.
        mount: String,
        /// Path within it.
        path: String,
    },
    /// KV version 2.
    Kv2 {
        /// Where the engine is mounted.
        mount: String,
        /// Path within it, without `data/`.
        path: String,
    },
    /// An engine that makes it on demand.
    Dynamic {
        /// The API path.
        path: String,
        /// Parameters; none where the path is read.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        parameters: BTreeMap<String, String>,
    },
}

/// Why there is no configuration for an agent.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The operator's files can't be read, or are not those that the pod was made with.
    #[error(transparent)]
    Files(config::ConfigError),
    /// The file is wrong, or has nothing for an agent.
    #[error("{path} holds no configuration for an agent")]
    Parse {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl AgentConfig {
    /// Whether any of the secrets is made for this agent alone.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.secrets.iter().any(|secret| matches!(secret.origin, Origin::Dynamic { .. }))
    }

    /// Reads an agent's part of the operator's files, as [`StartFiles::read`] does.
    ///
    /// # Errors
    /// When they can't be read, are wrong, not those that the pod was made with, or of a connector without an agent.
    pub fn read(directory: &Path, made_with: Option<&str>) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct OnlyAgent {
            agent: AgentConfig,
        }
        let files = StartFiles::read(directory, made_with).map_err(ConfigError::Files)?;
        let path = || directory.join(config::CONFIG_FILE).display().to_string();
        let parsed = serde_json::from_str(&files.config);
        let OnlyAgent { agent } = parsed.map_err(|source| ConfigError::Parse { path: path(), source })?;
        Ok(agent)
    }
}
