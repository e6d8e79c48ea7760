//! mcp-connectors: a Kubernetes operator that runs MCP connectors to DevOps platforms as custom resources. This is the
//! program's command line, and what it prints; what it starts are crates of their own.
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

pub mod cli;
pub mod reference;
pub mod samples;
