//! Who calls: ServiceAccount tokens, verified with the cluster's public keys, which the operator puts beside the
//! configuration. No request to the Kubernetes API is made, and no token is passed on.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest;
use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use strum::{EnumIter, IntoStaticStr};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::{Caller, ServiceAccount};
use files::{DirectoryEvents, FileContent, read_set};
use pod_api::config::{
    ConnectorIdentity, OperatorIdentity, PreviousIssuer, TOKEN_KEYS_FILE, TokenKeys, is_operator_audience,
    operator_audience,
};

/// Seconds by which the clocks of the cluster and of this node may differ.
const LEEWAY: i64 = 30;
/// Seconds that a token may live. Longer ones are the legacy tokens that never end and the extended ones of the API
/// server; both would turn a leak into an access for ever.
const MAX_LIFETIME: i64 = 24 * 60 * 60;
/// Bytes of a token, at most.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Bytes of the file of keys, at most.
const MAX_KEYS_BYTES: usize = 256 * 1024;
/// Tokens that are remembered as verified.
const MAX_CACHED: usize = 4_096;
/// Time for which a verified token is taken without verifying it again.
const CACHE_TIME: Duration = Duration::from_mins(5);
/// Time between two readings of the keys that callers with unknown keys can cause.
const REREAD_PAUSE: Duration = Duration::from_secs(1);
/// Time between two looks at keys of whose change no event told.
const POLL: Duration = Duration::from_secs(10);

/// Why a caller isn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr, thiserror::Error)]
#[strum(serialize_all = "snake_case")]
pub enum AuthFailure {
    /// There is no token.
    #[error("the request carries no token")]
    Missing,
    /// It is no token.
    #[error("the Authorization header holds no bearer token in JWT form")]
    Malformed,
    /// The cluster's keys have not arrived.
    #[error("the connector doesn't have the cluster's public keys yet: see the operator's log")]
    NoKeys,
    /// It was signed with a key that isn't the cluster's.
    #[error("the token was signed with a key that isn't one of this cluster's")]
    UnknownKey,
    /// It names another algorithm than the key is for.
    #[error("the token's algorithm is not the one of its key")]
    Algorithm,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// Somebody else issued it.
    #[error("the token was issued by somebody else than this cluster")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token is meant for another audience")]
    Audience,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// It has not begun.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It lives too long, or doesn't say how long.
    #[error("the token lives longer than 24 hours, or doesn't say how long")]
    Lifetime,
    /// It is not a ServiceAccount's.
    #[error("the token is not one of a ServiceAccount")]
    Subject,
}

impl AuthFailure {
    /// The failure in a word, for metrics and bodies.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.into()
    }
}

/// Verifies callers' tokens.
pub struct Authenticator {
    directory: PathBuf,
    audiences: Vec<String>,
    operator: ServiceAccount,
    /// Of the operator's token for this connector.
    operator_audience: String,
    keys: RwLock<Arc<KeySet>>,
    reread: tokio::sync::Mutex<Option<Instant>>,
    verified: Mutex<HashMap<[u8; 32], Verified>>,
}

/// A token that was found good.
#[derive(Clone)]
struct Verified {
    caller: Caller,
    /// Second of its end.
    expires: i64,
    /// When it is verified again.
    until: Instant,
    /// The keys it was verified with.
    keys: [u8; 32],
}

impl Authenticator {
    /// Reads the keys from the configuration directory; without them nobody can prove who they are, until they arrive.
    #[must_use]
    pub fn new(
        directory: PathBuf,
        audiences: Vec<String>,
        operator: &OperatorIdentity,
        connector: &ConnectorIdentity,
    ) -> Self {
        let operator = ServiceAccount { namespace: operator.namespace.clone(), name: operator.service_account.clone() };
        let authenticator = Self {
            directory,
            audiences,
            operator,
            operator_audience: operator_audience(&connector.namespace, &connector.name),
            keys: RwLock::default(),
            reread: tokio::sync::Mutex::new(None),
            verified: Mutex::default(),
        };
        authenticator.read_keys();
        authenticator
    }

    /// The cluster's token issuer; empty while the keys have not arrived.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.keys().issuer.clone()
    }

    /// Reads the keys again whenever their directory changes, until `shutdown`.
    pub async fn follow_keys(self: Arc<Self>, shutdown: CancellationToken) {
        let mut events = DirectoryEvents::watch(&self.directory, POLL);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = events.next() => self.read_keys(),
            }
        }
    }

    /// Says who calls.
    ///
    /// # Errors
    /// When there is no token, or one that isn't good.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthFailure> {
        let token = bearer_token(headers)?;
        let id = sha256(token.as_bytes());
        let now = unix_now();
        if let Some(caller) = self.remembered(&id, now) {
            return Ok(caller);
        }
        let keys = self.keys();
        let verified = match self.verify(token, &keys, now) {
            Err(AuthFailure::UnknownKey | AuthFailure::NoKeys) => {
                self.reread_keys().await;
                self.verify(token, &self.keys(), now)
            }
            other => other,
        }?;
        self.remember(id, verified.clone());
        Ok(verified.caller)
    }

    fn remembered(&self, id: &[u8; 32], now: i64) -> Option<Caller> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = verified.get(id)?;
        let good = now < entry.expires + LEEWAY && Instant::now() < entry.until && entry.keys == self.keys().digest;
        good.then(|| entry.caller.clone())
    }

    /// Remembers a verified token. Only good tokens get here, so nobody without one can push others out.
    fn remember(&self, id: [u8; 32], entry: Verified) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MAX_CACHED {
            let now = Instant::now();
            verified.retain(|_, entry| now < entry.until);
        }
        if verified.len() >= MAX_CACHED {
            verified.clear();
        }
        verified.insert(id, entry);
    }

    fn keys(&self) -> Arc<KeySet> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the keys for a caller whose key isn't known, but not more often than once a second: anyone can make up a
    /// key id.
    async fn reread_keys(&self) {
        let mut last = self.reread.lock().await;
        if last.is_none_or(|last| last.elapsed() >= REREAD_PAUSE) {
            *last = Some(Instant::now());
            self.read_keys();
        }
    }

    /// Reads the keys. What can't be read or parsed leaves the old ones in use.
    fn read_keys(&self) {
        let snapshot = match read_set(&self.directory, &[TOKEN_KEYS_FILE], MAX_KEYS_BYTES) {
            Ok(snapshot) => snapshot,
            Err(error) => return tracing::warn!(%error, "the token keys could not be read"),
        };
        let bytes = match snapshot.files.get(TOKEN_KEYS_FILE) {
            Some(FileContent::Bytes(bytes)) => bytes,
            Some(FileContent::TooLarge | FileContent::Unreadable(_)) => {
                return tracing::warn!(file = TOKEN_KEYS_FILE, "the token keys could not be read");
            }
            None => return,
        };
        if sha256(bytes) == self.keys().digest {
            return;
        }
        match KeySet::parse(bytes) {
            Ok(keys) => {
                tracing::info!(keys = keys.keys.len(), issuer = keys.issuer, "token keys are in use");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(error) => tracing::warn!(%error, "the token keys could not be parsed"),
        }
    }

    fn verify(&self, token: &str, keys: &KeySet, now: i64) -> Result<Verified, AuthFailure> {
        if keys.keys.is_empty() {
            return Err(AuthFailure::NoKeys);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| AuthFailure::Malformed)?;
        let key = keys.find(header.kid.as_deref()).ok_or(AuthFailure::UnknownKey)?;
        if !key.algorithms.contains(&header.alg) {
            return Err(AuthFailure::Algorithm);
        }
        // The library checks the signature; the claims are checked below, where each fault has a name.
        let mut validation = Validation::new(header.alg);
        validation.algorithms = key.algorithms.to_vec();
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => AuthFailure::Signature,
                jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => AuthFailure::Algorithm,
                _ => AuthFailure::Malformed,
            })?
            .claims;
        let caller = self.check(&claims, keys, now)?;
        let expires = claims.exp.unwrap_or_default();
        Ok(Verified { caller, expires, until: Instant::now() + CACHE_TIME, keys: keys.digest })
    }

    fn check(&self, claims: &Claims, keys: &KeySet, now: i64) -> Result<Caller, AuthFailure> {
        if !claims.iss.as_deref().is_some_and(|issuer| keys.is_issuer(issuer, now)) {
            return Err(AuthFailure::Issuer);
        }
        let (Some(begins), Some(expires)) = (claims.iat, claims.exp) else {
            return Err(AuthFailure::Lifetime);
        };
        if expires.saturating_add(LEEWAY) <= now {
            return Err(AuthFailure::Expired);
        }
        if expires.saturating_sub(begins) > MAX_LIFETIME {
            return Err(AuthFailure::Lifetime);
        }
        if begins.max(claims.nbf.unwrap_or(begins)) > now.saturating_add(LEEWAY) {
            return Err(AuthFailure::NotYetValid);
        }
        let account = claims.account().ok_or(AuthFailure::Subject)?;
        if claims.aud.iter().any(is_operator_audience) {
            // Such a token is good for the handshake only, whatever other audiences it names, and at one connector only.
            let is_ours = account == self.operator && claims.aud.contains(&self.operator_audience);
            return if is_ours { Ok(Caller::Operator) } else { Err(AuthFailure::Audience) };
        }
        if !self.audiences.iter().any(|audience| claims.aud.contains(audience)) {
            return Err(AuthFailure::Audience);
        }
        Ok(Caller::ServiceAccount(account))
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    #[serde(default)]
    aud: Audiences,
    exp: Option<i64>,
    nbf: Option<i64>,
    iat: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<KubernetesClaims>,
}

#[derive(Deserialize)]
struct KubernetesClaims {
    namespace: String,
    serviceaccount: NamedClaim,
}

#[derive(Deserialize)]
struct NamedClaim {
    name: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audiences {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let audiences = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        };
        audiences.iter().map(String::as_str)
    }

    fn contains(&self, audience: &str) -> bool {
        self.iter().any(|one| one == audience)
    }
}

impl Claims {
    /// The ServiceAccount, if the token's two ways of naming it agree.
    fn account(&self) -> Option<ServiceAccount> {
        let (namespace, name) = self.sub.as_deref()?.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let said = self.kubernetes.as_ref()?;
        let valid = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        };
        let agree = said.namespace == namespace && said.serviceaccount.name == name;
        (agree && valid(namespace) && valid(name))
            .then(|| ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// The cluster's keys.
#[derive(Default)]
struct KeySet {
    /// Of the file they come from.
    digest: [u8; 32],
    issuer: String,
    previous: Option<PreviousIssuer>,
    keys: HashMap<Option<String>, VerifyingKey>,
}

struct VerifyingKey {
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

impl KeySet {
    fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let TokenKeys { issuer, previous, keys } = serde_json::from_slice(bytes)?;
        let keys = keys.into_iter().filter_map(|jwk| {
            let jwk: Jwk = serde_json::from_value(Value::Object(jwk.into_iter().collect())).ok()?;
            let key = VerifyingKey::from_jwk(&jwk)?;
            Some((jwk.common.key_id, key))
        });
        let keys = keys.collect();
        Ok(Self { digest: sha256(bytes), issuer, previous, keys })
    }

    /// Whether the cluster issues tokens as this one, or did until lately.
    fn is_issuer(&self, issuer: &str, now: i64) -> bool {
        let was = |previous: &PreviousIssuer| previous.issuer == issuer && now < previous.until.as_second();
        self.issuer == issuer || self.previous.as_ref().is_some_and(was)
    }

    /// The key with the id that the token names; one without an id is for tokens that name none.
    fn find(&self, id: Option<&str>) -> Option<&VerifyingKey> {
        self.keys.get(&id.map(str::to_owned))
    }
}

impl VerifyingKey {
    /// A key that can verify signatures, with the algorithms that it is for. These come from the key: what a token says
    /// of itself may choose among them, and nothing else.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return None;
        }
        let algorithms: &'static [Algorithm] = match (&jwk.algorithm, jwk.common.key_algorithm) {
            (AlgorithmParameters::RSA(_), None) => &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512],
            (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS256)) => &[Algorithm::RS256],
            (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS384)) => &[Algorithm::RS384],
            (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS512)) => &[Algorithm::RS512],
            (AlgorithmParameters::EllipticCurve(key), named) => match (&key.curve, named) {
                (EllipticCurve::P256, None | Some(KeyAlgorithm::ES256)) => &[Algorithm::ES256],
                (EllipticCurve::P384, None | Some(KeyAlgorithm::ES384)) => &[Algorithm::ES384],
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { key: DecodingKey::from_jwk(jwk).ok()?, algorithms })
    }
}

/// The token of the `Authorization` header. One in the query is not looked at: queries end up in logs.
fn bearer_token(headers: &HeaderMap) -> Result<&str, AuthFailure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthFailure::Missing)?;
    if values.next().is_some() {
        return Err(AuthFailure::Malformed);
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(AuthFailure::Malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return Err(AuthFailure::Malformed);
    }
    Ok(token)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    out
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
