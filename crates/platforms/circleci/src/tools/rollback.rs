//! `rollback_circleci_component`: brings a deployed component back to an earlier version.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{mutation, name, word};
use crate::{
    CircleCi,
    client::{Api, Call},
    error::About,
    locate::{Listing, Read},
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

/// The one of a list that has a name or id.
fn find(kind: &'static str, found: Read<Named>, wanted: &str) -> Result<Named, ToolError> {
    let names: Vec<String> = found.items.iter().take(20).map(|one| name(&one.attributes.name)).collect();
    let (read, more) = (found.items.len(), found.more());
    found.items.into_iter().find(|one| is_called(one, wanted)).ok_or_else(|| {
        let message = if more {
            format!("no {kind} with that name or id is among the first {read}")
        } else {
            format!("there is no {kind} with that name or id")
        };
        let code = if more { ErrorCode::ResultTooLarge } else { ErrorCode::NotFound };
        ToolError::new(code, message).with_argument(kind).with_remedy(match (names.is_empty(), more) {
            (true, _) => "there is none".to_owned(),
            (false, true) => format!("there are: {}, and more; CircleCI's web site has all", names.join(", ")),
            (false, false) => format!("there are: {}", names.join(", ")),
        })
    })
}

fn has(read: &[Named], wanted: &str) -> bool {
    read.iter().any(|one| is_called(one, wanted))
}

fn is_called(one: &Named, wanted: &str) -> bool {
    one.id == wanted || one.attributes.name == wanted
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
        let components: Read<Named> =
            circleci.list(Listing::new(components, doing, about), |read| has(read, &self.component), context).await?;
        let component = find("component", components, &self.component)?;
        let environments =
            Call::get(Api::V3, ["deploy", "environments"]).query("filter[org_id]", &project.organization_id);
        let environments: Read<Named> = circleci
            .list(Listing::new(environments, doing, about), |read| has(read, &self.environment), context)
            .await?;
        let environment = find("environment", environments, &self.environment)?;
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
                .with_remedy(format!("it has: {}", known.join(", "))));
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
    let answer: Entity<Rollback> = circleci.ask(&call, "roll the component back", about, &context).await?;
    Ok(RollingBack {
        rollback_id: name(&answer.data.id),
        kind: word(&answer.data.attributes.rollback_type),
        component: name(&target.component.attributes.name),
        environment: name(&target.environment.attributes.name),
        version: input.version,
    })
}
