//! Requests that somebody else has built and signed, as an SDK does: they are sent as they are, through the same stack
//! and to the same one origin as all others.

use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

use super::{
    Outbound, Purpose, Redirect, Repeat, RequestError, Response,
    reading::{self, Reading},
    stack::Treatment,
};

/// A request that is not changed any more, but for the trace headers. `Debug` shows nothing of it: its headers are
/// credentials, and its body may be a secret.
pub struct BuiltRequest {
    request: http::Request<Bytes>,
    treatment: Treatment,
}

impl std::fmt::Debug for BuiltRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltRequest").field("method", self.request.method()).finish_non_exhaustive()
    }
}

impl BuiltRequest {
    /// A request whose URI is absolute. `is_probe` says that it is the connector's own look at the platform's health, as
    /// [`super::Request::probe`] does.
    #[must_use]
    pub fn new(request: http::Request<Bytes>, purpose: Purpose, repeat: Repeat, is_probe: bool) -> Self {
        Self { request, treatment: Treatment { purpose, repeat, is_probe, account: None } }
    }
}

impl Outbound {
    /// Sends a request that was built elsewhere, again if that may help, and reads the whole answer, whatever its status.
    /// No redirect is followed: a signature is good for one URL only.
    ///
    /// # Errors
    /// [`RequestError::Build`] when its URI leads to another origin than this client's, and as [`Outbound::send`] does.
    pub async fn send_built(&self, built: &BuiltRequest, deadline: Instant) -> Result<Response, RequestError> {
        let url = Url::parse(&built.request.uri().to_string()).map_err(|_| RequestError::Build)?;
        if url.origin() != self.base.origin() {
            return Err(RequestError::Build);
        }
        let is_probe = built.treatment.is_probe;
        let attempt = |until| self.attempt_built(&built.request, url.clone(), is_probe, until);
        self.stack.run(built.treatment, deadline, attempt).await
    }

    async fn attempt_built(
        &self,
        request: &http::Request<Bytes>,
        url: Url,
        is_probe: bool,
        deadline: Instant,
    ) -> Result<Response, RequestError> {
        let (method, headers, body) = (request.method().clone(), request.headers().clone(), request.body().clone());
        let incoming = self.exchange(method, url.clone(), headers, Some(body), deadline).await?;
        let budget = (!is_probe).then_some(&self.memory);
        let response = reading::read(incoming, Reading::Whole, budget, deadline).await?;
        if response.status.is_redirection() {
            return Err(RequestError::Redirected(Redirect::of(&url, &response.headers)));
        }
        Ok(response)
    }
}
