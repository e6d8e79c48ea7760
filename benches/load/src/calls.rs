//! Calls for some time: each caller again as soon as it is answered, or all of them together so many a second, whether or
//! not answers come ("open loop"). Then a call that can't be made when it is due, because every caller waits, counts from
//! when it was due.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;

use crate::caller::{Broken, CallRequest, Caller, Endpoint, loopback};

/// What is to be called, and how often.
#[derive(Deserialize)]
pub struct Plan {
    endpoint: Endpoint,
    /// Body of each request.
    body: String,
    callers: usize,
    /// Calls a second; as many as are answered if there is none.
    rate: Option<f64>,
    seconds: f64,
    /// Whether each caller has an address of 127.0.0.0/8 of its own.
    #[serde(default)]
    addresses: bool,
}

/// What was seen.
#[derive(Serialize)]
pub struct Report {
    seconds: f64,
    /// By the word that says how calls ended.
    outcomes: BTreeMap<String, Times>,
}

/// Times of calls that ended alike.
#[derive(Serialize)]
pub struct Times {
    count: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Times {
    /// The distribution of some times in seconds.
    pub fn of(mut seconds: Vec<f32>) -> Self {
        seconds.sort_by(f32::total_cmp);
        let at = |percent: usize| {
            let index = (seconds.len() * percent / 100).min(seconds.len().saturating_sub(1));
            f64::from(seconds.get(index).copied().unwrap_or_default()) * 1e3
        };
        Self { count: seconds.len(), p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
    }
}

/// What the callers share.
struct Load {
    endpoint: Endpoint,
    request: CallRequest,
    /// Time between two calls of all callers, if there is one.
    interval: Option<Duration>,
    begun: Instant,
    end: Instant,
    /// Calls that were begun.
    turns: Cell<u32>,
    times: RefCell<BTreeMap<String, Vec<f32>>>,
}

/// Makes the calls. All callers are connected before the first of them.
pub async fn run(plan: Plan) -> Result<Report, Broken> {
    let mut callers = Vec::new();
    for number in 0..plan.callers {
        let from = plan.addresses.then(|| loopback(number)).transpose()?;
        callers.push((Caller::connect(&plan.endpoint, from).await?, from));
    }
    let begun = Instant::now();
    let load = Rc::new(Load {
        request: plan.endpoint.request(Bytes::from(plan.body))?,
        endpoint: plan.endpoint,
        interval: plan.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        begun,
        end: begun + Duration::from_secs_f64(plan.seconds),
        turns: Cell::new(0),
        times: RefCell::default(),
    });
    let tasks = LocalSet::new();
    for (caller, from) in callers {
        tasks.spawn_local(keep_calling(Rc::clone(&load), caller, from));
    }
    tasks.await;
    let outcomes = load.times.take().into_iter().map(|(outcome, seconds)| (outcome, Times::of(seconds))).collect();
    Ok(Report { seconds: begun.elapsed().as_secs_f64(), outcomes })
}

async fn keep_calling(load: Rc<Load>, caller: Caller, from: Option<SocketAddr>) {
    let mut caller = Some(caller);
    while let Some(due) = load.next_turn().await {
        let outcome = load.call(&mut caller, from).await.unwrap_or_else(|_| "broken".to_owned());
        load.times.borrow_mut().entry(outcome).or_default().push(due.elapsed().as_secs_f32());
    }
}

impl Load {
    /// Waits for the next turn, and gives the time from which it counts; nothing when the time is up.
    async fn next_turn(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = self.interval.map_or(now, |interval| self.begun + interval * self.turns.get());
        if due.max(now) >= self.end {
            return None;
        }
        self.turns.set(self.turns.get() + 1);
        if due <= now {
            return Some(due);
        }
        tokio::time::sleep_until(due.into()).await;
        // The timer's own lateness is none of the server's.
        Some(Instant::now())
    }

    /// Makes a call, on a new connection if the last one broke.
    async fn call(&self, caller: &mut Option<Caller>, from: Option<SocketAddr>) -> Result<String, Broken> {
        let mut connected = match caller.take() {
            Some(connected) => connected,
            None => Caller::connect(&self.endpoint, from).await?,
        };
        let outcome = connected.call(self.request.clone()).await?;
        *caller = Some(connected);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::Times;

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let times = Times::of((1_u8..=200).rev().map(|value| f32::from(value) / 1e3).collect());
        let near = |seen: f64, value: f64| (seen - value).abs() < 1e-3;
        assert_eq!(times.count, 200);
        assert!(near(times.p50_ms, 101.0) && near(times.p99_ms, 199.0) && near(times.max_ms, 200.0));
        assert!(near(Times::of(vec![0.004]).p99_ms, 4.0));
    }
}
