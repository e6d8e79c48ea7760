//! `list_argocd_apps`: the applications, with the filters that Argo CD really has and those that it lacks.

use std::{collections::HashMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{
    failed, read,
    state::{SourceView, address, cluster_of},
};
use crate::{
    ArgoCd,
    client::{Call, Error},
    text,
    wire::{AppSpec, Application, Cluster, Destination, Items},
};
use futures::future::join_all;
use kit::args::{Cursor, PageArgs};
use outbound::RequestError;
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError, page::encode_cursor};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_argocd_apps",
    "Applications",
    "Lists applications with the sync and health states of Argo CD's last comparison, which are independent. Filters \
     narrow it; all of them must match. Argo CD answers only what the connector's account may see.",
)
.cached(Duration::from_secs(10));

/// What is asked for of every application: names and states, which are small, and what of `spec` is small and can be had by
/// itself. That is so in Argo CD 3.5 and later; before, `spec` comes as a whole, with all Helm values, or not at all, and unknown
/// fields are left out without a word (`pkg/apiclient/application/forwarder_overwrite.go`, v2.14.0 to v3.5.1).
const STATES: &str = "items.metadata.name,items.metadata.namespace,items.metadata.deletionTimestamp,\
                      items.spec.project,items.spec.destination,items.status.sync.status,items.status.health,\
                      items.status.operationState.phase";
/// What is asked for of the applications that are answered.
const SPECS: &str = "items.metadata.name,items.metadata.namespace,items.spec";
/// Applications whose specs are asked for one by one, at most, and how many of them at a time.
const MAX_SINGLE: usize = 50;
const AT_A_TIME: usize = 3;
/// Where a list is so many times longer than what is shown of it, specs are asked for one by one.
const MANY_TIMES: usize = 20;

/// Arguments of `list_argocd_apps`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Only applications of this project.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    project: Option<String>,
    /// Only applications that deploy to this namespace.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    namespace: Option<String>,
    /// Only applications that deploy to this cluster: its name or its address, as list_argocd_clusters answers them.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    cluster: Option<String>,
    /// Only applications with this health.
    #[serde(default)]
    health_status: Option<HealthStatus>,
    /// Only applications with this sync state.
    #[serde(default)]
    sync_status: Option<SyncStatus>,
    /// Only applications whose labels match, as `team=payments,tier!=test`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    selector: Option<String>,
    /// Only applications whose names hold this text, without regard to case.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    name_contains: Option<String>,
    /// Only applications whose first source is this repository: its URL, as it stands in the application.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2048))]
    repo: Option<String>,
    /// Only `Application` objects of this namespace.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    app_namespace: Option<String>,
    #[serde(flatten)]
    page: PageArgs<50, 500>,
}

/// A health state.
#[derive(Deserialize, JsonSchema, strum::IntoStaticStr, Clone, Copy)]
enum HealthStatus {
    Healthy,
    Progressing,
    Degraded,
    Suspended,
    Missing,
    Unknown,
}

/// A sync state.
#[derive(Deserialize, JsonSchema, strum::IntoStaticStr, Clone, Copy)]
enum SyncStatus {
    Synced,
    OutOfSync,
    Unknown,
}

/// An application in a list.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct AppSummary {
    /// Name.
    name: String,
    /// Namespace of the `Application` object: `app_namespace` of the other tools.
    namespace: String,
    /// Project.
    project: Option<String>,
    /// `Synced`, `OutOfSync` or `Unknown`.
    sync_status: String,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing` or `Unknown`.
    health_status: String,
    /// Since when it is being deleted (RFC 3339), if it is.
    deleted_since: Option<String>,
    /// Phase of the operation that runs or was the last: `Running`, `Terminating`, `Succeeded`, `Failed` or `Error`.
    operation_phase: Option<String>,
    /// Namespace that it deploys to.
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_namespace: String,
    /// Cluster that it deploys to: its name, or its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    destination_cluster: String,
    /// Repository of the first source.
    repo_url: Option<String>,
    /// Revision of the first source that is followed; with a source hydrator, the branch that is synced.
    target_revision: Option<String>,
    /// Number of sources, if there are several.
    sources: Option<usize>,
    /// Whether auto-sync is on.
    auto_sync: Option<bool>,
}

impl AppSummary {
    /// Of an application whose spec came, or came as far as Argo CD selects it.
    fn of(app: &Application, is_whole: bool) -> Self {
        let known = |status: &str| if status.is_empty() { "Unknown".to_owned() } else { text::clean(status) };
        let spec = &app.spec;
        let first = SourceView::all(spec).into_iter().next().filter(|_| is_whole);
        let count = spec.all_sources().len();
        Self {
            name: app.metadata.name.clone(),
            namespace: app.metadata.namespace.clone(),
            project: if is_whole { Some(spec.project().to_owned()) } else { text::optional(&spec.project) },
            sync_status: known(&app.status.sync.status),
            health_status: known(&app.status.health.status),
            deleted_since: app.metadata.deletion_timestamp.clone(),
            operation_phase: app.status.operation_state.as_ref().and_then(|state| text::optional(&state.phase)),
            destination_namespace: spec.destination.namespace.clone(),
            destination_cluster: cluster_of(&spec.destination),
            target_revision: first.as_ref().map(|_| text::clean(spec.followed())),
            repo_url: first.map(|first| first.repo_url),
            sources: Some(count).filter(|count| *count > 1),
            auto_sync: is_whole.then(|| spec.automated().is_some()),
        }
    }
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, LIST, list)]
}

/// An application that may be answered.
struct Candidate {
    key: String,
    app: Application,
    /// Whether its whole spec is known.
    is_whole: bool,
}

impl Candidate {
    fn of(app: &Application) -> Self {
        Self { key: key(app), app: app.clone(), is_whole: false }
    }

    /// Whether it is known where it deploys to: by the whole spec, or by that part of it.
    fn has_destination(&self) -> bool {
        let Destination { server, name, .. } = &self.app.spec.destination;
        self.is_whole || !server.is_empty() || !name.is_empty()
    }

    fn with(&mut self, spec: Option<&AppSpec>) {
        if let Some(spec) = spec {
            self.app.spec = spec.clone();
            self.is_whole = true;
        }
    }
}

fn key(app: &Application) -> String {
    format!("{}/{}", app.metadata.name, app.metadata.namespace)
}

async fn list(argocd: Arc<ArgoCd>, input: ListInput, context: CallContext) -> Result<Page<AppSummary>, ToolError> {
    let failed = failed("list applications", "applications, get");
    let found: Items<Application> =
        argocd.session.call(&input.call(STATES), context.deadline).await.map_err(&failed)?;
    let seen = found.items.len();
    let mut candidates: Vec<Candidate> =
        found.items.iter().filter(|app| input.matches_state(app)).map(Candidate::of).collect();
    candidates.sort_by(|a, b| a.key.cmp(&b.key));
    let after = input.page.cursor().map(Cursor::key).transpose()?;
    candidates.retain(|one| after.as_ref().is_none_or(|after| one.key > *after));
    let mut hints = Vec::new();
    // Specs that came with a look for destinations.
    let mut is_read = false;
    let mut looked_until = None;
    let mut unknown = 0;
    if input.wants_destination() {
        if candidates.iter().any(|one| !one.has_destination()) {
            is_read = true;
            let (specs, cut) = argocd.specs(&input, &candidates, seen, &context).await;
            if let Some(why) = cut {
                // A part of the list is looked through, and the cursor leads to the rest.
                if candidates.len() > MAX_SINGLE {
                    candidates.truncate(MAX_SINGLE);
                    looked_until = candidates.last().map(|one| one.key.clone());
                    hints.push(format!("{why}: {MAX_SINGLE} were looked through; go on with next_cursor"));
                }
                unknown = candidates.iter().filter(|one| !specs.contains_key(&one.key)).count();
                if unknown > 0 {
                    hints.push(format!("{why}: of {unknown} it is not known where they deploy to"));
                }
            }
            for one in &mut candidates {
                one.with(specs.get(&one.key));
            }
        }
        let (clusters, alone) = argocd.names_of_cluster(input.cluster.as_deref(), &context).await;
        if alone {
            hints.push(
                "clusters can't be read, so that only applications are found that name this one as it was given: it may have \
                 a name and an address"
                    .to_owned(),
            );
        }
        candidates.retain(|one| input.matches_destination(&one.app, &clusters));
    }
    let more = candidates.len() > input.page.limit();
    candidates.truncate(input.page.limit());
    if !is_read && !candidates.is_empty() {
        let (specs, cut) = argocd.specs(&input, &candidates, seen, &context).await;
        for one in &mut candidates {
            one.with(specs.get(&one.key));
        }
        let missing = candidates.iter().filter(|one| !one.is_whole).count();
        if let (Some(why), 1..) = (cut, missing) {
            hints.push(format!(
                "{why}: of {missing} not all is answered; a smaller limit, or get_argocd_app_status, tells project, repository and \
                 destination"
            ));
        }
    }
    let last = candidates.last().map(|one| one.key.clone());
    let next = if more { last } else { looked_until };
    let items: Vec<AppSummary> = candidates.iter().map(|one| AppSummary::of(&one.app, one.is_whole)).collect();
    if items.is_empty() && next.is_none() && unknown == 0 {
        hints.push(
            if seen == 0 {
                "Argo CD answers none: project, selector, repo or app_namespace match nothing, or the connector's account may \
                 not see what they match"
            } else {
                "there are applications, but none that match namespace, cluster, health_status, sync_status and name_contains"
            }
            .to_owned(),
        );
    }
    Ok(Page { truncated: next.is_some(), next_cursor: next.map(|key| encode_cursor(&key)), items, hints })
}

impl ArgoCd {
    /// The specs of applications, out of a list of `seen`, and why they are not those of all, if so. Those of a few are asked for one
    /// by one; of many, in one answer, unless that is too large.
    async fn specs(
        &self,
        input: &ListInput,
        wanted: &[Candidate],
        seen: usize,
        context: &CallContext,
    ) -> (HashMap<String, AppSpec>, Option<&'static str>) {
        let mut why = "Argo CD did not answer the specs of all applications";
        if wanted.len().saturating_mul(MANY_TIMES) > seen || wanted.len() > MAX_SINGLE {
            match self.session.call::<Items<Application>>(&input.call(SPECS), context.deadline).await {
                Ok(found) => return (by_key(&found.items), None),
                Err(Error::Request(RequestError::BodyTooLarge)) => {
                    why = "the specs of all applications are larger than what is read of one answer";
                }
                Err(_) => return (HashMap::new(), Some(why)),
            }
        }
        let single = |one: &Candidate| {
            let names = &one.app.metadata;
            Call::get(["applications"])
                .query("fields", &SPECS)
                .query("name", &names.name)
                .query("appNamespace", &names.namespace)
        };
        let calls: Vec<Call> = wanted.iter().take(MAX_SINGLE).map(single).collect();
        let mut answers = Vec::new();
        for some in calls.chunks(AT_A_TIME) {
            let asked = some.iter().map(|call| self.session.call::<Items<Application>>(call, context.deadline));
            answers.extend(join_all(asked).await);
        }
        let is_all = wanted.len() <= MAX_SINGLE && answers.iter().all(Result::is_ok);
        let specs = answers.into_iter().flatten().flat_map(|found| by_key(&found.items)).collect();
        (specs, (!is_all).then_some(why))
    }

    /// The names and addresses under which applications may name a cluster: a destination has one of the two; and whether it is only
    /// the one that was given, because clusters can't be read.
    async fn names_of_cluster(&self, cluster: Option<&str>, context: &CallContext) -> (Vec<String>, bool) {
        let Some(cluster) = cluster else { return (Vec::new(), false) };
        let given = plain(cluster);
        let mut names = vec![given.clone()];
        // Argo CD's own cluster, whatever else it is called.
        if ["in-cluster", "https://kubernetes.default.svc"].contains(&given.as_str()) {
            names.extend(["in-cluster", "https://kubernetes.default.svc"].map(ToOwned::to_owned));
        }
        let found = self.session.call::<Items<Cluster>>(&Call::get(["clusters"]), context.deadline).await;
        let alone = found.is_err();
        for one in found.iter().flat_map(|found| found.items.iter()) {
            let both = [plain(&one.name), plain(&one.server)];
            if both.contains(&given) {
                names.extend(both);
            }
        }
        names.retain(|name| !name.is_empty());
        (names, alone)
    }
}

fn by_key(apps: &[Application]) -> HashMap<String, AppSpec> {
    apps.iter().map(|app| (key(app), app.spec.clone())).collect()
}

/// A cluster's name or address in the form in which two are compared: hosts are the same in capitals.
fn plain(cluster: &str) -> String {
    address(cluster).to_ascii_lowercase()
}

impl ListInput {
    /// The list, with the filters that Argo CD has.
    fn call(&self, fields: &'static str) -> Call {
        Call::get(["applications"])
            .query("fields", &fields)
            .maybe("projects", self.project.as_ref())
            .maybe("selector", self.selector.as_ref())
            .maybe("repo", self.repo.as_ref())
            .maybe("appNamespace", self.app_namespace.as_ref())
    }

    /// The filters that Argo CD doesn't have, and that need no spec.
    fn matches_state(&self, app: &Application) -> bool {
        let is = |wanted: Option<&str>, status: &str| {
            wanted.is_none_or(|wanted| wanted == if status.is_empty() { "Unknown" } else { status })
        };
        is(self.health_status.map(<&str>::from), &app.status.health.status)
            && is(self.sync_status.map(<&str>::from), &app.status.sync.status)
            && self.name_contains.as_ref().is_none_or(|part| app.metadata.name.contains(&part.to_lowercase()))
    }

    fn wants_destination(&self) -> bool {
        self.namespace.is_some() || self.cluster.is_some()
    }

    fn matches_destination(&self, app: &Application, clusters: &[String]) -> bool {
        let Destination { server, name, namespace } = &app.spec.destination;
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && (self.cluster.is_none() || [server, name].into_iter().any(|one| clusters.contains(&plain(one))))
    }
}
