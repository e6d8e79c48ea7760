//! `kubectl mcp`: looks at connectors and calls them from a person's machine, with that person's rights and nothing else.
//! A program of its own beside the server's, so that the image doesn't carry it.
//!
//! ```text
//! cli ─▶ cluster: reads objects ─▶ status, doctor: judge, pure ─▶ output: table, tree, JSON, YAML
//!     └▶ endpoint: forwards a port, mints a token, speaks MCP
//! ```

mod cli;
mod client_config;
mod cluster;
mod doctor;
mod endpoint;
mod output;
mod status;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
