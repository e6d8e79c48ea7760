//! What a story tells the double and asks of it, over HTTP on an address of its own:
//!
//! | Request | Does |
//! |---|---|
//! | `GET /fault` | says how the double is |
//! | `PUT /fault` | changes it: `{"mode": "slow", "seconds": 20, "path": "consoleText"}`; see [`Fault`] |
//! | `PUT /credentials` | accepts these and no others: `{"user": "bot", "api_token": "…"}` |
//! | `GET /requests` | requests by path, the refused ones with the reason, and offences; see [`Requests`] |
//!
//! It has no authentication: whoever reaches it may break the double.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, put},
};

use crate::{
    faults::{Control, Fault, Requests},
    platform::Credentials,
};

/// An answer to a wish that can't be met: what is wrong with it.
type Refused = (StatusCode, String);

/// The admin API.
pub fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/fault", get(fault).put(set))
        .route("/credentials", put(rotate))
        .route("/requests", get(requests))
        .with_state(control)
}

fn told(outcome: Result<(), String>) -> Result<StatusCode, Refused> {
    outcome.map(|()| StatusCode::NO_CONTENT).map_err(|why| (StatusCode::BAD_REQUEST, why))
}

async fn fault(State(control): State<Arc<Control>>) -> Json<Fault> {
    Json(control.fault())
}

async fn set(State(control): State<Arc<Control>>, Json(fault): Json<Fault>) -> Result<StatusCode, Refused> {
    told(control.set(fault))
}

async fn rotate(State(control): State<Arc<Control>>, Json(rotated): Json<Credentials>) -> Result<StatusCode, Refused> {
    told(control.rotate(rotated))
}

async fn requests(State(control): State<Arc<Control>>) -> Json<Requests> {
    Json(control.requests())
}
