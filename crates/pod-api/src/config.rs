//! The file that the operator mounts and `serve` reads: everything about a connector that is no secret, with every
//! default resolved. Both sides use these types, so neither can drift from the other.

mod limits;

use std::{collections::BTreeMap, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

pub use self::limits::{
    CacheConfig, CallRateConfig, LimitsConfig, PlatformLimitsConfig, RepeatsConfig, SharedRateConfig, ToolRateConfig,
};

use crate::agent::AgentConfig;
use api::{
    connector::{AccessRule, Mutations, OutputSchemas, ProxySpec},
    duration::ApiDuration,
    pattern::NamePattern,
    platform::PlatformSpec,
};
pub use credentials::{
    Layout,
    identity::{WEB_IDENTITY_DIRECTORY, WEB_IDENTITY_TOKEN_FILE, WorkloadIdentity},
};

/// Directory in the container where the operator's ConfigMap is mounted.
pub const CONFIG_DIRECTORY: &str = "/etc/mcp-connectors";
/// The configuration, in [`CONFIG_DIRECTORY`]: a [`ServeConfig`]. Read once, at start.
pub const CONFIG_FILE: &str = "config.json";
/// The cluster's token issuer and public keys, in [`CONFIG_DIRECTORY`]: [`TokenKeys`]. Read again whenever it changes.
pub const TOKEN_KEYS_FILE: &str = "token-keys.json";
/// What the pods log, in [`CONFIG_DIRECTORY`]: a [`api::telemetry::LogLevel`]; absent where the connector names none.
/// Read again whenever it changes, by the server and by the agent.
pub const LOG_LEVEL_FILE: &str = "log-level";
/// The platform's CA bundle in PEM, in [`CONFIG_DIRECTORY`]; absent where there is none.
pub const PLATFORM_CA_FILE: &str = "platform-ca.pem";
/// Directory in the container where the credential fields are mounted, one file each.
pub const CREDENTIALS_DIRECTORY: &str = "/var/run/secrets/mcp-connectors.io/credentials";
/// Directory in the container where the credentials of the shared rate limit's Redis are mounted.
pub const SHARED_LIMIT_DIRECTORY: &str = "/var/run/secrets/mcp-connectors.io/shared-limit";
/// The password, in [`SHARED_LIMIT_DIRECTORY`], and the field of a CredentialSource that it comes from.
pub const SHARED_LIMIT_PASSWORD_FILE: &str = "password";
/// The user's name, in [`SHARED_LIMIT_DIRECTORY`]; absent for the default user.
pub const SHARED_LIMIT_USERNAME_FILE: &str = "username";
/// Directory in the container where audit files are written, if the configuration asks for them.
pub const AUDIT_DIRECTORY: &str = "/var/log/mcp-connectors";

/// What a server exits with whose configuration is another one than its pod was made with: `EX_CONFIG` of sysexits.h.
pub const EXIT_CONFIG_ALTERED: u8 = 78;

/// What begins the audiences of the tokens with which the operator asks connectors for their state: see
/// [`operator_audience`]. Alone it is the audience that earlier versions took, the same for all connectors.
pub const OPERATOR_AUDIENCE: &str = "mcp-connectors.io/operator";

/// Audience of the token with which the operator asks this connector for its state. A token for it is good for the
/// handshake and the admin port of its pods, and for nothing else.
#[must_use]
pub fn operator_audience(namespace: &str, name: &str) -> String {
    format!("{OPERATOR_AUDIENCE}/{namespace}/{name}")
}

/// Whether this is an audience of the operator's tokens, for whichever connector.
#[must_use]
pub fn is_operator_audience(audience: &str) -> bool {
    audience.strip_prefix(OPERATOR_AUDIENCE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A connector, as `serve` runs it.
#[skip_serializing_none]
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServeConfig {
    /// Whose configuration it is.
    pub connector: ConnectorIdentity,
    /// The platform, as in the manifest.
    pub platform: PlatformSpec,
    /// Which tools are offered.
    pub tools: ToolsConfig,
    /// Who may call.
    pub access: AccessConfig,
    /// Host names, without ports, under which the endpoint is called. IP addresses are always allowed.
    pub hosts: Vec<String>,
    /// Who the operator is.
    pub operator: OperatorIdentity,
    /// How the platform's health is asked for.
    pub probe: ProbeConfig,
    /// Bounds of a tool call.
    pub limits: LimitsConfig,
    /// HTTP proxy for calls to the platform.
    pub proxy: Option<ProxySpec>,
    /// What it tells of itself.
    #[serde(default, skip_serializing_if = "TelemetryConfig::is_default")]
    pub telemetry: TelemetryConfig,
    /// What the agent beside it is told, which supplies its credentials; none where there is no agent.
    pub agent: Option<AgentConfig>,
    /// How the credential fields lie in their directory, and those that are in none.
    #[serde(default, skip_serializing_if = "Layout::is_default")]
    pub fields: Layout,
    /// The pods' own identity, which stands in for credential files; none where there are files.
    pub identity: Option<WorkloadIdentity>,
}

/// What a connector tells of itself. See [`api::telemetry::TelemetrySpec`].
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Where traces go; nowhere if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traces: Option<TracesConfig>,
    /// How audit records are kept.
    #[serde(default)]
    pub audit: AuditConfig,
}

impl TelemetryConfig {
    /// Whether it is as if nothing had been said, so that the file of such a connector doesn't mention it.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where traces go.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracesConfig {
    /// The collector.
    pub endpoint: url::Url,
    /// Percent of the traces that begin here and are sent, 1 to 100.
    pub sample_percent: u8,
}

/// How audit records are kept, besides on standard output.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditConfig {
    /// Also in files; not if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<AuditFileConfig>,
    /// Whether each record carries the digest of the one before.
    #[serde(default)]
    pub hash_chain: bool,
}

/// How audit records are kept in files.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditFileConfig {
    /// Bytes of a file.
    pub max_bytes: u64,
    /// Files that are kept, the one that is written included.
    pub files: u32,
}

/// Which connector it is.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectorIdentity {
    /// Namespace of the McpConnector.
    pub namespace: String,
    /// Name of the McpConnector.
    pub name: String,
    /// Its uid, with which revisions of credentials are salted: they can be compared within one connector only.
    pub uid: String,
}

/// Which tools are offered. See [`api::connector::ToolsSpec`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolsConfig {
    /// What happens to tools that change something.
    pub mutations: Mutations,
    /// Names that are offered.
    pub allow: Vec<NamePattern>,
    /// Names that are not offered.
    pub deny: Vec<NamePattern>,
    /// Put before each name.
    pub prefix: String,
    /// Whether clients are told the schemas of answers. Written only if not, so that the configuration of the others stays
    /// what it was.
    #[serde(default, skip_serializing_if = "OutputSchemas::is_default")]
    pub output_schemas: OutputSchemas,
}

/// Who may call.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessConfig {
    /// Everyone, without a token.
    pub anonymous: bool,
    /// ServiceAccounts that may call, with their defaults resolved.
    pub allow: Vec<AccessRule>,
    /// Audiences of which a token must carry one. The first is `status.audience`.
    pub audiences: Vec<String>,
}

/// Who the operator is, as it proves with a token for [`operator_audience`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorIdentity {
    /// Namespace of its ServiceAccount.
    pub namespace: String,
    /// Name of its ServiceAccount.
    pub service_account: String,
}

/// How the platform's health is asked for. See [`api::connector::ProbeSpec`].
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeConfig {
    /// Time between two probes; jitter only shortens it.
    pub interval: ApiDuration,
    /// Time after which an unanswered probe counts as failed.
    pub timeout: ApiDuration,
    /// Passing failures in a row after which they are believed.
    pub failure_threshold: u32,
}

/// The cluster's token issuer and its public keys (RFC 7517), as the API server publishes them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenKeys {
    /// The `iss` that tokens must carry.
    pub issuer: String,
    /// The one before, while tokens of it may still be on their way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousIssuer>,
    /// The keys, as the API server's `/openid/v1/jwks` gives them, in the order of their key ids.
    pub keys: Vec<BTreeMap<String, serde_json::Value>>,
}

/// An issuer that the cluster had until lately. Its tokens are good if one of the cluster's keys of now has signed them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreviousIssuer {
    /// The `iss` of those tokens.
    pub issuer: String,
    /// When the last of them has ended, and none is taken any more.
    pub until: Timestamp,
}

/// Why a configuration file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file's content is wrong.
    #[error("failed to parse {path}")]
    Parse {
        /// The file.
        path: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The files are not those that the pod was made with.
    #[error(
        "{directory} does not hold the configuration that this pod was made with: somebody other than the operator has \
         changed the connector's ConfigMap, or the ConfigMap has changed since with its connector. Nothing in it is used"
    )]
    Altered {
        /// The directory.
        directory: String,
    },
}

/// The operator's files that say where a connector sends what. They are read once, at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFiles {
    /// The text of [`CONFIG_FILE`].
    pub config: String,
    /// The platform's CA bundle.
    pub platform_ca: Option<String>,
}

impl StartFiles {
    /// Reads them. `made_with` is their [`ServeConfig::whole_digest`] as it stands in the pod's own template, which nobody
    /// changes who may only write ConfigMaps; none in a pod that an older operator has made.
    ///
    /// # Errors
    /// When the configuration can't be read, or either is another one. A missing CA bundle is none.
    pub fn read(directory: &Path, made_with: Option<&str>) -> Result<Self, ConfigError> {
        let config = read_text(&directory.join(CONFIG_FILE))?;
        let platform_ca = match read_text(&directory.join(PLATFORM_CA_FILE)) {
            Ok(ca) => Some(ca),
            Err(ConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_other = |digest: &str| digest != ServeConfig::whole_digest(&config, platform_ca.as_deref());
        if made_with.is_some_and(is_other) {
            return Err(ConfigError::Altered { directory: directory.display().to_string() });
        }
        Ok(Self { config, platform_ca })
    }
}

impl ServeConfig {
    /// The configuration as it stands in the file. The same configuration always gives the same bytes.
    ///
    /// # Errors
    /// When it can't be written as JSON, which is a fault of this program.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// By what replicas and operator tell configurations apart: 16 digits of [`Self::whole_digest`].
    #[must_use]
    pub fn digest(json: &str, platform_ca: Option<&str>) -> String {
        Self::whole_digest(json, platform_ca).chars().take(16).collect()
    }

    /// SHA-256 of a configuration file and a CA bundle, in hexadecimal digits. No JSON has a zero byte, so where the one ends
    /// and the other begins is certain.
    #[must_use]
    pub fn whole_digest(json: &str, platform_ca: Option<&str>) -> String {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(json.as_bytes());
        context.update(&[0]);
        context.update(platform_ca.unwrap_or_default().as_bytes());
        hex::encode(context.finish().as_ref())
    }
}

/// Reads and parses a JSON file.
///
/// # Errors
/// When it can't be read or parsed; the error names the file.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = read_text(path)?;
    serde_json::from_str(&text).map_err(|source| ConfigError::Parse { path: path.display().to_string(), source })
}

/// Reads a text file.
///
/// # Errors
/// When it can't be read; the error names the file.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}
