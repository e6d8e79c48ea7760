//! Jenkins' tools, one file a group. A tool names its job or build, calls, and answers with typed fields;
//! [`super::error`] words what goes wrong.

mod artifact;
mod artifacts;
mod build;
mod builds;
mod cancel;
mod delete;
mod input;
mod inputs;
mod job;
mod jobs;
mod log;
mod log_search;
mod matrix;
mod nodes;
mod parameters;
mod queue;
mod rebuild;
mod report;
mod results;
mod stages;
mod start;
mod tests_of_build;
mod trigger;

use std::{sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    names::{Asked, BuildName, JobName, Written},
    wire::{self, Build, Builds, Folder, Job},
};
use tools::{CallContext, ErrorCode, ToolEntry, ToolError, mutation, read};

/// How long answers about a build that has ended are kept: what people write on it afterwards is all that changes.
const AGE_OF_AN_ENDED_BUILD: Duration = Duration::from_mins(10);
/// Numbers that a job which is made anew may have reached again while such an answer is kept.
const MAY_COME_AGAIN: u32 = 10;
/// For how long an answer about what goes on is given to all callers.
const WHILE_IT_RUNS: Duration = Duration::from_secs(2);
/// Bytes of a log that one call reads at most, without keeping them.
const MAX_SCAN: u64 = 256 * 1024 * 1024;
/// Names in a folder among which one is looked for that is like a wrong one.
const MAX_NAMES: usize = 5_000;
/// Characters of a log's line that are answered.
const MAX_LINE: usize = 500;

/// Every tool of Jenkins.
pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    [
        jobs::entries(jenkins),
        job::entries(jenkins),
        builds::entries(jenkins),
        build::entries(jenkins),
        stages::entries(jenkins),
        report::entries(jenkins),
        log::entries(jenkins),
        log_search::entries(jenkins),
        results::entries(jenkins),
        artifacts::entries(jenkins),
        artifact::entries(jenkins),
        queue::entries(jenkins),
        inputs::entries(jenkins),
        nodes::entries(jenkins),
        trigger::entries(jenkins),
        rebuild::entries(jenkins),
        cancel::entries(jenkins),
        input::entries(jenkins),
        delete::entries(jenkins),
    ]
    .concat()
}

/// Arguments that name the build that a tool is about. Left out, it is that of a link, or the last of a kind: `DEFAULT` is that
/// one's place in [`BuildName::WORDS`].
#[derive(Deserialize, JsonSchema)]
struct BuildArgs<const DEFAULT: usize> {
    /// Full name of the job (`folder/name`), or a link to it or its build; with `/axis=value,axis=value`, one configuration of
    /// a matrix project.
    #[schemars(length(min = 1, max = 4000))]
    job: String,
    /// Number, or last, lastFailed, lastSuccessful, lastCompleted, lastStable, lastUnstable or lastUnsuccessful.
    #[serde(default)]
    build: Asked<DEFAULT>,
}

impl<const DEFAULT: usize> BuildArgs<DEFAULT> {
    async fn target(&self, jenkins: &Jenkins, context: &CallContext) -> Result<Target, ToolError> {
        let (job, linked) = jenkins.fetch_written(&self.job, "job", context).await?;
        Ok(Target { job, build: self.build.or_of_link(linked)? })
    }
}

/// The build that a call is about.
#[derive(Clone)]
struct Target {
    job: JobName,
    build: BuildName,
}

impl Target {
    /// The path of something below the build.
    fn path(&self, below: &[&str]) -> Vec<String> {
        let below = below.iter().map(|part| (*part).to_owned());
        self.job.segments().into_iter().chain([self.build.segment()]).chain(below).collect()
    }

    /// The same with the build's number instead of a word, so that what follows is about the same build.
    fn numbered(&self, build: &Build) -> Self {
        Self { job: self.job.clone(), build: BuildName::Number(build.number) }
    }

    /// Says that an answer about this build is final, if the build was named by its number and has ended. What is the last
    /// one changes with the next; and a low number is soon that of another build, where a job is deleted and made anew, as that
    /// of a branch that comes back.
    fn say_if_final(&self, build: &Build, context: &CallContext) {
        let named = matches!(self.build, BuildName::Number(number) if number > MAY_COME_AGAIN);
        if named && !build.goes_on() {
            context.answer_is_final();
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.build, self.job)
    }
}

impl Jenkins {
    /// Makes a call and gives the object that it answers.
    async fn object<T: DeserializeOwned>(&self, call: &Call, context: &CallContext) -> Result<T, Error> {
        self.session.call(call, context.deadline).await?.object()
    }

    /// The name of a job as an agent writes it.
    async fn fetch_name(&self, text: &str, context: &CallContext) -> Result<JobName, ToolError> {
        self.fetch_written(text, "job", context).await.map(|(name, _)| name)
    }

    /// The job that an agent means, and the build if it is a link to one. Jenkins is asked only where more than one can be
    /// meant, which is told by what is there; or the last part may be a configuration of a matrix project, or a job in a folder
    /// that is called like one: their paths differ.
    async fn fetch_written(
        &self,
        text: &str,
        argument: &str,
        context: &CallContext,
    ) -> Result<(JobName, Option<BuildName>), ToolError> {
        self.home.check(text, argument)?;
        let Written { names, build } = JobName::read(text, argument)?;
        let mut names = names.into_iter().peekable();
        let name = loop {
            let name = names.next().ok_or_else(|| ToolError::internal("a text names no job"))?;
            if names.peek().is_none() {
                break name;
            }
            match self.object::<wire::Project>(&Call::json(name.segments(), "name"), context).await {
                // It is called so, and the build is part of its name.
                Ok(_) => return Ok((name, None)),
                Err(Error::NotFound) => {}
                Err(error) => return Err(to_tool_error(error, &format!("read {name}"))),
            }
        };
        let Some((project, configuration)) = name.as_configuration() else { return Ok((name, build)) };
        match self.object::<wire::Project>(&Call::json(project.segments(), "name"), context).await {
            Ok(project) if project.is_matrix() => Ok((configuration, build)),
            // What isn't there is told by whoever asks for it.
            Ok(_) | Err(Error::NotFound) => Ok((name, build)),
            Err(error) => Err(to_tool_error(error, &format!("read {project}"))),
        }
    }

    /// The job, as far as [`wire::JOB`] selects it.
    async fn fetch_job(&self, job: &JobName, context: &CallContext) -> Result<Job, ToolError> {
        match self.object(&Call::json(job.segments(), wire::JOB), context).await {
            Ok(job) => Ok(job),
            Err(Error::NotFound) => Err(self.no_such_job(job, context).await),
            Err(error) => Err(to_tool_error(error, &format!("read the job {job}"))),
        }
    }

    /// A build, as far as `tree` selects it.
    async fn fetch_build(&self, target: &Target, tree: &str, context: &CallContext) -> Result<Build, ToolError> {
        match self.object(&Call::json(target.path(&[]), tree), context).await {
            Ok(build) => Ok(build),
            Err(Error::NotFound) => Err(self.no_such_build(target, context).await),
            Err(error) => Err(to_tool_error(error, &format!("read {target}"))),
        }
    }

    /// Words that a build is not there: because the job isn't, or the build.
    async fn no_such_build(&self, target: &Target, context: &CallContext) -> ToolError {
        let call = Call::json(target.job.segments(), "builds[number]{0,5},nextBuildNumber");
        match self.object::<Builds>(&call, context).await {
            Ok(there) => {
                let numbers: Vec<String> = there.all().iter().map(|build| build.number.to_string()).collect();
                let why = match (target.build, there.next_build_number) {
                    (BuildName::Number(number), Some(next)) if number >= next => format!("the next one is {next}"),
                    (BuildName::Number(_), _) => "this one was removed, or never was".to_owned(),
                    _ => "none of those that are kept is such a one".to_owned(),
                };
                let remedy = if numbers.is_empty() {
                    there.why_none()
                } else {
                    format!("its newest builds are {}; {why}", numbers.join(", "))
                };
                ToolError::new(ErrorCode::NotFound, format!("there is no such build: {target}"))
                    .with_argument("build")
                    .with_remedy(remedy)
            }
            Err(Error::NotFound) => self.no_such_job(&target.job, context).await,
            Err(_) => to_tool_error(Error::NotFound, &format!("read {target}")),
        }
    }

    /// Words that a job is not there. Jenkins says so, too, of one that the user may not see; what is in its folder tells
    /// which is the likelier.
    async fn no_such_job(&self, job: &JobName, context: &CallContext) -> ToolError {
        let message = format!("there is no job {job}, or the connector's user may not see it");
        let error = ToolError::new(ErrorCode::NotFound, message).with_argument("job");
        let similar = self.similar_names(job, context).await;
        if similar.is_empty() {
            error.with_remedy(LOOK_FOR_JOBS)
        } else {
            error.with_remedy("platform_words are similar names that can be seen").with_platform_words(similar)
        }
    }

    /// Names of what is in the folder of a job that isn't there, the likeliest first: five at most. A branch may have been
    /// written as people see it (`team/web/feature/login`), so that its folder is one further up.
    async fn similar_names(&self, job: &JobName, context: &CallContext) -> Vec<String> {
        let names = format!("name,fullName,displayName]{{0,{MAX_NAMES}}}");
        let tree = format!("jobs[{names},activeConfigurations[name]{{0,{MAX_NAMES}}}");
        let mut folder = job.parent();
        for further_up in [true, false] {
            let path = folder.as_ref().map(JobName::segments).unwrap_or_default();
            match self.object::<Folder>(&Call::json(path, &tree), context).await {
                Ok(there) => return likeliest(job, folder.as_ref(), there),
                Err(Error::NotFound) if further_up => {}
                Err(_) => break,
            }
            let Some(above) = folder.as_ref().and_then(JobName::parent) else { break };
            folder = Some(above);
        }
        Vec::new()
    }

    /// Makes a call to the plugin `pipeline-rest-api`; nothing if it isn't there, or has nothing to say of this build.
    async fn stage_view<T>(
        &self,
        call: &Call,
        read: impl Fn(&super::client::Answer) -> Result<T, Error> + Send,
        context: &CallContext,
    ) -> Result<Option<T>, Error> {
        let found = match self.session.call(call, context.deadline).await {
            Ok(answer) => Some(read(&answer)?),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error),
        };
        self.learn(|seen| seen.stage_view = Some(found.is_some()));
        Ok(found)
    }
}

/// The names in a folder that are like that of a job which isn't there.
fn likeliest(job: &JobName, folder: Option<&JobName>, there: Folder) -> Vec<String> {
    // What the name says below the folder.
    let wanted = folder.and_then(|folder| job.as_str().strip_prefix(folder.as_str())).unwrap_or(job.as_str());
    let wanted = wanted.trim_start_matches('/').to_lowercase();
    let configurations = there.active_configurations.into_iter().filter_map(|one| {
        let full_name = folder?.configuration(&one.name).to_string();
        Some((vec![one.name], full_name))
    });
    let jobs = there.jobs.into_iter().map(|entry| {
        let readable = percent_decode_str(&entry.name).decode_utf8_lossy().into_owned();
        (entry.display_name.into_iter().chain([entry.name, readable]).collect(), entry.full_name)
    });
    let likeness = |name: &String| strsim::jaro_winkler(&name.to_lowercase(), &wanted);
    let mut similar: Vec<(f64, String)> = jobs
        .chain(configurations)
        .map(|(names, full_name)| (names.iter().map(likeness).fold(0.0, f64::max), full_name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    similar.sort_by(|a, b| b.0.total_cmp(&a.0));
    similar.into_iter().take(5).map(|(_, name)| name).collect()
}

/// What to do about a job that isn't there.
const LOOK_FOR_JOBS: &str = "search_jenkins_jobs tells which jobs there are; slashes in a branch's name are %2F";

/// What is said to whoever would act on one configuration of a matrix project.
fn not_a_configuration(job: &JobName, would: &str) -> Result<(), ToolError> {
    if !job.is_configuration() {
        return Ok(());
    }
    let message = format!("{job} is a configuration of a matrix project, and can't be {would} by itself");
    Err(ToolError::invalid_argument(message)
        .with_argument("job")
        .with_remedy("name the project: its configurations go with it"))
}

/// The first entries of a list. What is left out is said, or they would look like all that there are; of what Jenkins is asked for a
/// range, it must be asked for one entry more than `most`.
fn first<T>(list: impl IntoIterator<Item = T>, most: usize, what: &str, hints: &mut Vec<String>) -> Vec<T> {
    let mut list = list.into_iter();
    let kept = list.by_ref().take(most).collect();
    if list.next().is_some() {
        hints.push(format!("there are more {what} than the {most} that are told"));
    }
    kept
}

/// How a hint begins that says which part of an answer is missing, and why.
const NOT_TOLD: &str = "not told here,";

/// Arguments of a tool that is about one job.
#[derive(Deserialize, JsonSchema)]
struct JobInput {
    /// Full name of the job, such as `folder/name`, or a link to it; with `/axis=value,axis=value` after it, one
    /// configuration of a matrix project.
    #[schemars(length(min = 1, max = 4000))]
    job: String,
}
