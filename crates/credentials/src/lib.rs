//! The keys: credential files in one directory, read as a set, checked, and handed to whoever calls the platform.
//!
//! ```text
//! kubelet (or any writer that swaps the directory) ─▶ directory ─▶ read as one set ─▶ check ─▶ CredentialsHandle
//! ```
//! Where the pods have an identity of their own instead ([`identity`]), that identity is the set.
//!
//! A set that can't be used never replaces one that can. No credential is ever part of a text.

mod client_certificate;
pub mod directory;
pub mod identity;
mod layout;
pub mod supply;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

pub use self::{layout::Layout, supply::Supply};

/// One usable set of credentials: every field that the platform needs, of one generation.
pub struct CredentialSet {
    /// Counts the sets of this process, from 1; equal numbers mean the same set.
    pub generation: u64,
    fields: BTreeMap<String, SecretString>,
}

impl CredentialSet {
    /// Makes a set out of fields that were checked already.
    #[must_use]
    pub fn new(generation: u64, fields: BTreeMap<String, SecretString>) -> Self {
        Self { generation, fields }
    }

    /// The value of a field, without the newline that files end with.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&SecretString> {
        self.fields.get(name)
    }
}

impl fmt::Debug for CredentialSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialSet").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// What is known of the credential files, as `/status` and the conditions show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsState {
    /// `Loaded`, `NoFields`, `FieldMissing` or `FieldInvalid`: about what is mounted now. With one of the last three, an
    /// older set may still be in use. An agent that supplies the files adds its own reasons.
    pub reason: String,
    /// What is, and what to do. Names fields and files, never values.
    pub message: String,
    /// Revision of what is mounted now; none while nothing is, or before it was computed.
    pub mounted_revision: Option<String>,
    /// Revision of the set in use; none while there is none, or before it was computed.
    pub loaded_revision: Option<String>,
    /// How the agent does that supplies the files; none where the kubelet does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supply: Option<Supply>,
}

/// Time after the platform refused credentials for the first time in which calls wait for newer ones.
pub const REREAD_WAIT: Duration = Duration::from_secs(1);

/// The credentials as they are now and as they change. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CredentialsHandle {
    current: watch::Receiver<Option<Arc<CredentialSet>>>,
    reread: watch::Sender<u64>,
    refusal: Arc<Mutex<Option<Refusal>>>,
}

/// The generation that the platform refused last.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    generation: u64,
    /// Until when calls wait for another one.
    waits_until: Instant,
}

impl CredentialsHandle {
    /// Ties a handle to the two ends that a reader of credential files keeps: where it puts sets, and where it is asked
    /// to read again.
    #[must_use]
    pub fn new(current: watch::Receiver<Option<Arc<CredentialSet>>>, reread: watch::Sender<u64>) -> Self {
        Self { current, reread, refusal: Arc::default() }
    }

    /// The set in use, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<Arc<CredentialSet>> {
        self.current.borrow().clone()
    }

    /// Waits until another set is in use than when this handle last looked; for ever if nobody reads files any more.
    pub async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Asks for the files to be read again at once, as after the platform refused the credentials.
    pub fn reread(&self) {
        self.reread.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Newer credentials than those of this generation, which the platform has refused. All calls wait for them until
    /// [`REREAD_WAIT`] after the first of them was refused; a call that comes later doesn't, so that it is told at once.
    pub async fn newer_than(&self, refused: u64, deadline: Instant) -> Option<Arc<CredentialSet>> {
        let newer = || self.current().filter(|set| set.generation != refused);
        if let Some(set) = newer() {
            return Some(set);
        }
        let (waits_until, is_first) = self.refused(refused, REREAD_WAIT);
        if Instant::now() >= waits_until {
            return None;
        }
        if is_first {
            self.reread();
        }
        let mut changes = self.clone();
        timeout_at(waits_until.min(deadline), async {
            loop {
                changes.changed().await;
                if let Some(set) = newer() {
                    return set;
                }
            }
        })
        .await
        .ok()
    }

    /// Remembers that the platform refused credentials for which a call had waited: none waits for others.
    pub fn newer_refused(&self, generation: u64) {
        self.refused(generation, Duration::ZERO);
    }

    /// Until when calls wait that are refused with this generation; so long from now, if this is the first that was. And
    /// whether it is.
    fn refused(&self, generation: u64, patience: Duration) -> (Instant, bool) {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refusal.filter(|last| last.generation == generation);
        let last = known.unwrap_or_else(|| Refusal { generation, waits_until: Instant::now() + patience });
        *refusal = Some(last);
        (last.waits_until, known.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(generation: u64) -> Arc<CredentialSet> {
        Arc::new(CredentialSet::new(generation, BTreeMap::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn all_calls_of_the_moment_wait_for_newer_credentials_and_later_ones_do_not() {
        let (current, reread) = (watch::Sender::new(Some(set(1))), watch::Sender::new(0));
        let handle = CredentialsHandle::new(current.subscribe(), reread.clone());
        let far = || Instant::now() + Duration::from_mins(1);
        let generation = async |deadline| handle.newer_than(1, deadline).await.map(|set| set.generation);

        // One is refused after the other, and the files change in between.
        let begun = Instant::now();
        let later = async |milliseconds| {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            generation(far()).await
        };
        let change = async {
            tokio::time::sleep(REREAD_WAIT / 2).await;
            current.send_replace(Some(set(2)));
        };
        let (one, two, three, ()) = tokio::join!(later(0), later(300), later(700), change);
        assert_eq!((one, two, three, *reread.borrow()), (Some(2), Some(2), Some(2), 1));
        assert_eq!(begun.elapsed(), Duration::from_millis(700), "the last found them there");

        // Nobody brings newer ones: the wait counts from the first refusal, and is over for those who come later.
        let begun = Instant::now();
        let of_two = async |after| {
            tokio::time::sleep(after).await;
            (handle.newer_than(2, far()).await.is_some(), begun.elapsed())
        };
        let (one, two) = tokio::join!(of_two(Duration::ZERO), of_two(REREAD_WAIT / 2));
        assert_eq!((one, two), ((false, REREAD_WAIT), (false, REREAD_WAIT)));
        assert_eq!((of_two(Duration::ZERO).await, *reread.borrow()), ((false, REREAD_WAIT), 2));

        // Those which were waited for are refused, too.
        current.send_replace(Some(set(3)));
        handle.newer_refused(3);
        let begun = Instant::now();
        assert!(handle.newer_than(3, far()).await.is_none() && begun.elapsed().is_zero());
        // A deadline is kept to.
        current.send_replace(Some(set(4)));
        assert!(handle.newer_than(4, Instant::now() + REREAD_WAIT / 4).await.is_none());
        assert_eq!(begun.elapsed(), REREAD_WAIT / 4);
    }
}
