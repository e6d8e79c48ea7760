//! The command line, and what each command does.

use std::{error::Error as StdError, io, process::ExitCode};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use futures::{AsyncBufRead, AsyncBufReadExt, TryStreamExt};
use serde_json::{Map, Value, json};

use crate::{
    client_config::{self, McpClient},
    cluster::{Cluster, LogLines, Target},
    doctor,
    endpoint::{Account, Endpoint},
    output::{self, Format, print},
    status,
};

type Outcome = Result<ExitCode, Box<dyn StdError>>;

/// Looks at MCP connectors and calls them.
#[derive(Parser, Debug)]
#[command(name = "kubectl-mcp", bin_name = "kubectl mcp", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    target: TargetArgs,

    /// Form of what is printed
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "text")]
    output: Format,

    /// When to use colours; `auto` honours NO_COLOR and leaves them out where no terminal is
    #[arg(long, global = true, default_value = "auto")]
    color: ColorWhen,
}

#[derive(Args, Debug)]
struct TargetArgs {
    /// Namespace; the context's own if left out
    #[arg(short, long, global = true)]
    namespace: Option<String>,

    /// Context of the kubeconfig; the current one if left out
    #[arg(long, global = true)]
    context: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ColorWhen {
    /// Where a terminal is, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Shows connectors as a table, or with a name one connector as a tree: from its source to its pods and its platform
    Status {
        /// The connector; all if left out
        name: Option<String>,
        /// Of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Lists the tools that a connector offers a ServiceAccount
    Tools {
        /// The connector
        name: String,
        #[command(flatten)]
        caller: Caller,
    },
    /// Calls a tool
    Call {
        /// The connector
        name: String,
        /// The tool, as `tools` shows it
        tool: String,
        /// Arguments as `name=value`; a value that is JSON is taken as such, any other as a text
        #[arg(value_parser = argument)]
        arguments: Vec<(String, Value)>,
        /// All arguments as one JSON object; those given by name win
        #[arg(long, value_name = "OBJECT", value_parser = object)]
        json: Option<Map<String, Value>>,
        #[command(flatten)]
        caller: Caller,
    },
    /// Prints the logs of a connector's pods, each line with its pod; ends with 1 if one of them can't be read
    Logs {
        /// The connector
        name: String,
        /// Goes on as lines come, of the pods that are there now: start it anew for pods that came since
        #[arg(short, long)]
        follow: bool,
        /// The last lines of each pod
        #[arg(long, default_value_t = 100)]
        tail: u32,
        /// Of the containers that ran before
        #[arg(short, long, conflicts_with = "follow")]
        previous: bool,
    },
    /// Prints what an MCP client needs to be configured with
    Config {
        /// The connector
        name: String,
        /// The client
        #[arg(long, default_value = "pod")]
        client: McpClient,
    },
    /// Checks the installation and says what is wrong; ends with 1 if something is
    Doctor,
    /// Prints the completion script of a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args, Debug)]
struct Caller {
    /// ServiceAccount to call as: NAME, or NAMESPACE/NAME. You need the right to make tokens for it
    #[arg(long, value_name = "ACCOUNT", default_value = "default")]
    service_account: String,
}

impl Caller {
    fn account(&self, namespace: &str) -> Account {
        let (namespace, name) = self.service_account.split_once('/').unwrap_or((namespace, &self.service_account));
        Account { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

fn argument(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("an argument is written name=value")?;
    if name.is_empty() {
        return Err("an argument is written name=value".to_owned());
    }
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))))
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

/// Runs the command to its end.
pub fn run(cli: Cli) -> ExitCode {
    match cli.color {
        ColorWhen::Auto => anstream::ColorChoice::Auto,
        ColorWhen::Always => anstream::ColorChoice::Always,
        ColorWhen::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    runtime.block_on(dispatch(cli)).unwrap_or_else(|error| fail(error.as_ref()))
}

fn fail(error: &dyn StdError) -> ExitCode {
    anstream::eprintln!("error: {}", output::with_causes(error));
    ExitCode::FAILURE
}

async fn dispatch(cli: Cli) -> Outcome {
    let Cli { command, target, output, .. } = cli;
    if let Command::Completion { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "kubectl-mcp", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        return Ok(ExitCode::SUCCESS);
    }
    // One provider of cryptography in the process; whoever comes second is content with the first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let cluster = Cluster::connect(&Target { namespace: target.namespace, context: target.context }).await?;
    match command {
        Command::Status { name: None, all_namespaces } => {
            let connectors = cluster.connectors(all_namespaces).await?;
            let summaries: Vec<_> = connectors.iter().map(status::summary).collect();
            print(&output.render(&summaries, || status::table(&summaries, all_namespaces))?)?;
        }
        Command::Status { name: Some(name), .. } => {
            let found = cluster.surroundings(&name).await?;
            let tree = status::tree(&found);
            print(&output.render(&tree, || output::tree(&tree))?)?;
        }
        Command::Tools { name, caller } => {
            let endpoint = open(&cluster, &name, &caller).await?;
            let tools = endpoint.tools().await?;
            print(&output.render(&tools, || output::tools(&tools))?)?;
        }
        Command::Call { name, tool, arguments, json, caller } => {
            let endpoint = open(&cluster, &name, &caller).await?;
            let mut all = json.unwrap_or_default();
            all.extend(arguments);
            let result = endpoint.call(&tool, &all).await?;
            print(&output.render(&result, || output::answer(&result))?)?;
            if result.get("isError") == Some(&json!(true)) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Logs { name, follow, tail, previous } => {
            let lines = LogLines { follow, tail, previous };
            if print_logs(&cluster, &name, lines, &print).await? > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Config { name, client } => {
            let connector = cluster.connector(&name).await?;
            print(&client_config::build(&connector, client)?)?;
        }
        Command::Doctor => {
            let findings = doctor::judge(&cluster.installation().await);
            print(&output.render(&findings, || output::findings(&findings))?)?;
            if findings.iter().any(|finding| finding.verdict == doctor::Verdict::Wrong) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Completion { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(cluster: &Cluster, name: &str, caller: &Caller) -> Result<Endpoint, Box<dyn StdError>> {
    let connector = cluster.connector(name).await?;
    Ok(Endpoint::open(cluster, &connector, &caller.account(&cluster.namespace)).await?)
}

/// Prints the log of each pod of a connector. Says of those that can't be read to their end why, at once, because others may
/// be followed for ever; and returns how many these were.
async fn print_logs(
    cluster: &Cluster,
    name: &str,
    lines: LogLines,
    print: &impl Fn(&str) -> io::Result<()>,
) -> Result<usize, Box<dyn StdError>> {
    let pods = cluster.pod_names(name).await?;
    let printed = pods.iter().map(|pod| async move {
        let outcome = match cluster.log(pod, lines).await {
            Ok(log) => print_lines(pod, log, print).await,
            Err(error) => Err(output::with_causes(&error)),
        };
        if let Err(failure) = &outcome {
            anstream::eprintln!("error: {failure}");
        }
        outcome.is_err()
    });
    Ok(futures::future::join_all(printed).await.into_iter().filter(|failed| *failed).count())
}

async fn print_lines(
    pod: &str,
    log: impl AsyncBufRead + Unpin,
    print: &impl Fn(&str) -> io::Result<()>,
) -> Result<(), String> {
    let failed = |what: &str, error: &io::Error| format!("{what}: {}", output::with_causes(error));
    let mut lines = log.lines();
    loop {
        match lines.try_next().await {
            Ok(Some(line)) => print(&format!("{pod} {line}\n")).map_err(|error| failed("failed to print", &error))?,
            Ok(None) => return Ok(()),
            Err(error) => return Err(failed(&format!("failed to read the log of {pod} to its end"), &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, convert::Infallible};

    use http::{Request, Response};
    use http_body_util::Full;
    use kube::{Client, client::Body};

    use super::*;

    /// A cluster with a connector of three pods, of which one's log can't be read.
    fn cluster() -> Cluster {
        let answer = |request: Request<Body>| async move {
            let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "team"}});
            let spec =
                json!({"platform": {"vault": {"url": "https://vault.example.com"}}, "credentials": {"name": "keys"}});
            let (status, text) = match request.uri().path().trim_start_matches("/api/v1/namespaces/team/pods") {
                "" => (200, json!({"metadata": {}, "items": [pod("a"), pod("b"), pod("c")]}).to_string()),
                "/a/log" => (200, "one\ntwo\n".to_owned()),
                "/b/log" => {
                    (400, json!({"status": "Failure", "message": "b is waiting to start", "code": 400}).to_string())
                }
                "/c/log" => (200, "three\n".to_owned()),
                _ => (200, json!({"metadata": {"name": "tresor", "namespace": "team"}, "spec": spec}).to_string()),
            };
            Ok::<_, Infallible>(Response::builder().status(status).body(Full::new(bytes::Bytes::from(text))).unwrap())
        };
        Cluster { client: Client::new(tower::service_fn(answer), "team"), namespace: "team".into() }
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_read_keeps_no_other_back() {
        let printed = RefCell::new(Vec::new());
        let print = |text: &str| {
            printed.borrow_mut().push(text.to_owned());
            Ok(())
        };
        let lines = LogLines { follow: false, tail: 100, previous: false };
        assert_eq!(print_logs(&cluster(), "tresor", lines, &print).await.unwrap(), 1);
        let mut printed = printed.into_inner();
        printed.sort();
        assert_eq!(printed, ["a one\n", "a two\n", "c three\n"]);
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_are_json_where_they_can_be() {
        for (text, name, value) in [
            ("path=secret/data/app", "path", json!("secret/data/app")),
            ("limit=5", "limit", json!(5)),
            ("confirm=true", "confirm", json!(true)),
            ("name=\"5\"", "name", json!("5")),
            ("query=a=b", "query", json!("a=b")),
            ("empty=", "empty", json!("")),
        ] {
            assert_eq!(argument(text), Ok((name.to_owned(), value)), "{text}");
        }
        assert!(argument("alone").is_err() && argument("=x").is_err());
        assert!(object("[1]").is_err() && object("{}").is_ok());
    }

    #[test]
    fn a_service_account_may_be_of_another_namespace() {
        let account = |text: &str| Caller { service_account: text.to_owned() }.account("here");
        assert_eq!(account("triage"), Account { namespace: "here".into(), name: "triage".into() });
        assert_eq!(account("agents/triage"), Account { namespace: "agents".into(), name: "triage".into() });
    }
}
