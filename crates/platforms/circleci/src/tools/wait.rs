//! `wait_circleci_run`: waits until a run has ended, or waits for a person.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    RunArgs, read,
    run::{self, RunAnswer},
};
use crate::{CircleCi, locate::RunName};
use kit::{args::WaitSeconds, wait::Wait};
use tools::{CallContext, ToolDeclaration, ToolEntry, ToolError};

/// Pauses between two looks: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(10)];
/// Time after which a run without a workflow is taken for one that has none to run.
const NOTHING_TO_RUN: Duration = Duration::from_secs(30);

const WAIT: ToolDeclaration = ToolDeclaration::read(
    "wait_circleci_run",
    "Wait for a run",
    "Waits until a run has ended, waits for approval, or the time is up, and answers its state. When finished is false, \
     call it again with the same run.",
)
.polled();

/// Arguments of `wait_circleci_run`.
#[derive(Deserialize, JsonSchema)]
struct WaitInput {
    #[serde(flatten)]
    run: RunArgs,
    /// Seconds to wait at most. Never longer than the call may take.
    #[serde(default)]
    wait_seconds: WaitSeconds<45, 120>,
}

/// What a run came to.
#[derive(Serialize, JsonSchema)]
struct WaitAnswer {
    /// Whether the run changes no more.
    finished: bool,
    /// Seconds that were waited.
    waited_seconds: u64,
    /// The run.
    run: RunAnswer,
}

pub(super) fn entries(circleci: &Arc<CircleCi>) -> Vec<ToolEntry> {
    vec![read(circleci, WAIT, wait)]
}

async fn wait(circleci: Arc<CircleCi>, input: WaitInput, context: CallContext) -> Result<WaitAnswer, ToolError> {
    let [first, longest] = PAUSES;
    let mut wait = Wait::new(input.wait_seconds.seconds(), &context, first, longest);
    let mut run = circleci.fetch_run(&input.run.name(&circleci, &context).await?, &context).await?;
    loop {
        let (mut answer, moves) = run::answer(&circleci, &run, &context).await;
        let waited = wait.elapsed();
        let stands = !moves || (answer.status == "pending" && answer.state == "created" && waited >= NOTHING_TO_RUN);
        let least = if circleci.session.is_rate_low() { longest.saturating_mul(2) } else { Duration::ZERO };
        if stands || !wait.next_look_after(least, &*answer.status, &context).await {
            if !stands {
                answer.hints.push("the time is up and the run goes on: call wait_circleci_run again".to_owned());
            }
            return Ok(WaitAnswer { finished: answer.finished, waited_seconds: waited.as_secs(), run: answer });
        }
        // Only the run itself tells that its configuration was rejected. What can't be read now may be the next time.
        if let Ok(now) = circleci.fetch_run(&RunName::Id(run.id.clone()), &context).await {
            run = now;
        }
    }
}
