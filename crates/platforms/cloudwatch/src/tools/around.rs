//! Events around one event, of the same stream.

use std::{collections::VecDeque, sync::Arc};

use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    Doing, MOST_PAGES, cut,
    events::{Event, MOST_TEXT, masked},
    int, invalid,
    named::{Group, group_named},
    read,
};
use crate::CloudWatch;
use kit::{
    args::{Limit, Moment},
    log::plain,
    wait::latest,
};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError, page::fit, time::from_milliseconds};

/// Events of one page while an event is looked for among others of the same millisecond.
const SAME_TIME: usize = 1_000;

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
    /// Name of the log group, its ARN if it belongs to a linked account, or the link of its page. With `ptr` it can be
    /// left out.
    #[serde(default)]
    #[schemars(length(min = 1, max = 2_048))]
    group: Option<String>,
    /// Name of the stream.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    stream: Option<String>,
    /// When the event happened.
    #[serde(default)]
    time: Option<Moment>,
    /// Events before it.
    #[serde(default)]
    before: Limit<20, 100>,
    /// Events from it on, itself included; without `ptr`, from the first one of that time on.
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
    /// Whether there may be more of them: the answer was too full, or AWS gave only some in time.
    truncated: bool,
    /// What to know or to try.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// Where an event lies.
struct Spot {
    group: Group,
    stream: String,
    millisecond: i64,
    /// Its text, if it is known which one is meant: a tight loop writes many in one millisecond.
    text: Option<String>,
}

impl Spot {
    fn is_at(&self, event: &OutputLogEvent) -> bool {
        event.timestamp() == Some(self.millisecond)
    }

    fn is_named(&self, event: &OutputLogEvent) -> bool {
        let text = event.message().map(str::trim_end);
        self.is_at(event) && self.text.as_deref().is_some_and(|named| text == Some(named.trim_end()))
    }
}

async fn spot(cloudwatch: &CloudWatch, input: &ContextInput, context: &CallContext) -> Result<Spot, ToolError> {
    match (&input.ptr, &input.group, &input.stream, &input.time) {
        (Some(ptr), group, None, None) => {
            let request = || cloudwatch.session.logs.get_log_record().log_record_pointer(ptr).send();
            let record = cloudwatch.ask(GET_RECORD, context, request).await?.log_record.unwrap_or_default();
            let field = |name: &str| record.get(name).map(String::as_str);
            // `@log` is the account's number, a colon, and the group's name, which may be that of another group here.
            let here = &cloudwatch.session.place;
            let own = field("@log").and_then(|log| log.split_once(':')).map(|(account, name)| {
                if here.account().as_deref() == Some(account) {
                    return name.to_owned();
                }
                format!("arn:{}:logs:{}:{account}:log-group:{name}", here.partition(), here.region())
            });
            let millisecond = field("@timestamp").and_then(|time| time.parse().ok());
            match (group.clone().or(own), field("@logStream"), millisecond) {
                (Some(group), Some(stream), Some(millisecond)) => {
                    let group = group_named(&group, "group", here)?;
                    let text = field("@message").map(str::to_owned);
                    Ok(Spot { group, stream: stream.to_owned(), millisecond, text })
                }
                _ => Err(invalid("ptr", "the event does not say where it lies")
                    .with_remedy("give group, stream and time instead")),
            }
        }
        (None, Some(group), stream, Some(time)) => {
            let millisecond = time.resolve("time", cloudwatch.exactly_now())?.as_millisecond();
            let group = group_named(group, "group", &cloudwatch.session.place)?;
            let stream = stream.clone().or_else(|| group.stream.clone());
            let stream = stream.ok_or_else(|| invalid("stream", "give the stream's name, too"))?;
            Ok(Spot { group, stream, millisecond, text: None })
        }
        _ => Err(invalid("ptr", "give either ptr, or group, stream and time")),
    }
}

/// Where to a stream is read from the event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Back,
    Onward,
}

/// Events of one direction, oldest first.
struct Neighbours {
    events: VecDeque<OutputLogEvent>,
    /// Where among them the event is that was named; none if it was not found.
    named: Option<usize>,
    /// Whether it was stopped before there were enough of them or the stream came to its end.
    stopped: bool,
}

impl CloudWatch {
    /// Reads on until there are as many events as are wanted, or the stream ends: then AWS gives the token again that it was
    /// given. A page without events is no end. Onward as many are wanted from the event on that was named, which others of its
    /// time may stand before.
    async fn neighbours(
        &self,
        spot: &Spot,
        direction: Direction,
        wanted: usize,
        context: &CallContext,
    ) -> Result<Neighbours, ToolError> {
        let (mut events, mut token) = (VecDeque::new(), None::<String>);
        let (mut named, mut goal) = (None, wanted);
        for _ in 0..MOST_PAGES {
            let answer = self
                .ask(GET_EVENTS, context, || {
                    let request = self.session.logs.get_log_events();
                    let request = request
                        .set_log_group_name(spot.group.name.clone())
                        .set_log_group_identifier(spot.group.arn.clone())
                        .log_stream_name(&spot.stream)
                        .limit(int(goal - events.len()))
                        .start_from_head(direction == Direction::Onward)
                        .set_next_token(token.clone());
                    // The end of a time is not part of it, its beginning is.
                    match direction {
                        Direction::Back => request.end_time(spot.millisecond),
                        Direction::Onward => request.start_time(spot.millisecond),
                    }
                    .send()
                })
                .await?;
            let found = answer.events.unwrap_or_default();
            let next = match direction {
                Direction::Back => {
                    found.into_iter().rev().for_each(|event| events.push_front(event));
                    answer.next_backward_token
                }
                Direction::Onward => {
                    events.extend(found);
                    named = events.iter().position(|event| spot.is_named(event));
                    let may_come = spot.text.is_some() && events.back().is_none_or(|last| spot.is_at(last));
                    goal = match named {
                        Some(place) => place + wanted,
                        None if may_come && !events.is_empty() => events.len() + SAME_TIME,
                        None => wanted,
                    };
                    answer.next_forward_token
                }
            };
            if events.len() >= goal || next.is_none() || next == token {
                return Ok(Neighbours { events, named, stopped: false });
            }
            if Instant::now() >= latest(context) {
                break;
            }
            token = next;
        }
        Ok(Neighbours { events, named, stopped: true })
    }
}

async fn surroundings(
    cloudwatch: Arc<CloudWatch>,
    input: ContextInput,
    context: CallContext,
) -> Result<Surroundings, ToolError> {
    let spot = spot(&cloudwatch, &input, &context).await?;
    let (earlier, later) = tokio::join!(
        cloudwatch.neighbours(&spot, Direction::Back, input.before.get(), &context),
        cloudwatch.neighbours(&spot, Direction::Onward, input.after.get(), &context),
    );
    let (mut earlier, mut later) = (earlier?, later?);
    let mut hints = Vec::new();
    if spot.text.is_some() && later.named.is_none() && later.events.iter().filter(|event| spot.is_at(event)).count() > 1
    {
        hints.push(
            "which of the events of this time is meant was not found: they are told from the first one on".to_owned(),
        );
    }
    earlier.events.extend(later.events.drain(..later.named.unwrap_or_default()));
    earlier.events.drain(..earlier.events.len().saturating_sub(input.before.get()));
    later.events.truncate(input.after.get());
    let is_full = later.events.len() == input.after.get() && later.events.back().is_some_and(|last| spot.is_at(last));
    if is_full && spot.text.is_none() {
        hints.push(
            "more events may have this very time than after lets through: ask for more, or name the event by ptr"
                .to_owned(),
        );
    }
    if earlier.stopped || later.stopped {
        let side = if earlier.stopped { "before" } else { "after" };
        hints.push(format!("AWS gave only some of the events {side} it in time: ask again, or for fewer"));
    }
    let told = |event: &OutputLogEvent| Event {
        time: event.timestamp().and_then(from_milliseconds),
        stream: None,
        message: cut(plain(event.message().unwrap_or_default()).trim_end(), MOST_TEXT),
    };
    // What is nearest to the event goes before what is farther away, on both sides.
    let room = context.max_result_bytes.saturating_sub(2_048);
    let (after, cut_after) = fit(later.events.iter().map(told).collect(), room / 2);
    let (mut items, cut_before) = fit(earlier.events.iter().rev().map(told).collect(), room / 2);
    items.reverse();
    items.extend(after);
    if items.is_empty() {
        hints.push(
            "no events there: AWS says the same of another time than the event's, and of events past their retention"
                .to_owned(),
        );
    }
    hints.extend(masked(items.iter().map(|event| &event.message)));
    let time = from_milliseconds(spot.millisecond).unwrap_or_default();
    Ok(Surroundings {
        group: spot.group.identifier(),
        stream: spot.stream,
        time,
        items,
        truncated: cut_before || cut_after || earlier.stopped || later.stopped,
        hints,
    })
}
