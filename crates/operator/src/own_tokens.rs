//! The tokens with which the operator proves to a connector's pods who it is: one for each connector, with an audience that
//! names it. Whoever runs a pod that passes for a connector's is shown a token that opens that connector only.
//!
//! They are the operator's own (TokenRequest for its own ServiceAccount), live in memory, and last an hour.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use tokio::time::Instant;

use super::cache::root_cause;
use pod_api::config::{OPERATOR_AUDIENCE, operator_audience};

/// How long a token is asked for. The API server may give less.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// Time that asking for one may take: the pods are to be asked within the same reconcile.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Time after a refusal in which it isn't asked again for the same connector.
const PAUSE: Duration = Duration::from_secs(10);

/// What is held for each connector, by its uid. Of one connector only one asks at a time.
type Held = HashMap<String, Arc<tokio::sync::Mutex<Option<Entry>>>>;

/// The operator's tokens.
pub struct OwnTokens {
    api: Api<ServiceAccount>,
    account: String,
    held: Mutex<Held>,
}

/// A token, or that there was none, and until when this is good.
struct Entry {
    token: Option<String>,
    until: Instant,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API server did not answer within {TIMEOUT:?}")]
    Timeout,
    #[error("failed to ask for it")]
    Refused(#[source] kube::Error),
    #[error("the API server answered without a token")]
    Empty,
}

impl OwnTokens {
    /// Those of the ServiceAccount that the operator runs as.
    pub fn new(client: Client, namespace: &str, account: String) -> Self {
        Self { api: Api::namespaced(client, namespace), account, held: Mutex::default() }
    }

    /// The token for a connector; nothing if there is none to be had, which is told in the log.
    pub async fn for_connector(&self, uid: &str, namespace: &str, name: &str) -> Option<String> {
        let entry = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(held.entry(uid.to_owned()).or_default())
        };
        let mut entry = entry.lock().await;
        let now = Instant::now();
        if let Some(entry) = entry.as_ref().filter(|entry| now < entry.until) {
            return entry.token.clone();
        }
        let (token, lasts) = match self.ask(namespace, name).await {
            // A fifth of its time is left for those that hold it still.
            Ok((token, lifetime)) => (Some(token), lifetime.mul_f64(0.8)),
            Err(error) => {
                tracing::warn!(
                    namespace, connector = name, error = %root_cause(&error),
                    "getting the operator's token for a connector failed, so its pods can't be asked; it is tried again"
                );
                (None, PAUSE)
            }
        };
        *entry = Some(Entry { token: token.clone(), until: now + lasts });
        token
    }

    async fn ask(&self, namespace: &str, name: &str) -> Result<(String, Duration), Error> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                // The second is for pods of versions that know no other; to the rest it means nothing.
                audiences: Some(vec![operator_audience(namespace, name), OPERATOR_AUDIENCE.to_owned()]),
                expiration_seconds: i64::try_from(LIFETIME.as_secs()).ok(),
                bound_object_ref: None,
            }),
            ..TokenRequest::default()
        };
        let parameters = PostParams::default();
        let asked = self.api.create_token_request(&self.account, &parameters, &request);
        let given = tokio::time::timeout(TIMEOUT, asked).await.map_err(|_| Error::Timeout)?.map_err(Error::Refused)?;
        let seconds = given.spec.and_then(|spec| spec.expiration_seconds);
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let token = given.status.and_then(|status| status.token);
        let token = token.filter(|token| !token.is_empty()).ok_or(Error::Empty)?;
        Ok((token, seconds.map_or(LIFETIME, Duration::from_secs).min(LIFETIME)))
    }

    /// Forgets connectors that are gone.
    pub fn forget_others(&self, living: &dyn Fn(&str) -> bool) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| living(uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::testing::ApiServer;

    fn tokens(server: &ApiServer) -> OwnTokens {
        OwnTokens::new(server.client(), "operator-namespace", "operator-account".into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connectors_token_names_it_and_is_renewed_before_it_ends() {
        let server = ApiServer::default();
        let tokens = tokens(&server);
        let first = tokens.for_connector("one", "team", "vault").await.unwrap();
        assert_eq!(first, "token 1 for mcp-connectors.io/operator/team/vault, mcp-connectors.io/operator");
        let other = tokens.for_connector("two", "other", "vault").await.unwrap();
        assert_eq!(other, "token 2 for mcp-connectors.io/operator/other/vault, mcp-connectors.io/operator");
        tokio::time::sleep(LIFETIME.mul_f64(0.75)).await;
        assert_eq!(tokens.for_connector("one", "team", "vault").await.as_ref(), Some(&first));
        tokio::time::sleep(LIFETIME.mul_f64(0.1)).await;
        assert!(tokens.for_connector("one", "team", "vault").await.unwrap().starts_with("token 3 "));
        tokens.forget_others(&|uid| uid == "two");
        assert_eq!(tokens.held.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_asked_about_again_after_a_while_only() {
        let server = ApiServer::default();
        let tokens = tokens(&server);
        server.refuse("serviceaccounts/token");
        for _ in 0..20 {
            assert_eq!(tokens.for_connector("one", "team", "vault").await, None);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(server.requests().len(), 2);
        server.refuse("nothing");
        tokio::time::sleep(PAUSE).await;
        assert!(tokens.for_connector("one", "team", "vault").await.is_some());
    }
}
