//! mcp-connectors: a Kubernetes operator that runs MCP connectors to DevOps platforms as custom resources. This is the
//! command line: every setting of every room, with its environment variable and its default, what each subcommand starts,
//! and what it prints. Two programs have it: `mcp-connectors`, for people's machines, and the image's, which has no `local`.
//!
//! The rooms, in the order in which data travels:
//! ```text
//! manifest ─▶ api ─▶ operator: dereference ─▶ validate ─▶ build ─▶ apply ─▶ Deployment, Service, configuration, …
//!                       ▲                                             │
//!                       └── observe: pods' /status ◀── server: probe ◀┤
//! agent in the cluster ─▶ Service ─▶ server: door ─▶ guards ─▶ platforms: tool ─▶ outbound ─▶ Vault, …
//!                                                                  ▲
//!                 Vault ─▶ agent ─▶ credentials: files ─────────────┘
//! ```

mod log_level;
mod no_local;
pub mod reference;
pub mod samples;

use std::{
    error::Error as StdError,
    fmt::Debug,
    io::{ErrorKind, Write},
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use strum::IntoEnumIterator;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use self::no_local::NoLocal;

use agent::pod::{self, AgentSettings};
use api::{
    Reason, crd,
    credential_source::{Host, NotAHost},
    duration::ApiDuration,
    endpoint::{AddressPolicy, PlatformUrl},
    pattern::NamePattern,
    platform,
    scope::{Scope, ScopeError},
};
use common::{errors::with_causes, foreign::whole_line};
use credentials::identity::PodIdentityAgent;
use operator::{
    self,
    connector::validate::{ALLOWED_ANNOTATIONS, ALLOWED_LABELS, ALLOWED_TOLERATIONS, AllowedWorkload},
    context::Settings,
    rollout::{Limits, Share},
};
use pod_api::{
    agent::IDENTITY_DIRECTORY,
    config::{CONFIG_DIRECTORY, CREDENTIALS_DIRECTORY, ConfigError, EXIT_CONFIG_ALTERED},
};
use server::{self, LoadedConfig, ServeError, ServeSettings, audit::chain};
use telemetry::{self, LogSettings};

/// How long a server waits for its own configuration: a kubelet that is behind gives a new pod the one before for a moment.
const CONFIG_PATIENCE: Duration = Duration::from_secs(10);
/// Where the kubelet looks for a container's last words, unless the container says another place.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Exit code of `local` when nothing could be checked or served.
const COULD_NOT: u8 = 2;

/// The arguments of `local`, and what it does with them.
pub trait LocalCommand: Args + Debug {
    /// How it logs, by what the command line says.
    #[must_use]
    fn log_settings(filter: Option<String>, format: Option<telemetry::LogFormat>) -> LogSettings;

    /// Runs it to its end.
    ///
    /// # Errors
    /// When nothing could be checked or served.
    fn run(self, logs: LogSettings) -> impl Future<Output = Result<ExitCode, Box<dyn StdError>>>;
}

/// What the program is, as its help begins.
const ABOUT: &str = "A Kubernetes operator that runs MCP connectors to DevOps platforms as custom resources";

/// Kubernetes operator that runs MCP connectors to DevOps platforms as custom resources.
#[derive(Parser, Debug)]
#[command(name = "mcp-connectors", version, about = ABOUT, long_about = None, propagate_version = true)]
pub struct Cli<Local: LocalCommand> {
    #[command(subcommand)]
    command: Command<Local>,

    /// What is logged: error, warn, info, debug or trace, or a filter such as `info,mcp_connectors=debug`; info by
    /// default, and warn for `local`
    #[arg(long, global = true, env = "MCP_CONNECTORS_LOG_LEVEL")]
    log_level: Option<String>,

    /// Form of the log lines; json by default, and text for `local`
    #[arg(long, global = true, env = "MCP_CONNECTORS_LOG_FORMAT")]
    log_format: Option<LogFormat>,
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
enum Command<Local: LocalCommand> {
    /// Runs the operator: reconciles McpConnectors and CredentialSources
    Operator(Box<OperatorArgs>),
    /// Serves one connector, as the operator starts it in a pod
    Serve(ServeArgs),
    /// Checks or serves the same manifests on this machine, without a cluster
    Local(Box<Local>),
    /// Fetches the credentials of one connector from Vault, as the operator starts it beside the server
    Agent(AgentArgs),
    /// Prints the CustomResourceDefinitions as YAML
    Crd,
    /// Writes a sample manifest for every platform
    Samples {
        /// Directory to write to; it must exist
        #[arg(long)]
        output: PathBuf,
    },
    /// Prints what each platform's connector can do, as Markdown
    Platforms,
    /// Prints every field of the custom resources, as Markdown
    Api,
    /// Prints every reason that a condition can have, and when it is given
    Reasons,
    /// Works on audit records
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Prints the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Subcommand, Debug)]
enum AuditCommand {
    /// Checks that no record of a file was changed, left out or put in between; the records must be chained
    /// (spec.telemetry.audit.hashChain)
    Verify {
        /// The file, as `audit.log`, or standard output of a connector's pod with the other lines taken out
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct ServeArgs {
    /// Where the operator's ConfigMap is mounted
    #[arg(long, default_value = CONFIG_DIRECTORY)]
    config_directory: PathBuf,

    /// SHA-256 of the files there that this pod was made with, in hexadecimal digits; others are not used. Left out, any are
    #[arg(long)]
    config_digest: Option<String>,

    /// Where the credential fields are mounted, one file each
    #[arg(long, default_value = CREDENTIALS_DIRECTORY)]
    credentials_directory: PathBuf,

    /// Where the agent of EKS Pod Identity gives credentials, as EKS tells its pods
    #[arg(long, env = "AWS_CONTAINER_CREDENTIALS_FULL_URI")]
    pod_identity_url: Option<Url>,

    /// File with the token that it is shown, as EKS tells its pods
    #[arg(long, env = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")]
    pod_identity_token_file: Option<PathBuf>,
}

impl From<ServeArgs> for ServeSettings {
    fn from(args: ServeArgs) -> Self {
        let agent = args.pod_identity_url.zip(args.pod_identity_token_file);
        Self {
            config_directory: args.config_directory,
            credentials_directory: args.credentials_directory,
            pod_identity_agent: agent.map(|(url, token_file)| PodIdentityAgent { url, token_file }),
            ..Self::default()
        }
    }
}

#[derive(Args, Debug)]
struct AgentArgs {
    /// Where the operator's ConfigMap is mounted
    #[arg(long = "config-directory", default_value = CONFIG_DIRECTORY)]
    config: PathBuf,

    /// SHA-256 of the files there that this pod was made with, in hexadecimal digits; others are not used. Left out, any are
    #[arg(long = "config-digest")]
    digest: Option<String>,

    /// Where lies what it logs in with
    #[arg(long = "identity-directory", default_value = IDENTITY_DIRECTORY)]
    identity: PathBuf,

    /// Where it writes the credential fields, one file each
    #[arg(long = "credentials-directory", default_value = CREDENTIALS_DIRECTORY)]
    credentials: PathBuf,
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

    /// Namespaces to leave to others, separated by commas; not together with the one namespace to watch
    #[arg(long, env = "IGNORE_NAMESPACES", value_delimiter = ',', value_parser = namespace_or_nothing)]
    ignore_namespaces: Vec<String>,

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
    #[arg(long, env = "MCP_CONNECTORS_ADDRESS", default_value = "[::]:8080")]
    address: SocketAddr,

    /// Was a token for all connectors. Taken so that no start-up breaks, and without effect: each connector is shown its own
    #[arg(long = "token-file", hide = true)]
    _token_file: Option<PathBuf>,

    /// Reconciles at a time, of each kind
    #[arg(long, env = "MCP_CONNECTORS_CONCURRENCY", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,

    /// Connectors whose pods a change of the operator's own (a new image, new defaults) replaces at a time: a number, or
    /// a share of all of them
    #[arg(long, env = "MCP_CONNECTORS_ROLLOUT_MAX_CONCURRENT", default_value = "10%")]
    rollout_max_concurrent: Share,

    /// Connectors that may fail to become Ready after such a change before no other is changed: a number, or a share
    #[arg(long, env = "MCP_CONNECTORS_ROLLOUT_MAX_FAILURES", default_value = "5%")]
    rollout_max_failures: Share,

    /// How long a connector may take for each of its replicas to be Ready again after such a change: from 10s to 30m
    #[arg(long, env = "MCP_CONNECTORS_ROLLOUT_READY_TIMEOUT", default_value = "2m", value_parser = ready_timeout)]
    rollout_ready_timeout: Duration,

    /// Give connectors' pods no user and group, because the cluster assigns them, as OpenShift does
    #[arg(long, env = "MCP_CONNECTORS_CLUSTER_ASSIGNS_USER", action = clap::ArgAction::Set, default_value_t = false)]
    cluster_assigns_user: bool,

    /// Annotations that spec.workload may put on connectors' pods, separated by commas; `*` stands for any characters, and
    /// nothing for none
    #[arg(long, env = "MCP_CONNECTORS_ALLOW_WORKLOAD_ANNOTATIONS", value_delimiter = ',', value_parser = pattern,
          default_values = ALLOWED_ANNOTATIONS)]
    allow_workload_annotations: Vec<NamePattern>,

    /// Labels that it may put on them, in the same form
    #[arg(long, env = "MCP_CONNECTORS_ALLOW_WORKLOAD_LABELS", value_delimiter = ',', value_parser = pattern,
          default_values = ALLOWED_LABELS)]
    allow_workload_labels: Vec<NamePattern>,

    /// Priority classes that it may give them, in the same form
    #[arg(long, env = "MCP_CONNECTORS_ALLOW_WORKLOAD_PRIORITY_CLASSES", value_delimiter = ',', value_parser = pattern)]
    allow_workload_priority_classes: Vec<NamePattern>,

    /// Keys of taints that it may have them tolerate, in the same form; `*` alone also allows to tolerate every taint
    #[arg(long, env = "MCP_CONNECTORS_ALLOW_WORKLOAD_TOLERATIONS", value_delimiter = ',', value_parser = pattern,
          default_values = ALLOWED_TOLERATIONS)]
    allow_workload_tolerations: Vec<NamePattern>,

    /// Collector of the traces of connectors that name none in spec.telemetry: OTLP over HTTP, such as
    /// `http://collector.observability.svc:4318`; left out or empty, they are not traced
    #[arg(long, env = "MCP_CONNECTORS_OTLP_ENDPOINT", value_parser = otlp_endpoint)]
    otlp_endpoint: Option<String>,

    /// Proxies that every connector may use for its credentials, whatever its CredentialSource says: `host` or `host:port`,
    /// separated by commas
    #[arg(long, env = "MCP_CONNECTORS_ALLOWED_PROXIES", value_delimiter = ',', value_parser = host_or_nothing)]
    allowed_proxies: Vec<Option<Host>>,
}

/// A host. Nothing, because a variable may be empty.
fn host_or_nothing(text: &str) -> Result<Option<Host>, NotAHost> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// A name that can stand in a field selector. Nothing, because a variable may be empty.
fn namespace_or_nothing(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = text.len() <= 63 && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-');
    is_name.then(|| text.to_owned()).ok_or_else(|| {
        "a namespace's name has at most 63 lower case letters, digits and dashes, and no dash at either end".to_owned()
    })
}

/// The key of a label or an annotation, or the name of an object, with `*` in it. Nothing, because a variable may be empty.
fn pattern(text: &str) -> Result<NamePattern, String> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./*".contains(&byte);
    let is_pattern = text.len() <= 317 && text.bytes().all(is_inner);
    is_pattern
        .then(|| NamePattern(text.to_owned()))
        .ok_or_else(|| "a name has letters, digits and -_./ in it, and * for any run of characters".to_owned())
}

fn poll_interval(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_secs(1)..=Duration::from_mins(5))
        .ok_or_else(|| "the poll interval must be between 1s and 5m".to_owned())
}

fn ready_timeout(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_secs(10)..=Duration::from_mins(30))
        .ok_or_else(|| "the time to become Ready must be between 10s and 30m".to_owned())
}

fn duration_within(text: &str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
    let ApiDuration(duration) = text.parse().ok()?;
    bounds.contains(&duration).then_some(duration)
}

fn otlp_endpoint(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        PlatformUrl(text.to_owned()).endpoint(true, AddressPolicy::Cluster).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

impl TryFrom<OperatorArgs> for Settings {
    type Error = ScopeError;

    fn try_from(args: OperatorArgs) -> Result<Self, ScopeError> {
        let not_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        let named = |patterns: Vec<NamePattern>| patterns.into_iter().filter(|one| !one.0.is_empty()).collect();
        let ignored = args.ignore_namespaces.into_iter().filter(|name| !name.is_empty()).collect();
        Ok(Self {
            connector_image: args.connector_image,
            connector_image_pull_policy: args.connector_image_pull_policy,
            scope: Scope::new(not_empty(args.watch_namespace), ignored)?,
            operator_namespace: args.operator_namespace,
            operator_service_account: args.operator_service_account,
            instance: args.instance,
            monitoring_namespace: not_empty(args.monitoring_namespace),
            cluster_domain: args.cluster_domain,
            poll_interval: args.poll_interval,
            address: args.address,
            concurrency: args.concurrency,
            rollout: Limits {
                max_concurrent: args.rollout_max_concurrent,
                max_failures: args.rollout_max_failures,
                ready_timeout: args.rollout_ready_timeout,
            },
            otlp_endpoint: not_empty(args.otlp_endpoint),
            allowed_proxies: args.allowed_proxies.into_iter().flatten().collect(),
            addresses: AddressPolicy::Cluster,
            cluster_assigns_user: args.cluster_assigns_user,
            allowed_workload: AllowedWorkload {
                annotations: named(args.allow_workload_annotations),
                labels: named(args.allow_workload_labels),
                priority_classes: named(args.allow_workload_priority_classes),
                tolerations: named(args.allow_workload_tolerations),
            },
        })
    }
}

/// Runs the command to its end.
pub fn run<Local: LocalCommand>(cli: Cli<Local>) -> ExitCode {
    let failed = match &cli.command {
        Command::Local(_) => ExitCode::from(COULD_NOT),
        _ => ExitCode::FAILURE,
    };
    dispatch(cli).unwrap_or_else(|error| {
        // It may quote a manifest or an answer.
        let words = whole_line(&with_causes(error.as_ref()));
        eprintln!("error: {words}");
        if !is_altered(error.as_ref()) {
            return failed;
        }
        leave_last_words(Path::new(TERMINATION_LOG), &words);
        ExitCode::from(EXIT_CONFIG_ALTERED)
    })
}

/// Reads the configuration that this pod was made with, for which it waits if another one is there.
async fn load(directory: &Path, made_with: Option<&str>, patience: Duration) -> Result<LoadedConfig, ServeError> {
    let until = Instant::now() + patience;
    loop {
        match LoadedConfig::read(directory, made_with) {
            Err(ConfigError::Altered { .. }) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            read => return read.map_err(ServeError::ReadConfig),
        }
    }
}

/// Whether a server did not start because its configuration is another one than its pod was made with.
fn is_altered(error: &(dyn StdError + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ServeError::ReadConfig(ConfigError::Altered { .. })))
}

/// Says why the container ends where the kubelet looks for it, which has made the file. Elsewhere there is none.
fn leave_last_words(file: &Path, words: &str) {
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(file) {
        drop(file.write_all(words.as_bytes()));
    }
}

/// Writes to standard output. Whoever reads it may stop before the end, as `head` does.
///
/// # Errors
/// When it can't be written for another reason.
pub fn print(text: &str) -> Result<(), Box<dyn StdError>> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// How every subcommand but `local` logs.
fn log_settings(filter: Option<String>, format: Option<telemetry::LogFormat>) -> LogSettings {
    let defaults = LogSettings::default();
    LogSettings {
        filter: filter.unwrap_or(defaults.filter),
        format: format.unwrap_or(defaults.format),
        output: defaults.output,
    }
}

fn dispatch<Local: LocalCommand>(cli: Cli<Local>) -> Result<ExitCode, Box<dyn StdError>> {
    let format = cli.log_format.map(|format| match format {
        LogFormat::Json => telemetry::LogFormat::Json,
        LogFormat::Text => telemetry::LogFormat::Text,
    });
    let logs = if matches!(cli.command, Command::Local(_)) {
        Local::log_settings(cli.log_level, format)
    } else {
        log_settings(cli.log_level, format)
    };
    let done = match cli.command {
        Command::Operator(args) => block_on(async {
            let _telemetry = telemetry::init(&logs, None, None)?;
            let shutdown = shutdown_signal()?;
            operator::run((*args).try_into()?, shutdown).await.map_err(Into::into)
        }),
        Command::Serve(args) => {
            let made_with = args.config_digest.clone();
            let settings = ServeSettings::from(args);
            block_on(async {
                let loaded = load(&settings.config_directory, made_with.as_deref(), CONFIG_PATIENCE).await?;
                let traces = loaded.trace_settings();
                let telemetry = telemetry::init(&logs, Some(&loaded.connector()), traces.as_ref())?;
                tokio::spawn(log_level::follow(settings.config_directory.clone(), telemetry.filter(), logs.filter));
                let served = server::run(platforms::connect, settings, loaded, telemetry.exports()).await;
                telemetry.finish().await;
                served.map_err(Into::into)
            })
        }
        Command::Local(args) => return block_on(args.run(logs)),
        Command::Agent(args) => {
            let directory = args.config;
            let settings = AgentSettings {
                config_directory: directory.clone(),
                config_digest: args.digest,
                identity_directory: args.identity,
                credentials_directory: args.credentials,
                address_policy: AddressPolicy::Cluster,
            };
            block_on_one_thread(async {
                let telemetry = telemetry::init(&logs, None, None)?;
                tokio::spawn(log_level::follow(directory, telemetry.filter(), logs.filter));
                pod::run(settings, shutdown_signal()?).await;
                Ok(())
            })
        }
        Command::Crd => {
            let mut text = String::new();
            for crd in crd::all()? {
                text.push_str("---\n");
                text.push_str(&serde_saphyr::to_string(&crd)?);
            }
            print(&text)
        }
        Command::Samples { output } => {
            for (name, text) in samples::all()? {
                let path = output.join(name);
                std::fs::write(&path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))?;
            }
            Ok(())
        }
        Command::Platforms => print(&reference::platforms().map_err(|error| with_causes(&error))?),
        Command::Api => print(&reference::fields()?),
        Command::Reasons => {
            let mut lines: Vec<String> = Reason::iter().map(|reason| format!("core\t{reason}\n")).collect();
            for (platform, reasons) in platform::declared_reasons() {
                lines.extend(reasons.iter().map(|reason| format!("{platform}\t{}\t{}\n", reason.name, reason.meaning)));
            }
            print(&lines.concat())
        }
        Command::Audit(AuditCommand::Verify { file }) => {
            let name = file.display().to_string();
            let file = std::fs::File::open(&file).map_err(|error| format!("failed to open {name}: {error}"))?;
            let verified = chain::verify(std::io::BufReader::new(file)).map_err(|error| with_causes(&error))?;
            print(&verified.to_string())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::<Local>::command(), "mcp-connectors", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn block_on<T>(task: impl Future<Output = Result<T, Box<dyn StdError>>>) -> Result<T, Box<dyn StdError>> {
    install_cryptography();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(task);
    // Whatever has to end in order has ended; a read of standard input that nobody answers never would.
    runtime.shutdown_background();
    done
}

/// For a process that waits nearly all of the time, and should be small.
fn block_on_one_thread<T>(task: impl Future<Output = Result<T, Box<dyn StdError>>>) -> Result<T, Box<dyn StdError>> {
    install_cryptography();
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?.block_on(task)
}

/// One provider of cryptography in the process; whoever comes second is content with the first.
fn install_cryptography() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use pod_api::config::ServeConfig;

    /// The settings of an operator that is started with these words beside those that it needs.
    fn operator(words: &[&str]) -> Result<Settings, String> {
        let needed = ["mcp-connectors", "operator", "--connector-image=i", "--operator-namespace=n", "--instance=p"];
        let all = needed.iter().chain(&["--operator-service-account=a"]).chain(words);
        match Cli::<NoLocal>::try_parse_from(all).map_err(|error| error.to_string())?.command {
            Command::Operator(args) => (*args).try_into().map_err(|error: ScopeError| error.to_string()),
            other => Err(format!("{other:?}")),
        }
    }

    #[tokio::test]
    async fn a_server_waits_for_its_own_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, "{}").unwrap();
        let made_with = ServeConfig::whole_digest("[]", None);
        let arrives = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            std::fs::write(&file, "[]").unwrap();
        };
        let (loaded, ()) = tokio::join!(load(folder.path(), Some(&made_with), Duration::from_secs(60)), arrives);
        // It is read, and is none.
        assert!(matches!(loaded, Err(ServeError::ReadConfig(ConfigError::Parse { .. }))));
    }

    #[tokio::test]
    async fn a_server_with_another_configuration_than_its_pod_was_made_with_ends_with_a_code_and_last_words_of_its_own()
    {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let loaded = async |digest: &str| {
            let refused = load(folder.path(), Some(digest), Duration::ZERO).await.err().unwrap();
            Box::<dyn StdError>::from(refused)
        };
        let (altered, wrong) = (loaded("00").await, loaded(&ServeConfig::whole_digest("{}", None)).await);
        assert!(is_altered(altered.as_ref()) && !is_altered(wrong.as_ref()), "{altered} {wrong}");
        let log = folder.path().join("termination-log");
        leave_last_words(&log, "words");
        assert!(!log.exists(), "only the kubelet makes it");
        std::fs::write(&log, "").unwrap();
        leave_last_words(&log, &with_causes(altered.as_ref()));
        let left = std::fs::read_to_string(log).unwrap();
        assert!(left.contains("somebody other than the operator"), "{left}");
    }

    #[test]
    fn help_begins_with_what_the_program_is_and_not_with_what_its_crate_is() {
        let help = Cli::<NoLocal>::command().render_long_help().to_string();
        assert!(help.starts_with(ABOUT), "{help}");
    }

    #[test]
    fn what_spec_workload_may_have_is_named_or_a_default() {
        let allowed = |words: &[&str]| operator(words).map(|settings| settings.allowed_workload);
        assert_eq!(allowed(&[]), Ok(AllowedWorkload::by_default()));
        let none =
            ["annotations", "labels", "priority-classes", "tolerations"].map(|of| format!("--allow-workload-{of}="));
        assert_eq!(allowed(&none.each_ref().map(String::as_str)), Ok(AllowedWorkload::default()));
        let some = allowed(&["--allow-workload-annotations=example.com/*,team", "--allow-workload-priority-classes=a"])
            .unwrap();
        let names = |patterns: &[NamePattern]| patterns.iter().map(|one| one.0.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&some.annotations), names(&some.priority_classes)),
            (vec!["example.com/*".into(), "team".into()], vec!["a".into()])
        );
        assert_eq!(some.labels, AllowedWorkload::by_default().labels);
        assert!(allowed(&["--allow-workload-labels=a b"]).unwrap_err().contains("has letters"));
    }

    #[test]
    fn an_operator_looks_after_all_namespaces_one_or_all_but_some() {
        let scope = |words: &[&str]| operator(words).map(|settings| settings.scope.to_string());
        assert_eq!(scope(&[]).as_deref(), Ok("all namespaces"));
        assert_eq!(scope(&["--watch-namespace=a"]).as_deref(), Ok("the namespace a"));
        assert_eq!(scope(&["--ignore-namespaces=b,a"]).as_deref(), Ok("all namespaces but a, b"));
        assert_eq!(
            scope(&["--ignore-namespaces=a", "--ignore-namespaces=b"]).as_deref(),
            Ok("all namespaces but a, b")
        );
        // As a variable that is set to nothing.
        assert_eq!(scope(&["--watch-namespace=", "--ignore-namespaces="]).as_deref(), Ok("all namespaces"));
        assert_eq!(scope(&["--watch-namespace=a", "--ignore-namespaces="]).as_deref(), Ok("the namespace a"));
    }

    #[test]
    fn an_operator_of_one_namespace_ignores_none_and_names_are_names() {
        let both = operator(&["--watch-namespace=a", "--ignore-namespaces=b"]).unwrap_err();
        assert!(both.contains("can't be set together"), "{both}");
        for wrong in ["a=b", "A", "-a", "a-", "a, b", &"a".repeat(64)] {
            let refused = operator(&[&format!("--ignore-namespaces={wrong}")]).unwrap_err();
            assert!(refused.contains("at most 63 lower case letters"), "{wrong}: {refused}");
        }
    }
}
