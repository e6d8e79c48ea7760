//! `list_jenkins_nodes`: the machines that build.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read;
use crate::{
    Jenkins,
    client::Call,
    error::to_tool_error,
    wire::{self, Node, Nodes},
};
use kit::{args::PageArgs, text};
use tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_jenkins_nodes",
    "Machines that build",
    "Answers Jenkins' nodes: whether each is online, why not, how many executors it has, and its labels.",
);

/// Arguments of `list_jenkins_nodes`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    /// Whether only nodes that are offline are listed.
    #[serde(default)]
    offline_only: bool,
    #[serde(flatten)]
    page: PageArgs<100, 200>,
}

/// Labels of a node that are answered.
const MAX_LABELS: usize = 20;

/// A node.
#[derive(Serialize, JsonSchema)]
struct NodeView {
    /// Its name.
    name: String,
    /// Whether it is offline.
    offline: bool,
    /// Whether it was marked offline: by somebody, a monitor of Jenkins (as of disk space) or a plugin.
    temporarily_offline: bool,
    /// Whether it takes no builds although it is online, as a cloud's that was used or is about to be removed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suspended: bool,
    /// Why it is offline, cut to 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// How many builds it runs at a time.
    executors: u64,
    /// Whether it does nothing now.
    idle: bool,
    /// Its labels: the first 20.
    labels: Vec<String>,
}

impl NodeView {
    fn of(node: &Node) -> Self {
        Self {
            name: text::clean(&node.display_name),
            offline: node.offline,
            temporarily_offline: node.temporarily_offline,
            suspended: node.is_suspended(),
            cause: text::optional(node.why_offline()),
            executors: node.num_executors,
            idle: node.idle,
            labels: node.assigned_labels.iter().take(MAX_LABELS).map(|label| text::clean(&label.name)).collect(),
        }
    }
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, LIST, list)]
}

async fn list(jenkins: Arc<Jenkins>, input: ListInput, context: CallContext) -> Result<Page<NodeView>, ToolError> {
    let there: Nodes = jenkins
        .object(&Call::json(["computer"], wire::NODES), &context)
        .await
        .map_err(|error| to_tool_error(error, "list the nodes"))?;
    let nodes = there.computer.iter().filter(|node| node.offline || !input.offline_only).map(NodeView::of).collect();
    let mut page = input.page.cut(nodes, |node: &NodeView| node.name.as_str())?;
    if page.items.is_empty() {
        page.hints.push(if input.offline_only { "no node is offline" } else { "no node may be seen" }.to_owned());
    }
    if there.computer.iter().any(|node| node.assigned_labels.len() > MAX_LABELS) {
        page.hints.push(format!("some nodes have more labels than the {MAX_LABELS} that are told"));
    }
    Ok(page.with_hint(format!(
        "{} of {} executors of nodes that are online are busy",
        there.busy_executors, there.total_executors
    )))
}
