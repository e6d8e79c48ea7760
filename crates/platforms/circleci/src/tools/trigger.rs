//! `trigger_circleci_pipeline`: starts a run.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_with::skip_serializing_none;

use super::{config::ParameterValue, definitions::DefinitionView, mutation, name, word};
use crate::{
    CircleCi,
    client::{Api, Call, Error, path_of},
    error::{About, other_types, to_tool_error, undeclared},
    locate::{Listing, Read},
    names::{Slug, is_uuid},
    text,
    wire::{Pipeline, Project, Triggered},
};
use outbound::RequestError;
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

/// Parameters of a run.
const MAX_PARAMETERS: usize = 100;
/// By how much clocks may differ.
const CLOCKS: SignedDuration = SignedDuration::from_secs(30);

const TRIGGER: ToolDeclaration = ToolDeclaration::mutate(
    "trigger_circleci_pipeline",
    "Start a run",
    "Starts a run of a project, on a branch or a tag (the default branch, if neither is given), with parameters that its \
     configuration declares. Runs cost credits: with reuse_if_newer_than_seconds a run that is new enough is answered \
     instead. skipped says that CircleCI found nothing to run, such as a commit with [ci skip].",
);

/// Arguments of `trigger_circleci_pipeline`.
#[derive(Deserialize, JsonSchema)]
struct TriggerInput {
    /// Slug of the project, such as `gh/acme/web`, or a link.
    #[schemars(length(min = 1, max = 2048))]
    project_slug: String,
    /// Id of the pipeline definition, as list_circleci_pipeline_definitions answers it. Projects whose slugs begin with
    /// circleci/ need one, unless they have only one.
    #[serde(default)]
    #[schemars(length(min = 36, max = 36))]
    definition_id: Option<String>,
    /// Branch. Not together with tag.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    branch: Option<String>,
    /// Tag. Not together with branch.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    tag: Option<String>,
    /// Parameters of the run: texts, numbers, true or false. The configuration must declare them.
    #[serde(default)]
    #[schemars(length(max = 100))]
    parameters: BTreeMap<String, ParameterValue>,
    /// A run of the same branch or tag that is not older than this is answered, and none started: 1 to 86400. Not
    /// together with parameters. Left out, one is always started.
    #[serde(default)]
    #[schemars(range(min = 1, max = 86_400))]
    reuse_if_newer_than_seconds: Option<i64>,
}

/// A run that was started, or why none was.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Started {
    /// Id of the run. None if it was skipped.
    pipeline_id: Option<String>,
    /// Number of the run.
    pipeline_number: Option<u64>,
    /// CircleCI's word for how far it came, such as `pending`.
    state: Option<String>,
    /// Slug of the project.
    project_slug: String,
    /// Branch.
    branch: Option<String>,
    /// Tag.
    tag: Option<String>,
    /// Whether CircleCI found nothing to run.
    skipped: bool,
    /// Whether it is an earlier run that is new enough.
    reused: bool,
    /// What CircleCI said of a run that it skipped.
    message: Option<String>,
}

/// What a run is made of.
struct Target {
    slug: Slug,
    project: Project,
    branch: Option<String>,
    tag: Option<String>,
    definition: Option<String>,
    /// Whether the caller named the definition: the runs of a branch may be of several.
    is_of_named_definition: bool,
}

impl Target {
    fn reference(&self) -> String {
        match (&self.branch, &self.tag) {
            (Some(branch), _) => format!("branch {branch}"),
            (None, Some(tag)) => format!("tag {tag}"),
            (None, None) => "default branch".to_owned(),
        }
    }

    fn is_of(&self, run: &Pipeline) -> bool {
        let git = run.trigger_parameters.as_ref().and_then(|parameters| parameters.git.as_ref());
        let vcs = run.vcs.as_ref();
        let branch = vcs.and_then(|vcs| vcs.branch.as_ref()).or(git.and_then(|git| git.branch.as_ref()));
        let tag = vcs.and_then(|vcs| vcs.tag.as_ref()).or(git.and_then(|git| git.tag.as_ref()));
        match (&self.branch, &self.tag) {
            (Some(wanted), _) => branch.is_some_and(|branch| branch == wanted || branch == listed(wanted)),
            (None, Some(wanted)) => tag == Some(wanted),
            (None, None) => true,
        }
    }

    fn started(&self) -> Started {
        Started {
            pipeline_id: None,
            pipeline_number: None,
            state: None,
            project_slug: name(&self.project.slug),
            branch: self.branch.clone(),
            tag: self.tag.clone(),
            skipped: false,
            reused: false,
            message: None,
        }
    }
}

/// The branch that runs of a branch have: those of a fork's pull request are started on `pull/610/head` and have
/// `pull/610` (roopakv/orbs #71).
fn listed(branch: &str) -> &str {
    let front = branch.strip_suffix("/head").or_else(|| branch.strip_suffix("/merge"));
    let number = |front: &str| front.strip_prefix("pull/")?.parse::<u64>().ok();
    front.filter(|front| number(front).is_some()).unwrap_or(branch)
}

/// Whether somebody asked for a run, and no push and no schedule made it.
fn was_asked_for(run: &Pipeline) -> bool {
    run.trigger.as_ref().is_none_or(|trigger| trigger.type_ != "webhook" && !trigger.type_.starts_with("schedule"))
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![mutation(circleci, TRIGGER, preview, trigger)]
}

impl TriggerInput {
    fn check(&self) -> Result<(), ToolError> {
        let no = |message: &str, argument: &str| Err(ToolError::invalid_argument(message).with_argument(argument));
        if self.branch.is_some() && self.tag.is_some() {
            return no("pass branch or tag, not both", "tag");
        }
        for (argument, reference) in [("branch", &self.branch), ("tag", &self.tag)] {
            let is_odd = |text: &String| text.trim() != text || text.is_empty() || text.chars().any(char::is_control);
            if reference.as_ref().is_some_and(is_odd) {
                return no(&format!("no {argument} has such a name"), argument);
            }
        }
        if self.definition_id.as_ref().is_some_and(|id| !is_uuid(id)) {
            return no("definition_id is no id (a UUID)", "definition_id");
        }
        if self.parameters.len() > MAX_PARAMETERS {
            return no("these are more than 100 parameters", "parameters");
        }
        let is_name = |text: &String| {
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && text.len() <= 128
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        };
        if !self.parameters.keys().all(is_name) {
            return no("names of parameters are letters, digits, _ and -, and begin with a letter", "parameters");
        }
        if self.reuse_if_newer_than_seconds.is_some_and(|seconds| !(1..=86_400).contains(&seconds)) {
            return no("reuse_if_newer_than_seconds must be from 1 to 86400", "reuse_if_newer_than_seconds");
        }
        if self.reuse_if_newer_than_seconds.is_some() && !self.parameters.is_empty() {
            return no(
                "a run with parameters is never reused, as CircleCI does not tell with which another one was started",
                "reuse_if_newer_than_seconds",
            );
        }
        Ok(())
    }

    /// Finds out what the run is made of.
    async fn target(&self, circleci: &CircleCi, context: &CallContext) -> Result<Target, ToolError> {
        self.check()?;
        let asked = circleci.allowed(&self.project_slug, context).await?;
        let project = circleci.fetch_project(&asked, context).await?;
        // `pipeline/run` takes no other name of the project than its record has (ckeditor/ckeditor5-dev #1423).
        let slug = Slug::parse(&project.slug).unwrap_or(asked);
        let default = project.vcs_info.as_ref().and_then(|vcs| vcs.default_branch.clone());
        let branch = match (&self.branch, &self.tag) {
            (None, None) => default.filter(|branch| !branch.is_empty()),
            (branch, _) => branch.clone(),
        };
        let definition = match &self.definition_id {
            Some(id) => Some(id.clone()),
            None if slug.is_app_based() => {
                if branch.is_none() && self.tag.is_none() {
                    return Err(ToolError::invalid_argument("CircleCI knows no default branch of this project")
                        .with_argument("branch"));
                }
                Some(only(&circleci.fetch_definitions(&slug, &project.id, None, context).await?)?)
            }
            None => None,
        };
        let is_of_named_definition = self.definition_id.is_some();
        Ok(Target { slug, project, branch, tag: self.tag.clone(), definition, is_of_named_definition })
    }
}

/// The one definition that there is.
fn only(definitions: &Read<DefinitionView>) -> Result<String, ToolError> {
    match &definitions.items[..] {
        [one] if !definitions.more() => Ok(one.id.clone()),
        several => {
            let names: Vec<String> = several.iter().take(10).map(|one| format!("{} ({})", one.id, one.name)).collect();
            Err(ToolError::invalid_argument("a run of this project needs a definition")
                .with_argument("definition_id")
                .with_remedy(match (names.is_empty(), definitions.more() || several.len() > names.len()) {
                    (true, _) => "the project has none: make one in its settings",
                    (false, true) => "platform_words are some of those that it has",
                    (false, false) => "platform_words are those that it has",
                })
                .with_platform_words(names))
        }
    }
}

async fn preview(circleci: Arc<CircleCi>, input: TriggerInput, context: CallContext) -> Result<Preview, ToolError> {
    let target = input.target(&circleci, &context).await?;
    let newest = circleci.fetch_newest(&target, &context).await?;
    if let (false, Some(run)) = (input.parameters.is_empty(), &newest)
        && let Some(declared) = circleci.declared_parameters(&target, run, &context).await
    {
        let names = input.parameters.keys();
        let unknown: Vec<String> = names.filter(|name| !declared.contains_key(*name)).cloned().collect();
        if !unknown.is_empty() {
            return Err(undeclared(&unknown, Some(&declared.into_keys().take(50).collect::<Vec<_>>())));
        }
        input.typed(&declared)?;
    }
    let names = input.parameters.keys().cloned().collect::<Vec<_>>().join(", ");
    let notes = if names.is_empty() { names } else { format!(", with the parameters {names}") };
    let would = match input.reusable(&circleci, &target, &context).await? {
        Some(run) => format!("start nothing: run {} of the {} is new enough", run.number, target.reference()),
        None => format!("start a run of {} on the {}{notes}", target.project.slug, target.reference()),
    };
    let state = json!({
        "project_slug": target.project.slug,
        "reference": target.reference(),
        "definition_id": target.definition,
        "newest_run": newest.map(|run| run.number),
    });
    Ok(Preview { would, state })
}

/// What a configuration declares a parameter to be (circleci.com/docs/guides/orchestrate/pipeline-variables).
enum Declared {
    Boolean,
    Integer,
    Text,
    OneOf(Vec<String>),
    /// It isn't known what it takes.
    Unknown,
}

impl Declared {
    fn of(declaration: &Value) -> Self {
        match declaration.get("type").and_then(Value::as_str) {
            Some("boolean") => Self::Boolean,
            Some("integer") => Self::Integer,
            Some("string") => Self::Text,
            Some("enum") => {
                let values = declaration.get("enum").and_then(Value::as_array).into_iter().flatten();
                let values: Option<Vec<String>> = values.map(|value| value.as_str().map(str::to_owned)).collect();
                values.filter(|values| !values.is_empty()).map_or(Self::Unknown, Self::OneOf)
            }
            _ => Self::Unknown,
        }
    }

    /// A value as one of this type, if it is clear which one is meant: callers write booleans and numbers as texts, and texts
    /// as numbers. CircleCI takes any value, and the run is an error then (CircleCI-Public/circleci-cli #1823, #631).
    fn take(&self, value: &ParameterValue) -> Option<ParameterValue> {
        use ParameterValue::{Boolean, Number, Text};
        // How a fraction was written is not known any more: 1.10 has become 1.1.
        let whole = |number: &serde_json::Number| !number.is_f64();
        match (self, value) {
            (Self::Boolean, Boolean(_)) | (Self::Text, Text(_)) | (Self::Unknown, _) => Some(value.clone()),
            (Self::Boolean, Text(text)) => text.trim().parse().ok().map(Boolean),
            (Self::Integer, Number(number)) => whole(number).then(|| value.clone()),
            (Self::Integer, Text(text)) => text.trim().parse::<i64>().ok().map(|number| Number(number.into())),
            (Self::OneOf(values), Text(text)) => values.contains(text).then(|| value.clone()),
            (Self::Text | Self::OneOf(_), Boolean(is)) => self.take_text(is.to_string()),
            (Self::Text | Self::OneOf(_), Number(number)) => {
                whole(number).then(|| number.to_string()).and_then(|text| self.take_text(text))
            }
            (Self::Boolean, Number(_)) | (Self::Integer, Boolean(_)) => None,
        }
    }

    fn take_text(&self, text: String) -> Option<ParameterValue> {
        self.take(&ParameterValue::Text(text))
    }

    fn in_words(&self) -> String {
        match self {
            Self::Boolean => "a boolean (true or false)".to_owned(),
            Self::Integer => "an integer".to_owned(),
            Self::Text => "a string (a number with a fraction as a text, in quotes)".to_owned(),
            Self::OneOf(values) => {
                let values: Vec<String> = values.iter().take(20).map(|value| name(value)).collect();
                format!("one of {}", values.join(", "))
            }
            Self::Unknown => "of a type that is not known".to_owned(),
        }
    }
}

impl TriggerInput {
    /// The parameters, with the types that are declared.
    fn typed(&self, declared: &BTreeMap<String, Declared>) -> Result<BTreeMap<String, ParameterValue>, ToolError> {
        let (mut typed, mut wrong) = (BTreeMap::new(), Vec::new());
        for (parameter, value) in &self.parameters {
            let declared = declared.get(parameter).unwrap_or(&Declared::Unknown);
            match declared.take(value) {
                Some(value) => drop(typed.insert(parameter.clone(), value)),
                None => wrong.push((parameter.clone(), declared.in_words())),
            }
        }
        if wrong.is_empty() { Ok(typed) } else { Err(other_types(&wrong)) }
    }

    /// The parameters as they are sent. Where it can't be found out what is declared, they go as they came.
    async fn sent(
        &self,
        circleci: &CircleCi,
        target: &Target,
        context: &CallContext,
    ) -> Result<BTreeMap<String, ParameterValue>, ToolError> {
        if self.parameters.is_empty() {
            return Ok(BTreeMap::new());
        }
        let declared = match circleci.fetch_newest(target, context).await {
            Ok(Some(run)) => circleci.declared_parameters(target, &run, context).await,
            _ => None,
        };
        declared.map_or_else(|| Ok(self.parameters.clone()), |declared| self.typed(&declared))
    }

    /// The newest run of the target, if it is new enough to be taken for the one that is asked for.
    async fn reusable(
        &self,
        circleci: &CircleCi,
        target: &Target,
        context: &CallContext,
    ) -> Result<Option<Pipeline>, ToolError> {
        let Some(seconds) = self.reuse_if_newer_than_seconds else { return Ok(None) };
        let since = Timestamp::now() - SignedDuration::from_secs(seconds);
        match circleci.newest_since(target, since, |_| true, context).await? {
            Found::Run(run) => Ok(Some(*run).filter(|run| run.state != "errored")),
            Found::Nothing => Ok(None),
            Found::Unknown(read) => Err(ToolError::new(
                ErrorCode::ResultTooLarge,
                format!("a run of the {} is not among the newest {read}; older ones were not read", target.reference()),
            )
            .with_argument("reuse_if_newer_than_seconds")
            .with_remedy("ask for a shorter time, or look with list_circleci_runs and leave it out")),
        }
    }
}

/// What was found of a run in a list of which not all is read.
enum Found {
    Run(Box<Pipeline>),
    Nothing,
    /// It is not among so many, and there are more.
    Unknown(usize),
}

async fn trigger(circleci: Arc<CircleCi>, input: TriggerInput, context: CallContext) -> Result<Started, ToolError> {
    let target = input.target(&circleci, &context).await?;
    if let Some(run) = input.reusable(&circleci, &target, &context).await? {
        return Ok(Started {
            pipeline_id: Some(name(&run.id)),
            pipeline_number: Some(run.number),
            state: Some(word(&run.state)),
            reused: true,
            ..target.started()
        });
    }
    let parameters = input.sent(&circleci, &target, &context).await?;
    let begun = Timestamp::now();
    let (status, answer) = match circleci.start(&target, &parameters, &context).await {
        Ok(answer) => answer,
        Err(error) => return Err(circleci.explain(error, &target, begun, &context).await),
    };
    // 201 is a run; 200 says in a message why there is none.
    let skipped = status != StatusCode::CREATED;
    if !skipped && answer.id.is_none() {
        return Err(ToolError::new(ErrorCode::PlatformError, "CircleCI says that it started a run, and not which")
            .with_remedy("list_circleci_runs tells the newest"));
    }
    Ok(Started {
        pipeline_id: answer.id.as_deref().map(name),
        pipeline_number: answer.number,
        state: answer.state.as_deref().map(word),
        skipped,
        message: text::optional(answer.message.as_deref(), 500).filter(|_| skipped),
        ..target.started()
    })
}

impl CircleCi {
    /// The newest run of the target's branch, or of the project if it is a tag: lists know no tags.
    async fn fetch_newest(&self, target: &Target, context: &CallContext) -> Result<Option<Pipeline>, ToolError> {
        self.fetch_newest_run(&target.slug, target.branch.as_deref().map(listed), context).await
    }

    /// The newest of the target's runs that is meant and not older than that. For a tag, the runs of everybody are gone
    /// through (CircleCI-Archived/api-preview-docs #61).
    async fn newest_since(
        &self,
        target: &Target,
        since: Timestamp,
        is_meant: impl Fn(&Pipeline) -> bool,
        context: &CallContext,
    ) -> Result<Found, ToolError> {
        let call = Call::of_project(Api::V2, "project", &target.slug, &["pipeline"])
            .maybe("branch", target.branch.as_deref().map(listed).as_ref());
        let about = target.slug.to_string();
        let is_older = |run: &Pipeline| run.created_at.parse::<Timestamp>().is_ok_and(|at| at < since);
        let is_it = |run: &Pipeline| target.is_of(run) && is_meant(run) && !is_older(run);
        let enough = |read: &[Pipeline]| read.iter().any(|run| is_it(run) || is_older(run));
        let listing = Listing::new(call, "list runs", About::Project(&about));
        let read = self.list(listing, enough, context).await?;
        let (count, whole) = (read.items.len(), !read.more() || read.items.iter().any(is_older));
        Ok(match read.items.into_iter().find(is_it) {
            Some(run) => Found::Run(Box::new(run)),
            None if whole => Found::Nothing,
            None => Found::Unknown(count),
        })
    }

    /// Starts a run. Where `pipeline/run` isn't there, or takes no run without a definition, there is the older endpoint,
    /// which knows none; a run that was refused was not taken.
    async fn start(
        &self,
        target: &Target,
        parameters: &BTreeMap<String, ParameterValue>,
        context: &CallContext,
    ) -> Result<(StatusCode, Triggered), Error> {
        let reference = match (&target.branch, &target.tag) {
            (Some(branch), _) => json!({ "branch": branch }),
            (None, Some(tag)) => json!({ "tag": tag }),
            (None, None) => json!({}),
        };
        let mut body = serde_json::Map::new();
        if let Some(definition) = &target.definition {
            body.insert("definition_id".to_owned(), json!(definition));
        }
        if reference != json!({}) {
            body.insert("config".to_owned(), reference.clone());
            body.insert("checkout".to_owned(), reference.clone());
        }
        if !parameters.is_empty() {
            body.insert("parameters".to_owned(), json!(parameters));
        }
        let call = Call::post(Api::V2, path_of("project", &target.slug, &["pipeline", "run"]), Value::Object(body));
        match self.session.answer(&call, context.deadline).await {
            Err(
                Error::NotFound | Error::BadRequest | Error::Unprocessable | Error::Request(RequestError::Foreign(404)),
            ) if target.definition.is_none() => {
                let mut body = reference;
                if let (Some(body), false) = (body.as_object_mut(), parameters.is_empty()) {
                    body.insert("parameters".to_owned(), json!(parameters));
                }
                let call = Call::post(Api::V2, path_of("project", &target.slug, &["pipeline"]), body);
                self.session.answer(&call, context.deadline).await
            }
            outcome => outcome,
        }
    }

    /// Words why no run was started: with the parameters that are declared, and with what is known of a run that may have
    /// been started all the same.
    async fn explain(&self, error: Error, target: &Target, begun: Timestamp, context: &CallContext) -> ToolError {
        let slug = target.slug.to_string();
        let worded = to_tool_error(&error, "start a run", About::Project(&slug));
        match &error {
            Error::UndeclaredParameter(names) => {
                let Ok(Some(run)) = self.fetch_newest(target, context).await else { return worded };
                let declared = self.declared_parameters(target, &run, context).await;
                let declared = declared.map(|declared| declared.into_keys().take(50).collect::<Vec<_>>());
                undeclared(names, declared.as_deref())
            }
            error if error.fate_is_unknown() => {
                let lost = ToolError::new(worded.code, "unknown whether the run started: CircleCI's answer is missing");
                match self.newest_since(target, begun - CLOCKS, was_asked_for, context).await {
                    Ok(Found::Run(run)) => lost
                        .with_remedy(format!("run {} was made since: platform_words is its pipeline_id", run.number))
                        .with_platform_words([name(&run.id)]),
                    _ => lost.with_remedy(
                        "no run that was made since is seen (yet): look with list_circleci_runs before starting another",
                    ),
                }
            }
            _ => worded,
        }
    }

    /// The parameters that a run's configuration declares; nothing if that can't be found out, or if the run is of
    /// something else, or may be.
    async fn declared_parameters(
        &self,
        target: &Target,
        run: &Pipeline,
        context: &CallContext,
    ) -> Option<BTreeMap<String, Declared>> {
        #[derive(Deserialize)]
        struct OnlyParameters {
            #[serde(default)]
            parameters: BTreeMap<String, Value>,
        }
        if target.is_of_named_definition || !target.is_of(run) {
            return None;
        }
        let config = self.fetch_config(&run.id, context).await.ok()?;
        let read: OnlyParameters = serde_saphyr::from_str(config.first()).ok()?;
        Some(
            read.parameters
                .iter()
                .map(|(parameter, declaration)| (name(parameter), Declared::of(declaration)))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_for_a_type_where_it_is_clear_which_is_meant() {
        let taken = |declared: Value, value: Value| {
            let given: ParameterValue = serde_json::from_value(value).unwrap();
            Declared::of(&declared).take(&given).map(|value| json!(value))
        };
        let level = json!({ "type": "enum", "enum": ["1", "2", "high"] });
        for (declared, value, expected) in [
            (json!({ "type": "integer" }), json!("4"), Some(json!(4))),
            (json!({ "type": "integer" }), json!(4), Some(json!(4))),
            (json!({ "type": "integer" }), json!(4.5), None),
            (json!({ "type": "integer" }), json!(true), None),
            (json!({ "type": "integer" }), json!("four"), None),
            (level.clone(), json!(2), Some(json!("2"))),
            (level.clone(), json!("high"), Some(json!("high"))),
            (level, json!("low"), None),
            // What can't be read of a declaration is left to CircleCI.
            (json!({ "type": "enum", "enum": [1, 2] }), json!("3"), Some(json!("3"))),
            (json!({ "type": "executor" }), json!(1), Some(json!(1))),
            (json!(null), json!("x"), Some(json!("x"))),
        ] {
            assert_eq!(taken(declared.clone(), value.clone()), expected, "{declared} {value}");
        }
    }
}
