//! `/livez`, `/readyz` and `/metrics` of the operator.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::encoding::text::encode;

use super::{health::WatchHealth, metrics::SharedRegistry};

struct Answers {
    health: WatchHealth,
    registry: SharedRegistry,
}

/// Serves for as long as it is polled: what ends the process must not wait for it, nor end with it.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve(address: SocketAddr, health: WatchHealth, registry: SharedRegistry) -> std::io::Result<()> {
    let listener = common::listener::bind(address).await?;
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Answers { health, registry }));
    axum::serve(listener, router).await
}

async fn livez(State(answers): State<Arc<Answers>>) -> Response {
    let stuck = answers.health.stuck();
    if stuck.is_empty() {
        return "ok\n".into_response();
    }
    let message = format!("the watches of {} make no progress\n", stuck.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
}

async fn readyz(State(answers): State<Arc<Answers>>) -> Response {
    let starting = answers.health.starting();
    if starting.is_empty() {
        return "ok\n".into_response();
    }
    let message = format!("the watches of {} have not listed their objects yet\n", starting.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, message).into_response()
}

async fn metrics(State(answers): State<Arc<Answers>>) -> Response {
    let mut text = String::new();
    let registry = answers.registry.lock().unwrap_or_else(PoisonError::into_inner);
    if encode(&mut text, &registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}
