//! Answers that are given again: those of tools that declare how long theirs stay good, to the caller who got them first,
//! until something changes — the time is up, the credentials are others, or a call of this connector changed the platform.
//! Calls for the same answer that come at once ask the platform once.
//!
//! What is kept is kept for the caller who got it. Only what many callers ask for again and again while it goes on, such as how
//! far a build is, is given to all of them for a moment: rights are those of tools, so whoever may call the tool would be
//! answered the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use serde::Serialize;
use tokio::{sync::watch, time::Instant};

use super::{Stopped, bounds::Bounded, call_key::CallKey};
use credentials::CredentialsHandle;
use pod_api::{config::CacheConfig, status::CacheState};

/// What an answer takes besides its text.
const ENTRY_BYTES: usize = 256;

/// What is told of an answer that may have been kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CacheNote {
    /// Whether the platform was not asked for this call.
    pub hit: bool,
    /// Seconds since the platform was asked.
    pub age_seconds: u64,
}

/// What one call for an answer found out, for all who wait for it.
type Found = Result<Arc<str>, Stopped>;

/// The answers that are kept.
pub struct AnswerCache {
    max_bytes: usize,
    credentials: CredentialsHandle,
    state: Mutex<State>,
}

struct State {
    /// Generation of the credentials that all of it was found out with.
    credentials: Option<u64>,
    /// Counts how often everything was thrown away: what was asked for before is not kept after.
    era: u64,
    kept: LruCache<CallKey, Kept>,
    bytes: usize,
    flights: HashMap<CallKey, watch::Receiver<Option<Found>>>,
}

struct Kept {
    text: Arc<str>,
    at: Instant,
    until: Instant,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.text.len() + ENTRY_BYTES
    }
}

enum Step<'a> {
    Found(Arc<str>, Instant),
    Follow(watch::Receiver<Option<Found>>),
    Lead(Leader<'a>),
}

impl AnswerCache {
    /// An empty one. What it keeps is good for one generation of the credentials.
    #[must_use]
    pub fn new(config: CacheConfig, credentials: CredentialsHandle) -> Self {
        let state = State { credentials: None, era: 0, kept: LruCache::unbounded(), bytes: 0, flights: HashMap::new() };
        Self { max_bytes: config.max_bytes, credentials, state: Mutex::new(state) }
    }

    /// The answer that is kept for a call, or the one that `run` gives, which is then kept for as long as `age` says: not at
    /// all, if it says nothing. Whoever comes meanwhile waits for it; if the one who asks goes away, another asks. With
    /// `fresh` nothing kept is taken.
    ///
    /// # Errors
    /// Those of `run`, for all who waited for it. They are not kept.
    pub async fn answer(
        &self,
        key: CallKey,
        age: impl FnOnce() -> Option<Duration>,
        fresh: bool,
        run: impl Future<Output = Result<Bounded, Stopped>>,
    ) -> Result<(Bounded, CacheNote), Stopped> {
        let leader = loop {
            match self.step(key, fresh) {
                Step::Found(text, at) => {
                    let note = CacheNote { hit: true, age_seconds: at.elapsed().as_secs() };
                    return Ok((Bounded::read_back(&text)?, note));
                }
                Step::Follow(mut flight) => {
                    let found = flight.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
                    if let Some(found) = found {
                        return Ok((Bounded::read_back(&found?)?, CacheNote { hit: true, age_seconds: 0 }));
                    }
                }
                Step::Lead(leader) => break leader,
            }
        };
        let at = Instant::now();
        let outcome = run.await;
        leader.land(&outcome, at, age());
        outcome.map(|bounded| (bounded, CacheNote { hit: false, age_seconds: 0 }))
    }

    /// Throws everything away, and whatever is asked for now when it comes. For when the platform was changed.
    pub fn purge(&self) {
        self.lock().purge();
    }

    /// How full it is.
    #[must_use]
    pub fn state(&self) -> CacheState {
        let state = self.lock();
        CacheState { entries: state.kept.len(), bytes: state.bytes, max_bytes: self.max_bytes }
    }

    fn step(&self, key: CallKey, fresh: bool) -> Step<'_> {
        let mut state = self.current();
        if fresh {
            return Step::Lead(Leader { cache: self, key, era: state.era, flight: None });
        }
        match state.kept.get(&key).map(|kept| (kept.text.clone(), kept.at, kept.until)) {
            Some((text, at, until)) if Instant::now() < until => return Step::Found(text, at),
            Some(_) => state.forget(key),
            None => {}
        }
        if let Some(flight) = state.flights.get(&key) {
            return Step::Follow(flight.clone());
        }
        let (sender, receiver) = watch::channel(None);
        state.flights.insert(key, receiver);
        Step::Lead(Leader { cache: self, key, era: state.era, flight: Some(sender) })
    }

    /// The state, without what was found out with other credentials.
    fn current(&self) -> MutexGuard<'_, State> {
        let credentials = self.credentials.current().map(|set| set.generation);
        let mut state = self.lock();
        if state.credentials != credentials {
            state.purge();
            state.credentials = credentials;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn purge(&mut self) {
        self.kept.clear();
        self.bytes = 0;
        // Those who wait there go on waiting; those who come now must not.
        self.flights.clear();
        self.era += 1;
    }

    fn forget(&mut self, key: CallKey) {
        if let Some(kept) = self.kept.pop(&key) {
            self.bytes -= kept.bytes();
        }
    }

    fn keep(&mut self, key: CallKey, kept: Kept, max_bytes: usize) {
        self.forget(key);
        if kept.bytes() > max_bytes {
            return;
        }
        self.bytes += kept.bytes();
        self.kept.put(key, kept);
        while self.bytes > max_bytes
            && let Some((_, oldest)) = self.kept.pop_lru()
        {
            self.bytes -= oldest.bytes();
        }
    }
}

/// The one call that asks the platform. Dropped without an answer, it lets another ask.
struct Leader<'a> {
    cache: &'a AnswerCache,
    key: CallKey,
    era: u64,
    /// None for a call that nobody waits for.
    flight: Option<watch::Sender<Option<Found>>>,
}

impl Leader<'_> {
    fn land(self, outcome: &Result<Bounded, Stopped>, at: Instant, age: Option<Duration>) {
        let found = match outcome {
            Ok(bounded) => Ok(Arc::<str>::from(bounded.text.as_str())),
            Err(stopped) => Err(stopped.clone()),
        };
        if let Ok(text) = &found {
            let mut state = self.cache.current();
            if state.era == self.era {
                match age {
                    Some(age) => {
                        let kept = Kept { text: text.clone(), at, until: at + age };
                        state.keep(self.key, kept, self.cache.max_bytes);
                    }
                    // What was kept before is out of date.
                    None => state.forget(self.key),
                }
            }
        }
        if let Some(flight) = &self.flight {
            flight.send_replace(Some(found));
        }
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if self.flight.is_some() {
            let mut state = self.cache.lock();
            if state.era == self.era {
                state.flights.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
