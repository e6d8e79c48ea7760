//! What the operator changes by itself, rolled out to a few connectors at a time: a new version brings a new image, and
//! without this every pod of the cluster would be replaced at once. The state machine knows connectors by their uid and
//! sees no Kubernetes API; `connector/rollout.rs` tells it what it sees, and asks it for turns.
//!
//! ```text
//! waiting (oldest first) ─▶ running, so many at a time ─▶ settled, as soon as it is Ready
//!                                                     └─▶ failed, if it isn't in time: so many stop the waiting
//! ```

use std::{
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

/// Who has waited without asking again for so long is passed over: it is gone, or can't be reconciled.
const STALE: SignedDuration = SignedDuration::from_mins(10);

/// A number of connectors, or a share of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded up.
    Percent(u32),
}

/// Why a share can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a number of connectors from 1 to 10000, such as 5, or a share of all of them from 1% to 100%, such as 10%"
)]
pub struct ShareError;

impl Share {
    /// How many that is of `all`; at least one.
    #[must_use]
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => all.saturating_mul(usize::try_from(percent).unwrap_or(100)).div_ceil(100),
        }
        .max(1)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (number, make, most): (&str, fn(u32) -> Self, u32) = match text.strip_suffix('%') {
            Some(number) => (number, Self::Percent, 100),
            None => (text, Self::Count, 10_000),
        };
        let number = number.parse().ok().filter(|number| (1..=most).contains(number)).ok_or(ShareError)?;
        Ok(make(number))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Bounds of a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connectors whose pods are being replaced at a time.
    pub max_concurrent: Share,
    /// Connectors that don't become Ready before no other gets its turn.
    pub max_failures: Share,
    /// Time that a connector has for each of its replicas, which are replaced one after the other.
    pub ready_timeout: Duration,
}

/// Where a connector stands in the line: the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the connector was created.
    pub created: Option<Timestamp>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A connector that asks for its turn.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// Where it stands in the line.
    pub place: Place,
    /// Whether it was Ready; only then can the roll-out be to blame if it isn't afterwards.
    pub was_ready: bool,
    /// Time that it has to become Ready.
    pub deadline: SignedDuration,
}

/// The answer to who asks for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may be changed.
    Now,
    /// Others come first.
    Later,
    /// Nobody gets a turn, because too many did not become Ready.
    Stopped,
}

/// A connector that isn't to be changed any more.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// When it was changed while it was Ready, as its Deployment remembers, also across restarts of the operator.
    pub since: Option<Timestamp>,
    /// Time that it has to become Ready.
    pub deadline: SignedDuration,
    /// Whether it is Ready.
    pub is_ready: bool,
    /// When that changed last.
    pub ready_changed: Option<Timestamp>,
}

/// How it goes with a connector that isn't to be changed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is none of this roll-out's business, or has got through.
    Settled,
    /// It has time yet to become Ready.
    Running,
    /// Its time is up. `first` when it is seen for the first time.
    Failed {
        /// Whether that wasn't told before.
        first: bool,
    },
}

/// How many connectors are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Those that wait for their turn.
    pub pending: usize,
    /// Those that have time yet to become Ready.
    pub running: usize,
    /// Those that did not become Ready in time.
    pub failed: usize,
    /// Whether nobody gets a turn.
    pub stopped: bool,
}

#[derive(Clone, Debug, Default)]
enum Phase {
    #[default]
    Settled,
    Waiting {
        place: Place,
        asked: Timestamp,
    },
    Running {
        until: Timestamp,
        was_ready: bool,
    },
    Failed,
}

#[derive(Debug, Default)]
struct Entry {
    phase: Phase,
    /// Turns that came to nothing because the change could not be written. Whoever has had more stands further behind.
    turns: u32,
    /// The roll-out that it has got through, so that what becomes of it later isn't blamed on that.
    through: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Registry {
    connectors: HashMap<String, Entry>,
    /// Whether every connector was looked at in this process. Before, nobody knows who runs and who is older.
    is_complete: bool,
    stopped: bool,
}

impl Registry {
    fn figures(&self, limits: Limits, now: Timestamp) -> Figures {
        let mut figures = Figures::default();
        for entry in self.connectors.values() {
            match &entry.phase {
                Phase::Waiting { .. } => figures.pending += 1,
                Phase::Running { until, .. } if now < *until => figures.running += 1,
                Phase::Running { was_ready: true, .. } | Phase::Failed => figures.failed += 1,
                Phase::Running { was_ready: false, .. } | Phase::Settled => {}
            }
        }
        figures.stopped = figures.pending > 0 && figures.failed >= limits.max_failures.of(self.connectors.len());
        figures
    }
}

/// Who is where in the roll-out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rollout {
    limits: Limits,
    registry: Arc<Mutex<Registry>>,
}

impl Rollout {
    /// A roll-out of which nobody is known yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, registry: Arc::default() }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connector was looked at, with whatever result.
    pub fn seen(&self, uid: &str) {
        let mut registry = self.registry();
        if !registry.connectors.contains_key(uid) {
            registry.connectors.insert(uid.to_owned(), Entry::default());
        }
    }

    /// A connector can't be changed now, for reasons of its own: it holds up nobody.
    pub fn leave(&self, uid: &str) {
        if let Some(entry) = self.registry().connectors.get_mut(uid) {
            entry.phase = Phase::Settled;
        }
    }

    /// Asks for a turn. `known` tells the uids of all connectors that there are.
    pub fn ask(&self, candidate: &Candidate<'_>, known: impl FnOnce() -> Vec<String>, now: Timestamp) -> Turn {
        let mut guard = self.registry();
        let registry = &mut *guard;
        let entry = registry.connectors.entry(candidate.uid.to_owned()).or_default();
        if let Phase::Running { until, .. } = entry.phase {
            if now < until {
                // The change was not written yet.
                return Turn::Now;
            }
            entry.turns = entry.turns.saturating_add(1);
        }
        let own = (entry.turns, candidate.place.clone());
        entry.phase = Phase::Waiting { place: candidate.place.clone(), asked: now };
        if !registry.is_complete {
            registry.is_complete = known().iter().all(|uid| registry.connectors.contains_key(uid));
        }
        let figures = registry.figures(self.limits, now);
        if figures.stopped != registry.stopped {
            registry.stopped = figures.stopped;
            let Figures { pending, running, failed, .. } = figures;
            if figures.stopped {
                warn!(pending, running, failed, "roll-out stopped: too many connectors did not become Ready");
            } else {
                info!(pending, running, failed, "roll-out goes on");
            }
        }
        if figures.stopped {
            return Turn::Stopped;
        }
        if !registry.is_complete {
            return Turn::Later;
        }
        let ahead = registry.connectors.values().filter(|other| match &other.phase {
            Phase::Waiting { place, asked } => {
                (other.turns, place) < (own.0, &own.1) && now.duration_since(*asked) < STALE
            }
            _ => false,
        });
        let max = self.limits.max_concurrent.of(registry.connectors.len());
        if ahead.count() + figures.running >= max {
            return Turn::Later;
        }
        let until = now.saturating_add(candidate.deadline).unwrap_or(Timestamp::MAX);
        if let Some(entry) = registry.connectors.get_mut(candidate.uid) {
            entry.phase = Phase::Running { until, was_ready: candidate.was_ready };
        }
        Turn::Now
    }

    /// Tells how a connector does that isn't to be changed any more.
    pub fn follow(&self, uid: &str, changed: Changed, now: Timestamp) -> Progress {
        let Changed { since, deadline, is_ready, ready_changed } = changed;
        let after = |time: Timestamp| time.saturating_add(deadline).unwrap_or(Timestamp::MAX);
        let mut registry = self.registry();
        let entry = registry.connectors.entry(uid.to_owned()).or_default();
        let until = match (since, &entry.phase) {
            // A process that wasn't there: had it not become Ready, it would have ceased to be so much earlier.
            (Some(since), Phase::Settled) if ready_changed.is_some_and(|time| time > after(after(since))) => None,
            (Some(since), _) if entry.through != Some(since) => Some(after(since)),
            // It wasn't Ready before, so nothing can be blamed on it; it keeps its place among those that run for a while.
            (None, Phase::Running { until, was_ready: false }) => Some(*until),
            _ => None,
        };
        let (phase, progress) = match until {
            Some(until) if !is_ready && now < until => {
                (Phase::Running { until, was_ready: since.is_some() }, Progress::Running)
            }
            Some(_) if !is_ready && since.is_some() => {
                (Phase::Failed, Progress::Failed { first: !matches!(entry.phase, Phase::Failed) })
            }
            _ => (Phase::Settled, Progress::Settled),
        };
        if matches!(phase, Phase::Settled) {
            entry.through = since;
        }
        entry.phase = phase;
        entry.turns = 0;
        progress
    }

    /// How many connectors are where.
    #[must_use]
    pub fn figures(&self, now: Timestamp) -> Figures {
        self.registry().figures(self.limits, now)
    }

    /// Forgets connectors that are gone.
    pub fn forget_others(&self, living: &dyn Fn(&str) -> bool) {
        self.registry().connectors.retain(|uid, _| living(uid));
    }
}

#[cfg(test)]
mod tests;
