//! `docs/platforms.md`: what each platform's connector can do, generated from the declarations, so that it can't rot. The
//! custom resources' fields have a reference of their own.

mod fields;

use std::{fmt::Write as _, sync::Arc};

use tokio::sync::watch;

use api::{
    endpoint::AddressPolicy,
    platform::{self, Declaration, PlatformSpec},
    requirement::CLIENT_CERTIFICATE,
};
use credentials::CredentialsHandle;
use kit::{ConnectError, PlatformEnvironment};
use outbound::OutboundLimits;
use tools::{Effect, ToolDeclaration};

pub use self::fields::fields;

/// Why the reference can't be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A platform's example names no platform.
    #[error("the example of {0} names no platform")]
    NoPlatform(&'static str),
    /// The client of a platform's example can't be made.
    #[error("the client of the example of {0} can't be made")]
    Connect(&'static str, #[source] ConnectError),
}

const HEAD: &str = "# Platforms\n\n\
    Written by `make generate` from the code. Read-only tools are offered to every caller whom `spec.access` admits. The \
    others need `tools.mutations: Confirm`, a rule of `access.allow` that names the caller with `mutations: true`, and \
    `confirm: true` in the call; without that they answer what they would do. A tool that is off by default must also be named in `tools.allow`.\n\n";

/// The reference as Markdown: a table of all platforms, and for each one its tools, credentials and reasons.
///
/// # Errors
/// When an example is wrong, or the machine has no public certificate authorities.
pub fn platforms() -> Result<String, Error> {
    let mut table = "| Platform | `spec.platform` | Credentials | Tools | of which change something |\n\
        |---|---|---|---|---|\n"
        .to_owned();
    let mut sections = String::new();
    for (name, spec) in platform::examples() {
        let declaration = spec.platform.declaration().ok_or(Error::NoPlatform(name))?;
        let tools = tools_of(&spec.platform).map_err(|error| Error::Connect(name, error))?;
        let changing = tools.iter().filter(|tool| tool.effect != Effect::Read).count();
        let title = declaration.title();
        let anchor = title.to_ascii_lowercase().replace(' ', "-");
        let credentials = credentials(declaration);
        let _ = writeln!(table, "| [{title}](#{anchor}) | `{name}` | {credentials} | {} | {changing} |", tools.len());
        section(&mut sections, declaration, &tools);
    }
    Ok([HEAD, &table, &sections].concat())
}

/// Every tool of a platform, whatever its spec offers. Nobody is called.
///
/// # Errors
/// When the platform's client can't be made.
pub fn tools_of(spec: &PlatformSpec) -> Result<Vec<ToolDeclaration>, ConnectError> {
    let platform = platforms::connect(spec, nowhere())?;
    Ok(platform.tools().into_iter().map(|tool| tool.declaration).collect())
}

fn credentials(declaration: &dyn Declaration) -> String {
    let requirement = declaration.requirement();
    match requirement.optional().as_slice() {
        [] => requirement.in_words(),
        optional => format!("{}; optional: {}", requirement.in_words(), optional.join(", ")),
    }
}

fn section(text: &mut String, declaration: &dyn Declaration, tools: &[ToolDeclaration]) {
    let (title, name) = (declaration.title(), declaration.name());
    let _ = write!(text, "\n## {title}\n\n`spec.platform.{name}`; credentials: {}.", credentials(declaration));
    if declaration.requirement().additions().contains(&CLIENT_CERTIFICATE) {
        text.push_str(" A client certificate (mTLS) is taken from `tls_certificate` and `tls_key`, if they are there.");
    }
    let _ = write!(text, " [In five minutes](platforms/{}.md).\n\n", name.to_lowercase());
    text.push_str("| Tool | | What for |\n|---|---|---|\n");
    for tool in tools {
        let effect = match (tool.effect, tool.off_by_default) {
            (Effect::Read, false) => "reads",
            (Effect::Read, true) => "reads; off by default",
            (Effect::Mutate, false) => "changes",
            (Effect::Mutate, true) => "changes; off by default",
            (Effect::Destroy, false) => "changes, may destroy",
            (Effect::Destroy, true) => "changes, may destroy; off by default",
        };
        let _ = writeln!(text, "| `{}` | {effect} | {} |", tool.name, first_sentence(tool.description));
    }
    let reasons = platform::declared_reasons().into_iter().find(|(of, _)| *of == name).map(|(_, reasons)| reasons);
    text.push_str("\n| Reason of `PlatformHealthy` | Meaning |\n|---|---|\n");
    for reason in reasons.unwrap_or_default() {
        let _ = writeln!(text, "| `{}` | {} |", reason.name, reason.meaning);
    }
}

/// What stands before the first full stop that ends a sentence, in one line of a table.
fn first_sentence(text: &str) -> String {
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    text.get(..end).unwrap_or(text).replace('|', "\\|").replace('\n', " ")
}

/// A client that has no credentials and asks nobody.
fn nowhere() -> PlatformEnvironment {
    let (_sets, current) = watch::channel(None);
    let (reread, _asked) = watch::channel(0);
    PlatformEnvironment {
        credentials: CredentialsHandle::new(current, reread),
        identity: None,
        ca_pem: None,
        addresses: AddressPolicy::Cluster,
        proxy: None,
        limits: OutboundLimits::default(),
        metrics: Arc::default(),
    }
}
