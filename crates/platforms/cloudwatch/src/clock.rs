//! How far the clock here is from that of AWS, by the dates of its answers: AWS refuses what was signed at another time than
//! its own, and this is to be known before.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use http::{HeaderMap, header::DATE};
use jiff::{SignedDuration, Timestamp};

/// What the last answer said.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<SignedDuration>>);

impl Clock {
    /// Remembers what an answer that has just come says.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else { return };
        let (Ok(ours), Ok(theirs)) = (Timestamp::try_from(SystemTime::now()), Timestamp::try_from(theirs)) else {
            return;
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ours.duration_since(theirs));
    }

    /// The time by which the clock here is ahead of that of AWS; below zero, behind it. Dates have whole seconds, and answers
    /// are on their way for a while, so a second or two mean nothing.
    pub(super) fn ahead(&self) -> Option<SignedDuration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
