//! What an agent that supplies the credential files leaves beside them: how it does, without any secret. The agent writes
//! it, `serve` reads it.

use std::{fs, io::Read, path::Path, time::Duration};

use jiff::{SignedDuration, Timestamp, Unit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use api::Reason;
use files::DirectorySnapshot;

/// The file, in the directory of the credentials. Its name begins as those do that are not credentials.
pub const SUPPLY_FILE: &str = "..supply.json";

/// Bytes of the file that are read at most.
const MAX_BYTES: u64 = 16 * 1024;
/// Time by which an agent may be late before it counts as silent.
const TOLERATED_DELAY: Duration = Duration::from_mins(1);
/// By so much the node's clock must have been set forward or back before times are taken to mean others; less is how exactly
/// clocks are read.
const STEP: SignedDuration = SignedDuration::from_secs(2);

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

/// What the node's clocks showed at one moment. Agent and reader are on one node.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
#[serde(rename_all = "camelCase")]
struct Clocks {
    wall: Timestamp,
    /// Milliseconds since the node was started, sleep included. Nobody sets this one.
    uptime_ms: i64,
}

impl Clocks {
    fn now() -> Self {
        let uptime = clock_gettime(ClockId::Boottime);
        let uptime_ms = uptime.tv_sec.saturating_mul(1_000).saturating_add(uptime.tv_nsec / 1_000_000);
        Self { wall: Timestamp::now(), uptime_ms }
    }

    /// By how much the node's clock was set forward between two moments.
    fn step_until(self, later: Self) -> SignedDuration {
        let passed = SignedDuration::from_millis(later.uptime_ms.saturating_sub(self.uptime_ms));
        let step = later.wall.duration_since(self.wall).saturating_sub(passed);
        // A node that was started since has another uptime, and what was in its memory is gone.
        if passed.is_negative() || step.abs() < STEP {
            return SignedDuration::ZERO;
        }
        // In whole seconds, so that whoever reads twice reads the same.
        step.round(Unit::Second).unwrap_or(step)
    }
}

/// The file: a state, and when it was written.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    supply: Supply,
    #[serde(default)]
    clocks: Option<Clocks>,
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

    /// Reads the file of a directory; nothing while there is none, or none that can be read. Its times are those of the
    /// node's clock as it is now, even where that was set since.
    #[must_use]
    pub fn read(directory: &Path) -> Option<Self> {
        let file = fs::File::open(directory.join(SUPPLY_FILE)).ok()?;
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        let Written { supply, clocks } = serde_json::from_str(&text)
            .inspect_err(|_| tracing::warn!(file = SUPPLY_FILE, "the agent's state is not understood"))
            .ok()?;
        Some(supply.moved(clocks.map_or(SignedDuration::ZERO, |clocks| clocks.step_until(Clocks::now()))))
    }

    /// The text of the file, written now.
    ///
    /// # Errors
    /// None that is known: a state is JSON.
    pub fn to_file(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Written { supply: self.clone(), clocks: Some(Clocks::now()) })
    }

    fn moved(mut self, by: SignedDuration) -> Self {
        let times = [Some(&mut self.since), self.fetched.as_mut(), self.expires.as_mut(), self.next_attempt.as_mut()];
        for time in times.into_iter().flatten().filter(|_| !by.is_zero()) {
            *time = time.saturating_add(by).unwrap_or(*time);
        }
        self
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
    fn a_clock_that_is_set_changes_no_judgement() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let written = Supply {
            since: now,
            fetched: Some(now),
            expires: Some(now + SignedDuration::from_mins(5)),
            next_attempt: Some(now + SignedDuration::from_mins(2)),
            ..supply(SupplyState::Degraded)
        };
        // As a node wrote it whose clock was `ahead`, and has been set right since.
        let read = |ahead: SignedDuration| {
            let clocks = Clocks::now();
            let clocks = Clocks { wall: clocks.wall + ahead, ..clocks };
            let file = Written { supply: written.clone().moved(ahead), clocks: Some(clocks) };
            fs::write(directory.path().join(SUPPLY_FILE), serde_json::to_string(&file).unwrap()).unwrap();
            Supply::read(directory.path()).unwrap()
        };
        for hours in [-48, -1, 0, 1, 48] {
            let seen = read(SignedDuration::from_hours(hours));
            assert_eq!(seen, written, "{hours}");
            assert_eq!(seen.as_seen(now).reason, "VaultSealed", "{hours}");
        }
        // Time that has passed is no step.
        fs::write(directory.path().join(SUPPLY_FILE), written.to_file().unwrap()).unwrap();
        assert_eq!(Supply::read(directory.path()), Some(written.clone()));
        let (begin, hour) = (Clocks::now(), SignedDuration::from_hours(1));
        let later = Clocks { wall: begin.wall + hour, uptime_ms: begin.uptime_ms + 3_600_000 };
        assert_eq!(begin.step_until(later), SignedDuration::ZERO);
        assert_eq!(begin.step_until(Clocks { wall: begin.wall + hour, ..begin }), hour);
        // An uptime that has begun anew says nothing.
        assert_eq!(begin.step_until(Clocks { uptime_ms: -1, ..later }), SignedDuration::ZERO);
    }

    #[test]
    fn a_file_that_is_no_state_is_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Supply::read(directory.path()), None);
        fs::write(directory.path().join(SUPPLY_FILE), "{").unwrap();
        assert_eq!(Supply::read(directory.path()), None);
        let state = supply(SupplyState::Serving);
        fs::write(directory.path().join(SUPPLY_FILE), state.to_file().unwrap()).unwrap();
        assert_eq!(Supply::read(directory.path()), Some(state));
    }
}
