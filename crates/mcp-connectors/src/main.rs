//! `mcp-connectors`: parses its arguments and starts one room. It has every subcommand; the image's program has no `local`.

mod local;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, run};

fn main() -> ExitCode {
    run(Cli::<local::LocalArgs>::parse())
}
