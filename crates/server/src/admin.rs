//! The admin port: probes of the kubelet, metrics, the platform's health, and the replica's state for the operator. It
//! never asks the platform: it answers from the last probe. The operator may ask for another one, and for the credential
//! files to be read again; both are done in the background.

use std::sync::Arc;

use axum::{Router, body::Body, extract::Path, extract::State, routing::get, routing::post};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    access::Caller,
    auth::Authenticator,
    guards::Guards,
    handler::PROTOCOL_VERSIONS,
    lifecycle::Lifecycle,
    refusal::{Refusal, json_response},
    state::ReplicaState,
};
use api::{PROBE_PATH, RELOAD_PATH, Reason};
use credentials::CredentialsHandle;
use kit::{HealthStatus, ProbeReport};
use pod_api::status::ReplicaStatus;

/// What the admin port shows.
pub struct Admin {
    /// Digest of the configuration.
    pub config_digest: String,
    /// The tools, and the calls that run.
    pub guards: Arc<Guards>,
    /// Knows the operator.
    pub authenticator: Arc<Authenticator>,
    /// How the replica does.
    pub state: Arc<ReplicaState>,
    /// The credentials, to have their files read again.
    pub credentials: CredentialsHandle,
    /// Asks the prober for a probe at once.
    pub probe: Arc<Notify>,
    /// How far the replica is in its life.
    pub lifecycle: Lifecycle,
}

impl Admin {
    /// The replica's state.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        ReplicaStatus {
            connector_uid: self.guards.connector_uid.clone(),
            config_digest: self.config_digest.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_versions: PROTOCOL_VERSIONS.iter().map(|version| version.as_str().to_owned()).collect(),
            tool_count: self.guards.catalogue.len(),
            tool_digest: self.guards.catalogue.digest().to_owned(),
            credentials: self.state.credentials(),
            probe: self.state.finding().map(|finding| finding.report.clone()),
            details: self.state.details(),
        }
    }

    /// The platform's health, as monitors read it.
    fn health(&self) -> (StatusCode, Value) {
        let Some(finding) = self.state.finding() else {
            let body = json!({
                "status": HealthStatus::Error,
                "reason": Reason::Starting.as_str(),
                "message": "the platform has not been probed yet",
                "failure_count": 0,
                "checks": [],
                "latency_ms": null,
                "version": null,
                "state": null,
            });
            return (StatusCode::SERVICE_UNAVAILABLE, body);
        };
        // A fault that may pass makes no error of what was well, until it repeats.
        let doubt = finding.doubt.as_ref().filter(|_| finding.report.status != HealthStatus::Error);
        let report = doubt.map_or_else(
            || finding.report.clone(),
            |doubt| ProbeReport { status: HealthStatus::Degraded, ..doubt.clone() },
        );
        let status = match report.status {
            HealthStatus::Ok | HealthStatus::Degraded => StatusCode::OK,
            HealthStatus::Error => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = json!({
            "status": report.status,
            "reason": report.reason,
            "message": report.message,
            "failure_count": finding.failure_count,
            "checks": report.checks,
            "latency_ms": u64::try_from(finding.latency.as_millis()).unwrap_or(u64::MAX),
            "version": finding.report.version,
            "state": finding.report.state,
        });
        (status, body)
    }
}

/// The routes.
pub fn build_router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/health/{platform}", get(platform_health))
        .route("/status", get(status))
        .route(PROBE_PATH, post(probe))
        .route(RELOAD_PATH, post(reload))
        .with_state(admin)
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response<Body> {
    if admin.lifecycle.is_ready() {
        return Response::new(Body::from("ok"));
    }
    let why = match &admin.lifecycle {
        life if life.draining.is_cancelled() => "draining",
        life if life.crowd.is_full() => "no connection is left for MCP",
        _ => "starting",
    };
    let mut response = Response::new(Body::from(why));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response<Body> {
    let text =
        admin.state.metrics.text(&admin.state.credentials(), admin.guards.slots.in_use(), admin.lifecycle.is_ready());
    let mut response = Response::new(Body::from(text));
    let form = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, form);
    response
}

async fn health(State(admin): State<Arc<Admin>>) -> Response<Body> {
    let (status, body) = admin.health();
    json_response(status, &body)
}

async fn platform_health(State(admin): State<Arc<Admin>>, Path(platform): Path<String>) -> Response<Body> {
    if platform != admin.guards.platform {
        let message = format!("this connector's platform is {}", admin.guards.platform);
        return Refusal::new(StatusCode::NOT_FOUND, "unknown_platform", message).into_response();
    }
    health(State(admin)).await
}

async fn status(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response<Body> {
    if let Err(refusal) = admit_operator(&admin, &headers, "read the status of a replica").await {
        return refusal.into_response();
    }
    if let Ok(body) = serde_json::to_value(admin.status()) {
        json_response(StatusCode::OK, &body)
    } else {
        let message = "the status could not be written";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).into_response()
    }
}

async fn probe(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response<Body> {
    if let Err(refusal) = admit_operator(&admin, &headers, "ask for a probe").await {
        return refusal.into_response();
    }
    tracing::info!("a probe was asked for");
    admin.probe.notify_one();
    accepted()
}

/// Reads the files again, and has what is mounted tried on the platform even if it is what was in use.
async fn reload(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response<Body> {
    if let Err(refusal) = admit_operator(&admin, &headers, "ask for the credentials to be read again").await {
        return refusal.into_response();
    }
    tracing::info!("reading the credentials again was asked for");
    admin.credentials.reread();
    admin.probe.notify_one();
    accepted()
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Lets the operator through, by its token.
async fn admit_operator(admin: &Admin, headers: &HeaderMap, act: &str) -> Result<(), Refusal> {
    match admin.authenticator.authenticate(headers).await {
        Ok(Caller::Operator) => Ok(()),
        Ok(_) => Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", format!("only the operator may {act}"))),
        Err(failure) => {
            admin.state.metrics.refused_token(failure.reason());
            Err(Refusal::new(StatusCode::UNAUTHORIZED, failure.reason(), failure.to_string())
                .with_header(header::WWW_AUTHENTICATE, "Bearer"))
        }
    }
}
