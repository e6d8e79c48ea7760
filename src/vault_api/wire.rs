//! What Vault sends, as far as everybody reads it (developer.hashicorp.com/vault/api-docs). Fields that nobody must keep,
//! such as a token's id and accessor, have no place here, so they are dropped while parsing.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// The envelope of nearly every answer.
#[derive(Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) data: Option<T>,
}

/// The envelope of a login or of a renewal. It holds a token, so it has no `Debug`.
#[derive(Deserialize)]
pub(crate) struct AuthEnvelope {
    pub(crate) auth: Option<Auth>,
}

/// A token that was given (`auth` of a login's answer).
#[derive(Deserialize)]
pub(crate) struct Auth {
    #[serde(deserialize_with = "secret")]
    pub(crate) client_token: SecretString,
    /// Seconds; 0 for a token that does not end.
    #[serde(default)]
    pub(crate) lease_duration: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
    /// What the method knows of the identity; AppRole names the role.
    #[serde(default)]
    pub(crate) metadata: Option<BTreeMap<String, String>>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// The body of an error. Its texts are matched against known ones and never shown.
#[derive(Deserialize, Default)]
pub(crate) struct Errors {
    #[serde(default)]
    pub(crate) errors: Vec<String>,
}

/// `GET sys/health`.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Health {
    pub(crate) initialized: bool,
    pub(crate) sealed: bool,
    #[serde(default)]
    pub(crate) standby: bool,
    #[serde(default)]
    pub(crate) performance_standby: bool,
    pub(crate) version: Option<String>,
    pub(crate) cluster_name: Option<String>,
    #[serde(default)]
    pub(crate) enterprise: bool,
    pub(crate) license: Option<License>,
}

/// Part of [`Health`] on Vault Enterprise.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct License {
    pub(crate) expiry_time: Option<String>,
    #[serde(default)]
    pub(crate) terminated: bool,
}

/// `GET auth/token/lookup-self`, without the token and its accessor.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenInfo {
    #[serde(default)]
    pub(crate) display_name: String,
    #[serde(default)]
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) policies: Vec<String>,
    #[serde(default)]
    pub(crate) identity_policies: Vec<String>,
    /// Seconds; 0 for a token that does not end.
    #[serde(default)]
    pub(crate) ttl: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
    /// 0 for a token without a limit.
    #[serde(default)]
    pub(crate) num_uses: u64,
    pub(crate) expire_time: Option<String>,
    #[serde(default)]
    pub(crate) orphan: bool,
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
}

/// A version of a KV v2 secret.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct VersionInfo {
    #[serde(default)]
    pub(crate) version: u64,
    #[serde(default)]
    pub(crate) created_time: String,
    /// Empty unless it was deleted, or will be by `delete_version_after`.
    #[serde(default)]
    pub(crate) deletion_time: String,
    #[serde(default)]
    pub(crate) destroyed: bool,
}

impl VersionInfo {
    /// When it was deleted; nothing if it wasn't, or if that time is still to come.
    pub(crate) fn deleted_at(&self) -> Option<&str> {
        let time = Some(self.deletion_time.as_str()).filter(|text| !text.is_empty())?;
        let comes = time.parse::<jiff::Timestamp>().is_ok_and(|at| at > jiff::Timestamp::now());
        (!comes).then_some(time)
    }
}

/// `POST sys/leases/renew`: the envelope itself carries the answer.
#[derive(Deserialize)]
pub(crate) struct RenewedLease {
    #[serde(default)]
    pub(crate) lease_duration: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
}

/// An answer that hands out a secret: of KV version 1, whose content is in `data`, of a dynamic secret, and with the
/// content one level deeper of KV version 2. It has no `Debug`.
#[derive(Deserialize)]
pub(crate) struct SecretAnswer<T> {
    pub(crate) data: Option<T>,
    /// Empty where there is no lease.
    #[serde(default)]
    pub(crate) lease_id: String,
    /// Seconds.
    #[serde(default)]
    pub(crate) lease_duration: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
}

/// `data` of a KV version 2 read.
#[derive(Deserialize)]
pub(crate) struct VersionedFields {
    #[serde(default)]
    pub(crate) data: Option<Fields>,
}

/// The content of a secret.
pub(crate) type Fields = BTreeMap<String, FieldValue>;

/// One value of a secret. Texts, numbers and truth values can be a credential; anything else can't.
pub(crate) enum FieldValue {
    /// As text.
    Text(SecretString),
    /// A list, an object or null.
    NoText,
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::Text(text.into()),
            serde_json::Value::Number(number) => Self::Text(number.to_string().into()),
            serde_json::Value::Bool(is) => Self::Text(is.to_string().into()),
            _ => Self::NoText,
        })
    }
}

/// `POST sys/wrapping/lookup`.
#[derive(Deserialize)]
pub(crate) struct Wrapping {
    #[serde(default)]
    pub(crate) creation_path: String,
}

/// `POST sys/wrapping/unwrap` of a wrapped secret id. It holds a secret, so it has no `Debug`.
#[derive(Deserialize)]
pub(crate) struct UnwrappedSecretId {
    #[serde(deserialize_with = "secret")]
    pub(crate) secret_id: SecretString,
}

/// `POST auth/<mount>/role/<role>/secret-id/lookup`.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct SecretIdInfo {
    /// Logins that are left; 0 for a secret id without a limit.
    #[serde(default)]
    pub(crate) secret_id_num_uses: u64,
    /// RFC 3339; the year 1 for one that does not end.
    #[serde(default)]
    pub(crate) expiration_time: String,
}
