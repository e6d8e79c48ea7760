//! Calls that change something, made twice because the first one's answer was lost: the second is answered from what the
//! first one did, or is told that nobody knows, and acts only if a plan says on which state.
//!
//! With an `idempotency_key` a call is carried out once within ten minutes, however its answer fared. Without one, a call
//! is known by its caller, tool, arguments and plan, and is taken for the same only while it runs, or if its answer could
//! not be handed over, or if nobody knows how it ended: an agent that got an answer and calls again wants it twice.
//!
//! What is remembered is a promise, so none is forgotten for another: who has as many keys as it may is refused a new one, and
//! has no part in what others may have. Calls without a key, of which nobody promised anything, make room for one another.
//!
//! Each replica knows its own calls. Across replicas, and after a restart, a `plan` keeps a call from acting twice: it
//! names the state that it was made for, and the state is another one once the call has acted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use tokio::{sync::watch, time::Instant};

use super::{Stopped, call_key::CallKey};
use outbound::CallerKey;
use tools::{ErrorCode, Fate, ToolError};

/// Calls of one caller that are remembered by its keys.
const MAX_NAMED: usize = 256;
/// Calls of one caller that are remembered without a key. Of those that have ended, the one that was looked at longest ago is
/// forgotten first.
const MAX_UNNAMED: usize = 128;
/// Calls that are remembered in all.
const MAX_KEPT: usize = 2_048;
/// Time for which a call that has ended is remembered.
const KEPT_FOR: Duration = Duration::from_mins(10);
/// When to come back where all keys are of calls that still run, or others' keys fill it.
const A_WHILE: Duration = Duration::from_secs(30);
/// Bytes of an answer that is kept. Of a longer one is kept that there was one.
const MAX_TEXT: usize = 8 * 1024;

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
    /// Who makes it.
    pub caller: CallerKey,
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
    /// As many keys are remembered as may be. One is forgotten after this time.
    Full(Duration),
}

/// The calls of the last while.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Kept>>);

/// The calls that are remembered, of each caller.
type Kept = HashMap<CallerKey, LruCache<CallKey, Record>>;

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
        self.kept_for(now) == Some(Duration::ZERO)
    }

    /// Time for which it is still remembered; nothing while the call runs.
    fn kept_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Runs(_) => None,
            State::Ended(_, at) => Some(KEPT_FOR.saturating_sub(now.saturating_duration_since(at))),
        }
    }
}

impl Ledger {
    /// Looks a call up, and writes it down if it is new.
    #[must_use]
    pub fn enter(&self, attempt: Attempt) -> Standing {
        let now = Instant::now();
        let mut kept = self.lock();
        if let Some(record) = kept.get_mut(&attempt.caller).and_then(|own| own.get(&attempt.key))
            && !record.is_past(now)
        {
            if record.call != attempt.call {
                return Standing::OtherCall;
            }
            match &record.state {
                State::Runs(ending) => return Standing::Runs(ending.clone()),
                State::Ended(Ending::Unknown(_) | Ending::Panicked, _) if attempt.repeatable => {}
                State::Ended(ending, at) => return Standing::Ended(ending.clone(), *at),
            }
        }
        if let Err(wait) = make_room(&mut kept, &attempt, now) {
            return Standing::Full(wait);
        }
        let (sender, receiver) = watch::channel(None);
        let record = Record { call: attempt.call, named: attempt.named, state: State::Runs(receiver) };
        kept.entry(attempt.caller).or_insert_with(LruCache::unbounded).put(attempt.key, record);
        Standing::New(Ticket { ledger: self.clone(), caller: attempt.caller, key: attempt.key, sender })
    }

    /// Says that a call's ending was handed over. What its caller didn't name is forgotten then, unless nobody knows how
    /// it ended.
    pub fn delivered(&self, attempt: &Attempt) {
        let mut kept = self.lock();
        let is_settled = |record: &Record| !record.named && matches!(record.state, State::Ended(Ending::Done(_), _));
        if let Some(own) = kept.get_mut(&attempt.caller)
            && own.peek(&attempt.key).is_some_and(is_settled)
        {
            own.pop(&attempt.key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, caller: CallerKey, key: CallKey, ending: Ending) {
        let mut kept = self.lock();
        let Some(own) = kept.get_mut(&caller) else { return };
        if matches!(ending, Ending::Undone(_)) {
            own.pop(&key);
        } else if let Some(record) = own.get_mut(&key) {
            record.state = State::Ended(ending, Instant::now());
        }
    }
}

/// Makes room for a call.
///
/// # Errors
/// When there is none for a call with a key, with the time after which there is.
fn make_room(kept: &mut Kept, attempt: &Attempt, now: Instant) -> Result<(), Duration> {
    kept.retain(|_, own| {
        let past: Vec<CallKey> = own.iter().filter(|(_, record)| record.is_past(now)).map(|(key, _)| *key).collect();
        for key in past {
            own.pop(&key);
        }
        !own.is_empty()
    });
    let is_full = kept.values().map(LruCache::len).sum::<usize>() >= MAX_KEPT;
    let Some(own) = kept.get_mut(&attempt.caller) else {
        return if is_full && attempt.named { Err(A_WHILE) } else { Ok(()) };
    };
    // The same key is written over.
    let alike = own.iter().filter(|(key, record)| record.named == attempt.named && **key != attempt.key);
    if attempt.named {
        let (count, next) = alike.fold((0, None), |(count, next), (_, record)| {
            (count + 1, [next, record.kept_for(now)].into_iter().flatten().min())
        });
        return if is_full || count >= MAX_NAMED { Err(next.unwrap_or(A_WHILE)) } else { Ok(()) };
    }
    let (count, oldest) = alike.fold((0, None), |(count, oldest), (key, record)| {
        // From the latest on.
        (count + 1, record.kept_for(now).map_or(oldest, |_| Some(*key)))
    });
    if let Some(oldest) = oldest.filter(|_| is_full || count >= MAX_UNNAMED) {
        own.pop(&oldest);
    }
    Ok(())
}

/// A call that is being carried out. Dropped without an ending, nobody knows how it ended.
pub struct Ticket {
    ledger: Ledger,
    caller: CallerKey,
    key: CallKey,
    sender: watch::Sender<Option<Ending>>,
}

impl Ticket {
    /// Writes the ending down and tells those who wait.
    pub fn end(self, ending: Ending) {
        self.ledger.end(self.caller, self.key, ending.clone());
        self.sender.send_replace(Some(ending));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.sender.borrow().is_none() {
            self.ledger.end(self.caller, self.key, Ending::Panicked);
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

/// What a caller is told who has as many keys as it may.
#[must_use]
pub fn too_many(wait: Duration) -> ToolError {
    let message = "the connector remembers as many calls with an idempotency_key as it may, so it did not take this one; \
                   nothing was done";
    ToolError::new(ErrorCode::RateLimited, message)
        .with_remedy(
            "call again after retry_after_seconds; or without idempotency_key, with the plan that a call without confirm gives",
        )
        .with_argument("/idempotency_key")
        .with_retry_after(wait)
}

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;
