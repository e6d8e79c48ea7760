//! `rollback_circleci_component`: brings a deployed component back to an earlier version.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{mutation, name, word};
use crate::{
    CircleCi,
    client::{Api, Call, Error},
    error::{About, to_tool_error},
    locate::{Listing, PAGES_OF_A_SEARCH, Read},
    v3::{Entity, Named, Rollback, Version},
};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

const ROLLBACK: ToolDeclaration = ToolDeclaration::destroy(
    "rollback_circleci_component",
    "Roll a component back",
    "Brings a component that CircleCI deploys back to an earlier version in one environment. CircleCI does it only while \
     the component runs current_version, so that a call that knows an old state does nothing. What carries it out is a \
     run, or CircleCI's release agent.",
)
.off_by_default();

/// Arguments of `rollback_circleci_component`.
#[derive(Deserialize, JsonSchema)]
struct RollbackInput {
    /// Slug of the project, such as `gh/acme/web`, or a link.
    #[schemars(length(min = 1, max = 2048))]
    project_slug: String,
    /// Name or id of the component.
    #[schemars(length(min = 1, max = 255))]
    component: String,
    /// Name or id of the environment.
    #[schemars(length(min = 1, max = 255))]
    environment: String,
    /// Version to go back to.
    #[schemars(length(min = 1, max = 255))]
    version: String,
    /// Version that runs now.
    #[schemars(length(min = 1, max = 255))]
    current_version: String,
    /// Namespace of the component in the environment.
    #[serde(default)]
    #[schemars(length(min = 1, max = 255))]
    namespace: Option<String>,
    /// Why, for CircleCI's record.
    #[serde(default)]
    #[schemars(length(min = 1, max = 500))]
    reason: Option<String>,
}

/// A rollback that was started.
#[derive(Serialize, JsonSchema)]
struct RollingBack {
    /// Id of what carries it out.
    rollback_id: String,
    /// What the id is of: `pipeline`, a run, or `agent`, a command to the release agent.
    kind: String,
    /// Component.
    component: String,
    /// Environment.
    environment: String,
    /// Version that it goes back to.
    version: String,
}

/// What is rolled back.
struct Target {
    project: String,
    slug: String,
    component: Named,
    environment: Named,
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![mutation(circleci, ROLLBACK, preview, rollback)]
}

/// The one of a list that has an id, or alone has a name: of several that are called alike, none is meant. Those that
/// were not read may be called alike, too, unless `is_alone` denies it.
fn find(kind: &'static str, found: Read<Named>, wanted: &str, is_alone: bool) -> Result<Named, ToolError> {
    let names: Vec<String> = found.items.iter().take(20).map(|one| name(&one.attributes.name)).collect();
    let (read, more) = (found.items.len(), found.more());
    let (by_id, others): (Vec<Named>, Vec<Named>) = found.items.into_iter().partition(|one| one.id == wanted);
    let is_named = !by_id.is_empty();
    let mut meant =
        if is_named { by_id } else { others.into_iter().filter(|one| one.attributes.name == wanted).collect() };
    let no = |code, message| ToolError::new(code, message).with_argument(kind);
    match (meant.pop(), meant.is_empty()) {
        (Some(one), true) if is_named || is_alone || !more => Ok(one),
        (Some(one), true) => Err(no(
            ErrorCode::ResultTooLarge,
            format!(
                "a {kind} with that name is among the first {read}, and there may be others among those that follow"
            ),
        )
        .with_remedy("if it is the one, pass its id, which is in platform_words")
        .with_platform_words([name(&one.id)])),
        (Some(one), false) => {
            let ids: Vec<String> = meant.iter().chain([&one]).take(20).map(|one| name(&one.id)).collect();
            Err(no(ErrorCode::InvalidArgument, format!("more than one {kind} has that name"))
                .with_remedy("pass the id of one: they are in platform_words")
                .with_platform_words(ids))
        }
        (None, _) => Err(no(
            if more { ErrorCode::ResultTooLarge } else { ErrorCode::NotFound },
            if more {
                format!("no {kind} with that name or id is among the first {read}")
            } else {
                format!("there is no {kind} with that name or id")
            },
        )
        .with_remedy(match (names.is_empty(), more) {
            (true, _) => "there is none",
            (false, true) => "there are those in platform_words, and more; CircleCI's web site has all",
            (false, false) => "there are those in platform_words",
        })
        .with_platform_words(names)),
    }
}

/// Whether one has an id, or, if `is_alone`, a name.
fn has(read: &[Named], wanted: &str, is_alone: bool) -> bool {
    read.iter().any(|one| one.id == wanted || (is_alone && one.attributes.name == wanted))
}

/// What a refusal of a rollback means (CircleCI-Public/circleci-cli 5bb7183, `internal/cmd/deploy/rollback.go`).
fn refused(error: &Error, about: About<'_>) -> ToolError {
    match error {
        Error::BadRequest | Error::Unprocessable => ToolError::new(
            ErrorCode::Conflict,
            "CircleCI refuses the rollback: current_version may not be what runs there by now",
        )
        .with_remedy("look at what is deployed, and decide anew"),
        Error::Conflict => ToolError::new(
            ErrorCode::Conflict,
            "a command for the component in that environment is being carried out already",
        )
        .with_remedy("wait until it has ended, look at what runs then, and decide anew"),
        Error::NotFound => {
            ToolError::new(ErrorCode::NotFound, "the component isn't deployed in that environment and namespace")
                .with_argument("namespace")
                .with_remedy("pass namespace, if it is deployed outside of the default one")
        }
        error => to_tool_error(error, "roll the component back", about),
    }
}

impl RollbackInput {
    async fn target(&self, circleci: &CircleCi, context: &CallContext) -> Result<Target, ToolError> {
        if self.version == self.current_version {
            return Err(
                ToolError::invalid_argument("version and current_version are the same").with_argument("version")
            );
        }
        let slug = circleci.allowed(&self.project_slug, context).await?;
        if circleci.api(context).await? != Api::V3 {
            return Err(ToolError::new(ErrorCode::PlatformError, "this CircleCI has no API for rollbacks"));
        }
        let project = circleci.fetch_project(&slug, context).await?;
        let (doing, about) = ("read what is deployed", About::Account);
        let components = Call::get(Api::V3, ["deploy", "components"])
            .query("filter[org_id]", &project.organization_id)
            .query("filter[project_id]", &project.id);
        // As the vendor's own client does, all components are looked at for a name, and environments until one has it
        // (CircleCI-Public/circleci-cli 5bb7183, `internal/cmd/deploy/rollback.go`).
        let listing = |call| Listing::new(call, doing, about).pages(PAGES_OF_A_SEARCH);
        let found = circleci.list(listing(components), |read| has(read, &self.component, false), context).await?;
        let component = find("component", found, &self.component, false)?;
        let environments =
            Call::get(Api::V3, ["deploy", "environments"]).query("filter[org_id]", &project.organization_id);
        let found = circleci.list(listing(environments), |read| has(read, &self.environment, true), context).await?;
        let environment = find("environment", found, &self.environment, true)?;
        let versions = Call::get(Api::V3, ["deploy", "components", &component.id, "versions"])
            .query("filter[environment_id]", &environment.id);
        let versions: Read<Version> = circleci.list(Listing::new(versions, doing, about), |_| false, context).await?;
        for (argument, wanted) in [("version", &self.version), ("current_version", &self.current_version)] {
            if !versions.more() && !versions.items.iter().any(|one| one.attributes.name == *wanted) {
                let known: Vec<String> = versions.items.iter().take(10).map(|one| name(&one.attributes.name)).collect();
                return Err(ToolError::new(
                    ErrorCode::NotFound,
                    "the component has no such version in that environment",
                )
                .with_argument(argument)
                .with_remedy("platform_words are those that it has")
                .with_platform_words(known));
            }
        }
        Ok(Target { project: project.id, slug: project.slug, component, environment })
    }
}

async fn preview(circleci: Arc<CircleCi>, input: RollbackInput, context: CallContext) -> Result<Preview, ToolError> {
    let target = input.target(&circleci, &context).await?;
    let would = format!(
        "roll {} of {} in {} back from {} to {}",
        name(&target.component.attributes.name),
        target.slug,
        name(&target.environment.attributes.name),
        input.current_version,
        input.version
    );
    let state = json!({
        "project_slug": target.slug,
        "component_id": target.component.id,
        "environment_id": target.environment.id,
        "from": input.current_version,
        "to": input.version,
    });
    Ok(Preview { would, state })
}

async fn rollback(
    circleci: Arc<CircleCi>,
    input: RollbackInput,
    context: CallContext,
) -> Result<RollingBack, ToolError> {
    let target = input.target(&circleci, &context).await?;
    let mut body = json!({
        "component_id": target.component.id,
        "environment_id": target.environment.id,
        "current_version": input.current_version,
        "target_version": input.version,
    });
    if let Some(body) = body.as_object_mut() {
        for (field, value) in [("namespace", &input.namespace), ("reason", &input.reason)] {
            body.extend(value.iter().map(|value| (field.to_owned(), json!(value))));
        }
    }
    let call = Call::post(Api::V3, ["projects", &target.project, "rollback"], body);
    let about = About::Project(&target.slug);
    let answer: Result<Entity<Rollback>, Error> = circleci.session.call(&call, context.deadline).await;
    let answer = answer.map_err(|error| refused(&error, about))?;
    Ok(RollingBack {
        rollback_id: name(&answer.data.id),
        kind: word(&answer.data.attributes.rollback_type),
        component: name(&target.component.attributes.name),
        environment: name(&target.environment.attributes.name),
        version: input.version,
    })
}
