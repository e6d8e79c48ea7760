//! Errors that an agent can act on: a code to branch on, one sentence that says what happened, one that says what to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::{Display, EnumIter, IntoStaticStr};

/// Class of an error, for an agent to branch on and for the metrics to count by.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Display,
    EnumIter,
    IntoStaticStr,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ErrorCode {
    /// An argument is missing, of the wrong form, or names what can't be.
    InvalidArgument,
    /// What was asked for isn't there.
    NotFound,
    /// The manifest of the connector, or the platform's policy for its identity, doesn't allow it.
    PermissionDenied,
    /// The connector has no credentials, or the platform doesn't accept them.
    CredentialsUnavailable,
    /// The object is in another state than the call expects.
    Conflict,
    /// Too many calls.
    RateLimited,
    /// The same call over and over.
    RepeatedCall,
    /// The platform can't be reached or says that it can't work.
    PlatformUnavailable,
    /// The platform answered with a fault or with something that can't be understood.
    PlatformError,
    /// The time for the call is up.
    DeadlineExceeded,
    /// The answer is larger than the connector may give.
    ResultTooLarge,
    /// The change was made; what became of it could not be read.
    OutcomeUnread,
    /// A fault of the connector itself.
    Internal,
}

/// What became of the change that a call was to make, and that ended with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing was changed.
    Undone,
    /// It was made.
    Made,
    /// Nobody knows.
    Unknown,
}

/// Why a tool call did not give what was asked for. What happened and what to do are the connector's own words, which may
/// quote a name; what the platform lists or says stands in `platform_words`. Never a credential.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ToolError {
    /// Class of the error.
    pub code: ErrorCode,
    /// What happened.
    pub message: String,
    /// What to do about it, if something can be done.
    pub remedy: Option<String>,
    /// The argument that it is about.
    pub argument: Option<String>,
    /// Seconds after which the call may work, rounded up.
    pub retry_after_seconds: Option<u64>,
    /// What the platform has or says: names, paths, texts that whoever may write there chose. Data, as an answer is.
    pub platform_words: Option<Vec<String>>,
    /// Whether it came of a look at the platform, so that names in its texts may be the platform's, too.
    #[serde(skip)]
    pub of_platform: bool,
}

impl ToolError {
    /// An error with a code and what happened.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            remedy: None,
            argument: None,
            retry_after_seconds: None,
            platform_words: None,
            of_platform: false,
        }
    }

    /// [`ErrorCode::InvalidArgument`].
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// [`ErrorCode::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The same, of what was read after a change was made: the call must not look as if it had done nothing.
    #[must_use]
    pub fn after_the_change(self) -> Self {
        let message = format!("the change was made, but what became of it could not be read: {}", self.message);
        Self::new(ErrorCode::OutcomeUnread, message)
            .with_remedy("don't make the call again: read the state later")
            .with_platform_words(self.platform_words.unwrap_or_default())
    }

    /// What became of the change. `sent` is whether the platform took a request for it, or may have.
    #[must_use]
    pub const fn fate(&self, sent: bool) -> Fate {
        match self.code {
            ErrorCode::OutcomeUnread => Fate::Made,
            ErrorCode::InvalidArgument
            | ErrorCode::NotFound
            | ErrorCode::PermissionDenied
            | ErrorCode::CredentialsUnavailable
            | ErrorCode::Conflict
            | ErrorCode::RateLimited
            | ErrorCode::RepeatedCall => Fate::Undone,
            ErrorCode::PlatformUnavailable
            | ErrorCode::PlatformError
            | ErrorCode::DeadlineExceeded
            | ErrorCode::ResultTooLarge
            | ErrorCode::Internal => {
                if sent {
                    Fate::Unknown
                } else {
                    Fate::Undone
                }
            }
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Says what the platform has or says that the error is about, such as names that may be meant. It stands apart from the
    /// remedy, which is the connector's own word and may be followed.
    #[must_use]
    pub fn with_platform_words(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.platform_words =
            Some(words.into_iter().map(Into::into).collect()).filter(|words: &Vec<_>| !words.is_empty());
        self
    }

    /// Says which argument it is about.
    #[must_use]
    pub fn with_argument(mut self, argument: impl Into<String>) -> Self {
        self.argument = Some(argument.into());
        self
    }

    /// Says when to come back; parts of a second count as a whole one, so the answer is never 0.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after_seconds = Some(whole.max(1));
        self
    }
}
