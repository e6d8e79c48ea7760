//! mcp-connectors: a Kubernetes operator that runs MCP connectors to DevOps platforms as custom resources.
//!
//! The rooms, in the order in which data travels:
//! ```text
//! manifest ─▶ api ─▶ operator: dereference ─▶ validate ─▶ build ─▶ apply ─▶ Deployment, Service, configuration, …
//!                       ▲                                             │
//!                       └── observe: pods' /status ◀── server: probe ◀┤
//! agent in the cluster ─▶ Service ─▶ server: door ─▶ guards ─▶ platforms: tool ─▶ outbound ─▶ Vault, …
//!                                                                  ▲
//!                 Vault ─▶ agent ─▶ credentials: files ─────────────┘
//! ```

pub mod agent;
pub mod api;
pub mod cli;
pub mod credentials;
pub mod errors;
pub mod files;
pub mod kit;
mod listener;
pub mod local;
pub mod operator;
pub mod outbound;
pub mod platforms;
pub mod reference;
pub mod samples;
pub mod schema;
pub mod server;
pub mod telemetry;
pub mod tools;
mod vault_api;
