//! Calls whose callers go away: each asks for a folder of its own that is never listed, and closes its connection after a
//! while. When it did so is told; the platform knows when its request was given up.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use tokio::{task::JoinSet, time::sleep};

use crate::{
    caller::{Broken, Caller, Endpoint},
    platform::now,
};

/// Word in the body that stands for the number of a call.
const NUMBER: &str = "NUMBER";

/// What is to be called.
#[derive(Deserialize)]
pub struct Plan {
    endpoint: Endpoint,
    /// Body of each request.
    body: String,
    /// The first call's number.
    first: usize,
    calls: usize,
    /// Calls that are made, and given up, at a time.
    at_once: usize,
    /// Time after which a caller goes away.
    patience_ms: u64,
}

/// Makes the calls, and gives for each number when its caller went away, in nanoseconds since 1970.
pub async fn run(plan: Plan) -> Result<BTreeMap<usize, u64>, String> {
    let mut left = BTreeMap::new();
    let numbers: Vec<usize> = (plan.first..plan.first + plan.calls).collect();
    for batch in numbers.chunks(plan.at_once.max(1)) {
        let mut callers = JoinSet::new();
        for number in batch.iter().copied() {
            let body = plan.body.replace(NUMBER, &number.to_string());
            callers.spawn(abandon(plan.endpoint.clone(), body, number, Duration::from_millis(plan.patience_ms)));
        }
        while let Some(joined) = callers.join_next().await {
            let (number, at) = joined.map_err(|error| error.to_string())??;
            left.insert(number, at);
        }
    }
    Ok(left)
}

/// Makes one call and goes away.
async fn abandon(endpoint: Endpoint, body: String, number: usize, patience: Duration) -> Result<(usize, u64), String> {
    let in_words = |error: Broken| error.to_string();
    let request = endpoint.request(Bytes::from(body)).map_err(|error| error.to_string())?;
    let mut caller = Caller::connect(&endpoint, None).await.map_err(in_words)?;
    tokio::select! {
        outcome = caller.call(request) => {
            return Err(format!("call {number} ended by itself: {}", outcome.map_err(in_words)?));
        }
        () = sleep(patience) => {}
    }
    let at = now();
    drop(caller);
    Ok((number, at))
}
