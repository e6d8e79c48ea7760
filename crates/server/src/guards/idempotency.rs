//! Calls that change something, made twice because the first one's answer was lost: the second is answered from what the
//! first one did, or is told that nobody knows, and acts only if a plan says on which state.
//!
//! With an `idempotency_key` a call is carried out once within ten minutes, however its answer fared. Without one, a call
//! is known by its caller, tool, arguments and plan, and is taken for the same only while it runs, or if its answer could
//! not be handed over, or if nobody knows how it ended: an agent that got an answer and calls again wants it twice.
//!
//! Each replica knows its own calls. Across replicas, and after a restart, a `plan` keeps a call from acting twice: it
//! names the state that it was made for, and the state is another one once the call has acted.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use tokio::{sync::watch, time::Instant};

use super::{Stopped, call_key::CallKey};
use tools::{ErrorCode, Fate, ToolError};

/// Calls that are remembered. The one that was looked at longest ago is forgotten first.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Time for which a call that has ended is remembered.
const KEPT_FOR: Duration = Duration::from_mins(10);
/// Bytes of an answer that is kept. Of a longer one is kept that there was one.
const MAX_TEXT: usize = 8 * 1024;
/// Calls that are forgotten with each call because their time is up, at most.
const FORGOTTEN_AT_ONCE: usize = 4;

/// How a call that changes something ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// It was carried out. Here is its answer, unless that must not or can't be kept.
    Done(Option<Arc<str>>),
    /// It was not carried out.
    Undone(Stopped),
    /// Nobody knows whether it was carried out. Here is what its caller was told.
    Unknown(ToolError),
    /// The same, because of a fault of the connector.
    Panicked,
}

impl Ending {
    /// The ending of a call with this answer.
    #[must_use]
    pub fn done(text: &str, sensitive: bool) -> Self {
        Self::Done((!sensitive && text.len() <= MAX_TEXT).then(|| text.into()))
    }

    /// The ending of a call that failed, or was cut off, while it acted. `sent` is whether the platform took a request for
    /// the change, or may have.
    #[must_use]
    pub fn failed(stopped: Stopped, sent: bool) -> Self {
        let Stopped::Failed(mut error) = stopped else {
            return if sent { Self::Panicked } else { Self::Undone(stopped) };
        };
        match (error.fate(sent), error.fate(true)) {
            (Fate::Made, _) => Self::Done(None),
            (Fate::Unknown, _) => Self::Unknown(unknown(error)),
            (Fate::Undone, Fate::Undone) => Self::Undone(error.into()),
            // Its code alone doesn't say so.
            (Fate::Undone, _) => {
                error.message.push_str("; nothing was changed");
                Self::Undone(error.into())
            }
        }
    }

    /// It in a word, for log lines.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Undone(_) => "undone",
            Self::Unknown(_) | Self::Panicked => "unknown",
        }
    }
}

/// Adds to an error that nobody knows what was done.
fn unknown(mut error: ToolError) -> ToolError {
    error.message.push_str("; whether the change was made is not known");
    let remedy = match error.remedy.take() {
        Some(own) => format!("{own}; {LOOK_FIRST}"),
        None => LOOK_FIRST.to_owned(),
    };
    error.with_remedy(remedy)
}

/// What to do if nobody knows.
const LOOK_FIRST: &str =
    "read the state; or call without confirm to see what would be done now, and then with confirm: true and that plan";

/// A call, as it is looked up.
#[derive(Clone, Copy)]
pub struct Attempt {
    /// By what it is known.
    pub key: CallKey,
    /// Caller, tool and arguments.
    pub call: CallKey,
    /// Whether the caller gave the key.
    pub named: bool,
    /// Whether it may act although nobody knows how it ended before: it acts only on the state that it names, or doing it
    /// twice is doing it once.
    pub repeatable: bool,
}

/// Where a call stands.
pub enum Standing {
    /// It is to be carried out.
    New(Ticket),
    /// It is being carried out.
    Runs(watch::Receiver<Option<Ending>>),
    /// It was carried out.
    Ended(Ending, Instant),
    /// The key was used for another call.
    OtherCall,
}

/// The calls of the last while.
#[derive(Clone)]
pub struct Ledger(Arc<Mutex<LruCache<CallKey, Record>>>);

struct Record {
    call: CallKey,
    named: bool,
    state: State,
}

enum State {
    Runs(watch::Receiver<Option<Ending>>),
    Ended(Ending, Instant),
}

impl Record {
    fn is_past(&self, now: Instant) -> bool {
        matches!(self.state, State::Ended(_, at) if now.saturating_duration_since(at) >= KEPT_FOR)
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(MAX_KEPT))))
    }
}

impl Ledger {
    /// Looks a call up, and writes it down if it is new.
    #[must_use]
    pub fn enter(&self, attempt: Attempt) -> Standing {
        let now = Instant::now();
        let mut records = self.lock();
        for _ in 0..FORGOTTEN_AT_ONCE {
            if records.peek_lru().is_none_or(|(_, record)| !record.is_past(now)) {
                break;
            }
            records.pop_lru();
        }
        if let Some(record) = records.get(&attempt.key).filter(|record| !record.is_past(now)) {
            if record.call != attempt.call {
                return Standing::OtherCall;
            }
            match &record.state {
                State::Runs(ending) => return Standing::Runs(ending.clone()),
                State::Ended(Ending::Unknown(_) | Ending::Panicked, _) if attempt.repeatable => {}
                State::Ended(ending, at) => return Standing::Ended(ending.clone(), *at),
            }
        }
        let (sender, receiver) = watch::channel(None);
        let record = Record { call: attempt.call, named: attempt.named, state: State::Runs(receiver) };
        records.put(attempt.key, record);
        Standing::New(Ticket { ledger: self.clone(), key: attempt.key, sender })
    }

    /// Says that a call's ending was handed over. What its caller didn't name is forgotten then, unless nobody knows how
    /// it ended.
    pub fn delivered(&self, key: CallKey) {
        let mut records = self.lock();
        let is_settled = |record: &Record| !record.named && matches!(record.state, State::Ended(Ending::Done(_), _));
        if records.peek(&key).is_some_and(is_settled) {
            records.pop(&key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<CallKey, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, key: CallKey, ending: Ending) {
        let mut records = self.lock();
        if matches!(ending, Ending::Undone(_)) {
            records.pop(&key);
        } else if let Some(record) = records.get_mut(&key) {
            record.state = State::Ended(ending, Instant::now());
        }
    }
}

/// A call that is being carried out. Dropped without an ending, nobody knows how it ended.
pub struct Ticket {
    ledger: Ledger,
    key: CallKey,
    sender: watch::Sender<Option<Ending>>,
}

impl Ticket {
    /// Writes the ending down and tells those who wait.
    pub fn end(self, ending: Ending) {
        self.ledger.end(self.key, ending.clone());
        self.sender.send_replace(Some(ending));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.sender.borrow().is_none() {
            self.ledger.end(self.key, Ending::Panicked);
        }
    }
}

/// What a caller is told who repeats a call of which nobody knows how it ended.
#[must_use]
pub fn not_again(at: Instant) -> ToolError {
    let seconds = at.elapsed().as_secs();
    let message = format!(
        "the same call was made {seconds} s ago, and whether the change was made is not known; nothing was done now"
    );
    ToolError::new(ErrorCode::Conflict, message).with_remedy(LOOK_FIRST)
}

/// What a caller is told whose call was carried out, if the answer isn't kept.
#[must_use]
pub fn done_already(at: Instant) -> ToolError {
    let seconds = at.elapsed().as_secs();
    let message =
        format!("the same call was carried out {seconds} s ago; its answer is not kept, and nothing was done now");
    ToolError::new(ErrorCode::Conflict, message)
        .with_remedy("read the state to see what it did; to do it once more, give another idempotency_key")
}

/// What a caller is told who used a key twice.
#[must_use]
pub fn other_call() -> ToolError {
    ToolError::new(ErrorCode::Conflict, "this idempotency_key was used for another call; nothing was done")
        .with_remedy("give each call that is to act a key of its own, and a call that is made again the same arguments")
        .with_argument("/idempotency_key")
}

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;
