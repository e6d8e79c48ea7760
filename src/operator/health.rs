//! Whether the operator makes progress: what `/livez` and `/readyz` answer from.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A watch that fails for so long is not going to mend itself in this process.
const WATCH_PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Watch {
    kind: &'static str,
    started: bool,
    failing_since: Option<Instant>,
    last_event: Option<Instant>,
}

/// The state of every watch. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WatchHealth {
    watches: Arc<Mutex<Vec<Arc<Mutex<Watch>>>>>,
}

/// One watch's end of it.
#[derive(Clone, Debug)]
pub struct WatchProgress(Arc<Mutex<Watch>>);

impl WatchHealth {
    /// Adds a watch.
    pub fn register(&self, kind: &'static str) -> WatchProgress {
        let watch = Arc::new(Mutex::new(Watch { kind, started: false, failing_since: None, last_event: None }));
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&watch));
        WatchProgress(watch)
    }

    fn each<T>(&self, mut look: impl FnMut(&Watch) -> Option<T>) -> Vec<T> {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.iter().filter_map(|watch| look(&watch.lock().unwrap_or_else(PoisonError::into_inner))).collect()
    }

    /// Kinds whose watch has been failing for longer than a restart would take to mend it.
    pub fn stuck(&self) -> Vec<&'static str> {
        self.each(|watch| watch.failing_since.filter(|since| since.elapsed() > WATCH_PATIENCE).map(|_| watch.kind))
    }

    /// Kinds of which the first list isn't there yet.
    pub fn starting(&self) -> Vec<&'static str> {
        self.each(|watch| (!watch.started).then_some(watch.kind))
    }

    /// Seconds since each watch last told something.
    pub fn last_events(&self) -> Vec<(&'static str, f64)> {
        self.each(|watch| watch.last_event.map(|at| (watch.kind, at.elapsed().as_secs_f64())))
    }
}

impl WatchProgress {
    /// The watch told something.
    pub fn moved(&self) {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watch.started = true;
        watch.failing_since = None;
        watch.last_event = Some(Instant::now());
    }

    /// The watch failed.
    pub fn failed(&self) {
        let mut watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watch.failing_since.get_or_insert_with(Instant::now);
    }
}
