//! mcp-connectors: a Kubernetes operator that runs MCP connectors to DevOps platforms.

pub mod api;
pub mod credentials;
pub mod outbound;
pub mod platforms;
pub mod server;
pub mod tools;
