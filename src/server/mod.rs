//! The door: MCP over HTTP, and everything that stands between a caller and a tool. Knows no platform.

pub mod config;
pub mod status;
