//! `mcp-connectors`: parses its arguments and starts one room.

use std::process::ExitCode;

use clap::Parser;
use mcp_connectors::cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::parse())
}
