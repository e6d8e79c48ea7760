//! `get_argocd_resource_tree`: what an application's resources have made in turn, down to pods.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{AppArgs, ROOM_FOR_THE_REST, Target, part, read, state::Health};
use crate::{
    ArgoCd, text,
    wire::{Node, Tree},
};
use kit::args::{Limit, PageArgs};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Nodes of one answer.
const MAX_NODES: usize = 300;

const TREE: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_resource_tree",
    "Resource tree of an application",
    "Answers the resources of an application and what these made in turn, such as ReplicaSets and pods, each with its \
     health, images and parent. With unhealthy_only, only what is not healthy, with the way to it.",
);

/// Arguments of `get_argocd_resource_tree`.
#[derive(Deserialize, JsonSchema)]
struct TreeInput {
    #[serde(flatten)]
    app: AppArgs,
    /// Levels that are answered: three are Deployment, ReplicaSet and pod. With unhealthy_only all are looked at.
    #[serde(default)]
    depth: Limit<3, 10>,
    /// Only what is neither Healthy nor Suspended, with its ancestors.
    #[serde(default)]
    unhealthy_only: bool,
    #[serde(flatten)]
    page: PageArgs<MAX_NODES, MAX_NODES>,
}

/// The tree, parents before their children.
#[derive(Serialize, JsonSchema)]
struct TreeView {
    /// The nodes, parents before their children.
    nodes: Vec<NodeView>,
    /// Number of resources in the namespaces that belong to no application, if the project watches them.
    orphaned: usize,
    /// Whether nodes were left out.
    truncated: bool,
    /// Pass this as `cursor` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A resource in the tree.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
struct NodeView {
    /// Level, from 1.
    level: usize,
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
    /// Kind and name of the parent; absent at level 1.
    parent: Option<String>,
    /// Health; absent for kinds that Argo CD can't judge.
    health: Option<Health>,
    /// Container images: 10 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    /// When it was created (RFC 3339).
    created_at: Option<String>,
}

/// A node of the tree as it is built.
struct Built {
    view: NodeView,
    /// Index of its parent.
    parent: Option<usize>,
    /// The names of its ancestors and its own. In the order of these a parent comes before its children, and no other node
    /// between them.
    path: String,
}

/// A node that is still to be shown: its level, and index, name and path of its parent.
type Waiting<'a> = (&'a Node, usize, Option<(usize, String, String)>);

/// What names a node.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

fn key(node: &Node) -> Key<'_> {
    (&node.group, &node.kind, &node.namespace, &node.name)
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, TREE, tree)]
}

/// The tree of an application, for tools that look for one resource in it.
pub(super) async fn fetch(argocd: &ArgoCd, target: &Target, context: &CallContext) -> Result<Tree, ToolError> {
    let call = target.get(&["resource-tree"]);
    let mut tree: Tree = argocd.ask_slowly(target, &call, "read the resource tree of", context).await?;
    // What has several owners comes once for each of them (argoproj/argo-cd#19910).
    let mut seen = HashSet::new();
    tree.nodes.0.retain(|node| {
        let (group, kind, namespace, name) = key(node);
        seen.insert([group, kind, namespace, name].map(ToOwned::to_owned))
    });
    Ok(tree)
}

async fn tree(argocd: Arc<ArgoCd>, input: TreeInput, context: CallContext) -> Result<TreeView, ToolError> {
    let depth = input.depth.get();
    let limit = input.page.limit();
    let tree = fetch(&argocd, &input.app.target(&argocd)?, &context).await?;
    // What is unhealthy is looked for on every level.
    let mut nodes = build(&tree, if input.unhealthy_only { usize::MAX } else { depth });
    let count = nodes.len();
    let judged = nodes.iter().filter(|one| one.view.health.is_some()).count();
    let bad = |view: &NodeView| {
        view.health.as_ref().is_some_and(|health| !matches!(health.status.as_str(), "Healthy" | "Suspended"))
    };
    if input.unhealthy_only {
        let mut keep = HashSet::new();
        // From the leaves up: an ancestor of what is kept is kept.
        for (index, one) in nodes.iter().enumerate().rev() {
            if bad(&one.view) || keep.contains(&index) {
                keep.insert(index);
                keep.extend(one.parent);
            }
        }
        let mut index = 0..;
        nodes.retain(|_| index.next().is_some_and(|index| keep.contains(&index)));
    }
    let wanted = nodes.len();
    let bad_shown = nodes.iter().filter(|one| bad(&one.view)).count();
    let nodes = nodes.into_iter().map(|one| (one.path, one.view)).collect();
    let room = context.max_result_bytes.saturating_sub(ROOM_FOR_THE_REST);
    let part = part(nodes, str::cmp, input.page.cursor(), limit, room)?;
    let truncated = part.is_cut();
    let mut hints = part.hints;
    if count == 0 {
        // So Argo CD answers for a cluster that it can't reach, too (devtron-labs/devtron#5173).
        let why = "Argo CD knows no resources of it: there are none yet, or its cluster can't be asked; get_argocd_app_status tells";
        hints.push(why.to_owned());
    } else if wanted == 0 {
        let unjudged = count - judged;
        let others =
            if unjudged == 0 { String::new() } else { format!("; the other {unjudged} have no health in Argo CD") };
        hints.push(format!("none of the {judged} resources whose health Argo CD judges is unhealthy{others}"));
    } else if truncated {
        hints.push(format!("{wanted} nodes match; go on with next_cursor, or use unhealthy_only or a smaller depth"));
    }
    let deeper = tree.nodes.len().saturating_sub(count);
    if deeper > 0 && !input.unhealthy_only {
        let bad_at_all = build(&tree, usize::MAX).iter().filter(|one| bad(&one.view)).count();
        let unwell = match bad_at_all.saturating_sub(bad_shown) {
            0 => String::new(),
            deep => format!(", of which {deep} are unhealthy"),
        };
        hints.push(format!("{deeper} resources lie deeper than depth{unwell}"));
    }
    let orphaned = tree.orphaned_nodes.len();
    Ok(TreeView { truncated, next_cursor: part.next_cursor, nodes: part.entries, orphaned, hints })
}

/// The nodes down to a level, parents before their children. Every node comes once: what Argo CD answers need not be a tree.
fn build(tree: &Tree, depth: usize) -> Vec<Built> {
    let there: HashSet<Key> = tree.nodes.iter().map(key).collect();
    let mut children: HashMap<Key, Vec<&Node>> = HashMap::new();
    let mut roots = Vec::new();
    for node in tree.nodes.iter() {
        let parent = node.parent_refs.iter().map(|parent| {
            (parent.group.as_str(), parent.kind.as_str(), parent.namespace.as_str(), parent.name.as_str())
        });
        match parent.into_iter().find(|parent| there.contains(parent)) {
            Some(parent) => children.entry(parent).or_default().push(node),
            None => roots.push(node),
        }
    }
    let mut built = Vec::new();
    let mut seen = HashSet::new();
    let mut next: Vec<Waiting> = roots.into_iter().map(|node| (node, 1, None)).collect();
    // Nodes that are each other's parents have no root; where every level is wanted, they are looked at, too.
    let mut rest = tree.nodes.iter().filter(|_| depth == usize::MAX);
    while let Some((node, level, parent)) = next.pop().or_else(|| rest.next().map(|node| (node, 1, None))) {
        if level > depth || !seen.insert(key(node)) {
            continue;
        }
        let index = built.len();
        let view = NodeView {
            level,
            group: node.group.clone(),
            kind: node.kind.clone(),
            name: node.name.clone(),
            namespace: node.namespace.clone(),
            parent: parent.as_ref().map(|(_, name, _)| name.clone()),
            health: node.judged().as_ref().map(Health::of),
            images: node.images.iter().take(10).map(|image| text::clean(image)).collect(),
            created_at: node.created_at.clone(),
        };
        let above = parent.as_ref().map(|(_, _, path)| path.as_str()).unwrap_or_default();
        let path = format!("{above}\0{}/{}/{}/{}", node.group, node.kind, node.namespace, node.name);
        let name = format!("{} {}", node.kind, node.name);
        let below = children.get(&key(node)).map(Vec::as_slice).unwrap_or_default();
        next.extend(below.iter().map(|child| (*child, level + 1, Some((index, name.clone(), path.clone())))));
        built.push(Built { view, parent: parent.map(|(index, _, _)| index), path });
    }
    built
}
