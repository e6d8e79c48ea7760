//! What every double can do for the program: answer, change the credentials that it accepts, and fail as its platform does.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, body::Body, response::Response};
use http::request::Parts;

/// Credentials by the names that a `CredentialSource` gives them, such as `api_token`.
pub type Credentials = BTreeMap<String, String>;

/// Why a platform that is up doesn't do what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many requests; good again after so many seconds.
    RateLimited(u64),
    /// An error of its own.
    ServerError,
}

/// A platform's double.
pub trait Platform: Send + Sync {
    /// Its answers.
    fn router(self: Arc<Self>) -> Router;

    /// The credentials that it accepts at first.
    fn default_credentials(&self) -> Credentials;

    /// Accepts these credentials and no others from now on; without any, those of nobody.
    ///
    /// # Errors
    ///
    /// Says which field the platform doesn't have, or misses.
    fn accept(&self, credentials: Option<&Credentials>) -> Result<(), String>;

    /// A refusal, in the platform's words and with its headers.
    fn refuse(&self, refusal: Refusal, request: &Parts) -> Response;

    /// What came that the real platform would let pass, and that no good client sends.
    fn offences(&self) -> Vec<String>;
}

/// The value of a field, which must be there.
pub(crate) fn field(credentials: &Credentials, name: &str) -> Result<String, String> {
    credentials.get(name).cloned().ok_or_else(|| format!("the credentials have no {name}"))
}

/// Refuses fields that the platform doesn't have.
pub(crate) fn only(credentials: &Credentials, known: &[&str]) -> Result<(), String> {
    match credentials.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("the platform has no credential {name}; it has {}", known.join(", "))),
        None => Ok(()),
    }
}

/// An answer with a body of some kind.
pub(crate) fn response(status: u16, kind: &str, body: impl Into<Body>) -> Response {
    Response::builder().status(status).header("content-type", kind).body(body.into()).unwrap()
}
