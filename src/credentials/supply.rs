//! What an agent that supplies the credential files leaves beside them: how it does, without any secret. The agent writes
//! it, `serve` reads it.

use std::{fs, io::Read, path::Path, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{api::Reason, files::DirectorySnapshot};

/// The file, in the directory of the credentials. Its name begins as those do that are not credentials.
pub const SUPPLY_FILE: &str = "..supply.json";

/// Bytes of the file that are read at most.
const MAX_BYTES: u64 = 16 * 1024;
/// Time by which an agent may be late before it counts as silent.
const TOLERATED_DELAY: Duration = Duration::from_mins(1);

/// How an agent does.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupplyState {
    /// It has not finished its first attempt.
    Starting,
    /// The files are what the source has, and will be.
    Serving,
    /// The files can be used, and the agent can't look after them now.
    Degraded,
    /// There are no files that can be used.
    Failing,
}

/// How an agent does, and since when.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Supply {
    /// How it does.
    pub state: SupplyState,
    /// Why, as a [`Reason`]; `Loaded` where all is well.
    pub reason: String,
    /// What is, and what to do. Never a value.
    pub message: String,
    /// Since when state and reason are these.
    pub since: Timestamp,
    /// When the files were written last; none before the first time.
    #[serde(default)]
    pub fetched: Option<Timestamp>,
    /// When the first of the credentials ends unless it is renewed; none if none ends.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// How often other credentials were written than before.
    #[serde(default)]
    pub rotations: u64,
    /// How often a token or a lease was renewed.
    #[serde(default)]
    pub renewals: u64,
    /// How often something failed.
    #[serde(default)]
    pub failures: u64,
    /// When it is going to do something next; none if never.
    #[serde(default)]
    pub next_attempt: Option<Timestamp>,
}

/// What somebody in this process supplies.
#[derive(Debug, Default)]
pub struct Supplied {
    /// The credentials, a file a field.
    pub files: DirectorySnapshot,
    /// How the agent does that fetches them; none where they are not fetched.
    pub supply: Option<Supply>,
}

impl Supply {
    /// Of an agent that has done nothing yet.
    #[must_use]
    pub fn starting(now: Timestamp) -> Self {
        Self {
            state: SupplyState::Starting,
            reason: Reason::Starting.as_str().to_owned(),
            message: String::new(),
            since: now,
            fetched: None,
            expires: None,
            rotations: 0,
            renewals: 0,
            failures: 0,
            next_attempt: None,
        }
    }

    /// Reads the file of a directory; nothing while there is none, or none that can be read.
    #[must_use]
    pub fn read(directory: &Path) -> Option<Self> {
        let file = fs::File::open(directory.join(SUPPLY_FILE)).ok()?;
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        serde_json::from_str(&text)
            .inspect_err(|_| tracing::warn!(file = SUPPLY_FILE, "the agent's state is not understood"))
            .ok()
    }

    /// As it is to be judged now: what has ended can't be used, and an agent that is late is not at work.
    #[must_use]
    pub fn as_seen(mut self, now: Timestamp) -> Self {
        let late = |next: Timestamp| next.checked_add(TOLERATED_DELAY).is_ok_and(|latest| latest < now);
        let silent = self.next_attempt.is_some_and(late);
        if silent {
            let since = self.next_attempt.unwrap_or(now);
            Reason::AgentSilent.as_str().clone_into(&mut self.reason);
            self.message = format!(
                "the agent that fetches the credentials has not worked since {since}; look at the container `agent` of \
                 the pod"
            );
            self.state = if self.fetched.is_some() { SupplyState::Degraded } else { SupplyState::Failing };
        }
        if self.expires.is_some_and(|end| end <= now) && self.state == SupplyState::Degraded {
            self.state = SupplyState::Failing;
            self.message.push_str("; the credentials have ended");
        }
        self
    }
}

/// Reason and message for `CredentialsLoaded`, from what the files amount to and how their agent does.
#[must_use]
pub fn judge(reason: Reason, message: String, supply: Option<&Supply>) -> (String, String) {
    let text = |reason: Reason| reason.as_str().to_owned();
    match supply {
        None if reason == Reason::NoFields => {
            (text(Reason::Starting), "the agent has not told yet how it does".to_owned())
        }
        Some(supply) if supply.state == SupplyState::Starting && reason == Reason::NoFields => {
            (text(Reason::Starting), supply.message.clone())
        }
        Some(supply) if supply.state == SupplyState::Failing => (supply.reason.clone(), supply.message.clone()),
        Some(supply) if supply.state == SupplyState::Degraded && reason == Reason::Loaded => {
            (text(reason), format!("{message}; {}", supply.message))
        }
        _ => (text(reason), message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn supply(state: SupplyState) -> Supply {
        Supply {
            state,
            reason: "VaultSealed".into(),
            message: "Vault is sealed".into(),
            since: at(100),
            fetched: Some(at(50)),
            expires: Some(at(1_000)),
            rotations: 1,
            renewals: 2,
            failures: 3,
            next_attempt: Some(at(500)),
        }
    }

    #[test]
    fn an_agent_that_is_late_is_silent_and_what_has_ended_cannot_be_used() {
        let seen = |now| supply(SupplyState::Degraded).as_seen(at(now));
        assert_eq!((seen(500).state, seen(500).reason.as_str()), (SupplyState::Degraded, "VaultSealed"));
        assert_eq!((seen(559).reason.as_str(), seen(561).reason.as_str()), ("VaultSealed", "AgentSilent"));
        assert_eq!(seen(999).state, SupplyState::Degraded);
        assert_eq!(seen(1_000).state, SupplyState::Failing);
        let new = Supply { fetched: None, ..supply(SupplyState::Starting) };
        assert_eq!(new.as_seen(at(600)).state, SupplyState::Failing);
    }

    #[test]
    fn the_agent_says_what_is_wrong_where_there_is_nothing_to_use() {
        let files = || (Reason::NoFields, "make the Secret".to_owned());
        let said = |supply: Option<&Supply>, (reason, message): (Reason, String)| judge(reason, message, supply);
        assert_eq!(said(None, files()).0, "Starting");
        assert_eq!(said(Some(&supply(SupplyState::Starting)), files()).0, "Starting");
        assert_eq!(said(Some(&supply(SupplyState::Failing)), files()).0, "VaultSealed");
        let loaded = || (Reason::Loaded, "token loaded".to_owned());
        let (reason, message) = said(Some(&supply(SupplyState::Degraded)), loaded());
        assert_eq!((reason.as_str(), message.as_str()), ("Loaded", "token loaded; Vault is sealed"));
        assert_eq!(said(Some(&supply(SupplyState::Serving)), loaded()).1, "token loaded");
        let missing = (Reason::FieldMissing, "key `token` is missing".to_owned());
        assert_eq!(said(Some(&supply(SupplyState::Serving)), missing).0, "FieldMissing");
    }

    #[test]
    fn a_file_that_is_no_state_is_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Supply::read(directory.path()), None);
        fs::write(directory.path().join(SUPPLY_FILE), "{").unwrap();
        assert_eq!(Supply::read(directory.path()), None);
        let state = supply(SupplyState::Serving);
        fs::write(directory.path().join(SUPPLY_FILE), serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(Supply::read(directory.path()), Some(state));
    }
}
