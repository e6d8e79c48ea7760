//! What the tests of every platform need: a connected platform with planted credentials, whose every answer, error and
//! finding is searched for them; and the suite that every platform must pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests use it")]

pub mod altering;
pub mod compliance;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use api::{endpoint::AddressPolicy, platform::PlatformSpec};
use credentials::{CredentialSet, CredentialsHandle, identity::Identity};
pub use insta;
use kit::{Connect, Platform, PlatformEnvironment, ProbeReport};
use outbound::OutboundLimits;
pub use test_upstream::{Fault, Faulty};
use tools::{Behavior, CallContext, Preview, ToolEntry, ToolError};

/// Part of every secret that a test knows: of planted credentials, and of what failing upstreams write.
pub const PLANTED: &str = "planted";
/// Time of a call, unless a test sets another one: what comes at once comes late on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A platform, as `serve` would run it.
pub struct Connected {
    /// Its client.
    pub platform: Arc<dyn Platform>,
    /// Its tools, by their names.
    pub tools: BTreeMap<&'static str, ToolEntry>,
    /// Where credential sets are put.
    pub credentials: watch::Sender<Option<Arc<CredentialSet>>>,
    /// Counts how often the platform asked for the files to be read again.
    pub reread: watch::Receiver<u64>,
    /// Time that a call may take.
    pub patience: Duration,
}

impl Connected {
    /// Connects `spec.platform`, with `fields` as the first credentials; none if there are none.
    pub fn new(connect: Connect, spec: &Value, fields: &[(&str, &str)]) -> Self {
        let connected = Self::build(connect, spec, None);
        if !fields.is_empty() {
            connected.mount(1, fields);
        }
        connected
    }

    /// Connects `spec.platform` with an identity instead of credentials.
    pub fn with_identity(connect: Connect, spec: &Value, identity: Identity) -> Self {
        let connected = Self::build(connect, spec, Some(identity));
        connected.mount(1, &[]);
        connected
    }

    fn build(connect: Connect, spec: &Value, identity: Option<Identity>) -> Self {
        let spec: PlatformSpec = serde_json::from_value(spec.clone()).unwrap();
        let (credentials, current) = watch::channel(None);
        let (asked, reread) = watch::channel(0);
        let environment = PlatformEnvironment {
            credentials: CredentialsHandle::new(current, asked),
            identity,
            ca_pem: None,
            addresses: AddressPolicy::Loopback,
            proxy: None,
            // What a platform asks by itself is counted; that the stack asks again is tested where the stack is.
            limits: OutboundLimits { max_attempts: 1, ..OutboundLimits::default() },
            metrics: Arc::default(),
        };
        let platform = connect(&spec, environment).unwrap();
        let tools = Arc::clone(&platform).tools().into_iter().map(|tool| (tool.declaration.name, tool)).collect();
        Self { platform, tools, credentials, reread, patience: PATIENCE }
    }

    /// Puts a set of credentials into use.
    pub fn mount(&self, generation: u64, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned().into())).collect();
        self.credentials.send_replace(Some(Arc::new(CredentialSet::new(generation, fields))));
    }

    /// Puts another set into use as soon as somebody asks for the files to be read again.
    pub async fn mount_when_asked(&self, generation: u64, fields: &[(&str, &str)]) {
        self.reread.clone().changed().await.unwrap();
        self.mount(generation, fields);
    }

    fn context(&self) -> CallContext {
        CallContext::new(Instant::now() + self.patience, 65_536)
    }

    /// Checks arguments as the server does before it runs a tool, which relies on it.
    fn check(&self, name: &str, arguments: &Value) -> Result<(), ToolError> {
        let schema = Value::Object((*self.tools[name].input_schema).clone());
        let validator = jsonschema::validator_for(&schema).unwrap();
        validator.validate(arguments).map_err(|error| {
            let argument = error.instance_path().as_str().trim_start_matches('/').to_owned();
            ToolError::invalid_argument(error.masked().to_string()).with_argument(argument)
        })
    }

    /// Calls a tool; one that changes something does it.
    ///
    /// # Errors
    /// The tool's own.
    pub async fn call(&self, name: &str, arguments: Value) -> Result<Value, ToolError> {
        self.check(name, &arguments)?;
        let run = match &self.tools[name].behavior {
            Behavior::Read(run) => run,
            Behavior::Mutation { act, .. } => act,
        };
        let outcome = run(arguments, self.context()).await;
        shows_no_secret(&outcome);
        outcome
    }

    /// Whether a tool calls its answer final.
    pub async fn is_final(&self, name: &str, arguments: Value) -> bool {
        let Behavior::Read(run) = &self.tools[name].behavior else { panic!("{name} changes something") };
        let context = self.context();
        let outcome = run(arguments, context.clone()).await;
        shows_no_secret(&outcome);
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
        context.finality.is_said()
    }

    /// Asks a tool that changes something what it would do.
    ///
    /// # Errors
    /// The tool's own.
    pub async fn preview(&self, name: &str, arguments: Value) -> Result<Preview, ToolError> {
        let Behavior::Mutation { preview, .. } = &self.tools[name].behavior else { panic!("{name} changes nothing") };
        let outcome = preview(arguments, self.context()).await;
        shows_no_secret(&outcome);
        outcome
    }

    /// Probes the platform.
    pub async fn probe(&self) -> ProbeReport {
        let report = self.platform.probe(self.patience).await;
        shows_no_secret(&report);
        report
    }
}

/// Nothing planted may come out.
pub fn shows_no_secret(shown: &impl std::fmt::Debug) {
    let shown = format!("{shown:?}");
    assert!(!shown.contains(PLANTED), "{shown}");
}
