//! Calls in the connector's own name: puts the token on them, tries once more with a newer token when CircleCI refuses the
//! one in use, and knows which versions of the API there are.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    client::{self, Api, Call, Error, Token},
    v3,
};
use api::platform::circleci::ApiVersion;
use credentials::{CredentialSet, CredentialsHandle};
use kit::session::{Keys, with_newest};
use outbound::{Outbound, OutboundState, RequestError, Response};

/// How long CircleCI is not asked again whether it knows the token, when something is not found.
const KNOWN_FOR: Duration = Duration::from_secs(30);

/// CircleCI, as the connector's identity may use it.
pub(super) struct Session {
    way: Outbound,
    credentials: CredentialsHandle,
    /// Which API is used where there is a choice; none while that is not known.
    chosen: Mutex<Option<Api>>,
    /// Whether v3 was looked for and not found.
    looked_for: bool,
    /// Which token CircleCI did not refuse when it was asked whose it is, and when.
    known: Mutex<Option<(u64, Instant)>>,
}

impl Session {
    /// `is_cloud` says that it is CircleCI's own cloud, which has v3.
    pub(super) fn new(way: Outbound, credentials: CredentialsHandle, version: ApiVersion, is_cloud: bool) -> Self {
        let chosen = match version {
            ApiVersion::V3 => Some(Api::V3),
            ApiVersion::V2 => Some(Api::V2),
            ApiVersion::Auto => is_cloud.then_some(Api::V3),
        };
        Self { way, credentials, looked_for: chosen.is_none(), chosen: Mutex::new(chosen), known: Mutex::default() }
    }

    /// What the way to CircleCI is doing now.
    pub(super) fn outbound(&self) -> OutboundState {
        self.way.state()
    }

    /// Whether CircleCI said last that less than a tenth of the requests is left.
    pub(super) fn is_rate_low(&self) -> bool {
        self.outbound().pace.allowance.is_some_and(|allowance| allowance.low)
    }

    /// Whether v3 was looked for, so that v2 is a finding and not the manifest's choice.
    pub(super) const fn looks_for_v3(&self) -> bool {
        self.looked_for
    }

    /// The token in use.
    ///
    /// # Errors
    /// [`Error::NoCredentials`] while there is none.
    pub(super) fn token(&self) -> Result<Token, Error> {
        self.credentials.current().and_then(|set| token_of(&set)).ok_or(Error::NoCredentials)
    }

    /// The API that is used where there is a choice. A server that is not the cloud is asked once for v3.
    ///
    /// # Errors
    /// Whatever that question meets, other than that there is no v3.
    pub(super) async fn api(&self, deadline: Instant) -> Result<Api, Error> {
        let known = *self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(api) => Ok(api),
            None => self.look_for_v3(me(Api::V3), deadline).await.map(|(api, _)| api),
        }
    }

    /// Asks v3 who the token's user is, and remembers whether there is a v3.
    pub(super) async fn look_for_v3(&self, call: Call, deadline: Instant) -> Result<(Api, Option<String>), Error> {
        let (api, login) = match self.call::<v3::List<v3::User>>(&call, deadline).await {
            Ok(users) => (Api::V3, users.data.into_iter().next().map(|user| user.attributes.login)),
            // What stands in front of a Server answers pages, or 404, for paths that it does not know.
            Err(
                Error::NotFound
                | Error::Request(
                    RequestError::Foreign(404)
                    | RequestError::Html
                    | RequestError::NotJson
                    | RequestError::Unreadable(_),
                ),
            ) => (Api::V2, None),
            Err(error) => return Err(error),
        };
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = Some(api);
        Ok((api, login))
    }

    /// What is known of the API to be used, without asking.
    pub(super) fn known_api(&self) -> Option<Api> {
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call and gives the answer.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: &Call, deadline: Instant) -> Result<T, Error> {
        self.answer(call, deadline).await.map(|(_, answer)| answer)
    }

    /// As [`Session::call`], with the status, where it says something.
    pub(super) async fn answer<T: DeserializeOwned>(
        &self,
        call: &Call,
        deadline: Instant,
    ) -> Result<(StatusCode, T), Error> {
        let response = self.exchange(call, deadline).await?;
        client::json(call, &response)
    }

    /// As [`Session::call`], for an answer that is no JSON.
    pub(super) async fn bytes(&self, call: &Call, deadline: Instant) -> Result<Response, Error> {
        let response = self.exchange(call, deadline).await?;
        client::succeeded(call, &response)?;
        Ok(response)
    }

    async fn exchange(&self, call: &Call, deadline: Instant) -> Result<Response, Error> {
        let send = |token: Token| async move {
            let response = client::send(&self.way, call, &token, deadline).await?;
            let hides_it =
                response.status == StatusCode::NOT_FOUND && client::is_own(&response) && call.hides_a_refusal();
            let is_refused =
                client::refuses_the_token(&response) || (hides_it && self.is_unknown(&token, deadline).await);
            if is_refused { Err(Error::TokenRejected) } else { Ok(response) }
        };
        with_newest(self, deadline, send).await
    }

    /// Whether CircleCI does not know the token, which it tells only where it is asked whose the token is: to a token that was
    /// revoked it says of a project that there is none, by design (discuss.circleci.com/t/33558,
    /// promiseofcake/circleci-trigger-action #186).
    async fn is_unknown(&self, token: &Token, deadline: Instant) -> bool {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|(generation, at)| generation == token.generation && at.elapsed() < KNOWN_FOR) {
            return false;
        }
        let answer = client::send(&self.way, &me(Api::V2), token, deadline).await;
        let is_unknown = answer.is_ok_and(|answer| client::refuses_the_token(&answer));
        if !is_unknown {
            // Where there is no answer, too: what is not found is no reason to ask again and again.
            let now = Some((token.generation, Instant::now()));
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        is_unknown
    }
}

impl Keys for Session {
    type Key = Token;
    type Error = Error;

    async fn current(&self, _: Instant) -> Result<Token, Error> {
        self.token()
    }

    fn is_refusal(&self, error: &Error) -> bool {
        matches!(error, Error::TokenRejected)
    }

    async fn newer(&self, refused: &Token, error: Error, deadline: Instant) -> Result<Token, Error> {
        let newer = self.credentials.newer_than(refused.generation, deadline).await;
        newer.and_then(|set| token_of(&set)).ok_or(error)
    }

    async fn newer_refused(&self, newer: &Token, error: Error, _: Instant) -> Error {
        self.credentials.newer_refused(newer.generation);
        error
    }
}

/// Asks who the token's user is.
pub(super) fn me(api: Api) -> Call {
    match api {
        Api::V3 => Call::get(Api::V3, ["users"]).query("filter[user_id]", &"me"),
        Api::V2 | Api::V11 => Call::get(Api::V2, ["me"]),
    }
}

fn token_of(set: &CredentialSet) -> Option<Token> {
    set.field("token").map(|secret| Token { secret: secret.clone(), generation: set.generation })
}
