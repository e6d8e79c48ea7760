//! The image's program: every subcommand but `local`, and nothing of what only `local` needs. In the image it is
//! `/mcp-connectors`.

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, NoLocal, run};

fn main() -> ExitCode {
    run(Cli::<NoLocal>::parse())
}
