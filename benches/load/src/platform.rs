//! A platform: what connectors ask of a Vault and of an Argo CD, answered without work. The folder that is listed says how:
//! `after-20` after 20 ms, `hang-7` not at all. What came is told at `/bench/state`; `PUT /bench/token` says which token
//! alone is accepted from then on, and with an empty one that all are.

use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, put},
    serve::ListenerExt,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What came.
#[derive(Clone, Default, Serialize)]
struct Seen {
    /// Requests to the platform.
    requests: u64,
    /// Requests that wait for an answer that never comes.
    hanging: u64,
    /// When each token came first.
    tokens: BTreeMap<String, u64>,
    /// When the request for each folder that hangs was given up, by its name.
    given_up: BTreeMap<String, u64>,
    /// The one token that is accepted; without one, any.
    #[serde(skip)]
    accepted: Option<String>,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Seen>>);

impl World {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds since 1970, by the clock that every program of the machine has.
pub fn now() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
}

/// Serves for ever.
pub async fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let world = World::default();
    let platform = Router::new()
        .route("/v1/sys/health", get(|| async { Json(vault_health()) }))
        .route("/v1/auth/token/lookup-self", get(|| async { Json(vault_token()) }))
        .route("/v1/sys/internal/ui/mounts", get(|| async { Json(vault_mounts()) }))
        .route("/v1/secret/metadata/{folder}/", get(list))
        .route("/api/version", get(|| async { Json(json!({ "Version": "v3.2.9" })) }))
        .route("/api/v1/session/userinfo", get(|| async { Json(json!({ "loggedIn": true, "username": "bench" })) }))
        .route("/api/v1/account/can-i/{*right}", get(|| async { Json(json!({ "value": "yes" })) }))
        .route("/api/v1/applications", get(|| async { Json(applications()) }))
        .layer(from_fn_with_state(world.clone(), watch));
    let bench = Router::new()
        .route("/bench/state", get(async |State(world): State<World>| Json(world.lock().clone())))
        .route("/bench/token", put(accept));
    let listener = TcpListener::bind(address).await?.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, platform.merge(bench).with_state(world)).await?)
}

/// Takes note of a request, and refuses it if its token is another one than that which is accepted.
async fn watch(State(world): State<World>, request: Request, next: Next) -> Response {
    {
        let mut seen = world.lock();
        seen.requests += 1;
        if let Some(token) = token(request.headers()) {
            if !seen.tokens.contains_key(token) {
                seen.tokens.insert(token.to_owned(), now());
            }
            if seen.accepted.as_ref().is_some_and(|accepted| accepted != token) {
                return (StatusCode::FORBIDDEN, Json(json!({ "errors": ["permission denied"] }))).into_response();
            }
        }
    }
    next.run(request).await
}

async fn accept(State(world): State<World>, token: String) {
    world.lock().accepted = Some(token).filter(|token| !token.is_empty());
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-vault-token")?.to_str().ok()
}

async fn list(State(world): State<World>, Path(folder): Path<String>) -> Response {
    if folder.starts_with("hang") {
        world.lock().hanging += 1;
        let _until_given_up = Hanging { world, folder };
        return std::future::pending().await;
    }
    let Some(delay) = folder.strip_prefix("after-").and_then(|text| text.parse().ok()) else {
        return (StatusCode::NOT_FOUND, Json(json!({ "errors": [] }))).into_response();
    };
    tokio::time::sleep(Duration::from_millis(delay)).await;
    Json(json!({ "data": { "keys": ["api", "billing", "checkout", "gateway", "ledger", "mail", "search", "web"] } }))
        .into_response()
}

/// A request that waits; dropped when its connection is closed.
struct Hanging {
    world: World,
    folder: String,
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let mut seen = self.world.lock();
        seen.hanging -= 1;
        seen.given_up.insert(std::mem::take(&mut self.folder), now());
    }
}

fn vault_health() -> Value {
    json!({ "initialized": true, "sealed": false, "standby": false, "version": "1.21.0", "cluster_name": "bench" })
}

fn vault_token() -> Value {
    json!({ "data": { "display_name": "bench", "path": "auth/token/create", "policies": ["default"], "ttl": 0,
        "renewable": false, "num_uses": 0, "expire_time": null, "orphan": true, "type": "service" } })
}

fn vault_mounts() -> Value {
    let mount = json!({ "type": "kv", "description": "", "options": { "version": "2" } });
    json!({ "data": { "auth": {}, "secret": { "secret/": mount } } })
}

fn applications() -> Value {
    let app = |name: &str| {
        json!({
            "metadata": { "name": name, "namespace": "argocd" },
            "spec": {
                "project": "default",
                "source": { "repoURL": "https://git.example.com/apps.git", "path": name, "targetRevision": "main" },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": name },
            },
            "status": { "sync": { "status": "Synced" }, "health": { "status": "Healthy" } },
        })
    };
    let items = ["api", "billing", "checkout", "ledger", "search", "web"].map(app);
    json!({ "items": items, "metadata": {} })
}
