//! `list_argocd_resource_actions` and `run_argocd_resource_action`: what Argo CD can do with a resource, as restart it.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json;

use super::{AppArgs, ResourceName, Target, events, mutation, read, tree};
use crate::{
    ArgoCd,
    client::{Call, Error},
    text,
    wire::{Action, Actions, Node},
};
use tools::{CallContext, ErrorCode, Preview, ToolDeclaration, ToolEntry, ToolError};

/// Actions of one answer.
const MAX_ACTIONS: usize = 50;

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_argocd_resource_actions",
    "Actions of a resource",
    "Lists the actions that Argo CD has for a resource of an application, such as restart or scale, and whether each is \
     possible now.",
);

const RUN: ToolDeclaration = ToolDeclaration::destroy(
    "run_argocd_resource_action",
    "Run an action",
    "Runs an action of list_argocd_resource_actions on a resource of an application, such as restart on a Deployment.",
);

/// Arguments of `list_argocd_resource_actions`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    #[serde(flatten)]
    app: AppArgs,
    /// The resource, as get_argocd_resource_tree answers it.
    resource: ResourceName,
}

/// Arguments of `run_argocd_resource_action`.
#[derive(Deserialize, JsonSchema)]
struct RunInput {
    #[serde(flatten)]
    app: AppArgs,
    /// The resource, as get_argocd_resource_tree answers it.
    resource: ResourceName,
    /// Name of the action.
    #[schemars(length(min = 1, max = 253))]
    action: String,
    /// Parameters of the action, as `{"replicas": "3"}`: 20 at most.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 20))]
    parameters: BTreeMap<String, String>,
}

/// The actions of a resource.
#[derive(Serialize, JsonSchema)]
struct ActionList {
    /// The actions: 50 at most.
    actions: Vec<ActionView>,
    /// Whether actions were left out.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// An action.
#[derive(Serialize, JsonSchema)]
struct ActionView {
    /// Name, as run_argocd_resource_action takes it.
    name: String,
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Whether it is possible now.
    possible: bool,
    /// Names of its parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<String>,
}

/// An action that was run.
#[derive(Serialize, JsonSchema)]
struct Ran {
    /// Name of the application.
    app: String,
    /// Kind and name of the resource.
    resource: String,
    /// Name of the action.
    action: String,
    /// What to do next.
    hints: Vec<String>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, LIST, list), mutation(argocd, RUN, preview, run)]
}

/// Finds a resource and its actions.
async fn fetch(
    argocd: &ArgoCd,
    target: &Target,
    wanted: &ResourceName,
    context: &CallContext,
) -> Result<(Node, Vec<Action>), ToolError> {
    // The version is part of the call, and only the tree tells it.
    let node = events::find(&tree::fetch(argocd, target, context).await?.nodes, wanted)?;
    let call = of_resource(target.get(&["resource", "actions"]), &node);
    let found: Actions = argocd.ask_slowly(target, &call, "read the actions of", context).await?;
    Ok((node, found.actions.0))
}

async fn list(argocd: Arc<ArgoCd>, input: ListInput, context: CallContext) -> Result<ActionList, ToolError> {
    let (_, found) = fetch(&argocd, &input.app.target(&argocd)?, &input.resource, &context).await?;
    let mut hints = Vec::new();
    if found.is_empty() {
        hints.push(format!("Argo CD has no actions for the kind {}", input.resource.kind));
    }
    let actions = found.iter().take(MAX_ACTIONS).map(|action| ActionView {
        name: action.name.clone(),
        title: text::optional(&action.display_name),
        possible: !action.disabled,
        parameters: action.params.iter().take(20).map(|parameter| parameter.name.clone()).collect(),
    });
    Ok(ActionList { actions: actions.collect(), truncated: found.len() > MAX_ACTIONS, hints })
}

/// What there is instead, as Argo CD names it.
fn its<'a>(error: ToolError, names: impl Iterator<Item = &'a str>) -> ToolError {
    let names: Vec<String> = names.take(20).map(text::clean).collect();
    let remedy = if names.is_empty() { "it has none" } else { "platform_words are those that it has" };
    error.with_remedy(remedy).with_platform_words(names)
}

impl RunInput {
    fn check(&self, actions: &[Action]) -> Result<(), ToolError> {
        if self.parameters.len() > 20 {
            return Err(
                ToolError::invalid_argument("parameters can't have more than 20 entries").with_argument("parameters")
            );
        }
        let Some(action) = actions.iter().find(|action| action.name == self.action) else {
            let error = ToolError::invalid_argument(format!("{} has no such action", self.resource));
            return Err(its(error.with_argument("action"), actions.iter().map(|action| action.name.as_str())));
        };
        if action.disabled {
            let message = format!("the action is not possible on {} in its state", self.resource);
            return Err(ToolError::new(ErrorCode::Conflict, message).with_argument("action"));
        }
        let unknown = self.parameters.keys().any(|name| !action.params.iter().any(|one| one.name == *name));
        if unknown {
            let error = ToolError::invalid_argument("the action has no parameter of one of these names");
            return Err(its(error.with_argument("parameters"), action.params.iter().map(|one| one.name.as_str())));
        }
        // Scripts take a parameter that is missing for a fault of theirs (argoproj/argo-cd#28000).
        let missing =
            action.params.iter().map(|one| one.name.as_str()).filter(|name| !self.parameters.contains_key(*name));
        let missing: Vec<_> = missing.take(20).map(text::clean).collect();
        if !missing.is_empty() {
            return Err(ToolError::invalid_argument("parameters of the action are missing")
                .with_argument("parameters")
                .with_remedy("it takes those in platform_words besides what was given")
                .with_platform_words(missing));
        }
        Ok(())
    }

    /// The parameters, for people.
    fn told(&self) -> String {
        let given: Vec<_> =
            self.parameters.iter().map(|(name, value)| text::clean(&format!("{name}={value}"))).collect();
        if given.is_empty() { String::new() } else { format!(" with {}", given.join(", ")) }
    }
}

/// The call of Argo CD before 3.1: its body is the action's name, and the rest stands in the query (`RunResourceAction` in
/// `server/application/application.proto`, v2.14.0 and v3.0.0).
fn before_3_1(target: &Target, node: &Node, action: &str) -> Call {
    of_resource(target.named(Call::post(target.path(&["resource", "actions"]), json!(action))), node)
}

fn of_resource(call: Call, node: &Node) -> Call {
    call.query("resourceName", &node.name)
        .query("namespace", &node.namespace)
        .query("version", &node.version)
        .query("group", &node.group)
        .query("kind", &node.kind)
}

async fn preview(argocd: Arc<ArgoCd>, input: RunInput, context: CallContext) -> Result<Preview, ToolError> {
    let (node, actions) = fetch(&argocd, &input.app.target(&argocd)?, &input.resource, &context).await?;
    input.check(&actions)?;
    let (action, with) = (&input.action, input.told());
    let would = format!("run {action}{with} on {} in the namespace {:?}", input.resource, node.namespace);
    let health = node.health.as_ref().map(|health| health.status.clone());
    Ok(Preview { would, state: json!({ "uid": node.uid, "health": health }) })
}

async fn run(argocd: Arc<ArgoCd>, input: RunInput, context: CallContext) -> Result<Ran, ToolError> {
    let target = input.app.target(&argocd)?;
    let (node, actions) = fetch(&argocd, &target, &input.resource, &context).await?;
    input.check(&actions)?;
    let parameters = input.parameters.iter().map(|(name, value)| json!({ "name": name, "value": value }));
    let body = json!({
        "namespace": node.namespace,
        "resourceName": node.name,
        "version": node.version,
        "group": node.group,
        "kind": node.kind,
        "action": input.action,
        "resourceActionParameters": parameters.collect::<Vec<_>>(),
    });
    let call = target.post(&["resource", "actions", "v2"], body);
    let right = format!("applications, action/{}/{}/{}", node.group, node.kind, input.action);
    let mut ran = argocd.session.call::<IgnoredAny>(&call, context.deadline).await;
    if ran.as_ref().is_err_and(|error| *error == Error::Unimplemented) {
        if !input.parameters.is_empty() {
            let message = "this version of Argo CD takes no parameters of actions: 3.1 and later do; nothing was run";
            return Err(ToolError::invalid_argument(message).with_argument("parameters"));
        }
        ran = argocd.session.call(&before_3_1(&target, &node, &input.action), context.deadline).await;
    }
    if let Err(error) = ran {
        return Err(argocd.explain(&target, error, "run the action in", &right, &context).await);
    }
    let hints = vec!["the action was accepted; get_argocd_resource_tree tells what comes of it".to_owned()];
    Ok(Ran { app: target.name, resource: input.resource.to_string(), action: input.action, hints })
}
