//! A run of an Insights query: started, asked for every now and then, and stopped by whoever lets go of it before it has
//! ended. A query that runs on costs money and one of the account's places.

use std::{sync::Arc, time::Duration};

use aws_sdk_cloudwatchlogs::{
    operation::get_query_results::GetQueryResultsOutput,
    types::{QueryLanguage, QueryStatus},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use super::{Doing, MOST_PAGES, Place, Window, reading, whole_second};
use crate::{
    CloudWatch,
    error::{Error, Failure},
    session::Session,
    transport::Manner,
};
use kit::wait::Wait;
use outbound::{Purpose, Repeat};
use tools::{CallContext, ErrorCode, ToolError};

/// Time between two looks at a query: at first, and in the end.
const FIRST_PAUSE: Duration = Duration::from_millis(1_500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time that stopping a query may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that a call which ends waits for its query to stop.
const STOP_WAIT: Duration = Duration::from_secs(2);

const START: Doing = Doing::new("run the query", "logs:StartQuery");
const RESULTS: Doing = Doing::new("read the query's results", "logs:GetQueryResults");

/// What is asked.
pub(super) struct Question {
    pub(super) language: QueryLanguage,
    pub(super) group_names: Vec<String>,
    pub(super) group_arns: Vec<String>,
    pub(super) text: String,
    pub(super) window: Window,
    /// Rows that the query finds at most, where its text doesn't say.
    pub(super) limit: Option<i32>,
}

/// A query that runs. Dropped before it has ended, and not left by [`Run::leave`], it is stopped.
pub(super) struct Run {
    session: Arc<Session>,
    pub(super) id: String,
    has_ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (session, id) = (Arc::clone(&self.session), std::mem::take(&mut self.id));
        // Outside of a runtime nothing can be sent; that is so only while the process ends.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { session.stop_query(&id, stopping(Instant::now() + STOP_TIMEOUT)).await });
        }
    }
}

/// How a query is stopped: a second time does no harm.
pub(super) const fn stopping(deadline: Instant) -> Manner {
    Manner { deadline, purpose: Purpose::Change, repeat: Repeat::Safe, is_probe: false }
}

/// Whether a query has come to its end, whatever it is. `Unknown`, and a status of later, may be those of one that runs
/// (grafana/grafana, pkg/tsdb/cloudwatch/log_sync_query.go, goes on asking; boto/boto3 #4545).
pub(super) fn has_ended(status: Option<&QueryStatus>) -> bool {
    use QueryStatus as Status;
    matches!(status, Some(Status::Complete | Status::Failed | Status::Cancelled | Status::Timeout))
}

/// How a run went.
pub(super) enum Outcome {
    /// The query has ended.
    Ended(Box<GetQueryResultsOutput>),
    /// The time was up first; what it had found by then.
    Running(Box<GetQueryResultsOutput>),
}

impl CloudWatch {
    /// Starts a query, if there is a place for it.
    pub(super) async fn start_query(&self, question: &Question, context: &CallContext) -> Result<Run, ToolError> {
        let place = Arc::clone(&self.queries).try_acquire_owned().map_err(|_| {
            ToolError::new(ErrorCode::RateLimited, "as many queries of this connector run as may at a time")
                .with_remedy("wait for one to end")
                .with_retry_after(FIRST_PAUSE)
        })?;
        let manner =
            Manner { deadline: context.deadline, purpose: Purpose::Step, repeat: Repeat::IfNotTaken, is_probe: false };
        let some = |names: &Vec<String>| Some(names.clone()).filter(|names| !names.is_empty());
        let started = self
            .session
            .call(manner, || {
                self.session
                    .logs
                    .start_query()
                    .set_query_language(Some(question.language.clone()).filter(|one| *one != QueryLanguage::Cwli))
                    .set_log_group_names(some(&question.group_names))
                    .set_log_group_identifiers(some(&question.group_arns))
                    .query_string(&question.text)
                    // This API counts seconds; the others of the service count milliseconds.
                    .start_time(question.window.from.as_second())
                    .end_time(whole_second(question.window.to))
                    .set_limit(question.limit)
                    .send()
            })
            .await
            .map_err(|failure| self.failed(START, failure))?;
        let id = started.query_id.ok_or_else(|| self.failed(START, Error::Unexpected(200)))?;
        Ok(Run { session: Arc::clone(&self.session), id, has_ended: false, _place: place })
    }

    /// What a query has found by now. How many rows are wanted is for Logs Insights' own language only, and of which one a
    /// query is, its id does not say: where AWS refuses the number, it is left out.
    pub(super) async fn fetch_results(
        &self,
        id: &str,
        token: Option<&str>,
        max_items: Option<i32>,
        context: &CallContext,
    ) -> Result<GetQueryResultsOutput, ToolError> {
        let ask = |max_items: Option<i32>| {
            self.session.call(reading(context), move || {
                let request = self.session.logs.get_query_results().query_id(id);
                request.set_next_token(token.map(str::to_owned)).set_max_items(max_items).send()
            })
        };
        let mut outcome = ask(max_items).await;
        let is_refused = |failure: &Failure| matches!(failure.error, Error::BadRequest(_));
        if token.is_none() && max_items.is_some() && outcome.as_ref().is_err_and(is_refused) {
            outcome = ask(None).await;
        }
        outcome.map_err(|failure| self.failed(RESULTS, if token.is_some() { failure.of_next_page() } else { failure }))
    }
}

impl CloudWatch {
    /// The first page of a query's rows from this one on that has any, and where it is: a page without rows is not the last
    /// one where a token says so.
    pub(super) async fn next_rows(
        &self,
        id: &str,
        mut results: GetQueryResultsOutput,
        mut place: Place,
        max_items: Option<i32>,
        context: &CallContext,
    ) -> Result<(GetQueryResultsOutput, Place), ToolError> {
        for _ in 1..MOST_PAGES {
            let next = results.next_token().filter(|next| place.token.as_deref() != Some(*next));
            let Some(next) = next.filter(|_| results.results().is_empty()).map(str::to_owned) else { break };
            results = self.fetch_results(id, Some(&next), max_items, context).await?;
            place = Place { token: Some(next), skip: 0 };
        }
        Ok((results, place))
    }
}

impl Run {
    /// Waits for the query's end, for a time at most that leaves some for the answer.
    pub(super) async fn wait(
        &mut self,
        cloudwatch: &CloudWatch,
        time: Duration,
        max_items: Option<i32>,
        context: &CallContext,
    ) -> Result<Outcome, ToolError> {
        let mut wait = Wait::new(time, context, FIRST_PAUSE, LONGEST_PAUSE);
        // No query is that quick.
        wait.next_look("query: Scheduled", context).await;
        loop {
            let results = cloudwatch.fetch_results(&self.id, None, max_items, context).await?;
            if has_ended(results.status()) {
                self.has_ended = true;
                return Ok(Outcome::Ended(Box::new(results)));
            }
            let status = results.status().map_or("Unknown", QueryStatus::as_str);
            if !wait.next_look(format!("query: {status}"), context).await {
                return Ok(Outcome::Running(Box::new(results)));
            }
        }
    }

    /// Stops the query now, and tells whether that is certain.
    pub(super) async fn stop(mut self) -> bool {
        let stopped = self.session.stop_query(&self.id, stopping(Instant::now() + STOP_WAIT));
        let stopped = timeout(STOP_WAIT, stopped).await;
        self.has_ended = matches!(stopped, Ok(Ok(_)));
        self.has_ended
    }

    /// Lets the query run on without this call.
    pub(super) fn leave(mut self) -> String {
        self.has_ended = true;
        std::mem::take(&mut self.id)
    }
}
