//! `list_argocd_appsets`, `get_argocd_appset` and `preview_argocd_appset`: what makes applications.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use serde_with::skip_serializing_none;

use super::{
    failed,
    names::{self, Names},
    read,
    state::{SourceView, cluster_of},
};
use crate::{
    ArgoCd,
    client::Call,
    text,
    wire::{AppSet, AppSetStatus, Application, Generated, Items, Object, Resource, WholeSet, has_steps},
};
use kit::args::PageArgs;
use outbound::Purpose;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError, page::fit};

/// Applications of one answer.
const MAX_APPS: usize = 100;

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_argocd_appsets",
    "ApplicationSets",
    "Lists ApplicationSets, which make applications out of generators, with their state.",
);

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_appset",
    "An ApplicationSet",
    "Answers an ApplicationSet: generators, conditions, and the applications that it makes.",
);

const PREVIEW: ToolDeclaration = ToolDeclaration::read(
    "preview_argocd_appset",
    "What an ApplicationSet would make",
    "Answers the applications that an ApplicationSet would make now: one that is there, or with definition one that is \
     not. Nothing is made. The connector's account needs the right to create it.",
);

/// What is known of a set with steps: they are there only where the controller is told to heed them (`--enable-progressive-syncs`).
const STEPS: &str =
    "the set syncs its applications in steps, with auto-sync off: one that waits for its step is synced by it";
const STEPS_UNKNOWN: &str = "the set names steps. Where Argo CD's controller heeds them (progressive syncs), it syncs the applications in \
                             steps, with auto-sync off; whether it does is not told";

/// Arguments of `list_argocd_appsets`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Only sets whose applications belong to this project.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    project: Option<String>,
    /// Only sets whose labels match, as `team=payments`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    selector: Option<String>,
    /// Only sets of this namespace.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    appset_namespace: Option<String>,
    #[serde(flatten)]
    page: PageArgs<50, 50>,
}

/// Arguments of `get_argocd_appset`.
#[derive(Deserialize, JsonSchema)]
struct GetInput {
    /// Name of the set, `namespace/name`, or a link to it.
    #[schemars(length(min = 1, max = 2048))]
    name: String,
    /// Namespace of the set. Left out, Argo CD's own.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    appset_namespace: Option<String>,
}

/// Arguments of `preview_argocd_appset`.
#[derive(Deserialize, JsonSchema)]
struct PreviewInput {
    /// Name of a set that is there. Give it, or definition.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    name: Option<String>,
    /// Namespace of the set that is there. Left out, Argo CD's own.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    appset_namespace: Option<String>,
    /// A whole ApplicationSet, with `metadata` and `spec`.
    #[serde(default)]
    definition: Option<Map<String, Value>>,
}

/// An ApplicationSet in a list.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct SetSummary {
    /// Name.
    name: String,
    /// Namespace: `appset_namespace` of the other tools.
    namespace: String,
    /// Project of its applications, which may be a template.
    project: String,
    /// Generators, such as `list`, `git` or `clusters`.
    generators: Vec<String>,
    /// Number of applications that it makes; absent where Argo CD tells none, as in the first minutes.
    applications: Option<usize>,
    /// What is wrong; absent if nothing is.
    error: Option<String>,
}

/// An ApplicationSet.
#[derive(Serialize, JsonSchema)]
struct SetView {
    /// The set.
    #[serde(flatten)]
    summary: SetSummary,
    /// Its conditions.
    conditions: Vec<ConditionView>,
    /// Applications that it makes: 100 at most.
    made: Vec<Made>,
    /// Whether applications were left out.
    truncated: bool,
    /// What to know about the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A condition of an ApplicationSet.
#[derive(Serialize, JsonSchema)]
struct ConditionView {
    /// Type, such as `ErrorOccurred`.
    condition: String,
    /// `True`, `False` or `Unknown`.
    status: String,
    /// Short reason.
    reason: String,
    /// What it says.
    message: String,
}

/// An application that an ApplicationSet makes.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct Made {
    /// Name.
    name: String,
    /// Namespace.
    namespace: String,
    /// `Synced`, `OutOfSync` or `Unknown`.
    sync: String,
    /// Health, if it is known.
    health: Option<String>,
    /// Of a set that syncs its applications in steps: the step of this one.
    step: Option<String>,
    /// How far that has come: `Waiting` for its step, `Pending` its sync, `Progressing` or `Healthy`.
    rollout: Option<String>,
    /// What the set says of that.
    rollout_message: Option<String>,
}

/// What an ApplicationSet would make.
#[derive(Serialize, JsonSchema)]
struct WouldMake {
    /// The applications: 100 at most.
    applications: Vec<Planned>,
    /// Number of them.
    count: usize,
    /// Whether applications were left out.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// An application that would be made.
#[derive(Serialize, JsonSchema)]
struct Planned {
    /// Name.
    name: String,
    /// Project.
    project: String,
    /// Namespace that it would deploy to.
    destination_namespace: String,
    /// Cluster that it would deploy to.
    destination_cluster: String,
    /// Where its manifests would come from.
    sources: Vec<SourceView>,
    /// Whether auto-sync would be on; null where the set's steps may switch it off.
    auto_sync: Option<bool>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, LIST, list), read(argocd, GET, get), read(argocd, PREVIEW, preview)]
}

impl SetSummary {
    fn of(set: &AppSet) -> Self {
        let generators =
            set.spec.generators.iter().filter_map(|generator| generator.keys().find(|name| *name != "selector"));
        let errors = set.status.conditions.iter().find(|one| one.type_ == "ErrorOccurred" && one.status == "True");
        Self {
            name: set.metadata.name.clone(),
            namespace: set.metadata.namespace.clone(),
            project: text::clean(set.spec.template.spec.project()),
            generators: generators.take(20).map(|name| text::clean(name)).collect(),
            applications: set.status.applications(),
            error: errors.map(|one| text::clean(&one.message)),
        }
    }
}

async fn list(argocd: Arc<ArgoCd>, input: ListInput, context: CallContext) -> Result<Page<SetSummary>, ToolError> {
    let call = Call::get(["applicationsets"])
        .maybe("projects", input.project.as_ref())
        .maybe("selector", input.selector.as_ref())
        .maybe("appsetNamespace", input.appset_namespace.as_ref());
    let failed = failed("list ApplicationSets", "applicationsets, get");
    let found: Items<AppSet> = argocd.session.call(&call, context.deadline).await.map_err(failed)?;
    let entries =
        found.items.iter().map(SetSummary::of).map(|set| (format!("{}/{}", set.name, set.namespace), set)).collect();
    let page = input.page.cut_keyed(entries)?;
    if !page.items.is_empty() {
        return Ok(page);
    }
    Ok(page.with_hint("there are none that match, or the connector's account may not see them (applicationsets, get)"))
}

/// The set that arguments name, in the form that is asked for.
async fn fetch<T: DeserializeOwned + Object>(
    argocd: &ArgoCd,
    name: &str,
    namespace: Option<&String>,
    context: &CallContext,
) -> Result<T, ToolError> {
    argocd.home.check(name, names::APPSET.argument)?;
    let names = Names::read(name, namespace, names::APPSET)?;
    let call = Call::get(["applicationsets", &names.name]).maybe("appsetNamespace", names.namespace.as_ref());
    let doing = format!("read the ApplicationSet {:?}", names.name);
    argocd.session.object(&call, &names.name, context.deadline).await.map_err(failed(&doing, "applicationsets, get"))
}

async fn get(argocd: Arc<ArgoCd>, input: GetInput, context: CallContext) -> Result<SetView, ToolError> {
    let set: AppSet = fetch(&argocd, &input.name, input.appset_namespace.as_ref(), &context).await?;
    let conditions = set.status.conditions.iter().take(20).map(|one| ConditionView {
        condition: text::clean(&one.type_),
        status: text::clean(&one.status),
        reason: text::clean(&one.reason),
        message: text::clean(&one.message),
    });
    let status = &set.status;
    let made: Vec<Made> = status.resources.iter().take(MAX_APPS).map(|one| Made::of(one, status)).collect();
    let mut hints = Vec::new();
    if made.is_empty() {
        // Argo CD 3.2 writes them down when it looks at the set for the second time, minutes later.
        hints.push(
            "the set's status names no applications, which comes minutes after they were made: \
             preview_argocd_appset tells which it makes, list_argocd_apps which are there",
        );
    } else if status.applications().is_some_and(|count| count > status.resources.len()) {
        hints.push("the set's status names a part of its applications only: list_argocd_apps has all that are there");
    }
    if has_steps(&set.spec.strategy) {
        hints.push(if status.application_status.is_empty() { STEPS_UNKNOWN } else { STEPS });
    }
    Ok(SetView {
        hints: hints.into_iter().map(ToOwned::to_owned).collect(),
        summary: SetSummary::of(&set),
        conditions: conditions.collect(),
        truncated: status.applications().is_some_and(|count| made.len() < count),
        made,
    })
}

impl Made {
    fn of(one: &Resource, status: &AppSetStatus) -> Self {
        let rollout = status.application_status.iter().find(|rollout| rollout.application == one.name);
        Self {
            name: one.name.clone(),
            namespace: one.namespace.clone(),
            sync: text::optional(&one.status).unwrap_or_else(|| "Unknown".to_owned()),
            health: one.health.as_ref().and_then(|health| text::optional(&health.status)),
            step: rollout.and_then(|rollout| text::optional(&rollout.step)),
            rollout: rollout.and_then(|rollout| text::optional(&rollout.status)),
            rollout_message: rollout.and_then(|rollout| text::optional(&rollout.message)),
        }
    }
}

async fn preview(argocd: Arc<ArgoCd>, input: PreviewInput, context: CallContext) -> Result<WouldMake, ToolError> {
    let mut made = Vec::new();
    let definition = match (&input.name, input.definition) {
        (Some(name), None) => {
            let set: WholeSet = fetch(&argocd, name, input.appset_namespace.as_ref(), &context).await?;
            // Names only: what else stands in an object of the cluster is for the API server.
            let named = json!({ "name": set.metadata.name, "namespace": set.metadata.namespace });
            made = set.status.resources.0;
            json!({ "metadata": named, "spec": set.spec })
        }
        (None, Some(definition)) => {
            let has = |field: &str| definition.get(field).is_some_and(Value::is_object);
            if !has("metadata") || !has("spec") {
                let message = "definition must be an ApplicationSet with metadata and spec";
                return Err(ToolError::invalid_argument(message).with_argument("definition"));
            }
            Value::Object(definition)
        }
        _ => return Err(ToolError::invalid_argument("give either name or definition").with_argument("name")),
    };
    let steps = definition.pointer("/spec/strategy").is_some_and(has_steps);
    let call =
        Call::post(["applicationsets", "generate"], json!({ "applicationSet": definition })).purpose(Purpose::Look);
    let failed = failed("generate the applications of this ApplicationSet", "applicationsets, create");
    let found: Generated = argocd.session.call(&call, context.deadline).await.map_err(failed)?;
    let count = found.applications.len();
    let planned = found.applications.iter().take(MAX_APPS).map(|app| Planned::of(app, steps)).collect();
    let (applications, _) = fit(planned, context.max_result_bytes.saturating_sub(super::ROOM_FOR_THE_REST));
    let mut hints = Vec::new();
    if count == 0 {
        hints.push("its generators give nothing, so it would make no application".to_owned());
    }
    let planned: HashSet<_> = found.applications.iter().map(|app| app.metadata.name.as_str()).collect();
    hints.extend(told(made.iter().map(|one| one.name.as_str()).filter(|name| !planned.contains(name)), |names| {
        format!("it has made {names}, too, which are not among these: it deletes them, unless a policy keeps them")
    }));
    let mut seen = HashSet::new();
    let again = found.applications.iter().map(|app| app.metadata.name.as_str()).filter(|name| !seen.insert(*name));
    // `validateGeneratedApplications` in `applicationset/controllers/applicationset_controller.go`, v3.5.1, whose errors
    // are those of a name, and before v3.2.0 those of a place in the list; `Generate` doesn't look.
    hints.extend(told(again, |names| {
        format!("of {names} there are several: Argo CD makes none of them (before 3.2 the first one only)")
    }));
    if steps {
        hints.push(STEPS_UNKNOWN.to_owned());
    }
    Ok(WouldMake { truncated: applications.len() < count, applications, count, hints })
}

/// What is said of applications, by their names: 10 at most; nothing, if there are none.
fn told<'a>(names: impl Iterator<Item = &'a str>, say: impl FnOnce(String) -> String) -> Option<String> {
    let names: BTreeSet<&str> = names.collect();
    let shown: Vec<_> = names.iter().take(10).map(|name| text::clean(name)).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!shown.is_empty()).then(|| say(format!("{}{more}", shown.join(", "))))
}

impl Planned {
    fn of(app: &Application, steps: bool) -> Self {
        let auto_sync = app.spec.automated().is_some();
        Self {
            name: app.metadata.name.clone(),
            project: app.spec.project().to_owned(),
            destination_namespace: app.spec.destination.namespace.clone(),
            destination_cluster: cluster_of(&app.spec.destination),
            sources: SourceView::all(&app.spec),
            auto_sync: Some(auto_sync).filter(|on| !(*on && steps)),
        }
    }
}
