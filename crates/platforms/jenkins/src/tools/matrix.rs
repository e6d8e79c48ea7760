//! Configurations of matrix projects: which ones a project has, how each did in a build, and the logs of those that did not
//! succeed.

use futures::future::join_all;
use schemars::JsonSchema;
use serde::Serialize;

use super::{MAX_LINE, NOT_TOLD, Target, builds::BuildStatus, first, jobs::JobStatus};
use crate::{
    Jenkins,
    error::to_tool_error,
    names::{BuildName, JobName},
    wire::{Build, Configuration},
};
use kit::text;
use tools::CallContext;

/// Configurations of one answer.
pub(super) const MAX_CONFIGURATIONS: usize = 200;
/// Configurations whose logs are part of a report.
pub(super) const MAX_LOGS: usize = 3;
/// Lines of each of those logs.
const LOG_LINES: usize = 40;

/// A configuration of a matrix project.
#[derive(Serialize, JsonSchema)]
pub(super) struct ConfigurationView {
    /// Full name, which other tools take as job.
    job: String,
    /// How it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<JobStatus>,
}

impl ConfigurationView {
    pub(super) fn of(project: &JobName, configuration: &Configuration) -> Self {
        Self {
            job: text::clean(project.configuration(&configuration.name).as_str()),
            status: configuration.color.as_deref().and_then(JobStatus::of),
        }
    }
}

/// A configuration in one build of its matrix project.
#[derive(Serialize, JsonSchema)]
pub(super) struct ConfigurationRunView {
    /// Full name of the configuration, which other tools take as job; the build's number is that of the whole.
    job: String,
    /// How it does, or did.
    status: BuildStatus,
    /// In a failure report, of the first three that failed: the last lines of its log, 40 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_tail: Option<String>,
}

/// The runs of configurations that belong to a build. Jenkins also tells of those that earlier builds left where this one
/// built only a part of the matrix.
pub(super) fn runs(project: &JobName, build: &Build) -> Vec<(JobName, BuildStatus)> {
    let own = build.runs.iter().filter(|run| run.number == build.number);
    own.filter_map(|run| {
        let name = project.configuration(&run.combination()?);
        Some((name, BuildStatus::of(run.building, run.result.as_deref())))
    })
    .collect()
}

/// The runs as they are answered: 200 at most.
pub(super) fn views(runs: &[(JobName, BuildStatus)], hints: &mut Vec<String>) -> Vec<ConfigurationRunView> {
    let view = |(job, status): &(JobName, BuildStatus)| ConfigurationRunView {
        job: text::clean(job.as_str()),
        status: *status,
        log_tail: None,
    };
    first(runs.iter().map(view), MAX_CONFIGURATIONS, "configurations", hints)
}

/// How far a result is from success: those that failed come first.
const fn rank(status: BuildStatus) -> u8 {
    match status {
        BuildStatus::Failure => 0,
        BuildStatus::Unstable => 1,
        BuildStatus::Aborted => 2,
        BuildStatus::Unknown | BuildStatus::NotBuilt => 3,
        BuildStatus::Running => 4,
        BuildStatus::Success => 5,
    }
}

impl Jenkins {
    /// The configurations that did not succeed, the worst first, with the ends of the first logs; each log costs a request.
    pub(super) async fn fetch_failed_configurations(
        &self,
        mut runs: Vec<(JobName, BuildStatus)>,
        number: u32,
        max_bytes: usize,
        hints: &mut Vec<String>,
        context: &CallContext,
    ) -> Vec<ConfigurationRunView> {
        runs.retain(|(_, status)| rank(*status) < rank(BuildStatus::Running));
        runs.sort_by_key(|(_, status)| rank(*status));
        if runs.len() > MAX_LOGS {
            hints.push(format!(
                "{} configurations did not succeed, and the logs of {MAX_LOGS} are told: ask for others by their job",
                runs.len()
            ));
        }
        let room = max_bytes / MAX_LOGS;
        let tails = join_all(runs.iter().take(MAX_LOGS).map(|(job, _)| async move {
            let target = Target { job: job.clone(), build: BuildName::Number(number) };
            self.fetch_tail(&target, room, context).await.map_err(|error| {
                let worded = to_tool_error(error, &format!("read the log of {target}"));
                format!("{NOT_TOLD} the log of {target}: {}", worded.message)
            })
        }))
        .await;
        let mut failed = views(&runs, hints);
        for (view, tail) in failed.iter_mut().zip(tails) {
            match tail {
                Ok(tail) => view.log_tail = Some(tail.scan.finish(LOG_LINES, MAX_LINE).0),
                Err(hint) => hints.push(hint),
            }
        }
        failed
    }
}
