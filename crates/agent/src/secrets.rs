//! One secret: fetched as its engine wants it, taken apart into fields, and its lease renewed.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::time::Instant;

use super::trouble::{Rest, Trouble};
use outbound::RequestError;
use pod_api::agent::{Origin, SecretConfig};
use vault_api::{
    client::{Call, Client, Error},
    lifetime::Lifetime,
    wire::{FieldValue, Fields, RenewedLease, SecretAnswer, VersionedFields},
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
    /// The lease; none for a secret that somebody keeps.
    pub(super) lease: Option<Lease>,
    pub(super) fetched: Instant,
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
    }
}

impl Held {
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
    let trouble = |error| Trouble::of(error, &path, capability);
    let (fields, lease) = match &config.origin {
        Origin::Kv2 { .. } => {
            let answer: Option<SecretAnswer<VersionedFields>> =
                client.send(&call, Some(bearer.secret), deadline).await.map_err(trouble)?;
            (answer.and_then(|answer| answer.data).and_then(|versioned| versioned.data), None)
        }
        Origin::Kv1 { .. } => {
            let answer: Option<SecretAnswer<Fields>> =
                client.send(&call, Some(bearer.secret), deadline).await.map_err(trouble)?;
            (answer.and_then(|answer| answer.data), None)
        }
        Origin::Dynamic { .. } => {
            let answer: SecretAnswer<Fields> = client
                .send(&call, Some(bearer.secret), deadline)
                .await
                .map_err(trouble)?
                .ok_or_else(|| Trouble::Outage(RequestError::unreadable("data").into()))?;
            let lifetime = Lifetime::new(answer.lease_duration, answer.renewable);
            (answer.data, Some(Lease { id: answer.lease_id, lifetime }))
        }
    };
    let values = pick(&config.fields, &fields.unwrap_or_default(), &path)?;
    Ok(Held { values, token: bearer.number, lease, fetched: Instant::now(), jitter: rand::random_range(0.8..=1.0) })
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

fn pick(
    wanted: &BTreeMap<String, String>,
    found: &Fields,
    path: &str,
) -> Result<BTreeMap<String, SecretString>, Trouble> {
    let mut values = BTreeMap::new();
    let mut bytes = 0;
    for (field, key) in wanted {
        let Some(FieldValue::Text(value)) = found.get(key) else {
            return Err(Trouble::NoKey { path: path.to_owned(), key: key.clone() });
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
            Error::BadRequest | Error::UnknownLease | Error::Forbidden | Error::NotFound => Error::LeaseNotRenewable,
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
