//! What an agent logs in with: a token of the connector's ServiceAccount, or an AppRole's secret id, which may come
//! wrapped. On a laptop it can be a token of Vault that the person has already. Files are read anew for each login, because
//! the kubelet, or the person, replaces them.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::trouble::{Method, Trouble};
use files::{FileContent, read_set};
use outbound::RequestError;
use pod_api::agent::{LoginConfig, SECRET_ID_FILE, TOKEN_FILE};
use vault_api::{
    client::{Call, Client, Error},
    token,
    wire::{Auth, Envelope, SecretIdInfo, UnwrappedSecretId, Wrapping},
};

/// Bytes of a token that are read at most.
const MAX_BYTES: usize = 64 * 1024;

/// Where that lies what an agent logs in with.
#[derive(Clone, Debug)]
pub enum Means {
    /// In a directory, in the file that the kind of login has there: [`TOKEN_FILE`] or [`SECRET_ID_FILE`].
    Mounted(PathBuf),
    /// In this file.
    File(PathBuf),
    /// In this process.
    Held(SecretString),
    /// In this file lies a token of Vault that somebody owns. It is used instead of a login, renewed, and never given back.
    OwnedFile(PathBuf),
    /// The same, in this process.
    Owned(SecretString),
}

impl Means {
    /// The directory whose changes may bring another identity.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Mounted(directory) => Some(directory),
            Self::File(file) | Self::OwnedFile(file) => file.parent(),
            Self::Held(_) | Self::Owned(_) => None,
        }
    }
}

/// Who an agent is to Vault.
pub(super) struct Identity {
    client: Client,
    means: Means,
    login: LoginConfig,
    unwrapped: Option<Unwrapped>,
    known: Option<Known>,
}

/// What came of a wrapping token.
struct Unwrapped {
    /// Digest of the token, so that it is used once only.
    source: [u8; 32],
    /// None if it was worth nothing.
    secret_id: Option<SecretString>,
}

/// What Vault told of the secret id after a login with it.
struct Known {
    source: [u8; 32],
    /// Logins that are left; none without a limit.
    uses_left: Option<u64>,
    ends: Option<End>,
}

/// When a secret id ends.
struct End {
    /// As the clock of Vault shows it.
    at: Timestamp,
    /// Counted from Vault's answer, whatever the clock of this node shows.
    here: Instant,
}

impl Identity {
    pub(super) fn new(client: Client, means: Means, login: LoginConfig) -> Self {
        Self { client, means, login, unwrapped: None, known: None }
    }

    /// How it logs in.
    pub(super) fn method(&self) -> Method {
        match (&self.means, &self.login) {
            (Means::OwnedFile(_) | Means::Owned(_), _) => Method::Owned,
            (_, LoginConfig::AppRole { .. }) => Method::AppRole,
            (_, LoginConfig::Token { .. }) => Method::Token,
        }
    }

    /// Whether each login, also one that fails, may count against the identity.
    pub(super) fn is_sparing(&self) -> bool {
        self.method() == Method::AppRole
    }

    /// Whether the token is somebody else's, so that it is never given back.
    pub(super) fn is_owned(&self) -> bool {
        self.method() == Method::Owned
    }

    /// Digest of what is logged in with; none while there is nothing.
    pub(super) fn fingerprint(&self) -> Option<[u8; 32]> {
        self.read().ok().map(|secret| fingerprint(&secret))
    }

    /// Logs in.
    pub(super) async fn log_in(&mut self, deadline: Instant) -> Result<Auth, Trouble> {
        let secret = self.read()?;
        if self.is_owned() {
            return self.take_up(secret, deadline).await;
        }
        let source = fingerprint(&secret);
        let (mount, proof) = match &self.login {
            LoginConfig::Token { mount, role } => {
                (mount.clone(), json!({ "role": role, "jwt": secret.expose_secret() }))
            }
            LoginConfig::AppRole { mount, role_id, creation_path } => {
                let (mount, role_id) = (mount.clone(), role_id.clone());
                if let Some(over) = self.over(source) {
                    return Err(over);
                }
                let secret_id = match creation_path.clone() {
                    Some(path) => self.unwrap(&secret, source, &path, deadline).await?,
                    None => secret,
                };
                (mount, json!({ "role_id": role_id, "secret_id": secret_id.expose_secret() }))
            }
        };
        let auth = token::log_in(&self.client, &mount, proof.clone(), deadline)
            .await
            .map_err(|error| Trouble::of_login(error, self.method()))?;
        // With a token whose uses are counted (token_num_uses), none is left for questions.
        if self.is_sparing() && auth.num_uses == 0 {
            self.known = self.ask_of_secret_id(&mount, &proof, &auth, source, deadline).await;
        }
        Ok(auth)
    }

    /// Asks how long a token lives that somebody owns.
    async fn take_up(&self, token: SecretString, deadline: Instant) -> Result<Auth, Trouble> {
        let trouble = |error| Trouble::of_login(error, Method::Owned);
        let (lease_duration, renewable) = match token::look_up(&self.client, &token, deadline).await {
            Ok(info) => (info.ttl, info.renewable),
            // It may not ask about itself, and is good all the same.
            Err(Error::Forbidden(_)) => {
                token::check(&self.client, &token, deadline).await.map_err(trouble)?;
                (0, false)
            }
            Err(error) => return Err(trouble(error)),
        };
        Ok(Auth {
            client_token: token,
            lease_duration,
            renewable,
            kind: String::new(),
            metadata: None,
            num_uses: 0,
            mfa_requirement: None,
        })
    }

    /// What the agent should say ahead of time about the secret id.
    pub(super) fn warning(&self) -> Option<String> {
        match self.known.as_ref()? {
            Known { uses_left: Some(0), .. } => {
                Some("the secret id is used up: the next login needs a new one".to_owned())
            }
            Known { ends: Some(end), .. } if end.here <= Instant::now() => {
                Some(format!("the secret id ended at {}: the next login needs a new one", end.at))
            }
            Known { .. } => None,
        }
    }

    /// Why a login can't succeed, so that none is tried.
    fn over(&self, source: [u8; 32]) -> Option<Trouble> {
        let known = self.known.as_ref().filter(|known| known.source == source)?;
        self.warning().filter(|_| known.uses_left == Some(0) || known.ends.is_some()).map(Trouble::SecretIdOver)
    }

    /// The secret id behind a wrapping token, which is used once.
    async fn unwrap(
        &mut self,
        wrapping: &SecretString,
        source: [u8; 32],
        creation_path: &str,
        deadline: Instant,
    ) -> Result<SecretString, Trouble> {
        if let Some(unwrapped) = self.unwrapped.as_ref().filter(|unwrapped| unwrapped.source == source) {
            return unwrapped.secret_id.clone().ok_or(Trouble::WrappingConsumed);
        }
        let gone = |error| match error {
            Error::WrappingToken | Error::BadRequest | Error::Forbidden(_) | Error::TokenRejected | Error::NotFound => {
                Trouble::WrappingConsumed
            }
            Error::Sealed | Error::NamespaceSealed => Trouble::Sealed,
            other => Trouble::Outage(other),
        };
        let lookup = Call::ask(["sys", "wrapping", "lookup"], json!({ "token": wrapping.expose_secret() }));
        let found = self.client.send::<Envelope<Wrapping>>(&lookup, None, deadline).await.map_err(gone)?;
        let found =
            found.and_then(|envelope| envelope.data).ok_or(Trouble::Outage(RequestError::unreadable("auth").into()))?;
        if found.creation_path.trim_matches('/') != creation_path.trim_matches('/') {
            return Err(Trouble::WrappingMismatch);
        }
        let unwrap = Call::post(["sys", "wrapping", "unwrap"], json!({}));
        let answer = self.client.send::<Envelope<UnwrappedSecretId>>(&unwrap, Some(wrapping), deadline).await;
        let secret_id = match answer.map_err(gone) {
            Ok(envelope) => envelope.and_then(|envelope| envelope.data).map(|data| data.secret_id),
            Err(Trouble::WrappingConsumed) => None,
            // It may not have got there, and be good yet. If it did, the next lookup says so.
            Err(trouble) => return Err(trouble),
        };
        self.unwrapped = Some(Unwrapped { source, secret_id: secret_id.clone() });
        secret_id.ok_or(Trouble::WrappingConsumed)
    }

    /// What is left of the secret id, if a policy of the role lets it ask
    /// (developer.hashicorp.com/vault/api-docs/auth/approle#read-approle-secret-id).
    async fn ask_of_secret_id(
        &self,
        mount: &str,
        proof: &Value,
        auth: &Auth,
        source: [u8; 32],
        deadline: Instant,
    ) -> Option<Known> {
        let role = auth.metadata.as_ref()?.get("role_name")?;
        let mount = mount.split('/').filter(|segment| !segment.is_empty());
        let path = std::iter::once("auth").chain(mount).chain(["role", role.as_str(), "secret-id", "lookup"]);
        let call = Call::post(path, json!({ "secret_id": proof.get("secret_id")? }));
        match self.client.send_dated::<Envelope<SecretIdInfo>>(&call, Some(&auth.client_token), deadline).await {
            // 204: it is gone with its last use.
            Ok((None, _)) => Some(Known { source, uses_left: Some(0), ends: None }),
            Ok((Some(answer), date)) => {
                let info = answer.data?;
                // Vault writes the year 1 for one that does not end.
                let at = info.expiration_time.parse::<Timestamp>().ok().filter(|at| *at > Timestamp::UNIX_EPOCH);
                let ends = at.and_then(|at| {
                    let left = at.duration_since(date.unwrap_or_else(Timestamp::now));
                    let here = Instant::now().checked_add(left.try_into().unwrap_or_default())?;
                    Some(End { at, here })
                });
                Some(Known {
                    source,
                    uses_left: (info.secret_id_num_uses > 0).then_some(info.secret_id_num_uses),
                    ends,
                })
            }
            Err(_) => None,
        }
    }

    fn read(&self) -> Result<SecretString, Trouble> {
        let (name, missing): (_, fn(&'static str) -> Trouble) = match self.method() {
            Method::Token | Method::Owned => (TOKEN_FILE, Trouble::NoToken),
            Method::AppRole => (SECRET_ID_FILE, Trouble::NoSecretId),
        };
        let (directory, name) = match &self.means {
            Means::Held(secret) | Means::Owned(secret) => return Ok(secret.clone()),
            Means::Mounted(directory) => (directory.as_path(), name),
            Means::File(file) | Means::OwnedFile(file) => {
                let name = file.file_name().and_then(|name| name.to_str());
                file.parent().zip(name).ok_or_else(|| missing("its file has no name that is text"))?
            }
        };
        let snapshot = read_set(directory, &[name], MAX_BYTES).map_err(|_| missing("its file changes too fast"))?;
        let bytes = match snapshot.files.get(name) {
            Some(FileContent::Bytes(bytes)) => bytes,
            Some(FileContent::TooLarge) => return Err(missing("its file is too large")),
            Some(FileContent::Unreadable(_)) => return Err(missing("its file can't be read")),
            None => return Err(missing("its file is missing")),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| missing("its file is not text"))?.trim();
        if text.is_empty() {
            return Err(missing("its file is empty"));
        }
        Ok(SecretString::from(text))
    }
}

fn fingerprint(secret: &SecretString) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    let hash = digest(&SHA256, secret.expose_secret().as_bytes());
    fingerprint.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    fingerprint
}
