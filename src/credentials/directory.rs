//! Reads credential files as one set, checks it, and puts it in use; again whenever the files change. They are those of
//! one directory, or such as somebody in this process holds. Nothing here ever puts a value into a text.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::{hmac, pbkdf2};
use jiff::Timestamp;
use rustls_pki_types::pem::{PemObject, SectionKind};
use secrecy::SecretString;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    CredentialSet, CredentialsHandle, CredentialsState, Field, FieldForm, Requirement, Supply, client_certificate,
    supply::{self, Supplied},
};
use crate::{
    api::Reason,
    files::{DirectoryEvents, DirectorySnapshot, FileContent, read_set},
};

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
/// Revisions are salted with `salt` and follow when they are computed: nobody waits for them.
///
/// It has to be called within a Tokio runtime.
#[must_use]
pub fn start(
    source: Source,
    requirement: Requirement,
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
    let mut reader = Reader {
        supplied_in,
        requirement,
        names,
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
        Followed::Directory(directory, _) => match read_set(directory, &reader.names, MAX_FILE_BYTES) {
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
        let (directory, names) = match followed {
            Followed::Directory(directory, _) => (directory.clone(), self.names.clone()),
            Followed::Memory(files) => {
                let supplied = files.borrow_and_update();
                return self.take(&supplied.files, supplied.supply.as_ref());
            }
        };
        let read = tokio::task::spawn_blocking(move || read_set(&directory, &names, MAX_FILE_BYTES)).await;
        match read {
            Ok(Ok(snapshot)) => self.take(&snapshot, None),
            Ok(Err(error)) => tracing::warn!(%error, "credentials could not be read"),
            Err(_) => tracing::error!("reading the credentials panicked"),
        }
    }

    /// Takes note of what is mounted now, and puts it in use if it can be used and differs from what is. An agent in this
    /// process says how it does.
    fn take(&mut self, snapshot: &DirectorySnapshot, supply: Option<&Supply>) {
        let assessment = assess(snapshot, self.requirement);
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

/// Waits for a job; for ever where there is none.
async fn finished<T>(job: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match job {
        Some(job) => job.await,
        None => std::future::pending().await,
    }
}

/// What the files amount to.
struct Assessment {
    reason: Reason,
    message: String,
    /// The fields, if they can be put in use.
    usable: Option<BTreeMap<String, SecretString>>,
    /// Every field that counts, with its length before it, so that no two different sets look the same.
    content: Option<Zeroizing<Vec<u8>>>,
}

fn assess(snapshot: &DirectorySnapshot, requirement: Requirement) -> Assessment {
    let present = |name: &str| match snapshot.files.get(name) {
        None => false,
        Some(FileContent::Bytes(bytes)) => !trimmed(bytes).is_empty(),
        Some(FileContent::TooLarge | FileContent::Unreadable(_)) => true,
    };
    let whole = |fields: &&&[Field]| fields.iter().all(|field| present(field.name));
    let complete: Option<Vec<Field>> = requirement.alternatives().iter().find(whole).map(|fields| {
        let added = requirement.additions().iter().filter(whole);
        fields.iter().chain(added.copied().flatten()).copied().collect()
    });
    let content = match &complete {
        Some(fields) => encode(snapshot, &mut fields.iter().map(|field| field.name)),
        None => encode(snapshot, &mut snapshot.files.keys().map(String::as_str)),
    };
    if !snapshot.any && snapshot.files.is_empty() {
        let message = format!(
            "no credentials are mounted: make the Secret that the CredentialSource names, with keys for: {}",
            requirement.in_words()
        );
        return Assessment { reason: Reason::NoFields, message, usable: None, content: None };
    }
    let Some(fields) = complete else {
        let message = missing(snapshot, requirement, &present);
        return Assessment { reason: Reason::FieldMissing, message, usable: None, content };
    };
    if let Some((lacking, group)) = requirement.incomplete_addition(&present) {
        let message = format!("{}; needed together: {group}", faults(snapshot, lacking));
        return Assessment { reason: Reason::FieldMissing, message, usable: None, content };
    }
    let invalid =
        |message: String, content| Assessment { reason: Reason::FieldInvalid, message, usable: None, content };
    let mut usable = BTreeMap::new();
    for field in &fields {
        match check(*field, snapshot.files.get(field.name)) {
            Ok(value) => {
                usable.insert(field.name.to_owned(), value);
            }
            Err(fault) => return invalid(format!("key `{}` {fault}", field.name), content),
        }
    }
    if let Some(fault) = client_certificate::fault(&usable) {
        return invalid(fault.to_owned(), content);
    }
    let names = fields.iter().map(|field| field.name).collect::<Vec<_>>().join(" and ");
    Assessment { reason: Reason::Loaded, message: format!("{names} loaded"), usable: Some(usable), content }
}

/// Says what is missing of the combination that lacks least.
fn missing(snapshot: &DirectorySnapshot, requirement: Requirement, present: &dyn Fn(&str) -> bool) -> String {
    let lacking = |fields: &[Field]| -> Vec<&str> {
        fields.iter().map(|field| field.name).filter(|name| !present(name)).collect()
    };
    let closest = requirement.alternatives().iter().map(|fields| lacking(fields)).min_by_key(Vec::len);
    format!("{}; needed: {}", faults(snapshot, closest.unwrap_or_default()), requirement.in_words())
}

/// Says of fields that aren't there how they aren't.
fn faults(snapshot: &DirectorySnapshot, lacking: Vec<&str>) -> String {
    let fault = |name: &str| {
        let what = if snapshot.files.contains_key(name) { "is empty" } else { "is missing" };
        format!("key `{name}` {what}")
    };
    lacking.into_iter().map(fault).collect::<Vec<_>>().join(", ")
}

fn check(field: Field, content: Option<&FileContent>) -> Result<SecretString, String> {
    let bytes = match content {
        Some(FileContent::Bytes(bytes)) => trimmed(bytes),
        Some(FileContent::TooLarge) => return Err(format!("has more than {MAX_FILE_BYTES} bytes")),
        Some(FileContent::Unreadable(kind)) => return Err(format!("can't be read: {kind}")),
        None => return Err("is missing".to_owned()),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| "is not text in UTF-8".to_owned())?;
    match field.form {
        FieldForm::Line if text.contains(['\n', '\r']) => Err("has more than one line; it must be one".to_owned()),
        FieldForm::Line if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) => {
            Err("holds a control character or one outside of ASCII; it must be one line of visible ASCII".to_owned())
        }
        FieldForm::Line if text.trim() != text => Err("begins or ends with a blank".to_owned()),
        FieldForm::Pem if !holds_pem(bytes) => Err("is not PEM".to_owned()),
        FieldForm::Text if text.contains('\0') => Err("holds a NUL character".to_owned()),
        FieldForm::Line | FieldForm::Pem | FieldForm::Text => Ok(SecretString::from(text)),
    }
}

fn holds_pem(bytes: &[u8]) -> bool {
    let mut blocks = 0_usize;
    for block in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        match block {
            Ok((_, der)) => {
                drop(Zeroizing::new(der));
                blocks += 1;
            }
            Err(_) => return false,
        }
    }
    blocks > 0
}

/// The value without the newlines that editors and `echo` put at its end.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

fn encode(snapshot: &DirectorySnapshot, names: &mut dyn Iterator<Item = &str>) -> Option<Zeroizing<Vec<u8>>> {
    let mut fields: Vec<(&str, &[u8])> = names
        .filter_map(|name| match snapshot.files.get(name)? {
            FileContent::Bytes(bytes) => Some((name, trimmed(bytes))),
            FileContent::TooLarge | FileContent::Unreadable(_) => None,
        })
        .collect();
    fields.sort_unstable();
    if fields.is_empty() {
        return None;
    }
    let length = fields.iter().map(|(name, value)| 16 + name.len() + value.len()).sum();
    let mut content = Zeroizing::new(Vec::with_capacity(length));
    for part in fields.iter().flat_map(|(name, value)| [name.as_bytes(), *value]) {
        content.extend_from_slice(&(part.len() as u64).to_be_bytes());
        content.extend_from_slice(part);
    }
    Some(content)
}

/// A slow, salted hash of the content, cut to 32 bits: enough to compare, too little to find the content by.
fn revision(content: &[u8], salt: &str) -> String {
    let mut revision = [0; 4];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt.as_bytes(), content, &mut revision);
    hex::encode(revision)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::{super::CLIENT_CERTIFICATE, *};
    use crate::files::testing::kubelet_swap;

    const TOKEN: Requirement = Requirement::any_of(&[&[Field::line("token")]]);
    const EITHER: Requirement =
        Requirement::any_of(&[&[Field::line("user"), Field::line("password")], &[Field::line("token")]]);

    type Files<'a> = &'a [(&'a str, &'a [u8])];

    fn started(
        directory: &Path,
        requirement: Requirement,
    ) -> (CredentialsHandle, watch::Receiver<CredentialsState>, tokio_util::sync::DropGuard) {
        let shutdown = CancellationToken::new();
        let (handle, state) =
            start(Source::Directory(directory.to_owned()), requirement, "uid".into(), shutdown.clone());
        (handle, state, shutdown.drop_guard())
    }

    fn field(handle: &CredentialsHandle, name: &str) -> Option<String> {
        Some(handle.current()?.field(name)?.expose_secret().to_owned())
    }

    async fn until(state: &mut watch::Receiver<CredentialsState>, reason: &str) -> CredentialsState {
        let waited = state.wait_for(|state| state.reason == reason && state.mounted_revision.is_some());
        tokio::time::timeout(Duration::from_mins(1), waited).await.expect(reason).unwrap().clone()
    }

    #[tokio::test]
    async fn files_of_this_process_are_checked_and_followed_like_those_of_a_directory() {
        let files = |token: &[u8]| Supplied {
            files: DirectorySnapshot {
                files: [("token".to_owned(), FileContent::Bytes(Zeroizing::new(token.to_vec())))].into(),
                any: true,
            },
            supply: None,
        };
        let (sender, receiver) = watch::channel(Supplied::default());
        let shutdown = CancellationToken::new();
        let _guard = shutdown.clone().drop_guard();
        let (mut handle, mut state) = start(Source::Memory(receiver), TOKEN, "uid".into(), shutdown);
        assert_eq!(state.borrow().reason, "NoFields");
        for token in ["first", "second"] {
            sender.send_replace(files(token.as_bytes()));
            handle.changed().await;
            let set = handle.current().unwrap();
            assert_eq!(set.field("token").unwrap().expose_secret(), token);
        }
        sender.send_replace(files(b"two\nlines"));
        let told = state.wait_for(|state| state.reason == "FieldInvalid").await.unwrap().message.clone();
        assert!(told.contains("stay in use") && !told.contains("two"), "{told}");
        assert_eq!(handle.current().unwrap().field("token").unwrap().expose_secret(), "second");
    }

    #[tokio::test]
    async fn what_is_mounted_is_in_use_at_once() {
        let directory = tempfile::tempdir().unwrap();
        kubelet_swap(directory.path(), 1, &[("token", b"s.first\n")]);
        let (handle, mut state, _guard) = started(directory.path(), TOKEN);
        assert_eq!(field(&handle, "token").unwrap(), "s.first");
        assert_eq!(state.borrow().reason, "Loaded");
        assert_eq!(state.borrow().mounted_revision, None, "the start must not wait for the revision");
        let first = until(&mut state, "Loaded").await;
        assert_eq!(first.mounted_revision, first.loaded_revision);
        assert_eq!(first.mounted_revision.unwrap().len(), 8);
    }

    #[tokio::test]
    async fn a_bad_rotation_leaves_the_good_set_in_use() {
        let directory = tempfile::tempdir().unwrap();
        kubelet_swap(directory.path(), 1, &[("token", b"s.first")]);
        let (mut handle, mut state, _guard) = started(directory.path(), TOKEN);
        let first = until(&mut state, "Loaded").await;

        kubelet_swap(directory.path(), 2, &[("token", b"two\nlines")]);
        let invalid = until(&mut state, "FieldInvalid").await;
        assert!(invalid.message.contains("`token`") && invalid.message.contains("stay in use"), "{invalid:?}");
        assert!(!invalid.message.contains("two"), "{invalid:?}");
        assert_eq!(invalid.loaded_revision, first.loaded_revision);
        assert_ne!(invalid.mounted_revision, first.mounted_revision);
        assert_eq!(field(&handle, "token").unwrap(), "s.first");

        kubelet_swap(directory.path(), 3, &[("token", b"s.second")]);
        tokio::time::timeout(Duration::from_mins(1), handle.changed()).await.unwrap();
        assert_eq!(field(&handle, "token").unwrap(), "s.second");
        assert_eq!(handle.current().unwrap().generation, 2);

        kubelet_swap(directory.path(), 4, &[("token", b"s.first")]);
        let waited = state.wait_for(|state| state.loaded_revision == first.loaded_revision);
        tokio::time::timeout(Duration::from_mins(1), waited).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_same_content_is_no_new_set() {
        let directory = tempfile::tempdir().unwrap();
        kubelet_swap(directory.path(), 1, &[("token", b"s.same")]);
        let (handle, mut state, _guard) = started(directory.path(), TOKEN);
        let before = until(&mut state, "Loaded").await;
        kubelet_swap(directory.path(), 2, &[("token", b"s.same\n"), ("other", b"x")]);
        handle.reread();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(handle.current().unwrap().generation, 1);
        assert_eq!(*state.borrow(), before);
    }

    #[tokio::test]
    async fn a_reader_on_request_finds_files_that_were_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("later");
        let (mut handle, state, _guard) = started(&missing, TOKEN);
        assert_eq!(state.borrow().reason, "NoFields");
        assert!(state.borrow().message.contains("keys for: token"), "{:?}", state.borrow());
        std::fs::create_dir(&missing).unwrap();
        std::fs::write(missing.join("token"), "s.later").unwrap();
        handle.reread();
        tokio::time::timeout(Duration::from_mins(1), handle.changed()).await.unwrap();
        assert_eq!(field(&handle, "token").unwrap(), "s.later");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn readers_never_see_a_mixed_pair() {
        let directory = tempfile::tempdir().unwrap();
        kubelet_swap(directory.path(), 0, &[("user", b"0"), ("password", b"0")]);
        let (handle, _state, _guard) = started(directory.path(), EITHER);
        let path = directory.path().to_owned();
        let writer = std::thread::spawn(move || {
            for generation in 1..300 {
                let value = generation.to_string();
                kubelet_swap(&path, generation, &[("user", value.as_bytes()), ("password", value.as_bytes())]);
            }
        });
        while !writer.is_finished() {
            handle.reread();
            let set = handle.current().unwrap();
            let pair = (set.field("user").unwrap().expose_secret(), set.field("password").unwrap().expose_secret());
            assert_eq!(pair.0, pair.1);
            tokio::task::yield_now().await;
        }
        writer.join().unwrap();
        let last = async {
            while field(&handle, "user").unwrap() != "299" {
                handle.reread();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), last).await.unwrap();
    }

    fn assessed(requirement: Requirement, files: Files<'_>) -> Assessment {
        let directory = tempfile::tempdir().unwrap();
        kubelet_swap(directory.path(), 1, files);
        assess(&read_set(directory.path(), &requirement.names(), MAX_FILE_BYTES).unwrap(), requirement)
    }

    #[test]
    fn faults_are_named_with_what_is_needed() {
        let large = vec![b'a'; MAX_FILE_BYTES + 1];
        let cases: &[(Requirement, Files<'_>, Reason, &str)] = &[
            (TOKEN, &[], Reason::NoFields, "no credentials are mounted"),
            (TOKEN, &[("tokn", b"x")], Reason::FieldMissing, "key `token` is missing"),
            (TOKEN, &[("token", b"\n")], Reason::FieldMissing, "key `token` is empty"),
            (EITHER, &[("user", b"me")], Reason::FieldMissing, "key `password` is missing; needed: user and password"),
            (TOKEN, &[("token", b"\xff\xfe")], Reason::FieldInvalid, "UTF-8"),
            (TOKEN, &[("token", b"a\x07b")], Reason::FieldInvalid, "control character"),
            (TOKEN, &[("token", b" a")], Reason::FieldInvalid, "blank"),
            (TOKEN, &[("token", &large)], Reason::FieldInvalid, "65536 bytes"),
            (EITHER, &[("user", b"me"), ("token", b"t")], Reason::Loaded, "token loaded"),
        ];
        for (requirement, files, reason, part) in cases {
            let assessment = assessed(*requirement, files);
            assert_eq!(assessment.reason, *reason, "{}", assessment.message);
            assert!(assessment.message.contains(part), "{}", assessment.message);
            assert_eq!(assessment.usable.is_some(), *reason == Reason::Loaded);
        }
    }

    #[test]
    fn pem_must_parse() {
        const PEM: Requirement = Requirement::any_of(&[&[Field { name: "key", form: FieldForm::Pem }]]);
        let good = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(assessed(PEM, &[("key", good)]).reason, Reason::Loaded);
        assert_eq!(assessed(PEM, &[("key", b"AAAA")]).reason, Reason::FieldInvalid);
    }

    #[test]
    fn a_client_certificate_comes_with_its_own_key() {
        const MTLS: Requirement = Requirement::any_of(&[&[Field::line("token")]]).with_additions(&[CLIENT_CERTIFICATE]);
        let certificate = include_bytes!("../outbound/fixtures/client.pem").as_slice();
        let key = include_bytes!("../outbound/fixtures/client.key").as_slice();
        let other = include_bytes!("../outbound/fixtures/server.key").as_slice();
        let cases: &[(Files<'_>, Reason, &str)] = &[
            (&[], Reason::Loaded, "token loaded"),
            (
                &[("tls_certificate", certificate), ("tls_key", key)],
                Reason::Loaded,
                "token and tls_certificate and tls_key loaded",
            ),
            (&[("tls_certificate", certificate)], Reason::FieldMissing, "key `tls_key` is missing; needed together"),
            (&[("tls_certificate", certificate), ("tls_key", b"\n")], Reason::FieldMissing, "key `tls_key` is empty"),
            (&[("tls_certificate", key), ("tls_key", key)], Reason::FieldInvalid, "holds no certificate"),
            (
                &[("tls_certificate", certificate), ("tls_key", certificate)],
                Reason::FieldInvalid,
                "holds no private key",
            ),
            (&[("tls_certificate", certificate), ("tls_key", other)], Reason::FieldInvalid, "is not the key of"),
        ];
        for (pair, reason, part) in cases {
            let mut files = vec![("token", b"t".as_slice())];
            files.extend_from_slice(pair);
            let assessment = assessed(MTLS, &files);
            assert_eq!(assessment.reason, *reason, "{}", assessment.message);
            assert!(assessment.message.contains(part), "{}", assessment.message);
        }
    }

    #[test]
    fn revisions_are_salted() {
        assert_ne!(revision(b"content of some length", "one"), revision(b"content of some length", "two"));
    }

    proptest! {
        #[test]
        fn different_pairs_have_different_content(
            a in "[a-z]{0,4}", b in "[a-z]{0,4}", c in "[a-z]{0,4}", d in "[a-z]{0,4}",
        ) {
            let of = |user: &str, password: &str| {
                let files = [("user", user), ("password", password)].into_iter().map(|(name, value)| {
                    (name.to_owned(), FileContent::Bytes(Zeroizing::new(value.as_bytes().to_vec())))
                });
                let snapshot = DirectorySnapshot { files: files.collect(), any: true };
                encode(&snapshot, &mut ["user", "password"].into_iter()).unwrap().to_vec()
            };
            prop_assert_eq!(of(&a, &b) == of(&c, &d), (a, b) == (c, d));
        }

        #[test]
        fn no_bytes_panic_or_leak(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let files = [("token".to_owned(), FileContent::Bytes(Zeroizing::new(bytes.clone())))].into();
            let assessment = assess(&DirectorySnapshot { files, any: true }, TOKEN);
            if let Some(fields) = assessment.usable {
                let value = fields["token"].expose_secret().to_owned();
                prop_assert!(!value.is_empty() && value.bytes().all(|b| (b' '..=b'~').contains(&b)));
            }
        }
    }
}
