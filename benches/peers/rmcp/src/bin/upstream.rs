//! The platform of the benchmark: answers what the connector asks of a Vault, and lists a folder after 5 ms.
//!
//! Arguments: the address to listen on.

use std::{error::Error, time::Duration};

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

const DELAY: Duration = Duration::from_millis(5);

async fn health() -> Json<Value> {
    Json(json!({"initialized": true, "sealed": false, "standby": false, "version": "1.21.0", "cluster_name": "bench"}))
}

async fn token() -> Json<Value> {
    Json(json!({"data": {"display_name": "bench", "path": "auth/token/create", "policies": ["default"], "ttl": 0,
        "renewable": false, "num_uses": 0, "expire_time": null, "orphan": true, "type": "service"}}))
}

async fn mounts() -> Json<Value> {
    Json(json!({"data": {"auth": {}, "secret": {"secret/": {"type": "kv", "description": "", "options":
        {"version": "2"}}}}}))
}

async fn list() -> Json<Value> {
    tokio::time::sleep(DELAY).await;
    Json(json!({"data": {"keys": ["api", "billing", "checkout", "gateway", "ledger", "mail", "search", "web"]}}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: upstream ADDRESS")?;
    let app = Router::new()
        .route("/v1/sys/health", get(health))
        .route("/v1/auth/token/lookup-self", get(token))
        .route("/v1/sys/internal/ui/mounts", get(mounts))
        .route("/v1/secret/metadata/apps/", get(list));
    let listener = tokio::net::TcpListener::bind(address).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, app).await?)
}
