//! What Vault sends, as far as everybody reads it (developer.hashicorp.com/vault/api-docs). Fields that nobody must keep,
//! such as a token's id and accessor, have no place here, so they are dropped while parsing.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};
use serde_json::value::RawValue;

use super::numbers::is_number;

/// The envelope of nearly every answer.
#[derive(Deserialize)]
pub struct Envelope<T> {
    /// What was asked for; none where there is nothing.
    pub data: Option<T>,
}

/// The envelope of a login or of a renewal. It holds a token, so it has no `Debug`.
#[derive(Deserialize)]
pub struct AuthEnvelope {
    /// The token, where one was given.
    pub auth: Option<Auth>,
}

/// A token that was given (`auth` of a login's answer).
#[derive(Deserialize)]
pub struct Auth {
    /// The token.
    #[serde(deserialize_with = "secret")]
    pub client_token: SecretString,
    /// Seconds; 0 for a token that does not end.
    #[serde(default)]
    pub lease_duration: u64,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// `service` or `batch`; empty where Vault doesn't say (before 1.0). A batch token can't be revoked, and the leases that are
    /// made with it stay until they end.
    #[serde(default, rename = "token_type")]
    pub kind: String,
    /// What the method knows of the identity; AppRole names the role.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Requests that the token is good for; 0 for any number.
    #[serde(default)]
    pub num_uses: u64,
    /// There is one where the token is still to be had by a second factor.
    #[serde(default)]
    pub mfa_requirement: Option<IgnoredAny>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// `GET sys/health`.
#[derive(Deserialize, Clone, Debug)]
pub struct Health {
    /// Whether the storage was set up.
    pub initialized: bool,
    /// Whether its key is not in memory.
    pub sealed: bool,
    /// Whether another node is active.
    #[serde(default)]
    pub standby: bool,
    /// Whether it answers reads beside the active node.
    #[serde(default)]
    pub performance_standby: bool,
    /// Its version.
    pub version: Option<String>,
    /// The cluster's name.
    pub cluster_name: Option<String>,
    /// Whether it is Vault Enterprise.
    #[serde(default)]
    pub enterprise: bool,
    /// The licence, where there is one.
    pub license: Option<License>,
}

/// Part of [`Health`] on Vault Enterprise.
#[derive(Deserialize, Clone, Debug)]
pub struct License {
    /// When it ends (RFC 3339).
    pub expiry_time: Option<String>,
    /// Whether it was ended.
    #[serde(default)]
    pub terminated: bool,
}

/// `GET auth/token/lookup-self`, without the token and its accessor.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// What the auth method calls the identity.
    #[serde(default)]
    pub display_name: String,
    /// Where the token was made, such as `auth/approle/login`.
    #[serde(default)]
    pub path: String,
    /// Its policies.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Policies that its entity adds.
    #[serde(default)]
    pub identity_policies: Vec<String>,
    /// Seconds; 0 for a token that does not end.
    #[serde(default)]
    pub ttl: u64,
    /// Seconds that it had when it was made.
    #[serde(default)]
    pub creation_ttl: u64,
    /// Seconds that each renewal brings, without an end; none for a token that is not periodic.
    #[serde(default)]
    pub period: Option<u64>,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// Requests that it is good for yet; 0 for a token without a limit, -1 when this look was the last.
    #[serde(default)]
    pub num_uses: i64,
    /// When it ends (RFC 3339); none for a token that does not end.
    pub expire_time: Option<String>,
    /// Whether it has no parent that ends it.
    #[serde(default)]
    pub orphan: bool,
    /// `service`, `batch` or `recovery`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// A version of a KV v2 secret.
#[derive(Deserialize, Clone, Debug)]
pub struct VersionInfo {
    /// Its number.
    #[serde(default)]
    pub version: u64,
    /// When it was written (RFC 3339).
    #[serde(default)]
    pub created_time: String,
    /// Empty unless it was deleted, or will be by `delete_version_after`.
    #[serde(default)]
    pub deletion_time: String,
    /// Whether its content is gone for good.
    #[serde(default)]
    pub destroyed: bool,
}

impl VersionInfo {
    /// When it was deleted; nothing if it wasn't, or if that time is still to come.
    pub fn deleted_at(&self) -> Option<&str> {
        Some(self.deletion_time.as_str()).filter(|time| !time.is_empty() && self.ends_at().is_none())
    }

    /// When it will be deleted by itself; nothing if that is not to come.
    pub fn ends_at(&self) -> Option<&str> {
        let comes = self.deletion_time.parse::<jiff::Timestamp>().is_ok_and(|at| at > jiff::Timestamp::now());
        comes.then_some(self.deletion_time.as_str())
    }
}

/// `POST sys/leases/renew`: the envelope itself carries the answer.
#[derive(Deserialize)]
pub struct RenewedLease {
    /// Seconds.
    #[serde(default)]
    pub lease_duration: u64,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// What Vault says beside it, as of less time than was asked for.
    #[serde(default)]
    pub warnings: Option<Vec<String>>,
}

/// An answer that hands out a secret: of KV version 1, whose content is in `data`, of a dynamic secret, and with the
/// content one level deeper of KV version 2. It has no `Debug`.
#[derive(Deserialize)]
pub struct SecretAnswer<T> {
    /// What was asked for; none where there is nothing.
    pub data: Option<T>,
    /// Empty where there is no lease.
    #[serde(default)]
    pub lease_id: String,
    /// Seconds.
    #[serde(default)]
    pub lease_duration: u64,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
}

/// `data` of a KV version 2 read.
#[derive(Deserialize)]
pub struct VersionedFields {
    /// What was asked for; none where there is nothing.
    #[serde(default)]
    pub data: Option<Fields>,
}

/// The content of a secret.
pub type Fields = BTreeMap<String, FieldValue>;

/// One value of a secret. Texts, numbers and truth values can be a credential; anything else can't.
pub enum FieldValue {
    /// As text.
    Text(SecretString),
    /// A number, as it stands in the answer.
    Number(SecretString),
    /// A list, an object or null.
    NoText,
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(match raw.get() {
            text if text.starts_with('"') => {
                Self::Text(serde_json::from_str::<String>(text).map_err(D::Error::custom)?.into())
            }
            truth @ ("true" | "false") => Self::Text(truth.into()),
            number if is_number(number) => Self::Number(number.into()),
            _ => Self::NoText,
        })
    }
}

/// `POST sys/wrapping/lookup`.
#[derive(Deserialize)]
pub struct Wrapping {
    /// Path of the call whose answer was wrapped.
    #[serde(default)]
    pub creation_path: String,
}

/// `POST sys/wrapping/unwrap` of a wrapped secret id. It holds a secret, so it has no `Debug`.
#[derive(Deserialize)]
pub struct UnwrappedSecretId {
    /// The secret id.
    #[serde(deserialize_with = "secret")]
    pub secret_id: SecretString,
}

/// `POST auth/<mount>/role/<role>/secret-id/lookup`.
#[derive(Deserialize, Clone, Debug)]
pub struct SecretIdInfo {
    /// Logins that are left; 0 for a secret id without a limit.
    #[serde(default)]
    pub secret_id_num_uses: u64,
    /// RFC 3339; the year 1 for one that does not end.
    #[serde(default)]
    pub expiration_time: String,
}
