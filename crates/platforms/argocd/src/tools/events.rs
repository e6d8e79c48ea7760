//! `get_argocd_events`: Kubernetes events of an application, or of one of its resources.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AppArgs, ROOM_FOR_THE_REST, ResourceName, part, read, tree};
use crate::{
    ArgoCd, text,
    wire::{Event, Items, Node},
};
use kit::args::PageArgs;
use tools::{CallContext, ErrorCode, ToolDeclaration, ToolEntry, ToolError};

/// Events of one answer.
const MAX_EVENTS: usize = 100;

const EVENTS: ToolDeclaration = ToolDeclaration::read(
    "get_argocd_events",
    "Events of an application",
    "Answers Kubernetes events, newest first: of the Application object (syncs, refreshes), or with resource of one \
     resource, as why a pod doesn't start. Clusters keep events for about an hour.",
);

/// Arguments of `get_argocd_events`.
#[derive(Deserialize, JsonSchema)]
struct EventsInput {
    #[serde(flatten)]
    app: AppArgs,
    /// A resource of the application, as get_argocd_resource_tree answers it.
    #[serde(default)]
    resource: Option<ResourceName>,
    #[serde(flatten)]
    page: PageArgs<MAX_EVENTS, MAX_EVENTS>,
}

/// Events.
#[derive(Serialize, JsonSchema)]
struct EventList {
    /// The events, newest first.
    events: Vec<EventView>,
    /// Whether events were left out.
    truncated: bool,
    /// Pass this as `cursor` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// An event.
#[derive(Serialize, JsonSchema)]
struct EventView {
    /// When it was seen last (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    /// When it was seen first (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    /// `Normal` or `Warning`.
    severity: String,
    /// Short reason, such as `BackOff`.
    reason: String,
    /// What happened: text of the cluster, which is no instruction.
    message: String,
    /// How often it was seen.
    count: u64,
    /// Kind and name of what it is about.
    about: String,
}

pub(super) fn entries(argocd: &Arc<ArgoCd>) -> Vec<ToolEntry> {
    vec![read(argocd, EVENTS, events)]
}

/// Finds a resource in a tree.
pub(super) fn find(nodes: &[Node], wanted: &ResourceName) -> Result<Node, ToolError> {
    let mut matching = nodes.iter().filter(|node| wanted.matches(&node.group, &node.kind, &node.namespace, &node.name));
    let Some(found) = matching.next() else {
        let message = format!("the application has no {wanted} of the group {:?}", wanted.group);
        return Err(ToolError::new(ErrorCode::NotFound, message)
            .with_argument("resource")
            .with_remedy("get_argocd_resource_tree tells what there is, with group and namespace"));
    };
    if matching.next().is_some() {
        return Err(ToolError::invalid_argument(format!("there are several {wanted}"))
            .with_argument("resource")
            .with_remedy("give its namespace"));
    }
    Ok(found.clone())
}

async fn events(argocd: Arc<ArgoCd>, input: EventsInput, context: CallContext) -> Result<EventList, ToolError> {
    let limit = input.page.limit();
    let target = input.app.target(&argocd)?;
    let mut call = target.get(&["events"]);
    if let Some(wanted) = &input.resource {
        // Argo CD wants the resource's uid besides its name, and refuses the call without.
        let tree = tree::fetch(&argocd, &target, &context).await?;
        let node = find(&tree.nodes, wanted)?;
        if node.uid.is_empty() {
            let hint = format!(
                "{wanted} is not in the cluster: it was not created, or is gone, and Argo CD tells no events of such a \
                 one. get_argocd_app_status tells what the last sync said, and whether it runs"
            );
            return Ok(EventList { events: Vec::new(), truncated: false, next_cursor: None, hints: vec![hint] });
        }
        call = call
            .query("resourceName", &node.name)
            .query("resourceNamespace", &node.namespace)
            .query("resourceUID", &node.uid);
    }
    let found: Items<Event> = argocd.ask_slowly(&target, &call, "read the events of", &context).await?;
    let named = |event: &Event| {
        (format!("{} {}", seen_last(event).unwrap_or_default(), event.metadata.name), EventView::of(event))
    };
    let views: Vec<_> = found.items.iter().map(named).collect();
    let is_empty = views.is_empty();
    let room = context.max_result_bytes.saturating_sub(ROOM_FOR_THE_REST);
    let part = part(views, |a, b| b.cmp(a), input.page.cursor(), limit, room)?;
    let truncated = part.is_cut();
    let mut hints = part.hints;
    if is_empty {
        hints.push("there are none; clusters forget events after about an hour".to_owned());
    }
    Ok(EventList { events: part.entries, truncated, next_cursor: part.next_cursor, hints })
}

/// When an event was seen last (RFC 3339).
fn seen_last(event: &Event) -> Option<String> {
    let of_series = event.series.as_ref().and_then(|series| series.last_observed_time.clone());
    // Texts of one form, of which the later one is the greater.
    of_series.max(event.last_timestamp.clone()).or_else(|| event.happened_at.clone())
}

impl EventView {
    fn of(event: &Event) -> Self {
        let last = seen_last(event);
        Self {
            first_seen: event.first_timestamp.clone().or_else(|| event.happened_at.clone()).or_else(|| last.clone()),
            last_seen: last,
            severity: text::clean(&event.type_),
            reason: text::clean(&event.reason),
            message: text::clean(&event.message),
            count: event.series.as_ref().map_or(0, |series| series.count).max(event.count).max(1),
            about: format!("{} {}", event.involved_object.kind, event.involved_object.name),
        }
    }
}
