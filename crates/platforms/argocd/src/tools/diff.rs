//! `get_argocd_diff`: what a sync would change, or what changed between two revisions, as paths instead of whole manifests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AppArgs, ROOM_FOR_THE_REST, Target, may_be_secret, names_of, part, read};
use crate::{
    ArgoCd, text,
    wire::{Items, ManagedResource, Rendering, Resource},
};
use kit::args::PageArgs;
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Paths of one resource.
const MAX_PATHS: usize = 50;
/// Characters of a value.
const MAX_VALUE: usize = 200;
/// Bytes of one answer.
const MAX_BYTES: usize = 32 * 1024;
/// Bytes of manifests after which others get their turn, so that a deadline can end the comparison of large ones.
const TURN_BYTES: usize = 64 * 1024;
/// Resources that are asked for one by one, at most.
const MAX_SINGLE: usize = 20;

const DIFF: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_diff",
    "What a sync would change",
    "Answers for each resource that differs from Git what a sync would change: paths with the values now and then. With \
     from_revision it answers what changed in Git instead: between the manifests of two revisions, whatever is deployed. \
     Values of Secrets are never answered.",
);

/// Arguments of `get_argocd_diff`.
#[derive(Deserialize, JsonSchema)]
struct DiffInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Only resources of this kind.
    #[serde(default)]
    #[schemars(length(min = 1, max = 63))]
    kind: Option<String>,
    /// Only resources of this name.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    name: Option<String>,
    /// Compare the manifests that Git says at this revision, and not what is deployed: a commit, branch, tag or chart
    /// version, such as one of list_argocd_app_history. Not for an application with a list of sources.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    from_revision: Option<String>,
    /// With from_revision: the revision to compare it with. Left out, the one that the application follows.
    #[serde(default)]
    #[schemars(length(min = 1, max = 253))]
    to_revision: Option<String>,
    #[serde(flatten)]
    page: PageArgs<20, 100>,
}

/// What a sync would change, or what changed between two revisions.
#[derive(Serialize, JsonSchema)]
struct Diff {
    /// The resources that differ.
    resources: Vec<ResourceDiff>,
    /// Number of resources that were compared.
    compared: usize,
    /// Whether resources were left out.
    truncated: bool,
    /// Pass this as `cursor` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// What differs in a resource.
#[derive(Serialize, JsonSchema)]
struct ResourceDiff {
    /// API group; absent for the core group.
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    /// Kind.
    kind: String,
    /// Name.
    name: String,
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    /// `create`, `change`, `prune` (deleted by a sync with prune only), or `keep` (Git no longer names it, and no sync
    /// deletes it because of `Prune=false`): how one gets from now, or from from_revision, to then.
    action: &'static str,
    /// Paths that differ: 50 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<PathDiff>,
    /// Whether paths were left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// A path that differs.
#[derive(Serialize, JsonSchema, PartialEq, Debug)]
struct PathDiff {
    /// The path, as a JSON pointer (RFC 6901).
    path: String,
    /// `added`, `removed` or `changed`.
    change: &'static str,
    /// What is there now, or at from_revision, as JSON, cut to 200 characters; never of a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<String>,
    /// What a sync would make of it, or what it is at to_revision, in the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<String>,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, DIFF, diff)]
}

impl DiffInput {
    /// Whether a resource is wanted.
    fn names(&self, kind: &str, name: &str) -> bool {
        self.kind.as_ref().is_none_or(|wanted| wanted == kind) && self.name.as_ref().is_none_or(|wanted| wanted == name)
    }
}

async fn diff(argocd: Arc<ArgoCd>, input: DiffInput, context: CallContext) -> Result<Diff, ToolError> {
    let target = input.app.target(&argocd)?;
    if let Some(from) = &input.from_revision {
        argocd.check_takes_revision(&target, "from_revision", &context).await?;
        let (from, to) = tokio::try_join!(
            argocd.fetch_rendering(&target, Some(from), &context),
            argocd.fetch_rendering(&target, input.to_revision.as_ref(), &context),
        )?;
        let (both, unread) = pair(&from.manifests, &to.manifests).await;
        let wanted = |one: &&ManagedResource| input.names(&one.kind, &one.name);
        let mut compared = Compared::of(both.iter().filter(wanted)).await;
        compared.unread += unread;
        compared.count += unread;
        // Argo CD masks the values of each Secret by themselves, and the first value of a key always alike
        // (`GetManifests` in `server/application/application.go`, v3.5.1; argoproj/argo-cd#28107).
        let is_masked = |one: &&ManagedResource| {
            may_be_secret(&one.kind) && !one.live_state.is_empty() && !one.target_state.is_empty()
        };
        let masked = both.iter().filter(wanted).filter(is_masked).count();
        compared.cut = (masked > 0).then(|| {
            format!("{masked} are Secrets, whose values Argo CD masks here: whether those differ is not known")
        });
        let nothing = match (compared.count, masked) {
            (0, _) => "Git names nothing that matches",
            (_, 0) => "nothing differs",
            _ => "nothing differs that can be seen",
        };
        return answer(compared, &input, nothing, &context);
    }
    if input.to_revision.is_some() {
        return Err(ToolError::invalid_argument("to_revision goes with from_revision").with_argument("to_revision"));
    }
    let compared = argocd.managed(&target, &input, &context).await?;
    let nothing = if compared.count == 0 && compared.cut.is_none() {
        "Argo CD has compared nothing that matches; get_argocd_app_status tells why"
    } else {
        "nothing differs, as far as Argo CD compared it last; refresh_argocd_app compares anew"
    };
    answer(compared, &input, nothing, &context)
}

/// What a comparison of resources found.
#[derive(Default)]
struct Compared {
    differing: Vec<ResourceDiff>,
    count: usize,
    /// Resources that Argo CD holds for changed, in which no path differs.
    unexplained: usize,
    /// Resources with a state that can't be read, or is too large.
    unread: usize,
    /// Why not all of them was looked at, if so.
    cut: Option<String>,
}

impl Compared {
    async fn of<'a>(resources: impl Iterator<Item = &'a ManagedResource> + Send) -> Self {
        let (mut all, mut turns) = (Self::default(), Turns::default());
        for one in resources {
            let states = [&one.live_state, &one.target_state, &one.normalized_live_state, &one.predicted_live_state];
            turns.after(states.into_iter().map(String::len).sum()).await;
            all.count += 1;
            match compare(one) {
                Ok(Some(differs)) => all.differing.push(differs),
                Ok(None) => all.unexplained += usize::from(one.modified),
                Err(Unread) => all.unread += 1,
            }
        }
        all
    }

    /// With what another comparison found of other resources.
    fn and(mut self, more: Self) -> Self {
        self.differing.extend(more.differing);
        self.count += more.count;
        self.unexplained += more.unexplained;
        self.unread += more.unread;
        self
    }

    fn hints(&self) -> Vec<String> {
        let mut hints: Vec<_> = self.cut.iter().cloned().collect();
        if self.unexplained > 0 {
            hints.push(format!(
                "Argo CD holds {} for changed in which no path differs: defaults of the cluster, or fields that it leaves out here",
                self.unexplained
            ));
        }
        if self.unread > 0 {
            hints.push(format!(
                "{} were not compared: what Argo CD answers of them can't be read, or is too large",
                self.unread
            ));
        }
        hints
    }
}

/// The answer, cut to what fits; `nothing` is the hint where nothing differs.
fn answer(compared: Compared, input: &DiffInput, nothing: &str, context: &CallContext) -> Result<Diff, ToolError> {
    let more = compared.hints();
    let Compared { differing, count: compared, unread, .. } = compared;
    let count = differing.len();
    let named = |one: ResourceDiff| (format!("{}/{}/{}/{}", one.group, one.kind, one.namespace, one.name), one);
    let room = MAX_BYTES.min(context.max_result_bytes.saturating_sub(ROOM_FOR_THE_REST));
    let limit = input.page.limit();
    let part = part(differing.into_iter().map(named).collect(), str::cmp, input.page.cursor(), limit, room)?;
    let truncated = part.is_cut();
    let mut hints = part.hints;
    hints.extend(more);
    if count == 0 && (unread == 0 || unread < compared) {
        hints.push(nothing.to_owned());
    } else if truncated {
        hints.push(format!("{count} resources differ; go on with next_cursor, or narrow it by kind or name"));
    }
    Ok(Diff { resources: part.entries, compared: compared - unread, truncated, next_cursor: part.next_cursor, hints })
}

impl ArgoCd {
    /// Fails for an application whose manifests can't be had at a revision of one's own. With `spec.sources` Argo CD takes no
    /// `revision` and says nothing of it; `revisions` it takes by writing them into its API server's copy of the application,
    /// which others are shown (`GetManifests` in `server/application/application.go`, v3.2.11).
    pub(super) async fn check_takes_revision(
        &self,
        target: &Target,
        argument: &'static str,
        context: &CallContext,
    ) -> Result<(), ToolError> {
        if self.fetch_app(target, context).await?.spec.sources.is_empty() {
            return Ok(());
        }
        let message = format!("application `{}` has a list of sources", target.name);
        let remedy = format!(
            "Argo CD renders such an application safely only at the revisions that it follows: leave {argument} out, or \
             compare the revisions in Git; get_argocd_revision_metadata tells who made one"
        );
        Err(ToolError::invalid_argument(message).with_remedy(remedy).with_argument(argument))
    }

    /// Compares what an application manages by the states of each: all of it in one answer, unless that is too large, as
    /// with large custom resource definitions, which come in four states. Then only what is not as Git says is asked
    /// for, one by one, and no answer is kept.
    async fn managed(&self, target: &Target, input: &DiffInput, context: &CallContext) -> Result<Compared, ToolError> {
        let doing = "read the managed resources of";
        let below = || target.get(&["managed-resources"]);
        let all = below().maybe("kind", input.kind.as_ref()).maybe("name", input.name.as_ref());
        let found: Option<Items<ManagedResource>> = self.ask_for_much(target, &all, doing, context).await?;
        if let Some(found) = found {
            return Ok(Compared::of(found.items.iter().filter(|one| !one.hook)).await);
        }
        let app = self.fetch_app(target, context).await?;
        let differs = |one: &&Resource| one.status != "Synced" && !one.hook && input.names(&one.kind, &one.name);
        let wanted: Vec<_> = app.status.resources.iter().filter(differs).collect();
        let mut compared = Compared::default();
        for one in wanted.iter().take(MAX_SINGLE) {
            let call = below().query("group", &one.group).query("kind", &one.kind).query("name", &one.name);
            let call = call.query("namespace", &one.namespace);
            let found: Option<Items<ManagedResource>> = self.ask_for_much(target, &call, doing, context).await?;
            // `isMatchingResource` in `server/application/application.go` (v3.5.1) takes an empty group or namespace for any.
            let is_it = |found: &&ManagedResource| {
                !found.hook && (&found.group, &found.namespace) == (&one.group, &one.namespace)
            };
            compared = compared.and(match &found {
                Some(found) => Compared::of(found.items.iter().filter(is_it)).await,
                None => Compared { count: 1, unread: 1, ..Compared::default() },
            });
        }
        let seen = match (wanted.len().min(MAX_SINGLE), wanted.len()) {
            (_, 0) => "Argo CD holds all of them for Synced".to_owned(),
            (seen, count) => format!("{seen} of the {count} were looked at that Argo CD does not hold for Synced"),
        };
        compared.cut = Some(format!(
            "all of them are larger than what is read of one answer: {seen}; narrow it by kind or name for others"
        ));
        Ok(compared)
    }

    /// What Git says for an application at a revision; at the one that it follows, if none is named.
    pub(super) async fn fetch_rendering(
        &self,
        target: &Target,
        revision: Option<&String>,
        context: &CallContext,
    ) -> Result<Rendering, ToolError> {
        let call = target.get(&["manifests"]).maybe("revision", revision);
        self.ask(target, &call, "render the manifests of", "applications, get", context).await
    }
}

/// Gives others their turn now and then.
#[derive(Default)]
struct Turns {
    bytes: usize,
}

impl Turns {
    /// Another piece of work of so many bytes comes.
    async fn after(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= TURN_BYTES {
            self.bytes = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// The manifests of two revisions side by side, as Argo CD puts what is deployed beside what is wanted, and the number of
/// those that can't be read.
async fn pair(from: &[String], to: &[String]) -> (Vec<ManagedResource>, usize) {
    let mut named: BTreeMap<[String; 4], [Vec<&str>; 2]> = BTreeMap::new();
    let (mut turns, mut unread) = (Turns::default(), 0);
    for (side, texts) in [from, to].into_iter().enumerate() {
        for text in texts {
            turns.after(text.len()).await;
            let manifest = match state(text) {
                Ok(Some(manifest)) => manifest,
                Ok(None) => continue,
                Err(Unread) => {
                    unread += 1;
                    continue;
                }
            };
            if let Some(texts) = named.entry(names_of(&manifest)).or_default().get_mut(side) {
                texts.push(text);
            }
        }
    }
    let mut pairs = Vec::new();
    for ([group, kind, namespace, name], [from, to]) in named {
        for (from, to) in pair_namesakes(from, to) {
            turns.after(from.len() + to.len()).await;
            pairs.push(ManagedResource {
                group: group.clone(),
                kind: kind.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
                live_state: from.to_owned(),
                target_state: to.to_owned(),
                ..ManagedResource::default()
            });
        }
    }
    (pairs, unread)
}

/// Pairs the manifests of one name, of which there are several where hooks have the same `generateName`: first those that are
/// equal, then the others in their order. Where one revision has fewer, the text is empty.
fn pair_namesakes<'a>(mut from: Vec<&'a str>, mut to: Vec<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut pairs = Vec::new();
    let mut unpaired: HashMap<&str, usize> = HashMap::new();
    for text in &to {
        *unpaired.entry(text).or_default() += 1;
    }
    let take = |unpaired: &mut HashMap<&str, usize>, text: &str| match unpaired.get_mut(text) {
        Some(left @ 1..) => {
            *left -= 1;
            true
        }
        _ => false,
    };
    from.retain(|text| {
        let equal = take(&mut unpaired, text);
        if equal {
            pairs.push((*text, *text));
        }
        !equal
    });
    // Of equal texts it is all the same which is left.
    to.retain(|text| take(&mut unpaired, text));
    let rest = from.len().max(to.len());
    let (mut from, mut to) = (from.into_iter(), to.into_iter());
    pairs.extend((0..rest).map(|_| (from.next().unwrap_or_default(), to.next().unwrap_or_default())));
    pairs
}

/// A state can't be read.
#[derive(Debug, PartialEq, Eq)]
struct Unread;

/// A state, which Argo CD writes as JSON in a text; none for an empty one, and for `null`.
fn state(text: &str) -> Result<Option<Value>, Unread> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(|value: Value| Some(value).filter(|value| !value.is_null())).map_err(|_| Unread)
}

/// What differs in a resource. Argo CD decides by the normalised states, which lack what is ignored.
fn compare(resource: &ManagedResource) -> Result<Option<ResourceDiff>, Unread> {
    let (live, wanted) = (state(&resource.live_state)?, state(&resource.target_state)?);
    let mut paths = Vec::new();
    let action = match (live, wanted) {
        (None, None) => return Ok(None),
        (None, Some(_)) => "create",
        (Some(live), None) if is_kept(&live) => "keep",
        (Some(_), None) => "prune",
        (Some(live), Some(wanted)) => {
            let now = state(&resource.normalized_live_state)?.unwrap_or(live);
            let then = state(&resource.predicted_live_state)?.unwrap_or(wanted);
            let stated = [&now, &then].map(|state| state.get("kind").and_then(Value::as_str).unwrap_or(&resource.kind));
            let secret = may_be_secret(&resource.kind) || stated.into_iter().any(may_be_secret);
            walk(&mut String::new(), Some(&now), Some(&then), secret, &mut paths);
            if paths.is_empty() {
                return Ok(None);
            }
            "change"
        }
    };
    let truncated = paths.len() > MAX_PATHS;
    paths.truncate(MAX_PATHS);
    Ok(Some(ResourceDiff {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        name: resource.name.clone(),
        namespace: resource.namespace.clone(),
        action,
        paths,
        truncated,
    }))
}

/// Whether a sync leaves a resource that Git no longer names (`pruneObject` in
/// `gitops-engine/pkg/sync/sync_context.go`, v3.5.1): `Prune=false` is one of its own sync options, and stands between
/// commas.
fn is_kept(live: &Value) -> bool {
    let options = live.pointer("/metadata/annotations/argocd.argoproj.io~1sync-options").and_then(Value::as_str);
    options.is_some_and(|options| options.split(',').any(|option| option.trim() == "Prune=false"))
}

/// Gathers the paths that differ, one more than are answered at most.
fn walk(path: &mut String, now: Option<&Value>, then: Option<&Value>, secret: bool, found: &mut Vec<PathDiff>) {
    if found.len() > MAX_PATHS {
        return;
    }
    let mut below = |step: &str, now: Option<&Value>, then: Option<&Value>| {
        let length = path.len();
        path.push('/');
        path.push_str(&step.replace('~', "~0").replace('/', "~1"));
        walk(path, now, then, secret, found);
        path.truncate(length);
    };
    match (now, then) {
        (Some(Value::Object(now)), Some(Value::Object(then))) => {
            let added = then.keys().filter(|name| !now.contains_key(*name));
            for name in now.keys().chain(added) {
                below(name, now.get(name), then.get(name));
            }
        }
        (Some(Value::Array(now)), Some(Value::Array(then))) => {
            for index in 0..now.len().max(then.len()) {
                below(&index.to_string(), now.get(index), then.get(index));
            }
        }
        // Lists and objects are compared by what is in them, each once: compared whole at every level, what lies deep would be
        // looked at as many times.
        _ if now == then => {}
        _ => {
            let change = match (now, then) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            };
            let shown = |value: Option<&Value>| value.filter(|_| !secret).map(shown);
            found.push(PathDiff { path: path.clone(), change, now: shown(now), then: shown(then) });
        }
    }
}

fn shown(value: &Value) -> String {
    let text = text::clean(&value.to_string());
    if text.chars().count() <= MAX_VALUE {
        return text;
    }
    text.chars().take(MAX_VALUE).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(kind: &str, live: &Value, target: &Value) -> ManagedResource {
        ManagedResource {
            kind: kind.into(),
            live_state: live.to_string(),
            target_state: target.to_string(),
            ..ManagedResource::default()
        }
    }

    fn differs(resource: &ManagedResource) -> Option<ResourceDiff> {
        compare(resource).unwrap()
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_neither_created_nor_deleted() {
        let good = json!({ "a": 1 }).to_string();
        let states = [["{", &good], [&good, "{"], ["{", "{"]].map(|[live, target]| ManagedResource {
            live_state: live.to_owned(),
            target_state: target.to_owned(),
            ..ManagedResource::default()
        });
        let same = ManagedResource { modified: true, ..resource("A", &json!({}), &json!({})) };
        let compared = Compared::of(states.iter().chain([&same])).await;
        assert_eq!((compared.count, compared.unread, compared.unexplained), (4, 3, 1));
        assert!(compared.differing.is_empty() && compared.hints().len() == 2);
    }

    #[test]
    fn paths_tell_what_differs() {
        let live = json!({ "spec": { "replicas": 1, "old": true, "a/b": [1, 2] } });
        let target = json!({ "spec": { "replicas": 3, "new": true, "a/b": [1] } });
        let mut paths = differs(&resource("Deployment", &live, &target)).unwrap().paths;
        paths.sort_by(|a, b| a.path.cmp(&b.path));
        let told: Vec<_> = paths.iter().map(|one| (one.path.as_str(), one.change)).collect();
        assert_eq!(
            told,
            [
                ("/spec/a~1b/1", "removed"),
                ("/spec/new", "added"),
                ("/spec/old", "removed"),
                ("/spec/replicas", "changed")
            ]
        );
        assert_eq!((paths[3].now.as_deref(), paths[3].then.as_deref()), (Some("1"), Some("3")));
        assert!(differs(&resource("Deployment", &live, &live)).is_none());
        assert_eq!(differs(&resource("Deployment", &Value::Null, &live)).unwrap().action, "create");
        assert_eq!(differs(&resource("Deployment", &live, &Value::Null)).unwrap().action, "prune");
    }

    #[test]
    fn what_prune_false_keeps_is_not_told_as_deleted() {
        for (options, action) in [
            ("Prune=false", "keep"),
            ("Delete=false, Prune=false", "keep"),
            ("Prune=falsehood", "prune"),
            ("Prune=confirm", "prune"),
            ("", "prune"),
        ] {
            let annotations = json!({ "argocd.argoproj.io/sync-options": options });
            let live = json!({ "metadata": { "annotations": annotations } });
            let claim = resource("PersistentVolumeClaim", &live, &Value::Null);
            assert_eq!(differs(&claim).unwrap().action, action, "{options}");
            // What Git names is changed like anything else.
            assert_eq!(differs(&resource("PersistentVolumeClaim", &live, &json!({}))).unwrap().action, "change");
        }
    }

    #[tokio::test]
    async fn manifests_of_two_revisions_are_put_side_by_side() {
        let manifest = |version: &str, name: &str, replicas: u32| {
            json!({ "apiVersion": version, "kind": "Deployment", "metadata": { "name": name, "namespace": "shop" },
                    "spec": { "replicas": replicas } })
            .to_string()
        };
        let from = [manifest("apps/v1", "web", 1), manifest("apps/v1", "old", 1), manifest("apps/v1", "same", 1)];
        let to = [manifest("apps/v1", "same", 1), manifest("apps/v1", "web", 2), manifest("apps/v1", "new", 1)];
        let (both, _) = pair(&from, &to).await;
        let told: Vec<_> = both.iter().filter_map(differs).map(|one| (one.name, one.action)).collect();
        let expected = [("new", "create"), ("old", "prune"), ("web", "change")];
        assert_eq!(told, expected.map(|(name, action)| (name.to_owned(), action)));
        assert_eq!((both.len(), both[0].group.as_str(), both[0].namespace.as_str()), (4, "apps", "shop"));
        let web = both.iter().find(|one| one.name == "web").and_then(differs).unwrap();
        assert_eq!((web.paths[0].now.as_deref(), web.paths[0].then.as_deref()), (Some("1"), Some("2")));
    }

    #[tokio::test]
    async fn hooks_that_share_a_generated_name_are_compared_each() {
        let hook = |image: &str| {
            json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "generateName": "migrate-" }, "image": image })
                .to_string()
        };
        let told = async |from: &[&str], to: &[&str]| -> Vec<String> {
            let texts = |images: &[&str]| images.iter().map(|image| hook(image)).collect::<Vec<_>>();
            let (both, _) = pair(&texts(from), &texts(to)).await;
            assert_eq!(both.len(), from.len().max(to.len()));
            let path = |one: &PathDiff| Some(format!(" {} to {}", one.now.as_deref()?, one.then.as_deref()?));
            let resource = |one: ResourceDiff| {
                one.paths.iter().filter_map(path).fold(one.action.to_owned(), |all, one| all + &one)
            };
            both.iter().filter_map(differs).map(resource).collect()
        };
        assert_eq!(told(&["a", "b"], &["b", "a"]).await, [""; 0]);
        assert_eq!(told(&["a", "a"], &["a", "a"]).await, [""; 0]);
        assert_eq!(told(&["a", "b"], &["c", "a"]).await, [r#"change "b" to "c""#]);
        assert_eq!(told(&["a", "b"], &["c", "d"]).await, [r#"change "a" to "c""#, r#"change "b" to "d""#]);
        assert_eq!(told(&["a"], &["a", "a"]).await, ["create"]);
        assert_eq!(told(&["b", "a"], &["a"]).await, ["prune"]);
    }

    #[tokio::test]
    async fn a_deadline_ends_the_comparison_of_many_manifests() {
        let manifest =
            |number: usize| json!({ "kind": "J", "metadata": { "generateName": "a" }, "n": number }).to_string();
        let from: Vec<_> = (0..5_000).map(|number| manifest(number * 2)).collect();
        let to: Vec<_> = (0..5_000).map(|number| manifest(number * 2 + 1)).collect();
        let over = std::time::Duration::ZERO;
        assert!(tokio::time::timeout(over, pair(&from, &to)).await.is_err());
        let (both, _) = pair(&from, &to).await;
        assert!(tokio::time::timeout(over, Compared::of(both.iter())).await.is_err());
        assert_eq!((both.len(), Compared::of(both.iter()).await.differing.len()), (5_000, 5_000));
    }

    proptest::proptest! {
        #[test]
        fn namesakes_are_paired_each_once_and_equal_ones_with_each_other(
            from in proptest::collection::vec("[a-d]", 0..12),
            to in proptest::collection::vec("[a-d]", 0..12),
        ) {
            let [from_texts, to_texts] = [&from, &to].map(|all| all.iter().map(String::as_str).collect());
            let pairs = pair_namesakes(from_texts, to_texts);
            let count = |all: &[String], text: u8| all.iter().filter(|one| one.as_bytes() == [text]).count();
            for text in b'a'..=b'd' {
                let is = |side: &str| side.as_bytes().first() == Some(&text);
                let here = pairs.iter().filter(|(from, _)| is(from)).count();
                let there = pairs.iter().filter(|(_, to)| is(to)).count();
                let equal = pairs.iter().filter(|(from, to)| is(from) && is(to)).count();
                let (from, to) = (count(&from, text), count(&to, text));
                proptest::prop_assert_eq!((here, there, equal), (from, to, from.min(to)));
            }
            proptest::prop_assert_eq!(pairs.len(), from.len().max(to.len()));
        }
    }

    #[test]
    fn values_of_secrets_stay_away() {
        let (live, target) = (json!({ "data": { "a": "planted" } }), json!({ "data": { "a": "planted2" } }));
        let diff = differs(&resource("Secret", &live, &target)).unwrap();
        let told = PathDiff { path: "/data/a".into(), change: "changed", now: None, then: None };
        assert_eq!(diff.paths, [told]);
    }

    #[test]
    fn many_differences_are_cut() {
        let live: Value = (0..500).map(|i| (format!("k{i}"), json!(i))).collect::<serde_json::Map<_, _>>().into();
        let diff = differs(&resource("ConfigMap", &live, &json!({}))).unwrap();
        assert_eq!((diff.paths.len(), diff.truncated), (MAX_PATHS, true));
    }
}
