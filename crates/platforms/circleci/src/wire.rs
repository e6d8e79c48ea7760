//! Answers of API v2 and v1.1, as far as they are used. What is not there is empty: CircleCI leaves out what a thing does
//! not have. Field names are those of the OpenAPI document that CircleCI publishes for v2
//! (circleci.com/docs/api/v2/openapi.json), and for v1.1 of circleci.com/docs/api/v1.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Null is what is not there.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A state; null, as records have it that have expired (con/tinuous #203), is one that is not known.
fn or_unknown<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let status: Option<String> = Option::deserialize(deserializer)?;
    Ok(status.filter(|status| !status.is_empty()).unwrap_or_else(unknown))
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// A page of a list.
#[derive(Deserialize, PartialEq)]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
    pub(super) next_page_token: Option<String>,
}

/// `GET /me`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Me {
    pub(super) login: String,
}

/// `GET /project/{slug}`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Project {
    pub(super) id: String,
    pub(super) slug: String,
    pub(super) organization_id: String,
    pub(super) vcs_info: Option<VcsInfo>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct VcsInfo {
    pub(super) default_branch: Option<String>,
}

/// An entry of `GET /api/v1.1/projects`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Followed {
    pub(super) slug: Option<String>,
    pub(super) name: Option<String>,
    pub(super) vcs_type: Option<String>,
    /// For a project of the GitHub App and the like `//circleci.com/<organization's id>/<project's id>`.
    pub(super) vcs_url: Option<String>,
    pub(super) username: Option<String>,
    pub(super) reponame: Option<String>,
}

impl Followed {
    /// The slug with the ids of organization and project, where its address holds them.
    pub(super) fn ids(&self) -> Option<String> {
        let rest = self.vcs_url.as_ref()?.rsplit_once("//circleci.com/")?.1;
        let (organization, project) = rest.split_once('/')?;
        let is_id = super::names::is_uuid;
        (is_id(organization) && is_id(project)).then(|| format!("circleci/{organization}/{project}"))
    }
}

/// A run, which v2 calls a pipeline.
#[derive(Deserialize, PartialEq)]
pub(super) struct Pipeline {
    pub(super) id: String,
    pub(super) number: u64,
    pub(super) state: String,
    pub(super) project_slug: String,
    pub(super) created_at: String,
    #[serde(default)]
    pub(super) errors: Vec<PipelineError>,
    pub(super) trigger: Option<Trigger>,
    pub(super) vcs: Option<Vcs>,
    pub(super) trigger_parameters: Option<TriggerParameters>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct PipelineError {
    #[serde(rename = "type", default)]
    pub(super) type_: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Trigger {
    #[serde(rename = "type", default)]
    pub(super) type_: String,
    pub(super) actor: Option<Actor>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Actor {
    pub(super) login: Option<String>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Vcs {
    pub(super) branch: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) revision: Option<String>,
    pub(super) commit: Option<Commit>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Commit {
    pub(super) subject: Option<String>,
}

/// Where runs of definitions have what others have in `vcs`.
#[derive(Deserialize, PartialEq)]
pub(super) struct TriggerParameters {
    pub(super) git: Option<Git>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Git {
    pub(super) branch: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) checkout_sha: Option<String>,
}

/// `GET /pipeline/{id}/config`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Config {
    pub(super) source: String,
    /// Of a run with a setup, whose `source` is what it continued to.
    #[serde(rename = "setup-config", default, deserialize_with = "or_default")]
    pub(super) setup: String,
}

impl Config {
    /// The configuration that a run begins with, whose parameters a trigger takes (ethereum-optimism/optimism #19462).
    pub(super) fn first(&self) -> &str {
        if self.setup.is_empty() { &self.source } else { &self.setup }
    }
}

/// A workflow. One whose record has expired is listed with nulls.
#[derive(Deserialize, PartialEq)]
pub(super) struct Workflow {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default = "unknown", deserialize_with = "or_unknown")]
    pub(super) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) pipeline_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) pipeline_number: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) project_slug: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) created_at: String,
    pub(super) stopped_at: Option<String>,
    /// `setup` for one that makes the configuration of the others.
    pub(super) tag: Option<String>,
    /// How often CircleCI runs it again by itself if it fails, and which of these reruns it is.
    pub(super) max_auto_reruns: Option<u64>,
    pub(super) auto_rerun_number: Option<u64>,
}

impl Workflow {
    /// Whether it makes the configuration of the run's other workflows.
    pub(super) fn is_setup(&self) -> bool {
        self.tag.as_deref() == Some("setup")
    }
}

/// A job of a workflow.
#[derive(Deserialize, PartialEq)]
pub(super) struct WorkflowJob {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default = "unknown", deserialize_with = "or_unknown")]
    pub(super) status: String,
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub(super) type_: String,
    pub(super) job_number: Option<u64>,
    pub(super) started_at: Option<String>,
    pub(super) stopped_at: Option<String>,
    pub(super) approval_request_id: Option<String>,
    pub(super) approved_by: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) dependencies: Vec<String>,
}

/// `GET /project/{slug}/job/{number}`.
#[derive(Deserialize, PartialEq)]
pub(super) struct JobDetail {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default = "unknown", deserialize_with = "or_unknown")]
    pub(super) status: String,
    pub(super) started_at: Option<String>,
    pub(super) stopped_at: Option<String>,
    pub(super) executor: Option<Executor>,
    pub(super) parallelism: Option<u64>,
    pub(super) latest_workflow: Option<Parent>,
    pub(super) pipeline: Option<Parent>,
    /// What CircleCI says of it, such as why it never ran (support.circleci.com 360056390151).
    #[serde(default, deserialize_with = "or_default")]
    pub(super) messages: Vec<JobMessage>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct JobMessage {
    pub(super) message: Option<String>,
    /// A word for it, such as `no-followers`.
    pub(super) reason: Option<String>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Executor {
    pub(super) resource_class: Option<String>,
    #[serde(rename = "type")]
    pub(super) type_: Option<String>,
}

/// The workflow, or the run, of a job.
#[derive(Deserialize, PartialEq)]
pub(super) struct Parent {
    pub(super) id: String,
}

/// `GET /api/v1.1/project/{slug}/{number}`, of which only the steps are used.
#[derive(Deserialize, PartialEq)]
pub(super) struct Build {
    pub(super) steps: Vec<BuildStep>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct BuildStep {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) actions: Vec<BuildAction>,
}

/// A step on one of the machines that run a job side by side.
#[derive(Deserialize, PartialEq)]
pub(super) struct BuildAction {
    /// The machine.
    #[serde(default)]
    pub(super) index: u64,
    /// Number of the step.
    #[serde(default)]
    pub(super) step: u64,
    #[serde(default)]
    pub(super) status: String,
    pub(super) exit_code: Option<i64>,
    /// A link that needs no token, and so is a credential itself.
    pub(super) output_url: Option<String>,
    /// Which try it is of a step that CircleCI runs again by itself.
    pub(super) auto_rerun_number: Option<u64>,
    /// Whether its failure is none of the job's.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) insignificant: bool,
}

/// A part of a step's output, at its link.
#[derive(Deserialize, PartialEq)]
pub(super) struct Output {
    #[serde(default)]
    pub(super) message: String,
    #[serde(rename = "type", default)]
    pub(super) type_: String,
}

/// A test, of `GET /project/{slug}/{number}/tests` and of API v3.
#[derive(Deserialize, PartialEq)]
pub(super) struct Test {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) classname: String,
    pub(super) file: Option<String>,
    #[serde(default)]
    pub(super) result: String,
    pub(super) run_time: Option<f64>,
    pub(super) message: Option<String>,
}

/// An artifact.
#[derive(Deserialize, PartialEq)]
pub(super) struct Artifact {
    pub(super) path: String,
    #[serde(default)]
    pub(super) node_index: u64,
    pub(super) url: String,
}

/// `GET /insights/{slug}/flaky-tests`.
#[derive(Deserialize, PartialEq)]
pub(super) struct FlakyTests {
    #[serde(rename = "flaky-tests", alias = "flaky_tests")]
    pub(super) tests: Vec<FlakyTest>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) struct FlakyTest {
    #[serde(alias = "test_name")]
    pub(super) test_name: String,
    pub(super) classname: Option<String>,
    pub(super) file: Option<String>,
    #[serde(alias = "job_name")]
    pub(super) job_name: Option<String>,
    #[serde(alias = "job_number")]
    pub(super) job_number: Option<u64>,
    #[serde(alias = "workflow_name")]
    pub(super) workflow_name: Option<String>,
    #[serde(alias = "times_flaked", default)]
    pub(super) times_flaked: u64,
    #[serde(alias = "workflow_created_at")]
    pub(super) workflow_created_at: Option<String>,
}

/// Figures of a workflow or job, of `GET /insights/{slug}/workflows` and `…/{name}/jobs`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Insight {
    pub(super) name: String,
    pub(super) metrics: Metrics,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Metrics {
    #[serde(default)]
    pub(super) total_runs: u64,
    #[serde(default)]
    pub(super) failed_runs: u64,
    pub(super) successful_runs: Option<u64>,
    pub(super) success_rate: Option<f64>,
    pub(super) throughput: Option<f64>,
    pub(super) mttr: Option<u64>,
    pub(super) total_credits_used: Option<u64>,
    #[serde(rename = "duration_metrics")]
    pub(super) durations: Option<Durations>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Durations {
    pub(super) median: Option<u64>,
    pub(super) p95: Option<u64>,
    pub(super) max: Option<u64>,
}

/// An entry of `GET /projects/{id}/pipeline-definitions`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Definition {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) config_source: Option<Source>,
    pub(super) checkout_source: Option<Source>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Source {
    pub(super) provider: Option<String>,
    pub(super) repo: Option<Repo>,
    pub(super) file_path: Option<String>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Repo {
    pub(super) full_name: Option<String>,
}

/// The answer to a trigger: 201 with a run, or 200 with a message, when nothing was to be run.
#[derive(Deserialize, PartialEq)]
pub(super) struct Triggered {
    pub(super) id: Option<String>,
    pub(super) number: Option<u64>,
    pub(super) state: Option<String>,
    pub(super) message: Option<String>,
}

/// The answer to a rerun.
#[derive(Deserialize, PartialEq)]
pub(super) struct Rerun {
    pub(super) workflow_id: String,
}

/// The answer of `POST /compile-config-with-defaults`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Compiled {
    pub(super) valid: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) errors: Vec<CompileError>,
    #[serde(rename = "output-yaml", default)]
    pub(super) output: String,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct CompileError {
    #[serde(default)]
    pub(super) message: String,
}

/// A failing answer: `message` in v1.1 and v2, `error` in v3.
#[derive(Deserialize, Default, PartialEq)]
#[serde(default)]
pub(super) struct Failure {
    pub(super) message: Value,
    pub(super) error: Value,
}

impl Failure {
    /// All that CircleCI says, to look for known texts in. Never to be shown.
    pub(super) fn text(&self) -> String {
        let of = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let message = self.message.as_str().unwrap_or_default();
        format!("{message} {} {}", of(&self.error, "title"), of(&self.error, "detail"))
    }

    /// The id under which CircleCI knows the failure.
    pub(super) fn id(&self) -> Option<String> {
        self.error.get("id").and_then(Value::as_str).filter(|id| super::names::is_uuid(id)).map(str::to_owned)
    }
}
