//! The server as a caller sees it: requests over loopback, a fake platform behind, real keys.

mod acting;
mod admin_port;
mod callers;
mod calls;
mod connections;
mod ending;
mod eras;
mod limits;
mod requests;
mod settings;
mod telling;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    access::Access, admin::Admin, auth::Authenticator, catalogue::Catalogue, guards::Guards, server::ADMIN_CONNECTIONS,
    testing::*, *,
};
use api::{connector::Mutations, duration::ApiDuration, pattern::NamePattern};
use pod_api::config::{AccessConfig, CONFIG_FILE, ConfigError, PLATFORM_CA_FILE, ServeConfig};

const ONE_MINUTE: Duration = Duration::from_mins(1);

fn tool_names(reply: &Reply) -> Vec<String> {
    reply.json()["result"]["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
}

/// The error of a failed tool call.
fn tool_error(answer: &Value) -> Value {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(answer["result"].get("structuredContent").is_none(), "it would have to fit the output schema");
    serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap()
}

async fn until(receiver: &mut tokio::sync::watch::Receiver<usize>, count: usize) {
    tokio::time::timeout(ONE_MINUTE, receiver.wait_for(|have| *have == count)).await.unwrap().unwrap();
}
