//! Tells when directories may have changed. All of a process are watched by one instance of the kernel's notifications: a
//! user has only some of those on a node (`fs.inotify.max_user_instances`, often 128), and the pods of all connectors, with
//! those of many other projects, run as one user.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Interval, MissedTickBehavior},
};

/// Time to wait after an event, because one swap makes several.
const SETTLE: Duration = Duration::from_millis(20);

static WATCHER: Mutex<Option<RecommendedWatcher>> = Mutex::new(None);
// Apart from the watcher, whose own thread asks for them while the watcher is waiting for it.
static LISTENERS: Mutex<Vec<Listener>> = Mutex::new(Vec::new());

struct Listener {
    directory: PathBuf,
    changed: Arc<Notify>,
}

/// Tells when a directory may have changed: by events of the kernel, and by the clock for those that get lost.
pub struct DirectoryEvents {
    directory: PathBuf,
    changed: Arc<Notify>,
    /// Inode of the directory that is watched.
    watched: Option<u64>,
    /// Whether it was told that there are no events.
    told: bool,
    poll: Interval,
}

impl DirectoryEvents {
    /// Watches a directory. A watch on a file would die with the first swap, so it is the directory that is watched.
    #[must_use]
    pub fn watch(directory: &Path, poll: Duration) -> Self {
        let mut poll = tokio::time::interval_at(tokio::time::Instant::now() + poll, poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (directory, changed) = (directory.to_owned(), Arc::new(Notify::new()));
        lock(&LISTENERS).push(Listener { directory: directory.clone(), changed: changed.clone() });
        let mut events = Self { directory, changed, watched: None, told: false, poll };
        events.attach();
        events
    }

    /// Waits until the directory may have changed. One that is dropped while it waits may lose an event, not a poll.
    pub async fn next(&mut self) {
        tokio::select! {
            () = self.changed.notified() => tokio::time::sleep(SETTLE).await,
            _ = self.poll.tick() => self.attach(),
        }
    }

    /// Puts the watch on the directory as it is now. It may have been made, or made anew, since.
    fn attach(&mut self) {
        let Ok(inode) = fs::metadata(&self.directory).map(|metadata| metadata.ino()) else {
            self.watched = None;
            return;
        };
        if self.watched == Some(inode) {
            return;
        }
        match watch(&self.directory) {
            Ok(()) => (self.watched, self.told) = (Some(inode), false),
            Err(error) => {
                if !self.told {
                    tracing::warn!(directory = %self.directory.display(), %error, "changes are found by polling only");
                }
                (self.watched, self.told) = (None, true);
            }
        }
    }
}

impl Drop for DirectoryEvents {
    fn drop(&mut self) {
        let is_watched_by_another = {
            let mut listeners = lock(&LISTENERS);
            listeners.retain(|listener| !Arc::ptr_eq(&listener.changed, &self.changed));
            listeners.iter().any(|listener| listener.directory == self.directory)
        };
        if let (false, Some(watcher)) = (is_watched_by_another, lock(&WATCHER).as_mut()) {
            // A directory that is gone is watched by nobody already.
            let _gone = watcher.unwatch(&self.directory);
        }
    }
}

fn watch(directory: &Path) -> notify::Result<()> {
    let mut shared = lock(&WATCHER);
    let watcher = match &mut *shared {
        Some(watcher) => watcher,
        none => none.insert(notify::recommended_watcher(|event| tell(&event))?),
    };
    // The path may still stand for a directory that is gone.
    let _gone = watcher.unwatch(directory);
    watcher.watch(directory, RecursiveMode::NonRecursive)
}

fn tell(event: &notify::Result<notify::Event>) {
    // Reading a file makes events too, and must not make us read again.
    let only_read = event.as_ref().is_ok_and(
        |event| matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)),
    );
    if only_read {
        return;
    }
    // An event without a path, or an error, may be about any.
    let paths = event.as_ref().map(|event| event.paths.as_slice()).unwrap_or_default();
    for Listener { directory, changed } in lock(&LISTENERS).iter() {
        if paths.is_empty() || paths.iter().any(|path| path == directory || path.parent() == Some(directory.as_path()))
        {
            changed.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_set, testing::kubelet_swap};

    #[tokio::test]
    async fn a_swap_is_told_at_once_and_reading_is_not() {
        let directory = tempfile::tempdir().unwrap();
        kubelet_swap(directory.path(), 0, &[("token", b"a")]);
        let mut events = DirectoryEvents::watch(directory.path(), Duration::from_hours(1));
        read_set(directory.path(), &["token"], 10).unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
        assert!(quiet.is_err(), "reading made an event");
        for generation in 1..4 {
            kubelet_swap(directory.path(), generation, &[("token", b"b")]);
            tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn many_directories_are_watched_by_one_instance_and_each_is_told_of_its_own() {
        let directories: Vec<_> = (0..20).map(|_| tempfile::tempdir().unwrap()).collect();
        let watch = |directory: &tempfile::TempDir| DirectoryEvents::watch(directory.path(), Duration::from_hours(1));
        let mut events: Vec<_> = directories.iter().map(watch).collect();
        // Two may watch the same one.
        let other = watch(&directories[7]);
        drop(other);
        kubelet_swap(directories[7].path(), 0, &[("token", b"a")]);
        tokio::time::timeout(Duration::from_secs(10), events[7].next()).await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(100), events[8].next()).await;
        assert!(quiet.is_err(), "another directory has changed");
        let instances = fs::read_dir("/proc/self/fd").unwrap().flatten().filter(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target.to_string_lossy().contains("inotify"))
        });
        assert_eq!(instances.count(), 1);
    }

    #[tokio::test]
    async fn a_directory_that_is_made_anew_is_watched_again() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("files");
        fs::create_dir(&directory).unwrap();
        let mut events = DirectoryEvents::watch(&directory, Duration::from_millis(50));
        fs::remove_dir(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        let inode = fs::metadata(&directory).unwrap().ino();
        tokio::time::timeout(Duration::from_secs(10), async {
            while events.watched != Some(inode) {
                events.next().await;
            }
        })
        .await
        .unwrap();
        events.poll =
            tokio::time::interval_at(tokio::time::Instant::now() + Duration::from_hours(1), Duration::from_hours(1));
        kubelet_swap(&directory, 0, &[("token", b"a")]);
        tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
    }
}
