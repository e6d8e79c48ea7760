//! Reads credential files as one set, checks it, and puts it in use; again whenever the files change. They are those of
//! one directory, or such as somebody in this process holds. Nothing here ever puts a value into a text.

mod assessment;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::{hmac, pbkdf2};
use jiff::Timestamp;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::assessment::{Given, assess};
use super::{
    CredentialSet, CredentialsHandle, CredentialsState, Layout, Supply,
    supply::{self, Supplied},
};
use api::{Reason, requirement::Requirement};
use files::{DirectoryEvents, DirectorySnapshot, FileContent, read_set};

/// Bytes of one file, at most.
pub const MAX_FILE_BYTES: usize = 64 * 1024;
/// Files of one set, at most.
pub const MAX_FILES: usize = 32;
/// Time between two looks at files of which no event told.
const POLL: Duration = Duration::from_secs(10);
/// Rounds of PBKDF2. A revision is public, so guessing a short password from it must cost more than guessing it at the
/// platform.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// Where credential files are.
pub enum Source {
    /// In a directory, which the kubelet or anybody else writes.
    Directory(PathBuf),
    /// In a directory, which an agent writes and leaves its state in ([`super::supply`]).
    Agent(PathBuf),
    /// In this process: the sender changes them, and tells how their agent does if one fetches them.
    Memory(watch::Receiver<Supplied>),
}

/// A source that is followed.
enum Followed {
    Directory(PathBuf, DirectoryEvents),
    Memory(watch::Receiver<Supplied>),
}

impl Followed {
    /// Waits until the files may have changed.
    async fn next(&mut self) {
        match self {
            Self::Directory(_, events) => events.next().await,
            Self::Memory(files) => {
                if files.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// Reads the files now, puts their credentials in use if they can be used, and goes on doing so until `shutdown`.
/// `layout` says where fields are that are in no file of their own name; what is in this process has their names.
/// Revisions are salted with `salt` and follow when they are computed: nobody waits for them.
///
/// It has to be called within a Tokio runtime.
#[must_use]
pub fn start(
    source: Source,
    requirement: Requirement,
    layout: Layout,
    salt: String,
    shutdown: CancellationToken,
) -> (CredentialsHandle, watch::Receiver<CredentialsState>) {
    let (current, mut current_receiver) = watch::channel(None);
    let (reread, reread_receiver) = watch::channel(0);
    let (state, state_receiver) = watch::channel(CredentialsState {
        reason: Reason::NoFields.as_str().to_owned(),
        message: String::new(),
        mounted_revision: None,
        loaded_revision: None,
        supply: None,
    });
    // Watched before it is read, so that no change falls between.
    let supplied_in = if let Source::Agent(directory) = &source { Some(directory.clone()) } else { None };
    let followed = match source {
        Source::Directory(directory) | Source::Agent(directory) => {
            let events = DirectoryEvents::watch(&directory, POLL);
            Followed::Directory(directory, events)
        }
        Source::Memory(files) => Followed::Memory(files),
    };
    let mut names = requirement.names();
    names.truncate(MAX_FILES);
    let content = |value: &String| FileContent::Bytes(Zeroizing::new(value.clone().into_bytes()));
    let values = layout.values.iter().map(|(field, value)| (field.clone(), content(value))).collect();
    let mut reader = Reader {
        supplied_in,
        requirement,
        names,
        layout,
        values,
        salt,
        key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
        generation: 0,
        mounted: Revision::default(),
        loaded: Revision::default(),
        wanted: VecDeque::new(),
        current,
        state,
    };
    match &followed {
        Followed::Directory(directory, _) => match read_fields(directory, &reader.layout, &reader.names) {
            Ok(snapshot) => reader.take(&snapshot, None),
            Err(error) => tracing::warn!(%error, "credentials could not be read"),
        },
        Followed::Memory(files) => {
            let supplied = files.borrow();
            reader.take(&supplied.files, supplied.supply.as_ref());
        }
    }
    // What is in use from the start is no change.
    current_receiver.mark_unchanged();
    tokio::spawn(reader.run(followed, reread_receiver, shutdown));
    (CredentialsHandle::new(current_receiver, reread), state_receiver)
}

/// What is known of the revision of some content.
#[derive(Default)]
struct Revision {
    /// Tells contents apart within this process; none while there is nothing.
    fingerprint: Option<[u8; 32]>,
    /// What other processes compare, once it is computed.
    revision: Option<String>,
}

struct Reader {
    /// Where an agent leaves its state, if one writes the files.
    supplied_in: Option<PathBuf>,
    requirement: Requirement,
    names: Vec<&'static str>,
    layout: Layout,
    /// The layout's values, as if they were files.
    values: BTreeMap<String, FileContent>,
    salt: String,
    key: hmac::Key,
    generation: u64,
    mounted: Revision,
    loaded: Revision,
    /// Contents whose revisions are still to be computed: what is mounted and what is in use, so two at most.
    wanted: VecDeque<([u8; 32], Zeroizing<Vec<u8>>)>,
    current: watch::Sender<Option<Arc<CredentialSet>>>,
    state: watch::Sender<CredentialsState>,
}

impl Reader {
    async fn run(mut self, mut followed: Followed, mut reread: watch::Receiver<u64>, shutdown: CancellationToken) {
        let mut computing: Option<JoinHandle<([u8; 32], String)>> = None;
        loop {
            if computing.is_none()
                && let Some((fingerprint, content)) = self.wanted.pop_front()
            {
                let salt = self.salt.clone();
                computing = Some(tokio::task::spawn_blocking(move || (fingerprint, revision(&content, &salt))));
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = followed.next() => self.read(&mut followed).await,
                asked = reread.changed() => match asked {
                    Ok(()) => self.read(&mut followed).await,
                    // Nobody holds a handle any more.
                    Err(_) => return,
                },
                computed = finished(&mut computing) => {
                    computing = None;
                    if let Ok((fingerprint, revision)) = computed {
                        self.note(fingerprint, &revision);
                    }
                }
            }
        }
    }

    async fn read(&mut self, followed: &mut Followed) {
        let (directory, names, layout) = match followed {
            Followed::Directory(directory, _) => (directory.clone(), self.names.clone(), self.layout.clone()),
            Followed::Memory(files) => {
                let supplied = files.borrow_and_update();
                return self.take(&supplied.files, supplied.supply.as_ref());
            }
        };
        let read = tokio::task::spawn_blocking(move || read_fields(&directory, &layout, &names)).await;
        match read {
            Ok(Ok(snapshot)) => self.take(&snapshot, None),
            Ok(Err(error)) => tracing::warn!(%error, "credentials could not be read"),
            Err(_) => tracing::error!("reading the credentials panicked"),
        }
    }

    /// Takes note of what is mounted now, and puts it in use if it can be used and differs from what is. An agent in this
    /// process says how it does.
    fn take(&mut self, snapshot: &DirectorySnapshot, supply: Option<&Supply>) {
        let assessment = assess(&Given { mounted: snapshot, values: &self.values }, self.requirement);
        let fingerprint = assessment.content.as_ref().map(|content| {
            let tag = hmac::sign(&self.key, content);
            let mut fingerprint = [0; 32];
            fingerprint.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
            fingerprint
        });
        if fingerprint != self.mounted.fingerprint {
            let known = if fingerprint == self.loaded.fingerprint { self.loaded.revision.clone() } else { None };
            self.mounted = Revision { fingerprint, revision: known };
            if let (Some(fingerprint), Some(content)) = (fingerprint, assessment.content)
                && self.mounted.revision.is_none()
            {
                self.wanted.push_back((fingerprint, content));
            }
        }
        if let Some(fields) = assessment.usable
            && fingerprint != self.loaded.fingerprint
        {
            self.generation += 1;
            self.loaded = Revision { fingerprint, revision: self.mounted.revision.clone() };
            self.current.send_replace(Some(Arc::new(CredentialSet::new(self.generation, fields))));
            tracing::info!(generation = self.generation, "credentials are in use");
        }
        let (mounted, loaded) = (self.mounted.fingerprint, self.loaded.fingerprint);
        self.wanted.retain(|(fingerprint, _)| Some(*fingerprint) == mounted || Some(*fingerprint) == loaded);

        let mut message = assessment.message;
        if assessment.reason != Reason::Loaded && self.generation > 0 {
            message.push_str("; the credentials that were loaded before stay in use");
        }
        let (reason, supply) = (assessment.reason, supply.cloned().or_else(|| self.supply()));
        let (reason, message) = if self.supplied_in.is_some() || supply.is_some() {
            supply::judge(reason, message, supply.as_ref())
        } else {
            (reason.as_str().to_owned(), message)
        };
        self.publish(reason, message, supply);
    }

    /// How the agent does, if one writes the files.
    fn supply(&self) -> Option<Supply> {
        Supply::read(self.supplied_in.as_deref()?).map(|supply| supply.as_seen(Timestamp::now()))
    }

    fn note(&mut self, fingerprint: [u8; 32], revision: &str) {
        for known in [&mut self.mounted, &mut self.loaded] {
            if known.fingerprint == Some(fingerprint) {
                known.revision = Some(revision.to_owned());
            }
        }
        let CredentialsState { reason, message, supply, .. } = self.state.borrow().clone();
        self.publish(reason, message, supply);
    }

    fn publish(&self, reason: String, message: String, supply: Option<Supply>) {
        let state = CredentialsState {
            reason,
            message,
            mounted_revision: self.mounted.revision.clone(),
            loaded_revision: self.loaded.revision.clone(),
            supply,
        };
        self.state.send_if_modified(|old| {
            if old.reason != state.reason {
                tracing::info!(reason = state.reason, detail = state.message, "credential files were read");
            }
            let changed = *old != state;
            *old = state;
            changed
        });
    }
}

/// Reads the files of a directory as one set, by the names of their fields.
fn read_fields(directory: &Path, layout: &Layout, names: &[&'static str]) -> io::Result<DirectorySnapshot> {
    let wanted = layout.files_of(names);
    let files: Vec<&str> = wanted.iter().map(|(_, file)| *file).collect();
    let mut snapshot = read_set(directory, &files, MAX_FILE_BYTES)?;
    let mut found = std::mem::take(&mut snapshot.files);
    snapshot.files =
        wanted.iter().filter_map(|(field, file)| Some(((*field).to_owned(), found.remove(*file)?))).collect();
    Ok(snapshot)
}

/// Waits for a job; for ever where there is none.
async fn finished<T>(job: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match job {
        Some(job) => job.await,
        None => std::future::pending().await,
    }
}

/// A slow, salted hash of the content, cut to 32 bits: enough to compare, too little to find the content by.
fn revision(content: &[u8], salt: &str) -> String {
    let mut revision = [0; 4];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt.as_bytes(), content, &mut revision);
    hex::encode(revision)
}

#[cfg(test)]
mod tests;
