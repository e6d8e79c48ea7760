//! Jobs that are known to have ended. What they left changes no more, but the lists of their tests and artifacts don't say
//! that it is all.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;

use super::{
    jobs::JobFacts,
    locate::JobName,
    status::{is_final, is_final_job},
};

/// How long answers about a job, or a workflow, that has ended are kept: a rerun makes new ones. CircleCI lets them go
/// after weeks.
pub(super) const AGE: Duration = Duration::from_mins(10);
/// For how long an answer about what goes on is given to all callers.
pub(super) const WHILE_IT_RUNS: Duration = Duration::from_secs(5);
/// How long answers about a run that has ended are kept. A rerun of one of its workflows becomes a part of it, and another
/// replica, or a person, may have started one.
pub(super) const AGE_OF_A_RUN: Duration = Duration::from_secs(30);

/// Jobs that are remembered.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

/// The names of jobs that have ended, those that were asked for last.
pub(super) struct Ended(Mutex<LruCache<String, ()>>);

impl Default for Ended {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Ended {
    /// Remembers a job, under the name that it was asked for with and its id, if it has ended.
    pub(super) fn learn(&self, name: &JobName, job: &JobFacts) {
        if job.has_ended() {
            let mut known = self.lock();
            known.put(key(name), ());
            if let Some(id) = &job.id {
                known.put(id.clone(), ());
            }
        }
    }

    /// Whether a job is known to have ended.
    pub(super) fn knows(&self, name: &JobName) -> bool {
        self.lock().get(&key(name)).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(name: &JobName) -> String {
    match name {
        JobName::Id(id) => id.clone(),
        JobName::Number(slug, number) => format!("{slug} {number}"),
    }
}

/// Whether a workflow and these jobs of it change no more. Jobs of one that was cancelled may go on for a moment; those
/// that are still `blocked` then never begin.
pub(super) fn is_workflow_final<'a>(workflow: &str, mut jobs: impl Iterator<Item = &'a str>) -> bool {
    is_final(workflow) && jobs.all(|job| is_final_job(job) || matches!(job, "blocked" | "on_hold"))
}
