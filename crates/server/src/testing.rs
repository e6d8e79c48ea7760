//! A platform, keys and a client for the server's tests.

mod client;
mod keys;
mod platform;
mod server;
mod told;

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rmcp::model::RequestId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    LoadedConfig, Ports, ServeError, ServeSettings, Server, Stop, Upstream,
    access::Caller,
    audit::{Audit, CallDescription},
    guards::{Outcome, cache::AnswerCache, notes::Notes},
    metrics::Metrics,
    observers::{EndedCall, Words, recent_mutations::RecentMutations},
    operation::Operation,
    state::ReplicaState,
};
use api::{
    connector::{AccessRule, Mutations, OutputSchemas},
    duration::ApiDuration,
    endpoint::AddressPolicy,
    pattern::NamePattern,
    platform::PlatformSpec,
};
use credentials::{CredentialsHandle, CredentialsState};
use kit::{CredentialVerdict, HealthStatus, Platform, ProbeReport};
use outbound::{self, BreakerPosition, BreakerState, BulkheadState, Outbound, OutboundState, PaceState};
use pod_api::config::{
    AccessConfig, CacheConfig, CallRateConfig, ConnectorIdentity, Layout, LimitsConfig, OPERATOR_AUDIENCE,
    OperatorIdentity, PlatformLimitsConfig, ProbeConfig, RepeatsConfig, ServeConfig, TOKEN_KEYS_FILE, TelemetryConfig,
    ToolsConfig, operator_audience,
};
use tools::{CallContext, Effect, Preview, ToolDeclaration, ToolEntry, ToolError};

pub use self::{client::*, keys::*, platform::*, server::*, told::*};

pub const AUDIENCE: &str = "http://mcp-fake.agents.svc:8080/mcp";
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
