//! HashiCorp Vault, and OpenBao, over their HTTP API.
//!
//! ```text
//! tools/ ─▶ paths (mount, rules) ─▶ session (token; is it bad, or a permission missing?) ─▶ client ─▶ outbound
//! probe ───────────────────────────────▲                 error (an agent's words) ◀───────┘
//! ```
//!
//! *Identity.* A `token` read from the credential files, or one that is logged in for with AppRole (`login.rs`). A call
//! that Vault answers with 403 is followed by one `lookup-self`, which tells a bad token from a missing permission; a
//! bad token has the files read again, and the call is tried once more with a newer one.
//!
//! *What is answered.* Names of keys, never values, unless `releaseValues` of the manifest names path and key. On KV
//! version 2 the names come from `subkeys`, so the values don't leave Vault; on version 1 they are dropped while the
//! answer is being read. Credentials that Vault makes for others (dynamic secrets, wrapped answers) are not offered at
//! all.
//!
//! *Limits.* Vault publishes no rate limits; its operator may set quotas (429, often without `Retry-After`). A probe
//! makes three requests: `sys/health`, `lookup-self`, and one about permissions.
//!
//! *Policy that the token needs*, beside `default`, for secrets below `secret/apps`:
//!
//! ```hcl
//! path "secret/data/apps/*"     { capabilities = ["read"] }
//! path "secret/subkeys/apps/*"  { capabilities = ["read"] }
//! path "secret/metadata/apps/*" { capabilities = ["read", "list"] }
//! ```

mod error;
mod login;
mod names;
mod paths;
mod permission;
mod probe;
mod session;
#[cfg(test)]
mod tests;
mod tools;
mod wire;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use self::{
    login::Login,
    paths::{Location, Mounts, Rules},
    session::{Session, Token},
};
use ::tools::{ErrorCode, ToolEntry, ToolError};
use api::platform::{Declaration, PlatformSpec, vault::VaultSpec};
use kit::{
    ConnectError, Platform, PlatformEnvironment, ProbeReport,
    links::{Home, Link},
};
use outbound::{Outbound, OutboundError, OutboundState};
use vault_api::client::{self, Client, Error};

/// Time for which the list of mounts is believed.
const MOUNTS_AGE: Duration = Duration::from_mins(5);
/// Age from which the list of mounts is asked for again because a mount is not on it.
const MOUNTS_MIN_AGE: Duration = Duration::from_secs(5);

/// A Vault server, as one identity sees it.
pub struct Vault {
    session: Session,
    rules: Rules,
    /// Its namespace, without slashes around it; none in the one at the root.
    namespace: Option<String>,
    /// Where its pages are, of which people paste links.
    home: Home,
    mounts: Mutex<Option<KnownMounts>>,
    /// When the token of a generation ends, as Vault said last: after that a refusal means that it has ended.
    ending: Mutex<Option<probe::Ending>>,
}

struct KnownMounts {
    generation: u64,
    asked: Instant,
    mounts: Arc<Mounts>,
}

/// Makes the client of `spec.platform.vault`. No connection is made.
///
/// # Errors
/// When the spec has no such platform, or the URL, the CA bundle or the proxy can't be used.
pub fn connect(spec: &PlatformSpec, environment: PlatformEnvironment) -> Result<Arc<dyn Platform>, ConnectError> {
    let spec = spec.vault.as_ref().ok_or(ConnectError::NoPlatform)?;
    Ok(Arc::new(Vault::connect(spec, environment)?))
}

impl Vault {
    /// Makes the client. No connection is made.
    ///
    /// # Errors
    /// When the URL, the namespace, the CA bundle or the proxy can't be used.
    fn connect(spec: &VaultSpec, environment: PlatformEnvironment) -> Result<Self, ConnectError> {
        let endpoint = spec.endpoint(environment.addresses).map_err(ConnectError::Endpoint)?;
        let home = Home::new(spec.title(), &endpoint.host, &[]);
        let settings = environment.way_to(endpoint, "vault", client::verdict);
        let outbound = Outbound::new(settings).map_err(ConnectError::Outbound)?;
        let client = Client::new(outbound, spec.namespace.as_deref())
            .map_err(|_| ConnectError::Outbound(OutboundError::Client))?;
        let app_role = spec.auth.as_ref().and_then(|auth| auth.app_role.as_ref());
        let login = app_role
            .map(|role| Login::app_role(client.clone(), role.mount.as_deref().unwrap_or(login::APP_ROLE_MOUNT)));
        Ok(Self {
            session: Session::new(client, environment.credentials, login),
            rules: Rules::new(spec.paths.as_ref(), spec.release_values.as_ref()),
            home,
            namespace: spec.namespace.as_deref().and_then(plain_namespace),
            mounts: Mutex::new(None),
            ending: Mutex::new(None),
        })
    }

    /// The mounts that a token sees, if they are known and not too old.
    fn known_mounts(&self, token: &Token, max_age: Duration) -> Option<Arc<Mounts>> {
        let known = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().filter(|known| known.generation == token.generation)?;
        (known.asked.elapsed() < max_age).then(|| Arc::clone(&known.mounts))
    }

    /// Asks for the mounts that a token sees, and keeps the answer.
    async fn fetch_mounts(&self, token: &Token, deadline: Instant) -> Result<Arc<Mounts>, Error> {
        let mounts = Arc::new(Mounts::from(self.session.visible_mounts(token, deadline).await?));
        let known = KnownMounts { generation: token.generation, asked: Instant::now(), mounts: Arc::clone(&mounts) };
        *self.mounts.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(mounts)
    }

    /// The mounts, for a tool: a refused token is tried again with newer credentials.
    async fn mounts(&self, max_age: Duration, deadline: Instant) -> Result<Arc<Mounts>, Error> {
        let token = self.session.token(deadline).await?;
        if let Some(known) = self.known_mounts(&token, max_age) {
            return Ok(known);
        }
        match self.fetch_mounts(&token, deadline).await {
            Err(refused) if refused.may_be_the_token() => {
                let token = match self.session.replace(&token, deadline).await {
                    // The token is good, and Vault has no policy that closes this path.
                    Err(Error::Forbidden(_)) => return Err(Error::MountsClosed),
                    outcome => outcome?,
                };
                self.fetch_mounts(&token, deadline).await
            }
            outcome => outcome,
        }
    }

    /// Where a secret lies, by mounts that were asked for so long ago at most. A mount that is not known is looked for once
    /// more, in case it is new.
    async fn located(
        &self,
        path: &str,
        mount: Option<&str>,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Location, ToolError> {
        self.home.check(path, "path")?;
        if let Some(named) = Link::read(path).and_then(|link| link.query("namespace").map(ToOwned::to_owned))
            && plain_namespace(&named) != self.namespace
        {
            return Err(ToolError::invalid_argument(
                "path is a link to another namespace of Vault than the connector's",
            )
            .with_argument("path")
            .with_remedy(
                "use a connector for that namespace; spec.platform.vault.namespace says which one a connector has",
            ));
        }
        let asked = |error: &Error| error::to_tool_error(error, "list mounts", "sys/internal/ui/mounts", "read");
        let mounts = self.mounts(max_age, deadline).await.map_err(|error| asked(&error))?;
        match paths::locate(&mounts, path, mount) {
            Err(refused) if matches!(refused.code, ErrorCode::NotFound | ErrorCode::PermissionDenied) => {
                let mounts = self.mounts(max_age.min(MOUNTS_MIN_AGE), deadline).await.map_err(|error| asked(&error))?;
                paths::locate(&mounts, path, mount)
            }
            outcome => outcome,
        }
    }

    /// Where a secret lies that is to be changed. The mounts are asked for anew: a KV engine that was made anew with the other
    /// version takes a write for the other one as one to another path.
    async fn locate_now(&self, path: &str, mount: Option<&str>, deadline: Instant) -> Result<Location, ToolError> {
        let location = self.located(path, mount, Duration::ZERO, deadline).await?;
        match location.linked {
            None => Ok(location),
            Some(version) => Err(ToolError::invalid_argument(format!(
                "path is a link to version {version} of the secret, and whether that version alone is meant is not known"
            ))
            .with_argument("path")
            .with_remedy(format!("pass {} as path, and versions by their own argument", location.full()))),
        }
    }

    /// Does something with a secret's place; once more where nothing is there and the mounts have changed since they were
    /// asked for.
    async fn at<T, F: Future<Output = Result<T, ToolError>>>(
        &self,
        path: &str,
        mount: Option<&str>,
        deadline: Instant,
        work: impl Fn(Location) -> F,
    ) -> Result<T, ToolError> {
        let location = self.located(path, mount, MOUNTS_AGE, deadline).await?;
        let failed = match work(location.clone()).await {
            // That an engine keeps no versions, or has another version, may be what it was like before, too.
            Err(error)
                if matches!(error.code, ErrorCode::NotFound | ErrorCode::Conflict | ErrorCode::InvalidArgument) =>
            {
                error
            }
            outcome => return outcome,
        };
        match self.located(path, mount, MOUNTS_MIN_AGE, deadline).await {
            Ok(now) if now != location => work(now).await,
            _ => Err(failed),
        }
    }
}

/// A namespace without slashes around it; none for the one at the root, as for [`Client::new`].
fn plain_namespace(name: &str) -> Option<String> {
    Some(name.trim_matches('/')).filter(|name| !name.is_empty() && *name != "root").map(ToOwned::to_owned)
}

#[async_trait]
impl Platform for Vault {
    fn tools(self: Arc<Self>) -> Vec<ToolEntry> {
        tools::entries(&self)
    }

    async fn probe(&self, timeout: Duration) -> ProbeReport {
        probe::probe(self, Instant::now() + timeout).await
    }

    fn credentials_expiry(&self) -> Option<jiff::Timestamp> {
        if self.session.logs_in() { None } else { self.ends_at() }
    }

    fn outbound(&self) -> Vec<OutboundState> {
        vec![self.session.outbound()]
    }

    async fn close(&self) {
        self.session.close().await;
    }

    fn check_tool(&self) -> &'static str {
        error::WAY.check_tool
    }

    fn instructions(&self) -> String {
        "Secrets of a HashiCorp Vault. Paths are the mount followed by the path in it, without data/ or metadata/, \
         such as secret/apps/web; list_vault_mounts tells the mounts, list_vault_secrets what is in them. \
         read_vault_secret answers the names of keys; a value only for a key that the connector's manifest releases, \
         and then one at a time. When something is refused, check_vault_capabilities tells whether Vault's policies \
         are the cause. Tools that write first answer what they would do; they never answer the values they write, \
         and write_vault_secret can have a value generated so that it never passes through you."
            .to_owned()
    }
}
