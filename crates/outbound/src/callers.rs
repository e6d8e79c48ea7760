//! On whose behalf requests are made, so that what all callers share is never held by one of them: while others are about,
//! each leaves something over. A caller who is alone may have all of it.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU64,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::memory::Reserved;

/// Time for which a caller counts as being about.
const ABOUT: Duration = Duration::from_mins(10);
/// Callers that are known before those who are gone are forgotten.
const MANY: usize = 1_024;

/// Tells callers apart, in this process only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerKey(NonZeroU64);

impl CallerKey {
    /// The key of a caller.
    #[must_use]
    pub fn of(caller: &impl Hash) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(NonZeroU64::new(HASHER.hash_one(caller)).unwrap_or(NonZeroU64::MIN))
    }

    /// The key as a number.
    #[must_use]
    pub const fn number(self) -> NonZeroU64 {
        self.0
    }
}

/// The call that a task works on.
struct Call {
    caller: CallerKey,
    /// Memory for what the last answer became, until the next answer or the end of the call.
    memory: RefCell<Option<Arc<Reserved>>>,
}

tokio::task_local! {
    static CALL: Call;
    static SEEN_BY: CallerKey;
}

/// Works on a call of a caller: requests that the same task sends meanwhile are made on its behalf.
pub async fn on_behalf_of<F: Future>(caller: CallerKey, work: F) -> F::Output {
    CALL.scope(Call { caller, memory: RefCell::default() }, work).await
}

/// Looks at the state of ways to a platform as a caller meets them: what others may have of it is not there for one who has
/// had its share.
pub fn seen_by<T>(caller: CallerKey, look: impl FnOnce() -> T) -> T {
    SEEN_BY.sync_scope(caller, look)
}

/// On whose behalf the task works, if it works on a call.
pub(super) fn current() -> Option<CallerKey> {
    CALL.try_with(|call| call.caller).ok()
}

/// By whom the ways are looked at, if by a caller.
pub(super) fn looking() -> Option<CallerKey> {
    SEEN_BY.try_with(|caller| *caller).ok()
}

/// Keeps memory for the call that the task works on, instead of that for its answer before.
pub(super) fn keep(memory: Arc<Reserved>) {
    let _no_call = CALL.try_with(|call| call.memory.replace(Some(memory)));
}

/// Something that each caller has of its own.
#[derive(Debug)]
pub struct Callers<T>(Mutex<Known<T>>);

#[derive(Debug)]
struct Known<T> {
    own: HashMap<CallerKey, (Arc<T>, Instant)>,
    /// Who came last, and who came last of all others.
    latest: [Option<(CallerKey, Instant)>; 2],
}

impl<T> Default for Callers<T> {
    fn default() -> Self {
        Self(Mutex::new(Known { own: HashMap::new(), latest: [None; 2] }))
    }
}

impl<T> Callers<T> {
    /// What the caller has, which is made the first time, and whether others are about.
    pub fn come(&self, caller: CallerKey, make: impl FnOnce() -> T) -> (Arc<T>, bool) {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let other = known.other(caller);
        known.latest = [Some((caller, now)), other];
        if known.own.len() >= MANY {
            known.own.retain(|_, (own, at)| Arc::strong_count(own) > 1 || now.duration_since(*at) < ABOUT);
        }
        let (own, at) = known.own.entry(caller).or_insert_with(|| (Arc::new(make()), now));
        *at = now;
        (own.clone(), is_about(other, now))
    }

    /// What the caller has, if it has come, and whether others are about.
    #[must_use]
    pub fn get(&self, caller: CallerKey) -> Option<(Arc<T>, bool)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, _) = known.own.get(&caller)?;
        Some((own.clone(), is_about(known.other(caller), Instant::now())))
    }
}

impl<T> Known<T> {
    /// Who came last of all but the caller.
    fn other(&self, caller: CallerKey) -> Option<(CallerKey, Instant)> {
        let [last, before] = self.latest;
        if last.is_some_and(|(key, _)| key == caller) { before } else { last }
    }
}

fn is_about(other: Option<(CallerKey, Instant)>, now: Instant) -> bool {
    other.is_some_and(|(_, at)| now.duration_since(at) < ABOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn others_are_about_for_a_while() {
        let (callers, [a, b]) = (Callers::<()>::default(), ["a", "b"].map(|name| CallerKey::of(&name)));
        let company = |caller| callers.come(caller, || ()).1;
        assert!(!company(a) && !company(a), "it is alone");
        assert!(company(b) && company(a) && company(a));
        tokio::time::advance(ABOUT).await;
        assert!(!company(a));
        assert!(company(b));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_is_forgotten() {
        let callers = Callers::<u64>::default();
        let (held, _) = callers.come(CallerKey::of(&u64::MAX), || 7);
        for caller in 0..MANY as u64 {
            callers.come(CallerKey::of(&caller), || caller);
        }
        tokio::time::advance(ABOUT).await;
        callers.come(CallerKey::of(&"new"), || 0);
        assert_eq!(callers.0.lock().unwrap().own.len(), 2);
        assert_eq!(callers.get(CallerKey::of(&u64::MAX)), Some((held, true)));
    }
}
