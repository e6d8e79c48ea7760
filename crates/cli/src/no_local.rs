//! What stands in the place of `local` in a program that is built without it.

use std::{error::Error as StdError, ffi::OsString, process::ExitCode};

use clap::Args;

use crate::LocalCommand;
use telemetry::{LogFormat, LogSettings};

/// Where the program with `local` is.
const WHERE: &str = concat!(
    "this is the image's program, which has no `local`; for this machine, take mcp-connectors-",
    env!("CARGO_PKG_VERSION"),
    "-linux-amd64 (or arm64) of the release, or build it: cargo build --release --package mcp-connectors"
);

/// Takes whatever words `local` takes, and refuses.
#[derive(Args, Debug)]
#[command(before_help = WHERE)]
pub struct NoLocal {
    /// What the program with `local` takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<OsString>,
}

impl LocalCommand for NoLocal {
    fn log_settings(filter: Option<String>, format: Option<LogFormat>) -> LogSettings {
        crate::log_settings(filter, format)
    }

    async fn run(self, _: LogSettings) -> Result<ExitCode, Box<dyn StdError>> {
        Err(WHERE.into())
    }
}
