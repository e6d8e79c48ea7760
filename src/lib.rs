//! mcp-connectors: a Kubernetes operator that runs MCP connectors to DevOps platforms.

pub mod api;
pub mod credentials;
pub mod files;
pub mod outbound;
pub mod platforms;
pub mod server;
pub mod telemetry;
pub mod tools;
