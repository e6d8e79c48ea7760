//! What Vault sends, as far as it is read (developer.hashicorp.com/vault/api-docs). Fields that a connector must not
//! keep, such as a token's id and accessor, have no place here, so they are dropped while parsing.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The envelope of nearly every answer.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: Option<T>,
}

/// The envelope of a login or of a renewal. It holds a token, so it has no `Debug`.
#[derive(Deserialize)]
pub(super) struct AuthEnvelope {
    pub(super) auth: Option<Auth>,
}

/// A token that was given (`auth` of a login's answer).
#[derive(Deserialize)]
pub(super) struct Auth {
    #[serde(deserialize_with = "secret")]
    pub(super) client_token: SecretString,
    /// Seconds; 0 for a token that does not end.
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// The body of an error. Its texts are matched against known ones and never shown.
#[derive(Deserialize, Default)]
pub(super) struct Errors {
    #[serde(default)]
    pub(super) errors: Vec<String>,
}

/// `GET sys/health`.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct Health {
    pub(super) initialized: bool,
    pub(super) sealed: bool,
    #[serde(default)]
    pub(super) standby: bool,
    #[serde(default)]
    pub(super) performance_standby: bool,
    pub(super) version: Option<String>,
    pub(super) cluster_name: Option<String>,
    #[serde(default)]
    pub(super) enterprise: bool,
    pub(super) license: Option<License>,
}

/// Part of [`Health`] on Vault Enterprise.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct License {
    pub(super) expiry_time: Option<String>,
    #[serde(default)]
    pub(super) terminated: bool,
}

/// `GET auth/token/lookup-self`, without the token and its accessor.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenInfo {
    #[serde(default)]
    pub(super) display_name: String,
    #[serde(default)]
    pub(super) path: String,
    #[serde(default)]
    pub(super) policies: Vec<String>,
    #[serde(default)]
    pub(super) identity_policies: Vec<String>,
    /// Seconds; 0 for a token that does not end.
    #[serde(default)]
    pub(super) ttl: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    /// 0 for a token without a limit.
    #[serde(default)]
    pub(super) num_uses: u64,
    pub(super) expire_time: Option<String>,
    #[serde(default)]
    pub(super) orphan: bool,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
}

/// `GET sys/internal/ui/mounts`: what the token has any access to.
#[derive(Deserialize, Default)]
pub(super) struct VisibleMounts {
    #[serde(default)]
    pub(super) auth: BTreeMap<String, Mount>,
    #[serde(default)]
    pub(super) secret: BTreeMap<String, Mount>,
}

/// One mount, of secrets or of an auth method.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct Mount {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) options: Option<BTreeMap<String, Value>>,
}

/// `data` of every LIST.
#[derive(Deserialize)]
pub(super) struct Keys {
    #[serde(default)]
    pub(super) keys: Vec<String>,
}

/// `GET <mount>/subkeys/<path>`.
#[derive(Deserialize)]
pub(super) struct Subkeys {
    #[serde(default)]
    pub(super) subkeys: Option<Map<String, Value>>,
    pub(super) metadata: VersionInfo,
}

/// `GET <mount>/data/<path>`.
#[derive(Deserialize)]
pub(super) struct SecretData {
    #[serde(default)]
    pub(super) data: Option<Map<String, Value>>,
    pub(super) metadata: VersionInfo,
}

/// A version of a KV v2 secret.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct VersionInfo {
    #[serde(default)]
    pub(super) version: u64,
    #[serde(default)]
    pub(super) created_time: String,
    /// Empty unless it was deleted, or will be by `delete_version_after`.
    #[serde(default)]
    pub(super) deletion_time: String,
    #[serde(default)]
    pub(super) destroyed: bool,
}

impl VersionInfo {
    /// When it was deleted; nothing if it wasn't, or if that time is still to come.
    pub(super) fn deleted_at(&self) -> Option<&str> {
        let time = Some(self.deletion_time.as_str()).filter(|text| !text.is_empty())?;
        let comes = time.parse::<jiff::Timestamp>().is_ok_and(|at| at > jiff::Timestamp::now());
        (!comes).then_some(time)
    }
}

/// `GET <mount>/metadata/<path>`.
#[derive(Deserialize)]
pub(super) struct SecretMetadata {
    #[serde(default)]
    pub(super) cas_required: bool,
    #[serde(default)]
    pub(super) created_time: String,
    #[serde(default)]
    pub(super) updated_time: String,
    #[serde(default)]
    pub(super) current_version: u64,
    #[serde(default)]
    pub(super) oldest_version: u64,
    #[serde(default)]
    pub(super) max_versions: u64,
    #[serde(default)]
    pub(super) delete_version_after: String,
    pub(super) custom_metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) versions: BTreeMap<String, VersionInfo>,
}

/// `GET sys/policies/acl/<name>`.
#[derive(Deserialize)]
pub(super) struct Policy {
    #[serde(default)]
    pub(super) policy: String,
}

/// `GET sys/policies/password/<name>/generate`. It holds a secret, so it has no `Debug`.
#[derive(Deserialize)]
pub(super) struct Password {
    pub(super) password: String,
}

/// `POST sys/leases/lookup`.
#[derive(Deserialize)]
pub(super) struct Lease {
    pub(super) issue_time: Option<String>,
    pub(super) expire_time: Option<String>,
    pub(super) last_renewal: Option<String>,
    #[serde(default)]
    pub(super) renewable: bool,
    /// Seconds. Negative once it has ended and is not cleaned up yet.
    #[serde(default)]
    pub(super) ttl: i64,
}

/// `POST sys/leases/renew`: the envelope itself carries the answer.
#[derive(Deserialize)]
pub(super) struct RenewedLease {
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

/// `GET sys/internal/ui/resultant-acl`: what the token's policies come to.
#[derive(Deserialize, Default)]
pub(super) struct ResultantAcl {
    #[serde(default)]
    pub(super) root: bool,
    #[serde(default)]
    pub(super) exact_paths: BTreeMap<String, Rule>,
    #[serde(default)]
    pub(super) glob_paths: BTreeMap<String, Rule>,
}

/// A rule of [`ResultantAcl`].
#[derive(Deserialize)]
pub(super) struct Rule {
    #[serde(default)]
    pub(super) capabilities: Vec<String>,
}
