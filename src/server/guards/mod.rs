//! What stands between a caller and a tool, the same for every platform, one file each in the order in which a call
//! passes them: authorisation, arguments, mutation policy, concurrency, deadline; then the tool; then bounds.

pub mod arguments;
pub mod authorization;
pub mod bounds;
pub mod concurrency;
pub mod deadline;
pub mod mutation;
pub mod principal;
pub mod rate;

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::OnceLock, time::Duration};

use futures::FutureExt;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    authorization::Verdict,
    bounds::Bounded,
    concurrency::Slots,
    deadline::Ended,
    principal::Principal,
    rate::{CallRates, RateNote},
};
use super::{
    access::{Caller, Rights},
    catalogue::Catalogue,
    config::LimitsConfig,
};
use crate::tools::{Behavior, CallContext, Progress, ToolError};

/// What the guards go by.
pub struct Guards {
    /// The tools.
    pub catalogue: Catalogue,
    /// Uid of the connector, which plans are bound to.
    pub connector_uid: String,
    /// How often each caller may call.
    pub rates: CallRates,
    /// Calls that may run at a time.
    pub slots: Slots,
    /// Time that a call may take.
    pub call_timeout: Duration,
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
    /// Before it began: there were too many, or too many of the kind.
    Held(&'static str, ToolError),
    /// Before it began: authorisation refused it.
    Refused(ToolError),
    /// Before it began: there is no such tool for this caller. Here are names that may have been meant.
    Unknown(Vec<String>),
}

impl Guards {
    /// Puts the guards together.
    #[must_use]
    pub fn new(catalogue: Catalogue, connector_uid: String, limits: &LimitsConfig) -> Self {
        let rates = CallRates::new(limits, catalogue.names());
        Self {
            rates,
            catalogue,
            connector_uid,
            slots: Slots::new(limits.max_concurrent_calls),
            call_timeout: limits.call_timeout.0,
            max_result_bytes: limits.max_result_bytes,
        }
    }

    /// Leads a call through the guards to its tool and back.
    pub async fn call(&self, call: Call<'_>) -> Outcome {
        let context = CallContext {
            progress: call.progress,
            ..CallContext::new(Instant::now() + self.call_timeout, self.max_result_bytes)
        };
        let principal = Principal::of(call.caller, call.address);
        let (note, verdict) = self.rates.enter(&principal);
        let noted = |note| {
            let _said_once = call.rate.set(note);
        };
        if let Err(error) = verdict {
            noted(note);
            return Outcome::Held("rate", error);
        }
        let tool = match authorization::decide(&self.catalogue, call.rights, call.name) {
            Verdict::Allowed(tool) => tool,
            Verdict::Refused(error) => return Outcome::Refused(error),
            Verdict::Unknown(near) => return Outcome::Unknown(near),
        };
        match self.rates.enter_tool(&principal, tool.entry.declaration.name) {
            Some((narrower, Err(error))) => {
                noted(narrower);
                return Outcome::Held("rate", error);
            }
            Some((narrower, Ok(()))) if narrower.remaining < note.remaining => noted(narrower),
            _ => noted(note),
        }
        let mut arguments = Value::Object(call.arguments);
        if let Err(error) = arguments::check(tool, &arguments) {
            return Outcome::Failed(error);
        }
        let _slot = match self.slots.enter() {
            Ok(slot) => slot,
            Err(error) => return Outcome::Held("concurrency", error),
        };
        let deadline = context.deadline;
        let run = async {
            match &tool.entry.behavior {
                Behavior::Read(run) => run(arguments, context).await,
                Behavior::Mutation { preview, act } => {
                    let request = mutation::Request::take(&mut arguments);
                    let scope =
                        mutation::Scope { connector: &self.connector_uid, caller: call.caller, tool: call.name };
                    mutation::run(&scope, request, arguments, context, preview, act).await
                }
            }
        };
        match deadline::within(deadline, &call.gone, AssertUnwindSafe(run).catch_unwind()).await {
            Ended::Done(Ok(Ok(value))) => {
                match bounds::apply(value, self.max_result_bytes, tool.entry.declaration.sensitive) {
                    Ok(bounded) => Outcome::Answered(bounded),
                    Err(error) => Outcome::Failed(error),
                }
            }
            Ended::Done(Ok(Err(error))) => Outcome::Failed(bounds::apply_to_error(error)),
            Ended::Done(Err(_)) => Outcome::Panicked,
            Ended::TimeUp => Outcome::Failed(deadline::error(self.call_timeout)),
            Ended::CallerGone => Outcome::Abandoned,
        }
    }
}
