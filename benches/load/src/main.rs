//! What benchmarks need beside the programs that they measure: a platform that costs next to nothing, callers that do as
//! they are told, and the way to a platform with the outbound stack and without it. Plans come as JSON on standard input,
//! and what was seen goes as JSON to standard output.

mod caller;
mod calls;
mod cancelling;
mod outbound;
mod platform;

use std::{error::Error, io, net::SocketAddr};

use clap::{Parser, Subcommand, ValueEnum};
use serde::{Serialize, de::DeserializeOwned};

/// The platform and the callers of the benchmarks.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Answers as a Vault and as an Argo CD do, until it is killed.
    Platform {
        /// Address to listen at.
        listen: SocketAddr,
    },
    /// Calls a tool for some time: as often as it is answered, or so many times a second.
    Calls,
    /// Makes calls and goes away before they are answered.
    Cancel,
    /// Asks a platform for some time, with the outbound stack or without.
    Outbound {
        /// With or without it.
        stack: Stack,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Stack {
    /// As the product's tools do.
    With,
    /// By the HTTP client alone.
    Without,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().part {
        Part::Platform { listen } => lightly()?.block_on(platform::serve(listen)),
        Part::Calls => tell(&lightly()?.block_on(calls::run(plan()?))?),
        Part::Cancel => tell(&lightly()?.block_on(cancelling::run(plan()?))?),
        Part::Outbound { stack } => {
            // As the product's own.
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let plan = plan()?;
            tell(&match stack {
                Stack::With => runtime.block_on(outbound::with_stack(plan))?,
                Stack::Without => runtime.block_on(outbound::without_stack(plan))?,
            })
        }
    }
}

/// A runtime of one thread: the load has one core.
fn lightly() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn plan<T: DeserializeOwned>() -> serde_json::Result<T> {
    serde_json::from_reader(io::stdin())
}

fn tell(seen: &impl Serialize) -> Result<(), Box<dyn Error>> {
    Ok(serde_json::to_writer(io::stdout(), seen)?)
}
