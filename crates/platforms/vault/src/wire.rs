//! What Vault sends to the tools, as far as it is read (developer.hashicorp.com/vault/api-docs). What logins and the
//! client read stands in `vault_api/wire.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, value::RawValue};

pub(super) use vault_api::wire::{Auth, Envelope, Health, RenewedLease, TokenInfo, VersionInfo};

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
    #[serde(default)]
    pub(super) config: Option<MountConfig>,
}

/// How a mount is tuned.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct MountConfig {
    #[serde(default)]
    listing_visibility: String,
}

impl Mount {
    /// Whether it is listed to everybody, whatever rights they have in it (`hasMountAccess` in `logical_system.go`;
    /// hashicorp/vault#4134).
    pub(super) fn is_listed_to_all(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.listing_visibility == "unauth")
    }
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
    pub(super) data: Option<BTreeMap<String, Box<RawValue>>>,
    pub(super) metadata: VersionInfo,
}

/// `GET <mount>/config` of KV version 2.
#[derive(Deserialize)]
pub(super) struct KvConfig {
    #[serde(default)]
    pub(super) max_versions: u64,
    #[serde(default)]
    pub(super) delete_version_after: String,
}

/// `GET <mount>/metadata/<path>`.
#[derive(Deserialize, Default)]
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
    /// There if the credential could not be taken back (OpenBao: `handleLeaseLookup` in `logical_system.go`). It may
    /// hold anything.
    #[serde(default)]
    pub(super) revoke_error: Option<IgnoredAny>,
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

impl ResultantAcl {
    /// What of it is in a namespace. Its paths begin with that of the policy's own namespace (OpenBao: `policy.go`).
    pub(super) fn below(self, namespace: &str) -> Self {
        let within = |path: &str| path.strip_prefix(namespace).map(ToOwned::to_owned);
        // A prefix may end before the namespace's own name does.
        let all = |path: &str| namespace.starts_with(path).then(String::new);
        let exact = self.exact_paths.into_iter().filter_map(|(path, rule)| Some((within(&path)?, rule)));
        let glob =
            self.glob_paths.into_iter().filter_map(|(path, rule)| Some((within(&path).or_else(|| all(&path))?, rule)));
        Self { root: self.root, exact_paths: exact.collect(), glob_paths: glob.collect() }
    }
}

/// A rule of [`ResultantAcl`].
#[derive(Deserialize)]
pub(super) struct Rule {
    #[serde(default)]
    pub(super) capabilities: Vec<String>,
}
