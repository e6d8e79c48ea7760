//! CloudWatch's tools, one file a group. [`super::error`] words what goes wrong.

mod absent;
mod alarms;
mod analyze;
mod around;
mod data;
mod events;
mod graph;
mod groups;
mod history;
mod insights;
mod metrics;
mod mute;
mod named;
mod patterns;
mod periods;
mod query;
mod rules;
mod state;
mod types;

use std::sync::Arc;

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::{DateTime, error::metadata::ProvideErrorMetadata};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    CloudWatch,
    error::{Failure, to_tool_error},
    transport::Manner,
};
use kit::{
    args::{Cursor, Moment},
    pages::Pages,
};
use outbound::{Purpose, Repeat};
use tools::{
    CallContext, Page, ToolEntry, ToolError, mutation,
    page::{encode_cursor, fit},
    read,
};

pub(super) use self::types::{AlarmsAsked, Unseen, Withheld};

/// Every tool of CloudWatch.
pub(super) fn entries(cloudwatch: &Arc<CloudWatch>) -> Vec<ToolEntry> {
    [
        metrics::entries(cloudwatch),
        data::entries(cloudwatch),
        analyze::entries(cloudwatch),
        alarms::entries(cloudwatch),
        history::entries(cloudwatch),
        mute::entries(cloudwatch),
        rules::entries(cloudwatch),
        state::entries(cloudwatch),
        groups::entries(cloudwatch),
        query::entries(cloudwatch),
        events::entries(cloudwatch),
        around::entries(cloudwatch),
        patterns::entries(cloudwatch),
    ]
    .concat()
}

/// What a request does, in words, and the permission that it needs.
#[derive(Clone, Copy, Debug)]
struct Doing {
    what: &'static str,
    permission: &'static str,
}

impl Doing {
    const fn new(what: &'static str, permission: &'static str) -> Self {
        Self { what, permission }
    }
}

impl CloudWatch {
    /// Words what went wrong.
    fn failed(&self, doing: Doing, failure: impl Into<Failure>) -> ToolError {
        to_tool_error(&failure.into(), doing.what, doing.permission, &self.session.place)
    }

    /// Changes something: it is sent again only while it is certain that AWS has not taken it.
    async fn change<T, E, R>(&self, doing: Doing, context: &CallContext, send: impl Fn() -> R) -> Result<T, ToolError>
    where
        R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let manner = Manner {
            deadline: context.deadline,
            purpose: Purpose::Change,
            repeat: Repeat::IfNotTaken,
            is_probe: false,
        };
        self.session.call(manner, send).await.map_err(|error| self.failed(doing, error))
    }

    /// Asks for something, which changes nothing.
    async fn ask<T, E, R>(&self, doing: Doing, context: &CallContext, send: impl Fn() -> R) -> Result<T, ToolError>
    where
        R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        self.session.call(reading(context), send).await.map_err(|failure| self.failed(doing, failure))
    }

    /// Asks for the page of a list at a token of AWS; for the first one without.
    async fn ask_page<T, E, R>(
        &self,
        doing: Doing,
        context: &CallContext,
        token: Option<String>,
        send: impl Fn(Option<String>) -> R,
    ) -> Result<T, ToolError>
    where
        R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let outcome = self.session.call(reading(context), || send(token.clone())).await;
        outcome.map_err(|failure| self.failed(doing, if token.is_some() { failure.of_next_page() } else { failure }))
    }
}

/// How something is asked for that changes nothing.
fn reading(context: &CallContext) -> Manner {
    Manner { deadline: context.deadline, purpose: Purpose::Look, repeat: Repeat::Safe, is_probe: false }
}

/// Pages of AWS that one page of ours may take. AWS' pages may be empty, and more may follow all the same.
const MOST_PAGES: usize = 10;

/// A list of AWS, read to its end.
struct Whole<T> {
    entries: Vec<T>,
    /// Whether there may be more: it was stopped early, or AWS came to no end.
    cut: bool,
}

/// Reads a list page by page, until it ends, has as many entries as are wanted, or its tokens lead back.
async fn whole<T, R>(wanted: usize, ask: impl Fn(Option<String>) -> R) -> Result<Whole<T>, ToolError>
where
    T: PartialEq,
    R: Future<Output = Result<(Vec<T>, Option<String>), ToolError>>,
{
    let (mut pages, mut token) = (Pages::default(), None);
    for _ in 0..MOST_PAGES {
        let (found, next) = ask(token.clone()).await?;
        let leads_back = !pages.add(found, next.is_some()) || next == token;
        if next.is_none() || leads_back || pages.entries().len() >= wanted {
            let cut = next.is_some() || pages.entries().len() > wanted;
            let mut entries = pages.into_entries();
            entries.truncate(wanted);
            return Ok(Whole { entries, cut });
        }
        token = next;
    }
    Ok(Whole { entries: pages.into_entries(), cut: true })
}

fn invalid(argument: &str, message: impl Into<String>) -> ToolError {
    ToolError::invalid_argument(message).with_argument(argument)
}

/// A number of AWS' own kind.
fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Seconds within which events and points come to AWS, as a rule (aws/aws-sdk-net #1387).
const FRESH: i64 = 15 * 60;
/// What is said where nothing was found in a time that began lately.
const LATE: &str = "what happened just now may not be there yet: the newest events come to CloudWatch some time late";

/// A stretch of time.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Timestamp,
    to: Timestamp,
}

impl Window {
    /// Reads `since` and `until`; by default a time ago, and now.
    ///
    /// # Errors
    /// When one is no time, or nothing lies between them.
    fn new(
        since: Option<&Moment>,
        until: Option<&Moment>,
        default: SignedDuration,
        now: Timestamp,
    ) -> Result<Self, ToolError> {
        let to = until.map_or(Ok(now), |until| until.resolve("until", now))?;
        let from = match since {
            Some(since) => since.resolve("since", now)?,
            None => to.checked_sub(default).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        if from >= to {
            return Err(invalid("since", "since must be before until"));
        }
        Ok(Self { from, to })
    }

    /// Whether it began so lately that what happened in it may not have come to AWS.
    fn is_fresh(self, now: Timestamp) -> bool {
        now.as_second() - self.from.as_second() <= FRESH
    }

    fn seconds(self) -> i64 {
        self.to.as_second() - self.from.as_second()
    }

    /// The same in whole periods of the clock, as AWS' console and alarms count them; the last one may go on still.
    fn whole(self, period: u32, now: Timestamp) -> Self {
        let (from, to, period) = (self.from.as_second(), self.to.as_second(), i64::from(period.max(1)));
        let at = |second: i64, else_: Timestamp| Timestamp::from_second(second).unwrap_or(else_);
        let end = at((to + period - 1).div_euclid(period) * period, self.to);
        Self { from: at(from.div_euclid(period) * period, self.from), to: end.min(self.to.max(now)) }
    }
}

/// Difference of the clocks from which it counts: dates of answers have whole seconds, and are on their way.
const SKEW: SignedDuration = SignedDuration::from_secs(2);

impl CloudWatch {
    /// Now, by the clock of AWS as far as it is known: what happened is told by that one (jorgebastida/awslogs #27).
    fn exactly_now(&self) -> Timestamp {
        let now = Timestamp::now();
        let ahead = self.session.clock.ahead().filter(|ahead| ahead.abs() > SKEW);
        ahead.and_then(|ahead| now.checked_sub(ahead).ok()).unwrap_or(now)
    }

    /// The same in whole seconds: nothing that has happened is later.
    fn now(&self) -> Timestamp {
        let now = self.exactly_now();
        Timestamp::from_second(whole_second(now)).unwrap_or(now)
    }
}

/// The first whole second that is not before a time. Where AWS counts seconds, it ends exactly with the one that it is given
/// (aws/aws-sdk #280), so a part of a second counts as a whole one.
fn whole_second(time: Timestamp) -> i64 {
    time.as_second() + i64::from(time.subsec_nanosecond() > 0)
}

/// A time as the SDK takes it.
fn sdk_time(time: Timestamp) -> DateTime {
    DateTime::from_millis(time.as_millisecond())
}

/// A time of the SDK in RFC 3339.
fn rfc3339(time: &DateTime) -> Option<String> {
    let nanos = i32::try_from(time.subsec_nanos()).ok()?;
    Timestamp::new(time.secs(), nanos).ok().map(|time| time.to_string())
}

/// Where a list of AWS goes on: the token of one of its pages, and how many entries of that page were answered already,
/// because AWS' pages are longer than ours.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default)]
    skip: usize,
}

impl Place {
    fn of(cursor: Option<&Cursor>) -> Result<Self, ToolError> {
        cursor.map_or_else(|| Ok(Self::default()), Cursor::value)
    }

    fn encode(place: &impl Serialize) -> Option<String> {
        serde_json::to_string(place).ok().map(|text| encode_cursor(&text))
    }

    /// The cursor after so many of the entries that AWS' page still had, with AWS' token for its next page.
    fn after(&self, answered: usize, found: usize, next: Option<String>) -> Option<String> {
        let further = if answered < found {
            Self { token: self.token.clone(), skip: self.skip + answered }
        } else {
            Self { token: Some(next?), skip: 0 }
        };
        Self::encode(&further)
    }

    /// A page of ours: AWS' page at this place, or the first one after it that has entries. It has as many as an answer has room
    /// for.
    async fn read<T, R>(
        self,
        limit: usize,
        context: &CallContext,
        ask: impl Fn(Option<String>) -> R,
    ) -> Result<Page<T>, ToolError>
    where
        T: Serialize,
        R: Future<Output = Result<(Vec<T>, Option<String>), ToolError>>,
    {
        let room = context.max_result_bytes.saturating_sub(4_096);
        self.read_by(limit, |items: &[T]| fit(items.iter().collect(), room).0.len(), ask).await
    }

    /// The same with as many entries as `fitting` says.
    async fn read_by<T, R>(
        mut self,
        limit: usize,
        fitting: impl Fn(&[T]) -> usize,
        ask: impl Fn(Option<String>) -> R,
    ) -> Result<Page<T>, ToolError>
    where
        R: Future<Output = Result<(Vec<T>, Option<String>), ToolError>>,
    {
        let mut pages = 1;
        loop {
            let (entries, next) = ask(self.token.clone()).await?;
            let leads_back = next.is_some() && next == self.token;
            let is_over = next.is_none() || leads_back || pages >= MOST_PAGES;
            let page = self.page(entries, next.clone().filter(|_| !leads_back), limit, &fitting);
            if leads_back && page.next_cursor.is_none() {
                return Ok(Page { truncated: true, ..page }.with_hint(LEADS_BACK));
            }
            if !page.items.is_empty() || is_over {
                return Ok(page);
            }
            self = Self { token: next, skip: 0 };
            pages += 1;
        }
    }

    /// Cuts one page of AWS, which goes on at `next`, to a page of ours.
    fn page<T>(&self, entries: Vec<T>, next: Option<String>, limit: usize, fitting: impl Fn(&[T]) -> usize) -> Page<T> {
        let found = entries.len().saturating_sub(self.skip);
        let mut items: Vec<T> = entries.into_iter().skip(self.skip).take(limit).collect();
        // One at least: without any the list would never go on.
        items.truncate(fitting(&items).max(1));
        let next_cursor = self.after(items.len(), found, next);
        Page { items, truncated: next_cursor.is_some(), next_cursor, hints: Vec::new() }
    }
}

/// What is said of a list whose tokens lead back.
const LEADS_BACK: &str = "AWS gives this page again instead of the next one: what follows can't be read now";

/// Says what to try when a page is empty.
fn hinted<T>(page: Page<T>, when_empty: &str) -> Page<T> {
    match (page.items.is_empty(), page.truncated) {
        (false, _) => page,
        (true, true) if page.next_cursor.is_none() => page,
        (true, true) => page.with_hint("this page is empty and more follow: go on with next_cursor"),
        (true, false) => page.with_hint(when_empty),
    }
}

/// A text cut to a number of characters, with a mark where it was cut.
fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Name and value of a dimension.
type Dimensions = std::collections::BTreeMap<String, String>;

fn dimensions(of: &[aws_sdk_cloudwatch::types::Dimension]) -> Dimensions {
    of.iter()
        .map(|one| (one.name().unwrap_or_default().to_owned(), one.value().unwrap_or_default().to_owned()))
        .collect()
}
