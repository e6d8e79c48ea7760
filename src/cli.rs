//! The command line: every setting of every room, with its environment variable and its default.

use std::{error::Error as StdError, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use strum::IntoEnumIterator;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Reason, crd, duration::ApiDuration},
    operator::{self, context::Settings},
    platforms, samples,
};

/// Kubernetes operator that runs MCP connectors to DevOps platforms as custom resources.
#[derive(Parser, Debug)]
#[command(name = "mcp-connectors", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// What is logged: error, warn, info, debug or trace, or a filter such as `info,kube=debug`
    #[arg(long, global = true, env = "MCP_CONNECTORS_LOG_LEVEL", default_value = "info")]
    log_level: String,

    /// Form of the log lines
    #[arg(long, global = true, env = "MCP_CONNECTORS_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One JSON object a line
    Json,
    /// For a person at a terminal
    Text,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Runs the operator: reconciles McpConnectors and CredentialSources
    Operator(Box<OperatorArgs>),
    /// Prints the CustomResourceDefinitions as YAML
    Crd,
    /// Writes a sample manifest for every platform
    Samples {
        /// Directory to write to; it must exist
        #[arg(long)]
        output: PathBuf,
    },
    /// Prints every reason that a condition can have, and when it is given
    Reasons,
    /// Prints the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args, Debug)]
struct OperatorArgs {
    /// Image of the connectors' pods: the operator's own
    #[arg(long, env = "MCP_CONNECTORS_CONNECTOR_IMAGE")]
    connector_image: String,

    /// Pull policy of that image
    #[arg(long, env = "MCP_CONNECTORS_CONNECTOR_IMAGE_PULL_POLICY", default_value = "IfNotPresent",
          value_parser = ["Always", "IfNotPresent", "Never"])]
    connector_image_pull_policy: String,

    /// The one namespace to watch; left out or empty, all of them
    #[arg(long, env = "WATCH_NAMESPACE")]
    watch_namespace: Option<String>,

    /// Namespace the operator runs in
    #[arg(long, env = "POD_NAMESPACE")]
    operator_namespace: String,

    /// ServiceAccount the operator runs as
    #[arg(long, env = "POD_SERVICE_ACCOUNT")]
    operator_service_account: String,

    /// Name of this replica
    #[arg(long, env = "POD_NAME")]
    instance: String,

    /// Namespace whose pods may scrape the connectors' metrics; left out, none may
    #[arg(long, env = "MONITORING_NAMESPACE")]
    monitoring_namespace: Option<String>,

    /// The cluster's DNS domain
    #[arg(long, env = "MCP_CONNECTORS_CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,

    /// Time between two questions to a connector's replicas; jitter only shortens it
    #[arg(long, env = "MCP_CONNECTORS_POLL_INTERVAL", default_value = "15s", value_parser = poll_interval)]
    poll_interval: Duration,

    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "MCP_CONNECTORS_ADDRESS", default_value = "0.0.0.0:8080")]
    address: SocketAddr,

    /// File with the token that proves to connectors who the operator is
    #[arg(
        long,
        env = "MCP_CONNECTORS_TOKEN_FILE",
        default_value = "/var/run/secrets/mcp-connectors.io/operator/token"
    )]
    token_file: PathBuf,

    /// Reconciles at a time, of each kind
    #[arg(long, env = "MCP_CONNECTORS_CONCURRENCY", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
}

fn poll_interval(text: &str) -> Result<Duration, String> {
    let ApiDuration(interval) = text.parse().map_err(|error| format!("{error}"))?;
    if (Duration::from_secs(1)..=Duration::from_mins(5)).contains(&interval) {
        Ok(interval)
    } else {
        Err("the poll interval must be between 1s and 5m".to_owned())
    }
}

impl From<OperatorArgs> for Settings {
    fn from(args: OperatorArgs) -> Self {
        let not_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            connector_image: args.connector_image,
            connector_image_pull_policy: args.connector_image_pull_policy,
            watch_namespace: not_empty(args.watch_namespace),
            operator_namespace: args.operator_namespace,
            operator_service_account: args.operator_service_account,
            instance: args.instance,
            monitoring_namespace: not_empty(args.monitoring_namespace),
            cluster_domain: args.cluster_domain,
            poll_interval: args.poll_interval,
            address: args.address,
            token_file: args.token_file,
            concurrency: args.concurrency,
        }
    }
}

/// Runs the command to its end.
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Box<dyn StdError>> {
    match cli.command {
        Command::Operator(args) => {
            init_logs(&cli.log_level, cli.log_format)?;
            block_on(async {
                let shutdown = shutdown_signal()?;
                operator::run((*args).into(), shutdown).await.map_err(Into::into)
            })
        }
        Command::Crd => {
            for crd in crd::all()? {
                println!("---\n{}", serde_saphyr::to_string(&crd)?.trim_end());
            }
            Ok(())
        }
        Command::Samples { output } => {
            for (name, text) in samples::all()? {
                let path = output.join(name);
                std::fs::write(&path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))?;
            }
            Ok(())
        }
        Command::Reasons => {
            for reason in Reason::iter() {
                println!("core\t{reason}");
            }
            for (platform, reasons) in platforms::declared_reasons() {
                for reason in reasons {
                    println!("{platform}\t{}\t{}", reason.name, reason.meaning);
                }
            }
            Ok(())
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mcp-connectors", &mut std::io::stdout());
            Ok(())
        }
    }
}

fn block_on<T>(task: impl Future<Output = Result<T, Box<dyn StdError>>>) -> Result<T, Box<dyn StdError>> {
    // One provider of cryptography in the process; whoever comes second is content with the first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(task)
}

/// A token that is cancelled at SIGTERM or SIGINT.
fn shutdown_signal() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(token)
}

/// An error with what caused it, each once.
fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = source.source();
    }
    text
}

fn init_logs(level: &str, format: LogFormat) -> Result<(), Box<dyn StdError>> {
    let filter = tracing_subscriber::EnvFilter::try_new(level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Json => {
            builder.json().flatten_event(true).try_init().map_err(|error| -> Box<dyn StdError> { error })?;
        }
        LogFormat::Text => builder.try_init().map_err(|error| -> Box<dyn StdError> { error })?,
    }
    Ok(())
}
