//! `validate_circleci_config`: whether a configuration compiles.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{read, run::VcsView};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    text, v3,
    wire::{Compiled, Config, Pipeline},
};
use tools::{CallContext, ErrorCode, ToolDeclaration, ToolEntry, ToolError};

/// Errors of one answer.
const MAX_ERRORS: usize = 50;
/// Bytes of a configuration.
const MAX_CONFIG: usize = 256 * 1024;

const VALIDATE: ToolDeclaration = ToolDeclaration::read(
    "validate_circleci_config",
    "Check a configuration",
    "Has CircleCI compile a configuration, given as text or taken from the newest run of a project and branch, and answers \
     whether it is valid and what is wrong. With project_slug its organization's private orbs can be used.",
);

/// Arguments of `validate_circleci_config`.
#[derive(Deserialize, JsonSchema)]
struct ValidateInput {
    /// The configuration, as YAML. Left out, that of the newest run of project_slug and branch.
    #[serde(default)]
    #[schemars(length(min = 1, max = 262_144))]
    config: Option<String>,
    /// Slug of a project, such as `gh/acme/web`, or a link.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    project_slug: Option<String>,
    /// Branch whose newest run is taken.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    branch: Option<String>,
    /// Values of parameters.
    #[serde(default)]
    #[schemars(length(max = 100))]
    parameters: BTreeMap<String, ParameterValue>,
    /// Whether the compiled configuration is answered.
    #[serde(default)]
    include_compiled: bool,
}

/// Value of a parameter.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub(super) enum ParameterValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text.
    Text(String),
}

/// What became of a configuration.
#[derive(Serialize, JsonSchema)]
struct Validated {
    /// Whether it compiles.
    valid: bool,
    /// What is wrong, 50 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
    /// Number of the run whose configuration it is, if it was not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    of_run: Option<u64>,
    /// The compiled configuration, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    compiled: Option<String>,
    /// Whether the compiled configuration is cut, or there are more errors.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, VALIDATE, validate)]
}

async fn validate(circleci: Arc<CircleCi>, input: ValidateInput, context: CallContext) -> Result<Validated, ToolError> {
    let (slug, branch) = match &input.project_slug {
        Some(text) => {
            let (slug, branch) = circleci.allowed_with_branch(text, input.branch.as_deref(), &context).await?;
            (Some(slug), branch)
        }
        None => (None, None),
    };
    let mut hints = Vec::new();
    let (config, run) = match (&input.config, &slug) {
        (Some(config), _) if config.len() > MAX_CONFIG => {
            return Err(ToolError::invalid_argument("config is larger than 256 KiB").with_argument("config"));
        }
        (Some(config), _) => (config.clone(), None),
        (None, Some(slug)) => {
            let run = circleci.fetch_newest_run(slug, branch.as_deref(), &context).await?.ok_or_else(|| {
                ToolError::new(ErrorCode::NotFound, "the project has no run of that branch").with_argument("branch")
            })?;
            let config = circleci.fetch_config(&run.id, &context).await?;
            if !config.setup.is_empty() {
                hints.push("the run began with a setup: this is the configuration that it continued to".to_owned());
            }
            (config.source, Some(run))
        }
        (None, None) => {
            return Err(ToolError::invalid_argument("pass config or project_slug").with_argument("config"));
        }
    };
    let organization = match &slug {
        Some(slug) => Some(circleci.fetch_project(slug, &context).await?.organization_id),
        None => None,
    };
    let mut values = pipeline_values(&config, run.as_ref(), branch);
    if !values.is_empty() {
        hints.push("pipeline values, which a run begins with, are assumed as for a push".to_owned());
    }
    // So do the vendor's clients, beside the parameters (circleci-cli 5bb7183, `internal/configcmd/pipeline.go`).
    let parameters = input.parameters.iter();
    values.extend(parameters.map(|(name, value)| (format!("pipeline.parameters.{name}"), json!(value))));
    let variables = Variables { parameters: json!(input.parameters), values };
    let compiled = circleci.compile(config, organization, variables, &context).await?;
    if !compiled.valid && compiled.errors.is_empty() {
        hints.push("CircleCI calls it invalid, and does not say why".to_owned());
    }
    if slug.is_none() && compiled.errors.iter().any(|error| error.message.contains("orb registry")) {
        hints.push(
            "an orb that is not found may be private: pass project_slug, too, whose organization's private orbs are found then"
                .to_owned(),
        );
    }
    if compiled.errors.iter().any(|error| is_about_a_value(&error.message)) {
        hints.push(
            "of variables that are not known here, those that begin with pipeline. may be known to a run".to_owned(),
        );
    }
    let room = context.max_result_bytes / 2;
    let cut = compiled.output.len() > room;
    let more = compiled.errors.len() > MAX_ERRORS;
    let share = text::share(compiled.errors.len()).max(1_000);
    let errors = compiled.errors.iter().take(MAX_ERRORS).map(|error| text::lines(&error.message, share)).collect();
    let shown: String = compiled.output.chars().take(room).collect();
    Ok(Validated {
        valid: compiled.valid,
        errors,
        of_run: run.map(|run| run.number),
        compiled: Some(shown).filter(|_| input.include_compiled && compiled.valid),
        truncated: more || (cut && input.include_compiled),
        hints,
    })
}

/// What a configuration may use that stands elsewhere.
struct Variables {
    parameters: Value,
    values: Map<String, Value>,
}

/// Values of pipelines that every run has (circleci-docs 9734a14,
/// `docs/guides/modules/ROOT/partials/pipelines-and-triggers/pipeline-values.adoc`).
const VALUES: &[&str] = &[
    "pipeline.id",
    "pipeline.name",
    "pipeline.number",
    "pipeline.definition.id",
    "pipeline.integration_source",
    "pipeline.project.git_url",
    "pipeline.project.slug",
    "pipeline.project.type",
    "pipeline.git.base_revision",
    "pipeline.git.branch",
    "pipeline.git.branch.is_default",
    "pipeline.git.revision",
    "pipeline.git.tag",
    "pipeline.in_setup",
    "pipeline.trigger_source",
];
/// Fronts of others, which depend on what started a run, and become more.
const FRONTS: &[&str] = &[
    "pipeline.config.",
    "pipeline.deploy.",
    "pipeline.event.",
    "pipeline.git.commit.",
    "pipeline.git.repo_",
    "pipeline.schedule.",
    "pipeline.trigger.",
    "pipeline.trigger_parameters.",
];

/// The values of pipelines that a configuration uses. CircleCI knows them when a run begins; before, whoever has it
/// compiled gives them (CircleCI-Public/circleci-cli #363).
fn pipeline_values(config: &str, run: Option<&Pipeline>, branch: Option<String>) -> Map<String, Value> {
    let vcs = run.map(VcsView::of);
    let of_run = |part: fn(&VcsView) -> Option<&String>| vcs.as_ref().and_then(part).cloned();
    let tag = of_run(|vcs| vcs.tag.as_ref());
    let branch = match &tag {
        Some(_) => String::new(),
        None => of_run(|vcs| vcs.branch.as_ref()).or(branch).unwrap_or_else(|| "main".to_owned()),
    };
    let revision = of_run(|vcs| vcs.revision.as_ref()).unwrap_or_else(|| "0".repeat(40));
    let ends = |name: &str, ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let value = |name: &str| match name {
        "pipeline.number" => json!(run.map_or(1, |run| run.number)),
        "pipeline.git.branch" => json!(branch),
        "pipeline.git.tag" => json!(tag.as_deref().unwrap_or_default()),
        "pipeline.git.revision" | "pipeline.git.base_revision" => json!(revision),
        "pipeline.project.type" => json!("github"),
        "pipeline.trigger_source" => json!("webhook"),
        _ if ends(name, &[".number", "_count"]) => json!(1),
        _ if ends(name, &[".is_default", ".merged", ".draft", ".is_fork_merge_request", ".in_setup"]) => json!(false),
        _ => json!(""),
    };
    let words = config.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
    words
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| VALUES.contains(word) || FRONTS.iter().any(|front| word.starts_with(front)))
        .map(|word| (word.to_owned(), value(word)))
        .collect()
}

/// Whether an error may be of a value that a run would have (circleci-cli #363, #1094): no run has a parameter that
/// isn't declared (circleci-cli 5bb7183, `acceptance/config_test.go`).
fn is_about_a_value(message: &str) -> bool {
    let of_value = message.split("pipeline.").skip(1).any(|rest| !rest.starts_with("parameters."));
    of_value && (message.contains("Unknown variable(s)") || message.contains("that does not exist"))
}

impl CircleCi {
    /// The configuration of a run.
    pub(super) async fn fetch_config(&self, run: &str, context: &CallContext) -> Result<Config, ToolError> {
        let call = Call::get(Api::V2, ["pipeline", run, "config"]);
        self.ask(&call, "read the run's configuration", About::Id("run"), context).await
    }

    async fn compile(
        &self,
        config: String,
        organization: Option<String>,
        variables: Variables,
        context: &CallContext,
    ) -> Result<Compiled, ToolError> {
        let Variables { parameters, values } = variables;
        let (doing, about) = ("check the configuration", About::Account);
        if self.api(context).await? == Api::V3 {
            // An organization that is not known must not stand there as null.
            let attributes = json!({ "config": config, "pipeline_parameters": parameters, "pipeline_values": values });
            let mut data = json!({ "attributes": attributes });
            if let (Some(data), Some(id)) = (data.as_object_mut(), organization) {
                data.insert("references".to_owned(), json!({ "org": { "id": id } }));
            }
            let call = Call::post(Api::V3, ["configs", "compile"], json!({ "data": data })).changes_nothing();
            let answer: v3::Compiled = self.ask(&call, doing, about, context).await?;
            let errors = answer.meta.messages.into_iter();
            return Ok(Compiled {
                valid: answer.data.attributes.outcome == "succeeded",
                errors: errors.map(|one| crate::wire::CompileError { message: one.title }).collect(),
                output: answer.data.attributes.compiled_config.unwrap_or_default(),
            });
        }
        // What the vendor's command line used before v3 (CircleCI-Public/circleci-cli 0.1, `api/compile.go`).
        let mut options = json!({ "pipeline_parameters": parameters, "pipeline_values": values });
        if let (Some(options), Some(id)) = (options.as_object_mut(), organization) {
            options.insert("owner_id".to_owned(), json!(id));
        }
        let body = json!({ "config_yaml": config, "options": options });
        let call = Call::post(Api::V2, ["compile-config-with-defaults"], body).changes_nothing();
        self.ask(&call, doing, about, context).await
    }
}
