//! Events around one event, of the same stream.

use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Doing, cut,
    events::{Event, Group, MOST_TEXT},
    int, invalid, read,
};
use crate::CloudWatch;
use kit::args::Limit;
use tools::{CallContext, TimeInput, ToolDeclaration, ToolEntry, ToolError, page::fit, time::from_milliseconds};

const GET_EVENTS: Doing = Doing::new("read events", "logs:GetLogEvents");
const GET_RECORD: Doing = Doing::new("read the event", "logs:GetLogRecord");

const CONTEXT: ToolDeclaration = ToolDeclaration::read(
    "get_cloudwatch_log_context",
    "Get events around an event",
    "Reads the events of the same stream before and after one event, which is named by its @ptr of a query, or by group, \
     stream and time.",
);

pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    vec![read(cloudwatch, CONTEXT, surroundings)]
}

#[derive(Deserialize, JsonSchema)]
struct ContextInput {
    /// `@ptr` of a row of a query. Not together with `stream` and `time`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1_024))]
    ptr: Option<String>,
    /// Name of the log group, or its ARN if it belongs to a linked account. With `ptr` it can be left out, unless the account
    /// is a linked one.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2_048))]
    group: Option<String>,
    /// Name of the stream.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    stream: Option<String>,
    /// When the event happened.
    #[serde(default)]
    time: Option<TimeInput>,
    /// Events before it.
    #[serde(default)]
    before: Limit<20, 100>,
    /// Events after it, itself and others of the same time included.
    #[serde(default)]
    after: Limit<20, 100>,
}

/// An event and its neighbours.
#[derive(Serialize, JsonSchema)]
struct Surroundings {
    /// The log group.
    group: String,
    /// The stream.
    stream: String,
    /// When the event happened.
    time: String,
    /// Events of the stream, oldest first.
    items: Vec<Event>,
    /// Whether the answer was too full for all of them.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// Where an event lies.
struct Spot {
    group: String,
    stream: String,
    millisecond: i64,
}

async fn spot(cloudwatch: &CloudWatch, input: &ContextInput, context: &CallContext) -> Result<Spot, ToolError> {
    match (&input.ptr, &input.group, &input.stream, &input.time) {
        (Some(ptr), group, None, None) => {
            let request = || cloudwatch.session.logs.get_log_record().log_record_pointer(ptr).send();
            let record = cloudwatch.ask(GET_RECORD, context, request).await?.log_record.unwrap_or_default();
            let field = |name: &str| record.get(name).map(String::as_str);
            // `@log` is the account's number, a colon, and the group's name.
            let own = field("@log").and_then(|log| log.split_once(':')).map(|(_, name)| name.to_owned());
            let millisecond = field("@timestamp").and_then(|time| time.parse().ok());
            match (group.clone().or(own), field("@logStream"), millisecond) {
                (Some(group), Some(stream), Some(millisecond)) => {
                    Ok(Spot { group, stream: stream.to_owned(), millisecond })
                }
                _ => Err(invalid("ptr", "the event does not say where it lies")
                    .with_remedy("give group, stream and time instead")),
            }
        }
        (None, Some(group), Some(stream), Some(time)) => {
            let millisecond = time.resolve("time", Timestamp::now())?.as_millisecond();
            Ok(Spot { group: group.clone(), stream: stream.clone(), millisecond })
        }
        _ => Err(invalid("ptr", "give either ptr, or group, stream and time")),
    }
}

async fn surroundings(
    cloudwatch: Arc<CloudWatch>,
    input: ContextInput,
    context: CallContext,
) -> Result<Surroundings, ToolError> {
    let (before, after) = (input.before.get(), input.after.get());
    let spot = spot(&cloudwatch, &input, &context).await?;
    let group = Group::of(&spot.group);
    let request = || {
        cloudwatch
            .session
            .logs
            .get_log_events()
            .set_log_group_name(group.name.clone())
            .set_log_group_identifier(group.arn.clone())
            .log_stream_name(&spot.stream)
    };
    // The end of a time is not part of it, its beginning is.
    let (earlier, later) = tokio::join!(
        cloudwatch.ask(GET_EVENTS, &context, || {
            request().end_time(spot.millisecond).start_from_head(false).limit(int(before)).send()
        }),
        cloudwatch.ask(GET_EVENTS, &context, || {
            request().start_time(spot.millisecond).start_from_head(true).limit(int(after)).send()
        }),
    );
    let (earlier, later) = (earlier?, later?);
    let events = earlier.events().iter().chain(later.events()).map(|event| Event {
        time: event.timestamp().and_then(from_milliseconds),
        stream: None,
        message: cut(event.message().unwrap_or_default().trim_end(), MOST_TEXT),
    });
    let (items, truncated) = fit(events.collect(), context.max_result_bytes.saturating_sub(2_048));
    let hints = if items.is_empty() {
        vec!["no events there: the stream may be another one, or its events are past their retention".to_owned()]
    } else {
        Vec::new()
    };
    let time = from_milliseconds(spot.millisecond).unwrap_or_default();
    Ok(Surroundings { group: spot.group, stream: spot.stream, time, items, truncated, hints })
}
