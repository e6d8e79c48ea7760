//! What stands between a caller and a tool, the same for every platform, one file each in the order in which a call
//! passes them: rate, authorisation, shedding, what was meant, arguments, repetition, kept answers, concurrency, deadline; then the tool,
//! which for one that changes something is behind confirmation and idempotency; then bounds.

pub mod acting;
pub mod arguments;
pub mod authorization;
pub mod bounds;
pub mod cache;
pub mod call_key;
pub mod concurrency;
pub mod confirmation;
pub mod controls;
pub mod deadline;
pub mod delegation;
pub mod idempotency;
pub mod left_out;
pub mod meant;
pub mod notes;
pub mod principal;
pub mod provenance;
pub mod rate;
pub mod redaction;
pub mod repeats;
pub mod shared_rate;
pub mod shares;
pub mod shedding;

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    acting::{Act, Acting},
    authorization::Verdict,
    bounds::Bounded,
    cache::{AnswerCache, CacheNote},
    call_key::{CallKey, CallKeys},
    concurrency::{Slot, Slots},
    controls::Controls,
    deadline::Ended,
    notes::Notes,
    principal::Principal,
    rate::{CallRates, RateNote},
    repeats::Repeats,
    shared_rate::SharedRates,
};
use super::{
    access::{Caller, Rights},
    catalogue::{Catalogue, OfferedTool},
};
use kit::Platform;
use outbound::CallerKey;
use pod_api::config::LimitsConfig;
use tools::{Behavior, CallContext, Progress, ToolError};

/// Time behind the deadline within which an act says that it was ended by it.
const ACT_GRACE: Duration = Duration::from_secs(1);

/// What the guards go by.
pub struct Guards {
    /// The platform's name in `spec.platform`.
    pub platform: &'static str,
    /// Its client, for the state of the ways out to it.
    pub client: Arc<dyn Platform>,
    /// The tools.
    pub catalogue: Catalogue,
    /// Uid of the connector, which plans are bound to.
    pub connector_uid: String,
    /// How often each caller may call.
    pub rates: CallRates,
    /// Makes out which calls are the same.
    pub keys: CallKeys,
    /// Finds those that are made over and over.
    pub repeats: Repeats,
    /// Answers that may be given again.
    pub cache: Arc<AnswerCache>,
    /// Carries out what changes something.
    pub acting: Acting,
    /// Calls that may run at a time.
    pub slots: Slots,
    /// Time that a call may take, beside what it is asked to wait.
    pub call_timeout: Duration,
    /// Ends when the server is about to.
    pub stopping: CancellationToken,
    /// Bytes that an answer may have.
    pub max_result_bytes: usize,
}

/// A call that somebody wants to make.
pub struct Call<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// Where they call from.
    pub address: Option<IpAddr>,
    /// What they may use.
    pub rights: &'a Rights,
    /// The tool's name as they wrote it.
    pub name: &'a str,
    /// The arguments as they wrote them.
    pub arguments: Map<String, Value>,
    /// Where they want to hear how far it is.
    pub progress: Progress,
    /// Ends when they have gone.
    pub gone: CancellationToken,
    /// Where it is written down how often they may still call.
    pub rate: &'a OnceLock<RateNote>,
}

/// How a call ended, and what there is to say besides.
pub struct Called {
    /// How it ended.
    pub outcome: Outcome,
    /// What there is to say besides.
    pub notes: Notes,
}

/// How a call ended.
pub enum Outcome {
    /// With an answer.
    Answered(Bounded),
    /// With an error that the caller can act on.
    Failed(ToolError),
    /// By a panic in the tool.
    Panicked,
    /// Because the caller has gone.
    Abandoned,
    /// Before it began: the guard of this name held it up.
    Held(&'static str, ToolError),
    /// Before it began: authorisation refused it.
    Refused(ToolError),
    /// Before it began: there is no such tool for this caller. Here are names that may have been meant.
    Unknown(Vec<String>),
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum Stopped {
    /// The tool failed.
    Failed(ToolError),
    /// The guard of this name held the call up.
    Held(&'static str, Box<ToolError>),
    /// The tool panicked.
    Panicked,
}

impl From<ToolError> for Stopped {
    fn from(error: ToolError) -> Self {
        Self::Failed(error)
    }
}

impl Guards {
    /// Puts the guards together.
    #[must_use]
    pub fn new(
        platform: &'static str,
        client: Arc<dyn Platform>,
        catalogue: Catalogue,
        connector_uid: String,
        limits: &LimitsConfig,
        shared: Option<Arc<SharedRates>>,
        cache: Arc<AnswerCache>,
    ) -> Self {
        Self {
            platform,
            client,
            rates: CallRates::new(limits, catalogue.names(), shared),
            catalogue,
            connector_uid,
            keys: CallKeys::default(),
            repeats: Repeats::new(limits.repeats),
            acting: Acting::new(cache.clone()),
            cache,
            slots: Slots::new(limits.max_concurrent_calls),
            call_timeout: limits.call_timeout.0,
            stopping: CancellationToken::new(),
            max_result_bytes: limits.max_result_bytes,
        }
    }

    /// Leads a call through the guards to its tool and back.
    pub async fn call(&self, call: Call<'_>) -> Called {
        let mut notes = Notes::default();
        let outcome = self.lead(call, &mut notes).await;
        Called { outcome, notes }
    }

    async fn lead(&self, call: Call<'_>, notes: &mut Notes) -> Outcome {
        let begun = Instant::now();
        let principal = Principal::of(call.caller, call.address);
        let (rate, verdict) = self.rates.enter(&principal).await;
        let tell = |rate| {
            let _said_once = call.rate.set(rate);
        };
        if let Err(error) = verdict {
            tell(rate);
            return Outcome::Held("rate", error);
        }
        let tool = match authorization::decide(&self.catalogue, call.rights, call.name) {
            Verdict::Allowed(tool) => tool,
            Verdict::Refused(error) => {
                tell(rate);
                return Outcome::Refused(error);
            }
            Verdict::Unknown(near) => {
                tell(rate);
                return Outcome::Unknown(near);
            }
        };
        match self.rates.enter_tool(&principal, tool.entry.declaration.name).await {
            Some((narrower, Err(error))) => {
                tell(narrower);
                return Outcome::Held("rate", error);
            }
            Some((narrower, Ok(()))) if narrower.remaining < rate.remaining => tell(narrower),
            _ => tell(rate),
        }
        let key_of_caller = principal.key();
        if let Err(error) = outbound::seen_by(key_of_caller, || shedding::check(&*self.client, tool)) {
            return Outcome::Held("shedding", error);
        }
        let mut arguments = Value::Object(call.arguments);
        meant::read(tool, &mut arguments);
        if let Err(error) = arguments::check(tool, &arguments) {
            return Outcome::Failed(error);
        }
        let controls = Controls::take(tool, &mut arguments);
        let allowed = deadline::allowed(self.call_timeout, tool.waits, &arguments);
        let context = CallContext {
            progress: call.progress,
            stopping: self.stopping.clone(),
            ..CallContext::new(begun + allowed, self.max_result_bytes)
        };
        let key = self.keys.of_call(&principal, call.name, &arguments);
        if !tool.entry.declaration.polled {
            match self.repeats.enter(controls.repeat_key(&self.keys, key), call.name) {
                Ok(repetition) => notes.repetition = repetition,
                Err(error) => return Outcome::Held("repetition", error),
            }
        }
        // An act ends by itself at the deadline, and has then to be told.
        let acts = controls.confirm && matches!(tool.entry.behavior, Behavior::Mutation { .. });
        let patience = if acts { ACT_GRACE } else { Duration::ZERO };
        let deadline = context.deadline + patience;
        // It goes on without its caller, so how it ends is waited for: the audit record tells it.
        let abandoned = if acts { CancellationToken::new() } else { call.gone.clone() };
        let shared = tool.shared_for.map(|age| (age, self.keys.of_any_caller(call.name, &arguments)));
        // On the heap, because it is large, and calls that don't get here needn't make room for it.
        let work = Box::pin(outbound::on_behalf_of(key_of_caller, async {
            match &tool.entry.behavior {
                Behavior::Mutation { preview, act } if controls.confirm => {
                    let attempt = controls.attempt(&self.keys, &principal, tool, key);
                    let act = Act {
                        connector: self.connector_uid.clone(),
                        caller: call.caller.clone(),
                        key_of_caller,
                        tool: call.name.to_owned(),
                        sensitive: tool.entry.declaration.sensitive,
                        plan: controls.plan,
                        arguments,
                        context,
                        allowed,
                        preview: preview.clone(),
                        act: act.clone(),
                    };
                    self.acting.carry_out(attempt, act, || self.enter(key_of_caller), &call.gone, notes).await
                }
                _ => {
                    let fresh = controls.fresh;
                    let mut kept = None;
                    let caller = (call.caller, key_of_caller);
                    let run = self.read_or_recall(tool, caller, arguments, context, (key, fresh), &mut kept);
                    let Some((age, key)) = shared else {
                        let bounded = run.await?;
                        notes.cache = kept;
                        return Ok(bounded);
                    };
                    let (bounded, note) = self.cache.answer(key, || Some(age), fresh, run).await?;
                    notes.cache = Some(note).filter(|note| note.hit).or(kept);
                    Ok(bounded)
                }
            }
        }));
        match deadline::within(deadline, &abandoned, AssertUnwindSafe(work).catch_unwind()).await {
            Ended::Done(Ok(Ok(bounded))) => Outcome::Answered(bounded),
            Ended::Done(Ok(Err(Stopped::Failed(error)))) => Outcome::Failed(error),
            Ended::Done(Ok(Err(Stopped::Held(guard, error)))) => Outcome::Held(guard, *error),
            Ended::Done(Ok(Err(Stopped::Panicked)) | Err(_)) => Outcome::Panicked,
            Ended::TimeUp => Outcome::Failed(deadline::error(allowed)),
            Ended::CallerGone => Outcome::Abandoned,
        }
    }

    /// Waits for calls that act without their callers. Only for the end: none may begin any more.
    pub async fn settle(&self) {
        self.acting.settle().await;
    }

    /// Takes one of the places for calls.
    fn enter(&self, caller: CallerKey) -> Result<Slot, Stopped> {
        self.slots.enter(caller).map_err(|error| Stopped::Held("concurrency", Box::new(error)))
    }

    /// What [`Self::read`] answers, or has answered to the same caller if that is kept, which `note` tells then. `call` is the
    /// call's key, and whether a kept answer will not do.
    async fn read_or_recall(
        &self,
        tool: &OfferedTool,
        caller: (&Caller, CallerKey),
        arguments: Value,
        context: CallContext,
        (key, fresh): (CallKey, bool),
        note: &mut Option<CacheNote>,
    ) -> Result<Bounded, Stopped> {
        let Some(age) = tool.kept_for else {
            return self.read(tool, caller, arguments, context).await;
        };
        let finality = context.finality.clone();
        let only_if_final = tool.entry.declaration.cached_if_final;
        let age = || (!only_if_final || finality.is_said()).then_some(age);
        let run = self.read(tool, caller, arguments, context);
        let (bounded, kept) = self.cache.answer(key, age, fresh, run).await?;
        *note = Some(kept);
        Ok(bounded)
    }

    /// Runs what changes nothing: a tool that reads, or what says what another would do.
    async fn read(
        &self,
        tool: &OfferedTool,
        (caller, key): (&Caller, CallerKey),
        arguments: Value,
        context: CallContext,
    ) -> Result<Bounded, Stopped> {
        let _slot = self.enter(key)?;
        let answered = match &tool.entry.behavior {
            Behavior::Read(run) => left_out::told(run(arguments, context)).await,
            Behavior::Mutation { preview, .. } => {
                let scope = confirmation::Scope { connector: &self.connector_uid, caller, tool: &tool.definition.name };
                left_out::told(confirmation::announce(&scope, arguments, context, preview)).await
            }
        };
        let value = answered.map_err(bounds::apply_to_error)?;
        Ok(bounds::apply(value, self.max_result_bytes, tool.entry.declaration.sensitive)?)
    }
}
