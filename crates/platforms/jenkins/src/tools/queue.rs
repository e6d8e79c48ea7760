//! `list_jenkins_queue` and `get_jenkins_queue_item`: what waits, and why.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::{WHILE_IT_RUNS, first, read};
use crate::{
    Jenkins,
    client::{Call, Error},
    error::to_tool_error,
    wire::{self, Queue, QueueItem, Task},
};
use kit::{args::PageArgs, text};
use tools::{CallContext, ErrorCode, Page, ToolDeclaration, ToolEntry, ToolError, page::encode_cursor, time};

const LIST: ToolDeclaration = ToolDeclaration::read(
    "list_jenkins_queue",
    "What waits to be built",
    "Answers the items of the queue that the connector's user may see: for what each waits, whether it is blocked, and whether it \
     is stuck, which is to say that it waits far longer than usual, or that no node of its label is online.",
)
.polled()
.shared(WHILE_IT_RUNS);

const GET: ToolDeclaration = ToolDeclaration::read(
    "get_jenkins_queue_item",
    "One item of the queue",
    "Answers what has become of an item of the queue, by the id that trigger_jenkins_build gave: waiting, with the cause; \
     started, with the build's number; or cancelled. Jenkins forgets it five minutes after it left the queue.",
)
.polled()
.shared(WHILE_IT_RUNS);

/// Items that are looked at, of all that Jenkins has in an order of its own.
const MAX_ITEMS: usize = 5_000;
/// Jobs that may not be read of which the names are answered.
const MAX_NAMED: usize = 10;

/// Arguments of `list_jenkins_queue`.
#[derive(Deserialize, JsonSchema)]
struct ListInput {
    #[serde(flatten)]
    page: PageArgs<50, 100>,
}

/// Arguments of `get_jenkins_queue_item`.
#[derive(Deserialize, JsonSchema)]
struct GetInput {
    /// Id of the item.
    #[schemars(range(min = 1))]
    id: u64,
}

/// What has become of an item.
#[derive(Serialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(super) enum ItemState {
    /// It waits.
    Waiting,
    /// Its build has begun.
    Started,
    /// It was cancelled before its build began.
    Cancelled,
}

/// An item of the queue.
#[skip_serializing_none]
#[derive(Serialize, JsonSchema)]
pub(super) struct ItemView {
    /// Its id.
    pub(super) id: u64,
    /// What has become of it.
    pub(super) state: ItemState,
    /// Number of its build, once it has begun.
    pub(super) build: Option<u32>,
    /// Full name of the job.
    pub(super) job: Option<String>,
    /// Whether it is no build, but a step of a pipeline that runs and waits for a node. Jenkins doesn't tell of which.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_step: bool,
    /// For what it waits, in Jenkins' words, cut to 500 characters.
    pub(super) why: Option<String>,
    /// Whether something must end first, such as a build of the same job.
    pub(super) blocked: bool,
    /// Whether it only waits for an executor.
    pub(super) buildable: bool,
    /// Whether it waits far longer than usual, or no node of its label is online.
    pub(super) stuck: bool,
    /// Since when it is in the queue (RFC 3339).
    pub(super) since: Option<String>,
}

impl QueueItem {
    /// Number of its build, once it has begun.
    pub(super) fn build(&self) -> Option<u32> {
        self.executable.as_ref().and_then(|executable| executable.number)
    }
}

impl ItemView {
    pub(super) fn of(item: &QueueItem) -> Self {
        let build = item.build();
        let state = match build {
            Some(_) => ItemState::Started,
            None if item.cancelled => ItemState::Cancelled,
            None => ItemState::Waiting,
        };
        let job = item.task.as_ref().and_then(|task| task.full_name.as_deref().or(task.name.as_deref()));
        Self {
            id: item.id,
            state,
            build,
            job: job.and_then(text::optional),
            is_step: item.task.as_ref().is_some_and(Task::is_step),
            why: item.why.as_deref().and_then(text::optional),
            blocked: item.blocked,
            buildable: item.buildable,
            stuck: item.stuck,
            since: time::from_milliseconds(item.in_queue_since),
        }
    }
}

impl Jenkins {
    /// An item of the queue; nothing if Jenkins doesn't know it, or not any more.
    pub(super) async fn fetch_queue_item(&self, id: u64, context: &CallContext) -> Result<Option<QueueItem>, Error> {
        let call = Call::json(["queue", "item", &id.to_string()], wire::QUEUE_ITEM);
        match self.object(&call, context).await {
            Ok(item) => Ok(Some(item)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Words that an item is not there.
pub(super) fn gone() -> ToolError {
    ToolError::new(ErrorCode::NotFound, "there is no such item in the queue, or not any more")
        .with_argument("id")
        .with_remedy("Jenkins keeps items for five minutes after they left the queue: look at list_jenkins_builds")
}

pub(super) fn entries(jenkins: &Arc<Jenkins>) -> Vec<ToolEntry> {
    vec![read(jenkins, LIST, list), read(jenkins, GET, get)]
}

async fn list(jenkins: Arc<Jenkins>, input: ListInput, context: CallContext) -> Result<Page<ItemView>, ToolError> {
    let limit = input.page.limit();
    let after: u64 = input.page.position()?;
    let to = MAX_ITEMS + 1;
    let tree = format!("items[{}]{{0,{to}}},discoverableItems[task[name]]{{0,{to}}}", wire::QUEUE_ITEM);
    let queue: Queue = jenkins
        .object(&Call::json(["queue"], &tree), &context)
        .await
        .map_err(|error| to_tool_error(error, "read the queue"))?;
    let mut hints = Vec::new();
    let mut items = first(queue.items, MAX_ITEMS, "items", &mut hints);
    items.sort_by_key(|item| item.id);
    let mut rest = items.iter().filter(|item| item.id > after);
    let items: Vec<ItemView> = rest.by_ref().take(limit).map(ItemView::of).collect();
    let truncated = rest.next().is_some();
    let next_cursor = items.last().filter(|_| truncated).map(|last| encode_cursor(&last.id.to_string()));
    if items.is_empty() {
        hints.push("nothing waits of what the connector's user may see".to_owned());
    }
    let stubs = queue.discoverable_items.iter().filter_map(|stub| stub.task.as_ref()?.name.as_deref().map(text::clean));
    let hidden = queue.discoverable_items.len().min(MAX_ITEMS);
    if hidden > 0 {
        let names: Vec<String> = stubs.take(MAX_NAMED).collect();
        hints.push(format!("{hidden} more wait whose jobs may not be read: {}", names.join(", ")));
    }
    Ok(Page { items, truncated, next_cursor, hints })
}

async fn get(jenkins: Arc<Jenkins>, input: GetInput, context: CallContext) -> Result<ItemView, ToolError> {
    let item = jenkins.fetch_queue_item(input.id, &context).await;
    let item = item.map_err(|error| to_tool_error(error, &format!("read the queue item {}", input.id)))?;
    item.as_ref().map(ItemView::of).ok_or_else(gone)
}
