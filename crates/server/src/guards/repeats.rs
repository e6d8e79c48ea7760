//! Loops: the same caller, tool and arguments over and over. A model that gets the same answer again and doesn't notice
//! is told so in the answer, and refused some calls later.
//!
//! Refusal comes later than a single agent would need it, because several agents may share a ServiceAccount, and each of
//! them may ask the same once. Refused calls don't count, so that a call is let through again when the window has moved on.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lru::LruCache;
use serde::Serialize;
use tokio::time::Instant;

use super::call_key::CallKey;
use api::duration::ApiDuration;
use pod_api::config::RepeatsConfig;
use tools::{ErrorCode, ToolError};

/// Calls that are remembered. The one that was made longest ago is forgotten first.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();
/// Calls outside the window that are forgotten with each call, at most.
const FORGOTTEN_AT_ONCE: usize = 4;

/// What a caller that repeats itself is told in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repetition {
    /// Which identical call within the window it is, counted from 1.
    pub count: usize,
    /// Seconds of the window.
    pub window_seconds: u64,
    /// The identical call from which on it is refused.
    pub refused_from: usize,
}

impl Repetition {
    /// The same as a sentence for a model.
    #[must_use]
    pub fn warning(&self, tool: &str) -> String {
        format!(
            "Warning: repeated call. This is call {} of {tool} with the same arguments within {}; from call {} on it is \
             refused. Use the answer that you have, change the arguments, or do something else.",
            self.count,
            ApiDuration(Duration::from_secs(self.window_seconds)),
            self.refused_from,
        )
    }
}

/// The calls of the last while.
pub struct Repeats {
    config: RepeatsConfig,
    seen: Mutex<LruCache<CallKey, VecDeque<Instant>>>,
}

impl Repeats {
    /// As a configuration says.
    #[must_use]
    pub fn new(config: RepeatsConfig) -> Self {
        Self { config, seen: Mutex::new(LruCache::new(MAX_KEPT)) }
    }

    /// Counts a call of `tool`, and says what to tell its caller.
    ///
    /// # Errors
    /// When it is one too many.
    pub fn enter(&self, key: CallKey, tool: &str) -> Result<Option<Repetition>, ToolError> {
        if !self.config.enabled {
            return Ok(None);
        }
        let RepeatsConfig { window, warn_after, refuse_after, .. } = self.config;
        let (now, window) = (Instant::now(), window.0);
        let is_past = |at: &Instant| now.saturating_duration_since(*at) >= window;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..FORGOTTEN_AT_ONCE {
            if seen.peek_lru().is_none_or(|(_, calls)| calls.back().is_some_and(|at| !is_past(at))) {
                break;
            }
            seen.pop_lru();
        }
        let calls = seen.get_or_insert_mut(key, VecDeque::new);
        while calls.front().is_some_and(is_past) {
            calls.pop_front();
        }
        if calls.len() >= refuse_after
            && let Some(oldest) = calls.front()
        {
            let wait = (*oldest + window).saturating_duration_since(now);
            return Err(refusal(tool, calls.len(), window, wait));
        }
        calls.push_back(now);
        let count = calls.len();
        let repetition = Repetition { count, window_seconds: window.as_secs(), refused_from: refuse_after + 1 };
        Ok((count > warn_after).then_some(repetition))
    }
}

fn refusal(tool: &str, count: usize, window: Duration, wait: Duration) -> ToolError {
    let message = format!(
        "repeated call: {tool} was called {count} times with the same arguments within {}; this call was not made",
        ApiDuration(window)
    );
    let remedy = "use the answers that you have, change the arguments, or tell whoever gave you the task that you are \
                  stuck; if the platform needs time, call again after retry_after_seconds";
    ToolError::new(ErrorCode::RepeatedCall, message).with_remedy(remedy).with_retry_after(wait)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::guards::{call_key::CallKeys, principal::Principal};

    fn key(keys: &CallKeys, number: usize) -> CallKey {
        keys.of_call(&Principal::Address(None), "tool", &json!({ "number": number }))
    }

    #[tokio::test(start_paused = true)]
    async fn repetition_is_warned_of_and_then_refused() {
        let (repeats, keys) = (Repeats::new(RepeatsConfig::default()), CallKeys::default());
        let call = || repeats.enter(key(&keys, 1), "tool");
        for count in 1..=5 {
            let told = call().unwrap();
            assert_eq!(told.as_ref().map(|told| told.count), (count >= 3).then_some(count));
            assert!(told.is_none_or(|told| told.refused_from == 6));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        for _ in 0..3 {
            let error = call().unwrap_err();
            assert_eq!((error.code, error.retry_after_seconds), (ErrorCode::RepeatedCall, Some(55)));
            assert!(error.message.contains("repeated call: tool was called 5 times") && error.message.contains("1m"));
        }
        assert_eq!(repeats.enter(key(&keys, 2), "tool"), Ok(None), "other arguments are another call");
        tokio::time::advance(Duration::from_secs(55)).await;
        assert_eq!(call().unwrap().unwrap().count, 5, "the first has left the window");
        assert!(call().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_forgotten() {
        let (repeats, keys) = (Repeats::new(RepeatsConfig::default()), CallKeys::default());
        for number in 0..MAX_KEPT.get() + 10 {
            repeats.enter(key(&keys, number), "tool").unwrap();
        }
        assert_eq!(repeats.seen.lock().unwrap().len(), MAX_KEPT.get());
        tokio::time::advance(Duration::from_mins(1)).await;
        for number in 0..MAX_KEPT.get() / 2 {
            repeats.enter(key(&keys, number % 5), "tool").unwrap_or_default();
        }
        assert_eq!(repeats.seen.lock().unwrap().len(), 5);
    }

    #[test]
    fn it_can_be_switched_off() {
        let repeats = Repeats::new(RepeatsConfig { enabled: false, ..RepeatsConfig::default() });
        let keys = CallKeys::default();
        for _ in 0..100 {
            assert_eq!(repeats.enter(key(&keys, 1), "tool"), Ok(None));
        }
    }
}
