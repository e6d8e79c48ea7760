//! What can be in an agent's way: what a person reads of it, the reason for the condition, and how soon it is worth trying
//! again.

use std::{io, time::Duration};

use tokio::time::Instant;

use api::Reason;
use outbound::{RequestError, Seldom};
use vault_api::{
    client::{Error, Gone, LoginFault},
    token,
};

/// What is in an agent's way. Holds nothing that Vault wrote, and no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(
        "there is nothing to log in to Vault with: {0}; make the Secret that spec.vault.auth.appRole.secretId of the \
         CredentialSource names"
    )]
    NoSecretId(&'static str),
    #[error("there is nothing to log in to Vault with: {0}")]
    NoToken(&'static str),
    #[error("{0}")]
    LoginRefused(&'static str),
    #[error("Vault {0} (403): {1}")]
    TokenRefused(&'static str, &'static str),
    #[error("{0}; make a new secret id and put it into the Secret that the CredentialSource names")]
    SecretIdOver(String),
    #[error(
        "the wrapping token of the secret id was used before, or its time is over: make a new one. If nobody should have \
         used it, somebody else has the secret id: revoke it"
    )]
    WrappingConsumed,
    #[error(
        "the wrapping token was not made at the path in spec.vault.auth.appRole.wrapping.creationPath, so it was not \
         unwrapped: correct the path, or find out who put the token there"
    )]
    WrappingMismatch,
    #[error(
        "Vault doesn't let the agent {capability} {path} (403): a policy of its role needs path {path:?} {{ \
         capabilities = [{capability:?}] }}, without terms that the request doesn't meet (parameters, min_wrapping_ttl)"
    )]
    Forbidden { path: String, capability: &'static str },
    #[error(
        "Vault has nothing at {path}: correct the path (or version, the KV engine's) in the CredentialSource, or put the secret \
         there"
    )]
    NotFound { path: String },
    #[error(
        "Vault has nothing at {path}: {mount} is a KV engine of version {is}, so set version: {is} in the CredentialSource"
    )]
    OtherVersion { path: String, mount: String, is: u8 },
    #[error(
        "the newest version of {path} in Vault, {version}, was deleted{at}: restore it (vault kv undelete), or write another"
    )]
    Deleted { path: String, version: u64, at: String },
    #[error("the newest version of {path} in Vault, {version}, is destroyed: write another")]
    Destroyed { path: String, version: u64 },
    #[error("Vault has no engine with the path {path}: correct the path or the mount in the CredentialSource")]
    NoRoute { path: String },
    #[error("Vault has no such role at {path}: correct the path in the CredentialSource, or make the role")]
    UnknownRole { path: String },
    #[error("{path} in Vault has no key {key:?} that is a text: correct the key in the CredentialSource, or add it")]
    NoKey { path: String, key: String },
    #[error(
        "{path} in Vault has a number in {key:?} with more digits than KV version 2 answers, so it may be another one: keep it \
         as a text"
    )]
    Rounded { path: String, key: String },
    #[error("{path} in Vault holds more than {limit} bytes in the keys that are asked for")]
    TooLarge { path: String, limit: usize },
    #[error(
        "Vault refuses the request to {path} (400), and why is not known: it may be the path or its parameters in the \
         CredentialSource, or the system behind the engine; Vault's log has its words"
    )]
    BadRequest { path: String },
    #[error("Vault, or the namespace, is sealed: an administrator must unseal it")]
    Sealed,
    #[error("Vault gives no usable answer: {0}")]
    Outage(#[source] Error),
    #[error("the credentials can't be written into the pod's memory: {0}")]
    Write(io::ErrorKind),
    #[error("the agent can't use its configuration: {0}")]
    CannotBegin(String),
    #[error(
        "the agent met a fault of its own and begins anew; what its log says of it (container `agent`) belongs into a bug \
         report"
    )]
    Panicked,
}

/// How an agent logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// With a token that Vault verifies (`kubernetes`, `jwt`).
    Token,
    /// With a role id and a secret id.
    AppRole,
    /// Not at all: somebody lends a token of Vault.
    Owned,
}

/// How soon something is worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It passes by itself.
    Outage,
    /// Somebody has to change something in Vault, and trying costs nothing.
    Change,
    /// Each try logs in anew, or asks for what can be had once.
    Sparing,
    /// Vault counts the failures of the identity, and locks it out.
    Counted,
}

impl Trouble {
    /// What an answer to a call with a good token means.
    pub(super) fn of(error: Error, path: &str, capability: &'static str) -> Self {
        let path = path.to_owned();
        match error {
            Error::Sealed | Error::NamespaceSealed => Self::Sealed,
            Error::Forbidden(_) | Error::TokenRejected => Self::Forbidden { path, capability },
            Error::NotFound => Self::NotFound { path },
            Error::VersionGone(Gone { version, destroyed: true, .. }) => Self::Destroyed { path, version },
            Error::VersionGone(Gone { version, deleted_at, .. }) => {
                let at = deleted_at.and_then(|at| at.parse::<jiff::Timestamp>().ok());
                Self::Deleted { path, version, at: at.map(|at| format!(" at {at}")).unwrap_or_default() }
            }
            Error::NoRoute | Error::Unsupported => Self::NoRoute { path },
            Error::UnknownRole => Self::UnknownRole { path },
            Error::BadRequest => {
                tell_unknown(400);
                Self::BadRequest { path }
            }
            other => Self::outage(other),
        }
    }

    fn outage(error: Error) -> Self {
        if let Error::Status(status) = error {
            tell_unknown(status);
        }
        Self::Outage(error)
    }

    /// What came of a login.
    pub(super) fn of_login(error: Error, method: Method) -> Self {
        match (error, method) {
            (Error::LoginRefused(LoginFault::Rejected), Method::AppRole) => Self::LoginRefused(
                "Vault doesn't know the role id or the secret id (400): it may be used up, ended, or for another mount",
            ),
            (Error::LoginRefused(LoginFault::Rejected), _) => Self::LoginRefused(
                "Vault doesn't know the role, or doesn't accept the token for it (400): check role and mount in the \
                 CredentialSource, and audience and subject in the role",
            ),
            (Error::LoginRefused(LoginFault::Denied), Method::AppRole) => Self::LoginRefused(
                "Vault doesn't let the role in (403), and doesn't say why: not from this address, or there is no \
                 such auth method in that namespace, or it is off, or the identity entity is disabled, or failed logins \
                 have locked the role out for 15 minutes",
            ),
            (Error::LoginRefused(LoginFault::Address), _) => Self::LoginRefused(
                "Vault doesn't let the role or its secret id in from this address (400): look at the CIDR lists of both",
            ),
            (Error::LoginRefused(LoginFault::Denied), _) => Self::LoginRefused(
                "Vault doesn't let the token in (403), and doesn't say why: the role must be bound to its subject (in a pod, the connector's \
                 ServiceAccount), namespace and audience, the auth method must be there in that namespace of Vault and be \
                 on, the identity entity must not be disabled, and the method kubernetes must be able to review tokens at \
                 the cluster's API server",
            ),
            (Error::LoginRefused(LoginFault::SecondFactor), _) => Self::LoginRefused(
                "Vault gives no token without a second factor (login MFA), which an agent doesn't have: leave the auth method, \
                 or the identity's group or entity, out of the login enforcement",
            ),
            (Error::UnknownNamespace, _) => Self::LoginRefused(
                "Vault has no such namespace: correct spec.vault.namespace of the CredentialSource, or make it",
            ),
            (Error::TokenRejected, Method::Owned) => {
                Self::TokenRefused("doesn't know the token, so log in anew", token::GONE)
            }
            (Error::Forbidden(_) | Error::TokenBarred, Method::Owned) => {
                Self::TokenRefused("refuses the token, and doesn't say why", token::BARRED)
            }
            (Error::Sealed | Error::NamespaceSealed, _) => Self::Sealed,
            (other, _) => Self::outage(other),
        }
    }

    /// The reason for the condition.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::NoSecretId(_)
            | Self::NoToken(_)
            | Self::LoginRefused(_)
            | Self::TokenRefused(..)
            | Self::SecretIdOver(_) => Reason::VaultLoginFailed,
            Self::WrappingConsumed => Reason::WrappedSecretConsumed,
            Self::WrappingMismatch => Reason::WrappedSecretMismatch,
            Self::Forbidden { .. } | Self::Outage(Error::AwaitsApproval) => Reason::VaultPermissionMissing,
            Self::NotFound { .. }
            | Self::OtherVersion { .. }
            | Self::Deleted { .. }
            | Self::Destroyed { .. }
            | Self::NoRoute { .. }
            | Self::UnknownRole { .. }
            | Self::NoKey { .. }
            | Self::Rounded { .. }
            | Self::TooLarge { .. }
            | Self::Outage(Error::UnknownNamespace) => Reason::VaultSecretNotFound,
            Self::Sealed => Reason::VaultSealed,
            Self::Outage(_) | Self::BadRequest { .. } => Reason::VaultUnreachable,
            Self::Write(_) => Reason::CredentialsNotWritten,
            Self::CannotBegin(_) | Self::Panicked => Reason::AgentFailed,
        }
    }

    /// How soon it is worth trying again.
    pub(super) fn patience(&self) -> Patience {
        match self {
            // Each try of what awaits approval asks for another one.
            Self::Outage(Error::AwaitsApproval | Error::UnknownNamespace)
            | Self::LoginRefused(_)
            | Self::TokenRefused(..)
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::OtherVersion { .. }
            | Self::Deleted { .. }
            | Self::Destroyed { .. }
            | Self::NoRoute { .. }
            | Self::UnknownRole { .. }
            | Self::NoKey { .. }
            | Self::Rounded { .. }
            | Self::TooLarge { .. }
            | Self::BadRequest { .. }
            | Self::CannotBegin(_) => Patience::Change,
            Self::Sealed | Self::Outage(_) | Self::Write(_) | Self::NoSecretId(_) | Self::NoToken(_) => {
                Patience::Outage
            }
            // A new agent logs in anew.
            Self::SecretIdOver(_) | Self::WrappingConsumed | Self::WrappingMismatch | Self::Panicked => {
                Patience::Sparing
            }
        }
    }

    /// The wait that Vault asks for.
    fn at_least(&self) -> Duration {
        match self {
            Self::Outage(Error::Quota(wait) | Error::Throttled(wait)) => wait.unwrap_or_default(),
            Self::Outage(Error::Request(RequestError::TooFast(wait) | RequestError::CircuitOpen(wait))) => *wait,
            _ => Duration::ZERO,
        }
    }
}

/// Says in the log that Vault refused, or failed, in a way for which there are no words here: once a minute and status.
/// Its text is not logged, because it may hold anything.
fn tell_unknown(status: u16) {
    static LOGGED: Seldom<u16> = Seldom::new();
    if LOGGED.is_due(status) {
        tracing::info!(status, "Vault refuses a request for a reason that is not known here");
    }
}

/// Waits that grow while something goes on failing, and never without an end.
#[derive(Debug, Default)]
pub(super) struct Rest {
    failures: u32,
    since: Option<Instant>,
    until: Option<Instant>,
    /// What was in the way last.
    pub(super) trouble: Option<Trouble>,
}

/// The longest wait while Vault can't be asked.
const LONGEST_OUTAGE: Duration = Duration::from_secs(30);
/// The longest wait while somebody has to change something.
const LONGEST_CHANGE: Duration = Duration::from_mins(5);
/// Time in which a change is looked for often, because whoever makes it is at it.
const AT_IT: Duration = Duration::from_mins(1);
/// The longest wait in that time.
const LONGEST_AT_IT: Duration = Duration::from_secs(4);
/// Tries of what is to be done sparingly before there is one in five minutes only.
const SPARING_TRIES: u32 = 3;
/// The longest wait where Vault counts the failures; jitter leaves [`token::LOCKOUT_PAUSE`] of it.
const LONGEST_COUNTED: Duration = Duration::from_mins(20);

impl Rest {
    /// Whether it is too early for another try.
    pub(super) fn is_on(&self) -> bool {
        self.until.is_some_and(|until| until > Instant::now())
    }

    /// When the next try is due; none where nothing failed.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// It went well.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Something has changed that a try may depend on: the next one is due now.
    pub(super) fn cut_short(&mut self) {
        (self.failures, self.since) = (0, None);
        if self.until.is_some() {
            self.until = Some(Instant::now());
        }
    }

    /// It failed. A login with a secret id is tried sparingly.
    pub(super) fn after(&mut self, trouble: Trouble, sparing: bool) {
        let now = Instant::now();
        let patience = match trouble.patience() {
            Patience::Change if sparing => Patience::Counted,
            patience => patience,
        };
        // Another kind of trouble begins anew.
        if self.trouble.as_ref().is_some_and(|old| old.reason() != trouble.reason()) {
            (self.failures, self.since) = (0, None);
        }
        self.failures = self.failures.saturating_add(1);
        let lasting = now - *self.since.get_or_insert(now);
        let wait = pause(patience, self.failures, lasting).mul_f64(rand::random_range(0.8..=1.0));
        self.until = Some(now + wait.max(trouble.at_least()));
        self.trouble = Some(trouble);
    }
}

/// The wait after so many failures in a row, of which the first was so long ago.
fn pause(patience: Patience, failures: u32, lasting: Duration) -> Duration {
    let doubled = Duration::from_secs(1 << failures.saturating_sub(1).min(16));
    match patience {
        Patience::Outage => doubled.min(LONGEST_OUTAGE),
        Patience::Change if lasting < AT_IT => doubled.min(LONGEST_AT_IT),
        Patience::Change => (lasting / 4).min(LONGEST_CHANGE),
        Patience::Sparing if failures < SPARING_TRIES => doubled * 2,
        Patience::Sparing => LONGEST_CHANGE,
        Patience::Counted if failures < token::REJECTED_LOGINS => doubled * 2,
        Patience::Counted => LONGEST_COUNTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_become_rarer_and_never_end() {
        let mut rest = Rest::default();
        let began = Instant::now();
        let mut tries = Vec::new();
        while began.elapsed() < Duration::from_hours(24) {
            rest.after(Trouble::Forbidden { path: "a".into(), capability: "read" }, false);
            tokio::time::sleep_until(rest.until().unwrap()).await;
            tries.push(began.elapsed());
        }
        let gaps: Vec<Duration> = tries.windows(2).map(|pair| pair[1].abs_diff(pair[0])).collect();
        let early = tries.iter().take_while(|at| **at < AT_IT).count();
        assert!(gaps[..early - 1].iter().all(|gap| *gap <= LONGEST_AT_IT), "{gaps:?}");
        assert!(gaps.iter().all(|gap| *gap <= LONGEST_CHANGE));
        assert!(gaps.last().unwrap() >= &Duration::from_mins(4));
        assert!(tries.len() < 420, "{}", tries.len());
    }

    #[tokio::test(start_paused = true)]
    async fn what_vault_counts_is_tried_twice_and_then_seldom() {
        let waits = |sparing, patience: fn() -> Trouble| {
            let mut rest = Rest::default();
            (0..5)
                .map(|_| {
                    rest.after(patience(), sparing);
                    (rest.until().unwrap() - Instant::now()).as_secs_f64()
                })
                .collect::<Vec<_>>()
        };
        let refused = waits(true, || Trouble::LoginRefused("no"));
        let pause = token::LOCKOUT_PAUSE.as_secs_f64();
        assert!(refused[0] <= 2.0 && refused[1..].iter().all(|wait| (pause..=1_200.0).contains(wait)), "{refused:?}");
        let anew = waits(false, || Trouble::Panicked);
        assert!(anew[0] <= 2.0 && anew[1] <= 4.0 && anew[2] >= 240.0 && anew[4] <= 300.0, "{anew:?}");
        let sealed = waits(true, || Trouble::Sealed);
        assert!(sealed.iter().all(|wait| *wait <= 30.0), "{sealed:?}");
        let quota = waits(false, || Trouble::Outage(Error::Quota(Some(Duration::from_secs(77)))));
        assert!((quota[0] - 77.0).abs() < 0.1, "{quota:?}");
    }

    #[test]
    fn what_somebody_has_to_change_is_no_outage() {
        for (error, reason, patience) in [
            (Error::AwaitsApproval, "VaultPermissionMissing", Patience::Change),
            (Error::UnknownNamespace, "VaultSecretNotFound", Patience::Change),
            (Error::NamespaceSealed, "VaultSealed", Patience::Outage),
            (Error::Overloaded, "VaultUnreachable", Patience::Outage),
        ] {
            let trouble = Trouble::of(error, "secret/data/a", "read");
            assert_eq!((trouble.reason().as_str(), trouble.patience()), (reason, patience), "{trouble}");
        }
        for (error, reason, patience, part) in [
            (Error::LoginRefused(LoginFault::Address), "VaultLoginFailed", Patience::Change, "(400): look at the CIDR"),
            (Error::UnknownNamespace, "VaultLoginFailed", Patience::Change, "spec.vault.namespace"),
            (Error::NamespaceSealed, "VaultSealed", Patience::Outage, "namespace, is sealed"),
        ] {
            let trouble = Trouble::of_login(error, Method::AppRole);
            assert_eq!((trouble.reason().as_str(), trouble.patience()), (reason, patience), "{trouble}");
            assert!(trouble.to_string().contains(part), "{trouble}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_trouble_begins_anew_and_a_change_cuts_the_rest_short() {
        let mut rest = Rest::default();
        for _ in 0..8 {
            rest.after(Trouble::Sealed, false);
        }
        rest.after(Trouble::NotFound { path: "a".into() }, false);
        assert!(rest.is_on() && rest.until().unwrap() <= Instant::now() + Duration::from_secs(1));
        rest.cut_short();
        assert!(!rest.is_on());
        rest.end();
        assert!(rest.trouble.is_none() && rest.until().is_none());
    }
}
