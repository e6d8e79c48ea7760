//! Answers of API v3, as far as they are used. Shapes: circleci.com/docs/api/v3/conventions.md, and the vendor's own
//! command line (CircleCI-Public/circleci-cli, 5bb7183, `internal/apiclient`).

use serde::Deserialize;

use super::status;

/// One resource.
#[derive(Deserialize, PartialEq)]
pub(super) struct Entity<T> {
    pub(super) data: T,
}

/// A page of a list.
#[derive(Deserialize, PartialEq)]
pub(super) struct List<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) page: Pages,
}

/// Where a list goes on.
#[derive(Deserialize, Default, PartialEq)]
pub(super) struct Pages {
    pub(super) next: Option<String>,
}

/// Something of which only the id is used.
#[derive(Deserialize, Default, PartialEq)]
pub(super) struct Reference {
    #[serde(default)]
    pub(super) id: String,
}

/// `GET /users?filter[user_id]=me`.
#[derive(Deserialize, PartialEq)]
pub(super) struct User {
    pub(super) attributes: UserAttributes,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct UserAttributes {
    pub(super) login: String,
}

/// A run of `POST /runs/search` and `GET /runs`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) attributes: RunAttributes,
    #[serde(default)]
    pub(super) references: RunReferences,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct RunAttributes {
    pub(super) phase: String,
    #[serde(default)]
    pub(super) outcome: String,
    #[serde(default)]
    pub(super) current_outcome: String,
    pub(super) created_at: String,
    /// Of the run itself, such as a configuration that was rejected.
    #[serde(default)]
    pub(super) errors: Vec<RunError>,
}

/// Nothing of it is used but that it is there.
#[derive(Deserialize, PartialEq)]
pub(super) struct RunError {}

#[derive(Deserialize, Default, PartialEq)]
pub(super) struct RunReferences {
    #[serde(default)]
    pub(super) event: Event,
}

#[derive(Deserialize, Default, PartialEq)]
pub(super) struct Event {
    #[serde(default)]
    pub(super) attributes: EventAttributes,
}

#[derive(Deserialize, Default, PartialEq)]
pub(super) struct EventAttributes {
    pub(super) vcs: Option<Vcs>,
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
    pub(super) author: Option<Author>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Author {
    pub(super) login: Option<String>,
}

impl Run {
    /// A run that ended well and has errors of its own is none that ended well.
    pub(super) fn status(&self) -> String {
        let RunAttributes { phase, outcome, current_outcome, errors, .. } = &self.attributes;
        let status = status::of_phase(phase, outcome, current_outcome, true);
        match status.as_str() {
            _ if errors.is_empty() => status,
            "success" | "not_run" | "ended" => "error".to_owned(),
            "running" => "failing".to_owned(),
            _ => status,
        }
    }
}

/// `GET /jobs/{id}`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) attributes: JobAttributes,
    #[serde(default)]
    pub(super) references: JobReferences,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct JobAttributes {
    pub(super) name: String,
    /// `build` or `approval`.
    #[serde(rename = "type", default)]
    pub(super) type_: String,
    pub(super) phase: String,
    #[serde(default)]
    pub(super) outcome: String,
    pub(super) started_at: Option<String>,
    pub(super) ended_at: Option<String>,
    #[serde(default)]
    pub(super) parallel_executions: Vec<Execution>,
}

#[derive(Deserialize, Default, PartialEq)]
pub(super) struct JobReferences {
    #[serde(default)]
    pub(super) workflow: Reference,
}

/// One of the machines that run a job side by side.
#[derive(Deserialize, PartialEq)]
pub(super) struct Execution {
    #[serde(default)]
    pub(super) steps: Vec<Step>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Step {
    #[serde(default)]
    pub(super) name: String,
    pub(super) num: u64,
    #[serde(default)]
    pub(super) phase: String,
    #[serde(default)]
    pub(super) outcome: String,
    pub(super) exit_code: Option<i64>,
}

/// An entry of `GET /jobs/{id}/artifacts`.
#[derive(Deserialize, PartialEq)]
pub(super) struct Artifact {
    pub(super) attributes: ArtifactAttributes,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct ArtifactAttributes {
    pub(super) path: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) execution: u64,
}

/// An entry of `GET /pipelines`, which are definitions of runs.
#[derive(Deserialize, PartialEq)]
pub(super) struct Definition {
    pub(super) id: String,
    pub(super) attributes: DefinitionAttributes,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct DefinitionAttributes {
    #[serde(default)]
    pub(super) name: String,
    pub(super) config: Option<Source>,
    pub(super) checkout: Option<Source>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Source {
    pub(super) file_path: Option<String>,
    pub(super) vcs: Option<SourceVcs>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct SourceVcs {
    pub(super) provider: Option<String>,
    pub(super) repo_full_name: Option<String>,
}

/// `POST /configs/compile`. A configuration that is wrong is an answer with 200, too.
#[derive(Deserialize, PartialEq)]
pub(super) struct Compiled {
    pub(super) data: CompiledData,
    #[serde(default)]
    pub(super) meta: CompiledMeta,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct CompiledData {
    pub(super) attributes: CompiledAttributes,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct CompiledAttributes {
    pub(super) outcome: String,
    pub(super) compiled_config: Option<String>,
}

#[derive(Deserialize, Default, PartialEq)]
pub(super) struct CompiledMeta {
    #[serde(default)]
    pub(super) messages: Vec<CompiledMessage>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct CompiledMessage {
    #[serde(default)]
    pub(super) title: String,
}

/// A component or environment that is deployed, or to which is deployed.
#[derive(Deserialize, PartialEq)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) attributes: Name,
}

/// A version of a component.
#[derive(Deserialize, PartialEq)]
pub(super) struct Version {
    pub(super) attributes: Name,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Name {
    pub(super) name: String,
}

/// The answer to a rollback.
#[derive(Deserialize, PartialEq)]
pub(super) struct Rollback {
    pub(super) id: String,
    pub(super) attributes: RollbackAttributes,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct RollbackAttributes {
    /// `pipeline` or `agent`: what the id is of.
    #[serde(default)]
    pub(super) rollback_type: String,
}
