//! The cluster's token issuer and its public keys, which every connector needs to verify its callers without an API
//! token of its own. Asked for again every minute, because keys rotate; what was read last stays in use meanwhile. With them
//! the API server's own audiences are read again.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    api_audiences::{self, ApiAudiences},
    cache::root_cause,
};
use pod_api::config::TokenKeys;

const INTERVAL: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(5);
/// Time that one look at the keys may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<BTreeMap<String, Value>>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to build the request")]
    Request(#[source] http::Error),
    #[error("failed to read the cluster's token keys")]
    Fetch(#[source] kube::Error),
    #[error("the API server did not answer within {TIMEOUT:?}")]
    Timeout,
}

/// What is followed, and where it is told.
pub struct About {
    /// Of the API server.
    pub client: Client,
    /// File with the operator's own token for the API server; none outside of a cluster.
    pub own_token: Option<PathBuf>,
    /// The keys.
    pub keys: watch::Sender<Option<TokenKeys>>,
    /// The audiences that the API server accepts.
    pub api_audiences: watch::Sender<ApiAudiences>,
}

/// Reads all of it for ever. `changed` is called whenever something is other than before.
pub async fn follow(about: About, changed: impl Fn()) {
    let About { client, own_token, keys: sender, api_audiences } = about;
    loop {
        // Before the keys, for which everybody waits.
        if api_audiences::refresh(own_token.as_deref(), &api_audiences).await {
            changed();
        }
        let pause = match tokio::time::timeout(TIMEOUT, fetch(&client)).await.unwrap_or(Err(Error::Timeout)) {
            Ok(keys) => {
                let is_new = sender.send_if_modified(|current| {
                    let is_new = current.as_ref() != Some(&keys);
                    if is_new {
                        *current = Some(keys.clone());
                    }
                    is_new
                });
                if is_new {
                    info!(issuer = %keys.issuer, keys = keys.keys.len(), "token keys read");
                    changed();
                }
                INTERVAL
            }
            Err(error) => {
                warn!(error = %root_cause(&error), "reading the cluster's token keys failed; it is tried again");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn fetch(client: &Client) -> Result<TokenKeys, Error> {
    let get = |path: &str| http::Request::get(path).body(Vec::new()).map_err(Error::Request);
    let discovery: Discovery = client.request(get("/.well-known/openid-configuration")?).await.map_err(Error::Fetch)?;
    let mut set: KeySet = client.request(get("/openid/v1/jwks")?).await.map_err(Error::Fetch)?;
    // One order, so that equal keys give equal files.
    set.keys.sort_by(|a, b| a.get("kid").and_then(Value::as_str).cmp(&b.get("kid").and_then(Value::as_str)));
    Ok(TokenKeys { issuer: discovery.issuer, previous: None, keys: set.keys })
}
