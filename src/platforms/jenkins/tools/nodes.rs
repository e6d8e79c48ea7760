//! `list_jenkins_nodes`: the machines that build.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{bounded, read};
use crate::{
    platforms::{
        jenkins::{
            Jenkins,
            client::Call,
            error::to_tool_error,
            wire::{self, Node, Nodes},
        },
        text,
    },
    tools::{CallContext, Page, ToolDeclaration, ToolEntry, ToolError},
};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_jenkins_nodes",
    "Machines that build",
    "Answers Jenkins' nodes: whether each is online, why not, how many executors it has, and its labels.",
);

/// Arguments of `list_jenkins_nodes`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListInput {
    /// Whether only nodes that are offline are listed.
    #[serde(default)]
    offline_only: bool,
    /// Nodes of one answer: 1 to 200, 100 if left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    limit: Option<usize>,
    /// Where to go on: next_cursor of the previous answer.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    cursor: Option<String>,
}

/// A node.
#[derive(Serialize, JsonSchema)]
struct NodeView {
    /// Its name.
    name: String,
    /// Whether it is offline.
    offline: bool,
    /// Whether somebody took it offline.
    temporarily_offline: bool,
    /// Why it is offline, cut to 500 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// How many builds it runs at a time.
    executors: u64,
    /// Whether it does nothing now.
    idle: bool,
    /// Its labels: 20 at most.
    labels: Vec<String>,
}

impl NodeView {
    fn of(node: &Node) -> Self {
        Self {
            name: text::clean(&node.display_name),
            offline: node.offline,
            temporarily_offline: node.temporarily_offline,
            cause: text::optional(&node.offline_cause_reason),
            executors: node.num_executors,
            idle: node.idle,
            labels: node.assigned_labels.iter().take(20).map(|label| text::clean(&label.name)).collect(),
        }
    }
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, LIST, list)]
}

async fn list(jenkins: Arc<Jenkins>, input: ListInput, context: CallContext) -> Result<Page<NodeView>, ToolError> {
    let limit = bounded("limit", input.limit, 100, (1, 200))?;
    let there: Nodes = jenkins
        .object(&Call::json(["computer"], wire::NODES), &context)
        .await
        .map_err(|error| to_tool_error(error, "list the nodes"))?;
    let nodes = there.computer.iter().filter(|node| node.offline || !input.offline_only).map(NodeView::of).collect();
    let mut page = Page::cut(nodes, |node: &NodeView| node.name.as_str(), input.cursor.as_deref(), limit)?;
    if page.items.is_empty() {
        page.hints.push(if input.offline_only { "no node is offline" } else { "no node may be seen" }.to_owned());
    }
    Ok(page.with_hint(format!("{} of {} executors are busy", there.busy_executors, there.total_executors)))
}
