//! When a request is sent again, and after how long. Retries happen here and nowhere else.
//!
//! The table: a connection that was never made is tried again by every request that may be; an answer that was lost, a
//! timeout, 502, 503 and 504 only by requests that change nothing, because the first one may have been carried out; 429
//! and an outage that says that nothing was done by all, because it was not. Nothing is tried again that another try can't
//! change. Waits are drawn from 0 to 200 ms, twice as much each time, up to 10 s ("full jitter"), never shorter than
//! `Retry-After`, and never past the deadline: a wait that doesn't fit is not begun. At most a fifth of the requests are
//! retries, so that a platform that is down isn't held down.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Purpose, RequestError, Response};

const BASE: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// Retries that are saved up at most, and there from the beginning.
const MOST_SAVED: u32 = 10;
/// Requests that pay for one retry.
const FIFTHS: u32 = 5;

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Whenever it may help: it changes nothing, however often it arrives.
    Safe,
    /// Only while it is certain that the platform has not taken it.
    IfNotTaken,
    /// Not at all: whoever sends it decides.
    Never,
}

impl Repeat {
    pub(super) fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Look => Self::Safe,
            Purpose::Step | Purpose::Change => Self::IfNotTaken,
        }
    }
}

/// What an answer means for the way to the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The platform answers, whatever it answers.
    Answered,
    /// The same, and the answer says that nothing was done of what was asked for.
    Refused,
    /// Something on the way, or the platform, doesn't work now.
    Transient,
    /// The same, and the answer says that nothing was done of what was asked for.
    NotYet,
    /// Too many requests: the connector sends none for a while, and then fewer.
    Throttled,
    /// Too many requests of one kind, as by a quota of one path. Others go on.
    ThrottledInPart,
}

/// Tells by status and, where a platform needs it, by the body what an answer means.
pub type Classify = fn(&Response) -> Verdict;

/// The classification for platforms that have no words of their own: 429 is too many requests, 502, 503 and 504 are
/// an outage. Other 4xx refuse what was asked for, but for those of a wait that was given up (408, nginx' and the gRPC gateway's
/// 499); so does 501.
#[must_use]
pub fn classify_by_status(response: &Response) -> Verdict {
    match response.status.as_u16() {
        429 => Verdict::Throttled,
        502..=504 => Verdict::Transient,
        400..=407 | 409..=498 | 501 => Verdict::Refused,
        _ => Verdict::Answered,
    }
}

/// Why a request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// A word for logs and metrics.
    pub(super) class: &'static str,
    /// The shortest wait that the platform asks for.
    pub(super) at_least: Duration,
}

/// Whether the platform has taken the request of an attempt, or may have.
pub(super) fn was_taken(outcome: &Result<(Response, Verdict), RequestError>) -> bool {
    match outcome {
        Ok((_, Verdict::Answered | Verdict::Transient)) => true,
        // Whoever sends to elsewhere has not done it.
        Ok((_, Verdict::Refused | Verdict::NotYet | Verdict::Throttled | Verdict::ThrottledInPart))
        | Err(RequestError::Redirected(_)) => false,
        Err(error) => !error.is_unsent(),
    }
}

/// Whether what came of an attempt may be tried again.
pub(super) fn cause(outcome: &Result<(Response, Verdict), RequestError>, repeat: Repeat) -> Option<Cause> {
    let (class, at_least) = match outcome {
        Ok((response, Verdict::Throttled | Verdict::ThrottledInPart)) => {
            ("throttled", response.retry_after().unwrap_or_default())
        }
        Ok((response, Verdict::Transient | Verdict::NotYet)) => ("outage", response.retry_after().unwrap_or_default()),
        Err(RequestError::Unreachable | RequestError::DnsFailed) => ("unreachable", Duration::ZERO),
        Err(RequestError::Interrupted) => ("interrupted", Duration::ZERO),
        Err(RequestError::Timeout) => ("timeout", Duration::ZERO),
        Ok((_, Verdict::Answered | Verdict::Refused)) | Err(_) => return None,
    };
    match repeat {
        Repeat::Safe => Some(Cause { class, at_least }),
        Repeat::IfNotTaken if !was_taken(outcome) => Some(Cause { class, at_least }),
        Repeat::IfNotTaken | Repeat::Never => None,
    }
}

/// The wait before the attempt after this one; the first attempt is 1.
pub(super) fn wait(attempt: u32, at_least: Duration) -> Duration {
    let most = BASE.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST);
    most.mul_f64(rand::random_range(0.0..=1.0)).max(at_least)
}

/// How many retries there may be: a fifth of all requests, each of which pays in its part. Ten are paid in advance for the
/// first fifty requests, so that a connector that is seldom called tries again, too.
pub(super) struct Budget {
    /// Fifths of a retry.
    fifths: AtomicU32,
    /// Requests to come whose part is paid already.
    prepaid: AtomicU32,
}

impl Budget {
    pub(super) fn new() -> Self {
        let all = MOST_SAVED * FIFTHS;
        Self { fifths: AtomicU32::new(all), prepaid: AtomicU32::new(all) }
    }

    /// Counts a request.
    pub(super) fn deposit(&self) {
        let one_less = |prepaid: u32| prepaid.checked_sub(1);
        if self.prepaid.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            return;
        }
        let add = |fifths: u32| Some((fifths + 1).min(MOST_SAVED * FIFTHS));
        let _before = self.fifths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes a retry, if there is one left.
    pub(super) fn withdraw(&self) -> bool {
        let take = |fifths: u32| fifths.checked_sub(FIFTHS);
        self.fifths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_taken_is_not_sent_again_by_what_changes_something() {
        let taken = [RequestError::Interrupted, RequestError::Timeout];
        let never_sent = [RequestError::Unreachable, RequestError::DnsFailed];
        for error in taken {
            assert!(cause(&Err(error), Repeat::Safe).is_some());
            assert!(cause(&Err(error), Repeat::IfNotTaken).is_none());
        }
        for error in never_sent {
            assert!(cause(&Err(error), Repeat::IfNotTaken).is_some());
            assert!(cause(&Err(error), Repeat::Never).is_none());
        }
        for error in [
            RequestError::Html,
            RequestError::BodyTooLarge,
            RequestError::Redirected(crate::Redirect::Itself),
            RequestError::Build,
        ] {
            assert!(cause(&Err(error), Repeat::Safe).is_none(), "{error}");
        }
    }

    #[test]
    fn waits_are_spread_from_nothing_to_their_bound() {
        for (attempt, most) in [(1, 200), (2, 400), (3, 800), (7, 10_000), (60, 10_000)] {
            let waits: Vec<u128> = (0..2_000).map(|_| wait(attempt, Duration::ZERO).as_millis()).collect();
            assert!(waits.iter().all(|wait| *wait <= most), "{attempt}");
            let mean = waits.iter().sum::<u128>() / 2_000;
            assert!(mean > most * 4 / 10 && mean < most * 6 / 10, "{attempt}: {mean}");
        }
        assert_eq!(wait(1, Duration::from_secs(7)), Duration::from_secs(7));
    }

    #[test]
    fn retries_are_a_fifth_of_the_requests() {
        let budget = Budget::new();
        let mut retries = 0_u32;
        for request in 1..=10_000 {
            budget.deposit();
            for _ in 0..3 {
                retries += u32::from(budget.withdraw());
            }
            assert!(retries <= MOST_SAVED.max(request / FIFTHS), "{retries} after {request}");
        }
        assert_eq!(retries, 2_000);
    }

    #[test]
    fn what_is_saved_has_a_bound() {
        let budget = Budget::new();
        for _ in 0..10_000 {
            budget.deposit();
        }
        assert_eq!(std::iter::repeat_with(|| budget.withdraw()).take_while(|given| *given).count(), 10);
    }
}
