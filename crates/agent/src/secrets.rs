//! One secret: fetched as its engine wants it, taken apart into fields, and its lease renewed.

use std::{collections::BTreeMap, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::time::Instant;

use super::trouble::{Rest, Trouble};
use outbound::RequestError;
use pod_api::agent::{Origin, SecretConfig};
use vault_api::{
    client::{Call, Client, Error},
    lifetime::Lifetime,
    numbers::may_be_rounded,
    wire::{Envelope, FieldValue, Fields, RenewedLease, SecretAnswer, VersionedFields},
};

/// Bytes of the values of one secret, at most.
const MAX_BYTES: usize = 32 * 1024;

/// A secret that is wanted, and what is there of it.
pub(super) struct Slot {
    pub(super) config: SecretConfig,
    pub(super) held: Option<Held>,
    pub(super) rest: Rest,
}

/// A secret that was fetched.
pub(super) struct Held {
    /// Field to value.
    pub(super) values: BTreeMap<String, SecretString>,
    /// Number of the token that it was fetched with.
    pub(super) token: u64,
    /// The lease; none for a secret that somebody keeps, who may be Vault: of a static role, it changes the password.
    pub(super) lease: Option<Lease>,
    pub(super) fetched: Instant,
    /// The time after which it is looked at again at the latest, whatever the interval is: it is changed then.
    pub(super) changes: Option<Duration>,
    /// Part of the interval after which it is looked at again, so that replicas don't come at once.
    pub(super) jitter: f64,
}

/// How long a dynamic secret lasts.
pub(super) struct Lease {
    /// Empty for a secret that ends and has no lease.
    pub(super) id: String,
    pub(super) lifetime: Lifetime,
}

/// A token, and which one it is.
#[derive(Clone, Copy)]
pub(super) struct Bearer<'a> {
    pub(super) secret: &'a SecretString,
    pub(super) number: u64,
}

impl Slot {
    pub(super) fn new(config: SecretConfig) -> Self {
        Self { config, held: None, rest: Rest::default() }
    }

    /// Whether somebody keeps it, so that it has to be looked at again and again.
    pub(super) fn is_kept(&self) -> bool {
        !matches!(self.config.origin, Origin::Dynamic { .. })
            || self.held.as_ref().is_some_and(|held| held.lease.is_none())
    }
}

impl Held {
    /// The time after which it is looked at again, where it is looked at every so often.
    pub(super) fn look_again_after(&self, interval: Duration) -> Duration {
        let usual = interval.mul_f64(self.jitter);
        self.changes.map_or(usual, |changes| usual.min(changes))
    }

    pub(super) fn same_values(&self, other: &Self) -> bool {
        self.values.len() == other.values.len()
            && self.values.iter().zip(&other.values).all(|((name, value), (other_name, other_value))| {
                name == other_name && value.expose_secret() == other_value.expose_secret()
            })
    }
}

/// Fetches a secret.
///
/// # Errors
/// When Vault doesn't give it, or a key is missing.
pub(super) async fn fetch(
    client: &Client,
    config: &SecretConfig,
    bearer: Bearer<'_>,
    deadline: Instant,
) -> Result<Held, Trouble> {
    let (call, capability) = call_for(&config.origin);
    let path = call.policy_path();
    let sent = |error| Trouble::of(error, &path, capability);
    let (fields, lease, changes) = match &config.origin {
        Origin::Kv2 { mount, .. } => {
            let answer: Result<Option<SecretAnswer<VersionedFields>>, Error> =
                client.send(&call, Some(bearer.secret), deadline).await;
            let answer = match answer {
                // A KV engine of version 1 answers nothing else to a path of version 2.
                Err(Error::NotFound) if is_version(client, mount, bearer, deadline).await == Some(1) => {
                    return Err(Trouble::OtherVersion { path, mount: mount.clone(), is: 1 });
                }
                outcome => outcome.map_err(sent)?,
            };
            (answer.and_then(|answer| answer.data).and_then(|versioned| versioned.data), None, None)
        }
        Origin::Kv1 { mount, .. } => {
            let answer: Result<Option<SecretAnswer<Fields>>, Error> =
                client.send(&call, Some(bearer.secret), deadline).await;
            let answer = match answer {
                Err(Error::VersionedEngine) => {
                    return Err(Trouble::OtherVersion { path, mount: mount.clone(), is: 2 });
                }
                outcome => outcome.map_err(sent)?,
            };
            (answer.and_then(|answer| answer.data), None, None)
        }
        Origin::Dynamic { parameters, .. } => {
            let answer: SecretAnswer<Fields> =
                client
                    .send(&call, Some(bearer.secret), deadline)
                    .await
                    .map_err(sent)?
                    .ok_or_else(|| Trouble::Outage(RequestError::unreadable("data").into()))?;
            let stay = Stay::of(&answer, parameters.is_empty());
            let (lease, changes) = match stay {
                Stay::Leased(lifetime) => (Some(Lease { id: answer.lease_id, lifetime }), None),
                Stay::Ends(lifetime) => (Some(Lease { id: String::new(), lifetime }), None),
                Stay::Kept(changes) => (None, changes),
            };
            (answer.data, lease, changes)
        }
    };
    let rounds = matches!(config.origin, Origin::Kv2 { .. });
    let values = pick(&config.fields, &fields.unwrap_or_default(), &path, rounds)?;
    let jitter = rand::random_range(0.8..=1.0);
    Ok(Held { values, token: bearer.number, lease, fetched: Instant::now(), changes, jitter })
}

/// How long what a secret engine gave is good, as far as its answer says that.
enum Stay {
    /// As long as its lease.
    Leased(Lifetime),
    /// It has no lease, and ends at a time that it states, as certificates and tokens do.
    Ends(Lifetime),
    /// Somebody keeps it: nothing is made when it is read, and it is changed from time to time, at the latest after so long.
    Kept(Option<Duration>),
}

/// The shortest time between two looks at what is changed at a time that is stated. That may be over already: Vault looks every few
/// seconds which passwords are to be changed, and later if it fails to.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Stay {
    /// `is_read` says that the path is read, and nothing written to it.
    ///
    /// Static roles (`database/static-creds`, `ldap/static-cred`, `aws/static-creds`) have no lease: the answers have
    /// `last_vault_rotation`, and `ttl`, the seconds until the next change (`path_creds_create.go` of the database engine,
    /// `path_static_creds.go` of the LDAP engine). What is issued without a lease (`pki/issue` with `no_store` or without
    /// `generate_lease`, `ssh/sign`, `identity/oidc/token`, `gcp/.../token`) tells when it ends, or not at all.
    fn of(answer: &SecretAnswer<Fields>, is_read: bool) -> Self {
        if !answer.lease_id.is_empty() {
            return Self::Leased(Lifetime::new(answer.lease_duration, answer.renewable));
        }
        let field = |name: &str| match answer.data.as_ref()?.get(name)? {
            FieldValue::Text(text) | FieldValue::Number(text) => Some(text.expose_secret()),
            FieldValue::NoText => None,
        };
        let seconds = |name: &str| Duration::try_from_secs_f64(field(name)?.parse().ok()?).ok();
        let is_rotated = ["last_vault_rotation", "rotation_period", "rotation_schedule", "last_password_change"]
            .iter()
            .any(|name| field(name).is_some());
        if is_rotated {
            let changes = seconds("ttl").map(|left| (left + Duration::from_secs(1)).max(LOOK_AGAIN));
            return Self::Kept(changes);
        }
        let until = |name: &str| {
            let text = field(name)?;
            let at = text.parse().map_or_else(|_| text.parse(), jiff::Timestamp::from_second).ok()?;
            Duration::try_from(at.duration_since(jiff::Timestamp::now())).ok()
        };
        let left = ["ttl", "token_ttl"]
            .into_iter()
            .find_map(seconds)
            .or_else(|| ["expiration", "expires_at_seconds", "expire_time"].into_iter().find_map(until))
            .filter(|left| !left.is_zero());
        match left {
            Some(left) => Self::Ends(Lifetime::new(left.as_secs().max(1), false)),
            None if is_read => Self::Kept(None),
            // Each call would make another one.
            None => Self::Ends(Lifetime::new(answer.lease_duration, false)),
        }
    }
}

/// The version of a KV engine, as Vault tells it everybody who has any access to it; none if it doesn't.
async fn is_version(client: &Client, mount: &str, bearer: Bearer<'_>, deadline: Instant) -> Option<u8> {
    #[derive(serde::Deserialize)]
    struct Mount {
        #[serde(default)]
        options: Option<BTreeMap<String, serde_json::Value>>,
    }
    let mount = mount.split('/').filter(|segment| !segment.is_empty());
    let call = Call::get(["sys", "internal", "ui", "mounts"].into_iter().chain(mount));
    let answer = client.send::<Envelope<Mount>>(&call, Some(bearer.secret), deadline).await.ok()??;
    let options = answer.data?.options;
    let version = options.as_ref().and_then(|options| options.get("version")).and_then(serde_json::Value::as_str);
    // An engine without a version in its options is one of version 1.
    version.map_or(Some(1), |version| version.parse().ok())
}

/// The call that reads a secret, and the capability that a policy needs for it.
fn call_for(origin: &Origin) -> (Call, &'static str) {
    let split = |path: &str| -> Vec<String> {
        path.split('/').filter(|segment| !segment.is_empty()).map(ToOwned::to_owned).collect()
    };
    match origin {
        Origin::Kv1 { mount, path } => (Call::get([split(mount), split(path)].concat()), "read"),
        Origin::Kv2 { mount, path } => {
            (Call::get([split(mount), vec!["data".to_owned()], split(path)].concat()), "read")
        }
        Origin::Dynamic { path, parameters } if parameters.is_empty() => (Call::get(split(path)), "read"),
        Origin::Dynamic { path, parameters } => (Call::post(split(path), json!(parameters)), "update"),
    }
}

/// The wanted fields. `rounds` says that the engine may have made numbers others.
fn pick(
    wanted: &BTreeMap<String, String>,
    found: &Fields,
    path: &str,
    rounds: bool,
) -> Result<BTreeMap<String, SecretString>, Trouble> {
    let mut values = BTreeMap::new();
    let mut bytes = 0;
    for (field, key) in wanted {
        let value = match found.get(key) {
            Some(FieldValue::Number(number)) if rounds && may_be_rounded(number.expose_secret()) => {
                return Err(Trouble::Rounded { path: path.to_owned(), key: key.clone() });
            }
            Some(FieldValue::Text(value) | FieldValue::Number(value)) => value,
            _ => return Err(Trouble::NoKey { path: path.to_owned(), key: key.clone() }),
        };
        bytes += value.expose_secret().len();
        values.insert(field.clone(), value.clone());
    }
    if bytes > MAX_BYTES {
        return Err(Trouble::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
    }
    Ok(values)
}

/// Renews a lease.
///
/// # Errors
/// [`Error::LeaseNotRenewable`] when it has to be replaced instead; anything else is in the way of both.
pub(super) async fn renew(
    client: &Client,
    lease: &mut Lease,
    token: &SecretString,
    deadline: Instant,
) -> Result<(), Error> {
    let call = Call::post(["sys", "leases", "renew"], json!({ "lease_id": lease.id }));
    let answer: Option<RenewedLease> =
        client.send(&call, Some(token), deadline).await.map_err(|error| match error {
            Error::BadRequest
            | Error::UnknownLease
            | Error::Forbidden(_)
            | Error::TokenRejected
            | Error::NotFound
            | Error::BatchToken => Error::LeaseNotRenewable,
            other => other,
        })?;
    let renewed = answer.ok_or_else(|| Error::Request(RequestError::unreadable("lease_id")))?;
    lease.lifetime.extend(renewed.lease_duration, renewed.renewable);
    Ok(())
}

/// Gives a lease back.
///
/// # Errors
/// Whatever is in its way; a policy must permit it.
pub(super) async fn revoke(
    client: &Client,
    lease_id: &str,
    token: &SecretString,
    deadline: Instant,
) -> Result<(), Error> {
    let call = Call::post(["sys", "leases", "revoke"], json!({ "lease_id": lease_id }));
    client.send::<serde::de::IgnoredAny>(&call, Some(token), deadline).await.map(|_| ())
}
