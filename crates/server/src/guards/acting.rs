//! A call that changes something, from the moment on at which it acts. A read ends with its caller; this one is driven to
//! its own end in a task of its own, so that a change isn't broken off half-way and its outcome is known to whoever calls
//! again. It is still bounded by the call's deadline.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use opentelemetry::trace::FutureExt as _;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{
    Stopped,
    bounds::{self, Bounded},
    cache::AnswerCache,
    concurrency::Slot,
    confirmation::{self, Scope},
    deadline,
    idempotency::{self, Attempt, Ending, Ledger, Standing},
    left_out,
    notes::Notes,
};
use crate::access::Caller;
use outbound::{CallerKey, changes};
use tools::{CallContext, ErrorCode, Preview, ToolError};

type Handler<T> = Arc<dyn Fn(Value, CallContext) -> BoxFuture<'static, Result<T, ToolError>> + Send + Sync>;

/// A call that is to act, with all that it needs to go on without its caller.
pub struct Act {
    /// Uid of the connector.
    pub connector: String,
    /// Who calls.
    pub caller: Caller,
    /// By what they are told apart.
    pub key_of_caller: CallerKey,
    /// The tool's name.
    pub tool: String,
    /// Whether its answer may hold a secret.
    pub sensitive: bool,
    /// On which state only, if that was said.
    pub plan: Option<String>,
    /// The tool's own arguments.
    pub arguments: Value,
    /// Until when.
    pub context: CallContext,
    /// Time that the call may take in all.
    pub allowed: Duration,
    /// Reads the state.
    pub preview: Handler<Preview>,
    /// Does it.
    pub act: Handler<Value>,
}

/// Carries out calls that change something, each of them once.
pub struct Acting {
    ledger: Ledger,
    cache: Arc<AnswerCache>,
    running: TaskTracker,
}

impl Acting {
    /// Nothing was done yet. What is done throws the answers in `cache` away.
    #[must_use]
    pub fn new(cache: Arc<AnswerCache>) -> Self {
        Self { ledger: Ledger::default(), cache, running: TaskTracker::new() }
    }

    /// Carries a call out, or answers it from what the same call did before. `enter` takes a place for calls; `gone` says
    /// that nobody will hear the answer.
    ///
    /// # Errors
    /// When the tool fails, when there is no place, or when the same call was made before and left no answer.
    pub async fn carry_out(
        &self,
        attempt: Attempt,
        act: Act,
        enter: impl FnOnce() -> Result<Slot, Stopped>,
        gone: &CancellationToken,
        notes: &mut Notes,
    ) -> Result<Bounded, Stopped> {
        let (ending, at) = match self.ledger.enter(attempt) {
            Standing::New(ticket) => {
                let place = match enter() {
                    Ok(place) => place,
                    Err(stopped) => {
                        ticket.end(Ending::Undone(stopped.clone()));
                        return Err(stopped);
                    }
                };
                let (sender, receiver) = oneshot::channel();
                let cache = self.cache.clone();
                let task = async move {
                    let _place = place;
                    let (outcome, ending) = outbound::on_behalf_of(act.key_of_caller, act.run()).await;
                    // Whatever was read before may be different now, even if the call failed.
                    cache.purge();
                    let word = ending.word();
                    ticket.end(ending);
                    if sender.send(outcome).is_err() {
                        tracing::info!(outcome = word, "a call that changes something ended without its caller");
                    }
                };
                self.running.spawn(task.in_current_span().with_current_context());
                let outcome = receiver.await.unwrap_or(Err(Stopped::Panicked));
                if !gone.is_cancelled() {
                    self.ledger.delivered(&attempt);
                }
                return outcome;
            }
            Standing::Runs(mut ending) => {
                let ended = ending.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
                (ended.unwrap_or(Ending::Panicked), tokio::time::Instant::now())
            }
            Standing::Ended(ending, at) => (ending, at),
            Standing::OtherCall => return Err(idempotency::other_call().into()),
            Standing::Full(wait) => return Err(Stopped::Held("idempotency", Box::new(idempotency::too_many(wait)))),
        };
        if !gone.is_cancelled() {
            self.ledger.delivered(&attempt);
        }
        notes.replayed = matches!(ending, Ending::Done(Some(_)) | Ending::Undone(_));
        match ending {
            Ending::Done(Some(text)) => Ok(replay(&text)?),
            Ending::Done(None) => Err(idempotency::done_already(at).into()),
            Ending::Undone(stopped) => Err(stopped),
            Ending::Unknown(_) | Ending::Panicked => Err(idempotency::not_again(at).into()),
        }
    }

    /// Waits for the calls that are being carried out. No more may be begun.
    pub async fn settle(&self) {
        self.running.close();
        self.running.wait().await;
    }
}

impl Act {
    /// Runs it to its end, and says what to tell its caller and what to remember.
    async fn run(self) -> (Result<Bounded, Stopped>, Ending) {
        let scope = Scope { connector: &self.connector, caller: &self.caller, tool: &self.tool };
        if let Some(plan) = &self.plan {
            let verified = confirmation::verify(&scope, plan, &self.arguments, self.context.clone(), &self.preview);
            let failed = match self.cut(verified).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(bounds::apply_to_error(error).into()),
                Err(stopped) => Some(stopped),
            };
            if let Some(stopped) = failed {
                return of_failure(Ending::failed(stopped, false));
            }
        }
        let acted = left_out::told(confirmation::act(self.arguments.clone(), self.context.clone(), &self.act));
        let (outcome, sent) = changes::noting(self.cut(acted)).await;
        match outcome {
            Ok(Ok(value)) => match bounds::apply(value, self.context.max_result_bytes, self.sensitive) {
                Ok(bounded) => {
                    let ending = Ending::done(&bounded.text, self.sensitive);
                    (Ok(bounded), ending)
                }
                Err(mut error) => {
                    error.message.insert_str(0, "the change was made, but ");
                    (Err(error.with_remedy("read the state to see what it did").into()), Ending::Done(None))
                }
            },
            Ok(Err(error)) if error.code == ErrorCode::OutcomeUnread => {
                (Err(bounds::apply_to_error(error).into()), Ending::Done(None))
            }
            Ok(Err(error)) => of_failure(Ending::failed(bounds::apply_to_error(error).into(), sent)),
            Err(stopped) => of_failure(Ending::failed(stopped, sent)),
        }
    }

    /// Ends a part of it at the deadline, and catches its panics.
    async fn cut<T>(&self, part: impl Future<Output = T>) -> Result<T, Stopped> {
        match tokio::time::timeout_at(self.context.deadline, AssertUnwindSafe(part).catch_unwind()).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_panic)) => Err(Stopped::Panicked),
            Err(_) => Err(deadline::error(self.allowed).into()),
        }
    }
}

fn of_failure(ending: Ending) -> (Result<Bounded, Stopped>, Ending) {
    let stopped = match &ending {
        Ending::Undone(stopped) => stopped.clone(),
        Ending::Unknown(error) => error.clone().into(),
        Ending::Done(_) | Ending::Panicked => Stopped::Panicked,
    };
    (Err(stopped), ending)
}

/// An answer that was given before, which says so.
fn replay(text: &str) -> Result<Bounded, ToolError> {
    let mut bounded = Bounded::read_back(text)?;
    if let Value::Object(answer) = &mut bounded.value {
        answer.insert("replayed".to_owned(), Value::Bool(true));
        bounded.text = bounded.value.to_string();
    }
    Ok(bounded)
}
