//! The arguments of `local`, and what each of its modes does with them.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    io::IsTerminal,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use clap::{ArgGroup, Args, ValueEnum};

use ::local::{
    LocalError,
    check::{CheckSettings, check},
    client_config::{Client, Start, build_client_config},
    documents::{STDIN, Sources},
    door::Access,
    finding::{any_error, sarif},
    fleet::{Fleet, FleetSettings},
    manifests::Key,
    run::{Following, RunSettings, run as serve},
    serving::{Host, Inbound, Keyring},
    stdio,
    vault::MachineLogins,
};
use cli::{LocalCommand, print};
use server::Stop;
use telemetry::{self, LogFormat, LogOutput, LogSettings};

/// Exit code when a manifest would be refused.
const REFUSED: u8 = 1;
/// Time for which a client on standard input waits for credentials from Vault before it is answered.
const FIRST_LOGIN: Duration = Duration::from_secs(5);
/// What is logged where nobody says it: the table tells the rest.
const DEFAULT_FILTER: &str = "warn,rmcp=error,hyper=error";

/// Variables of Vault's own command line: the Vault that logins are for, and a file with the authorities to verify it with.
const VAULT_ADDR: &str = "VAULT_ADDR";
const VAULT_CACERT: &str = "VAULT_CACERT";

const EXAMPLES: &str = "\
Examples:
  Serve what stands in a folder at http://127.0.0.1:8080/<namespace>/<name>/mcp, and apply it again when it changes:
    mcp-connectors local -f connectors/

  In CI, refuse what the API server or the operator would refuse:
    kustomize build overlays/prod | mcp-connectors local --check -f - -o sarif > findings.sarif

  Let an editor start a connector by itself:
    mcp-connectors local --print-config vscode -f connectors/ > .vscode/mcp.json

Exit codes of --check: 0 nothing would be refused, 1 something would, 2 it could not be checked.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES,
          group(ArgGroup::new("mode").args(["check", "stdio", "print_config"])),
          group(ArgGroup::new("for_a_client").args(["stdio", "print_config"])))]
pub struct LocalArgs {
    /// File or directory with McpConnectors, CredentialSources, Secrets and ConfigMaps, or `-` for standard input; may be
    /// given more than once
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE|DIR|-")]
    filename: Vec<PathBuf>,

    /// Reads directories in directories, too
    #[arg(short = 'R', long)]
    recursive: bool,

    /// Namespace of objects that name none
    #[arg(short = 'n', long, default_value = "default")]
    namespace: String,

    /// Directory with credentials: a folder for each CredentialSource, `<name>` or `<namespace>/<name>`, with a file for
    /// each field. A folder goes before a Secret among the manifests
    #[arg(long, env = "MCP_CONNECTORS_CREDENTIALS_DIR", value_name = "DIR")]
    credentials_dir: Option<PathBuf>,

    /// File with a token to log in to Vault with, for CredentialSources whose method is `kubernetes` or `jwt`. What else
    /// logs in: the secret id of an AppRole in a Secret among the manifests, VAULT_TOKEN, and ~/.vault-token. But for the
    /// secret id, all are used only for the Vault that VAULT_ADDR names, verified with VAULT_CACERT
    #[arg(long, env = "MCP_CONNECTORS_VAULT_JWT_FILE", value_name = "FILE")]
    vault_jwt_file: Option<PathBuf>,

    /// A proxy that may carry credentials, whatever their CredentialSource says, as the operator's chart allows one by
    /// allowedProxies; may be given more than once
    #[arg(long, value_name = "HOST[:PORT]")]
    allow_proxy: Vec<Host>,

    /// Checks the manifests and ends
    #[arg(long)]
    check: bool,

    /// With --check: asks each platform once whether it is well and accepts the credentials
    #[arg(long, requires = "check")]
    probe: bool,

    /// With --check: form of the findings
    #[arg(short = 'o', long, requires = "check", default_value = "text")]
    output: Output,

    /// Speaks MCP on standard input and output, for one connector
    #[arg(long)]
    stdio: bool,

    /// With --stdio or --print-config: which connector; may be left out if there is one
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "for_a_client")]
    connector: Option<KeyArg>,

    /// Prints what a client's configuration has to hold, so that it starts the connectors by itself
    #[arg(long, value_name = "CLIENT")]
    print_config: Option<ClientArg>,

    /// Address to serve all connectors at
    #[arg(
        long,
        env = "MCP_CONNECTORS_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS:PORT",
        conflicts_with = "mode"
    )]
    listen: SocketAddr,

    /// File with a token that callers have to send as `Authorization: Bearer`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token_keys", "mode"])]
    token_file: Option<PathBuf>,

    /// Directory with the `token-keys.json` of a connector's ConfigMap: callers then prove who they are, and are let in, as
    /// in that cluster
    #[arg(long, value_name = "DIR", conflicts_with = "mode")]
    token_keys: Option<PathBuf>,

    /// Writes the audit record of each call to standard error
    #[arg(long, conflicts_with_all = ["check", "print_config"])]
    audit: bool,

    /// Leaves colors out; so does the environment variable NO_COLOR
    #[arg(long, conflicts_with = "mode")]
    no_color: bool,
}

/// Form of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// One line a finding
    Text,
    /// A JSON array
    Json,
    /// SARIF 2.1.0, for code scanners
    Sarif,
}

/// A program that speaks MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientArg {
    /// Claude Desktop and Claude Code
    Claude,
    /// Visual Studio Code
    Vscode,
    /// Cursor
    Cursor,
    /// The MCP Inspector
    Inspector,
}

impl From<ClientArg> for Client {
    fn from(client: ClientArg) -> Self {
        match client {
            ClientArg::Claude => Self::Claude,
            ClientArg::Vscode => Self::VsCode,
            ClientArg::Cursor => Self::Cursor,
            ClientArg::Inspector => Self::Inspector,
        }
    }
}

/// `namespace/name`.
#[derive(Clone, Debug)]
struct KeyArg(Key);

impl FromStr for KeyArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self(Key { namespace: namespace.to_owned(), name: name.to_owned() }))
            }
            _ => Err("write it as namespace/name, such as default/jenkins"),
        }
    }
}

impl LocalCommand for LocalArgs {
    /// To standard error, because standard output is a table, findings, or MCP.
    fn log_settings(filter: Option<String>, format: Option<LogFormat>) -> LogSettings {
        LogSettings {
            filter: filter.unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
            format: format.unwrap_or(LogFormat::Text),
            output: LogOutput::Stderr,
        }
    }

    async fn run(self, logs: LogSettings) -> Result<ExitCode, Box<dyn StdError>> {
        let _telemetry = telemetry::init(&logs, None, None)?;
        if let Some(directory) = self.credentials_dir.as_ref().filter(|directory| !directory.is_dir()) {
            return Err(format!("--credentials-dir: {} is no directory", directory.display()).into());
        }
        let paths = self.filename.clone();
        let sources = Sources { paths, recursive: self.recursive, namespace: self.namespace.clone() };
        if self.check {
            return check_manifests(&self, sources).await;
        }
        if let Some(client) = self.print_config {
            return print_config(&self, &sources, client.into());
        }
        if self.stdio {
            return Box::pin(serve_stdio(&self, sources)).await;
        }
        let access = Access::new(self.listen, self.token_file.as_deref(), self.token_keys.as_deref())
            .map_err(LocalError::Access)?;
        let settings = RunSettings {
            sources,
            keyring: keyring(&self),
            listen: self.listen,
            access,
            audit: self.audit,
            no_color: self.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
        };
        serve(settings, Stop::on_signals()?).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A variable that has a value.
fn set(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|text| !text.is_empty())
}

/// What there is of credentials. The variables are those of Vault's own command line.
fn keyring(args: &LocalArgs) -> Keyring {
    let at_home = |name: &str| std::env::home_dir().map(|home| home.join(name));
    let vault = MachineLogins {
        jwt_file: args.vault_jwt_file.clone(),
        token: set("VAULT_TOKEN").map(|token| token.trim().into()),
        address: set(VAULT_ADDR),
        authorities: set(VAULT_CACERT).map(PathBuf::from),
        token_file: at_home(".vault-token"),
        helper_file: set("VAULT_CONFIG_PATH").map(PathBuf::from).or_else(|| at_home(".vault")),
    };
    Keyring { directory: args.credentials_dir.clone(), vault, proxies: args.allow_proxy.clone() }
}

async fn check_manifests(args: &LocalArgs, sources: Sources) -> Result<ExitCode, Box<dyn StdError>> {
    let findings = check(&CheckSettings { sources, keyring: keyring(args), probe: args.probe }).await?;
    match args.output {
        Output::Text => {
            let lines: Vec<String> = findings.iter().map(|finding| format!("{finding}\n")).collect();
            print(&lines.concat())?;
        }
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&findings)?))?,
        Output::Sarif => print(&format!("{}\n", serde_json::to_string_pretty(&sarif(&findings))?))?,
    }
    Ok(if any_error(&findings) { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
}

/// A fleet of the manifests as they are now, with what is wrong with them on standard error.
fn start_fleet(args: &LocalArgs, sources: Sources) -> Result<Fleet, LocalError> {
    let mut fleet = Fleet::new(FleetSettings { keyring: keyring(args), inbound: Inbound::Open, audit: args.audit });
    let mut following = Following::new(sources)?;
    following.apply(&mut fleet)?;
    for finding in &following.findings {
        eprintln!("{finding}");
    }
    Ok(fleet)
}

async fn serve_stdio(args: &LocalArgs, sources: Sources) -> Result<ExitCode, Box<dyn StdError>> {
    if sources.paths.iter().any(|path| path.as_os_str() == STDIN) {
        return Err("--stdio speaks MCP on standard input, so the manifests can't come from there: name a file".into());
    }
    if std::io::stdin().is_terminal() {
        eprintln!("speaking MCP on standard input and output; a client should start this: see --print-config");
    }
    let stop = Stop::on_signals()?;
    let mut fleet = start_fleet(args, sources)?;
    let wanted = args.connector.as_ref().map(|connector| &connector.0);
    let replica = stdio::choose(&mut fleet, wanted).await?;
    eprintln!("credentials {}", replica.credentials);
    replica.supplied(FIRST_LOGIN).await;
    let served = stdio::serve(replica, tokio::io::stdin(), tokio::io::stdout(), &stop).await;
    fleet.drain().await;
    served?;
    Ok(ExitCode::SUCCESS)
}

/// The variables that say which Vault logins are for.
fn vault_of_environment(
    absolute: impl Fn(&Path) -> Result<PathBuf, String>,
) -> Result<BTreeMap<String, String>, String> {
    let authorities = set(VAULT_CACERT).map(|file| absolute(Path::new(&file))).transpose()?;
    let variables = [(VAULT_ADDR, set(VAULT_ADDR)), (VAULT_CACERT, authorities.map(|file| file.display().to_string()))];
    Ok(variables.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

fn print_config(args: &LocalArgs, sources: &Sources, client: Client) -> Result<ExitCode, Box<dyn StdError>> {
    if sources.paths.iter().any(|path| path.as_os_str() == STDIN) {
        return Err("a client can't read the manifests from standard input: name a file".into());
    }
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| format!("failed to make {} absolute: {error}", path.display()))
    };
    let start = Start {
        program: std::env::current_exe()?,
        files: sources.paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
        recursive: args.recursive,
        namespace: args.namespace.clone(),
        credentials_directory: args.credentials_dir.as_deref().map(absolute).transpose()?,
        vault_jwt_file: args.vault_jwt_file.as_deref().map(absolute).transpose()?,
        proxies: args.allow_proxy.clone(),
        environment: vault_of_environment(absolute)?,
    };
    let mut connectors = ::local::connectors(sources)?;
    if let Some(KeyArg(wanted)) = &args.connector {
        connectors.retain(|key| key == wanted);
    }
    if connectors.is_empty() {
        return Err("there is no such McpConnector in these files; see --check".into());
    }
    let config = build_client_config(client, &start, &connectors);
    print(&format!("{}\n", serde_json::to_string_pretty(&config)?))?;
    Ok(ExitCode::SUCCESS)
}
