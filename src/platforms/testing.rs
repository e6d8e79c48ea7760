//! What the tests of every platform need: a connected platform with planted credentials, whose every answer, error and
//! finding is searched for them; and an upstream that fails in a chosen way.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::Instant,
};

pub(crate) use super::compliance::tools_of_every_platform;
use crate::{
    api::{endpoint::AddressPolicy, platform::PlatformSpec},
    credentials::{CredentialSet, CredentialsHandle, identity::Identity},
    outbound::OutboundLimits,
    platforms::{self, Platform, PlatformEnvironment, ProbeReport},
    tools::{Behavior, CallContext, Preview, ToolEntry, ToolError},
};

/// Part of every secret that a test knows: of planted credentials, and of what failing upstreams write.
pub(crate) const PLANTED: &str = "planted";
/// Time of a call, unless a test sets another one: what comes at once comes late on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A platform, as `serve` would run it.
pub(crate) struct Connected {
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) tools: BTreeMap<&'static str, ToolEntry>,
    /// Where credential sets are put.
    pub(crate) credentials: watch::Sender<Option<Arc<CredentialSet>>>,
    /// Counts how often the platform asked for the files to be read again.
    pub(crate) reread: watch::Receiver<u64>,
    /// Time that a call may take.
    pub(crate) patience: Duration,
}

impl Connected {
    /// Connects `spec.platform`, with `fields` as the first credentials; none if there are none.
    pub(crate) fn new(spec: &Value, fields: &[(&str, &str)]) -> Self {
        let connected = Self::build(spec, None);
        if !fields.is_empty() {
            connected.mount(1, fields);
        }
        connected
    }

    /// Connects `spec.platform` with an identity instead of credentials.
    pub(crate) fn with_identity(spec: &Value, identity: Identity) -> Self {
        let connected = Self::build(spec, Some(identity));
        connected.mount(1, &[]);
        connected
    }

    fn build(spec: &Value, identity: Option<Identity>) -> Self {
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
        let platform = platforms::connect(&spec, environment).unwrap();
        let tools = Arc::clone(&platform).tools().into_iter().map(|tool| (tool.declaration.name, tool)).collect();
        Self { platform, tools, credentials, reread, patience: PATIENCE }
    }

    /// Puts a set of credentials into use.
    pub(crate) fn mount(&self, generation: u64, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned().into())).collect();
        self.credentials.send_replace(Some(Arc::new(CredentialSet::new(generation, fields))));
    }

    /// Puts another set into use as soon as somebody asks for the files to be read again.
    pub(crate) async fn mount_when_asked(&self, generation: u64, fields: &[(&str, &str)]) {
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
    pub(crate) async fn call(&self, name: &str, arguments: Value) -> Result<Value, ToolError> {
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
    pub(crate) async fn is_final(&self, name: &str, arguments: Value) -> bool {
        let Behavior::Read(run) = &self.tools[name].behavior else { panic!("{name} changes something") };
        let context = self.context();
        let outcome = run(arguments, context.clone()).await;
        shows_no_secret(&outcome);
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
        context.finality.is_said()
    }

    /// Asks a tool that changes something what it would do.
    pub(crate) async fn preview(&self, name: &str, arguments: Value) -> Result<Preview, ToolError> {
        let Behavior::Mutation { preview, .. } = &self.tools[name].behavior else { panic!("{name} changes nothing") };
        let outcome = preview(arguments, self.context()).await;
        shows_no_secret(&outcome);
        outcome
    }

    /// Probes the platform.
    pub(crate) async fn probe(&self) -> ProbeReport {
        let report = self.platform.probe(self.patience).await;
        shows_no_secret(&report);
        report
    }
}

/// Nothing planted may come out.
pub(crate) fn shows_no_secret(shown: &impl std::fmt::Debug) {
    let shown = format!("{shown:?}");
    assert!(!shown.contains(PLANTED), "{shown}");
}

/// How an upstream fails.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Nobody listens.
    Refuses,
    /// It accepts and never answers.
    Hangs,
    /// It closes the connection without an answer.
    Closes,
    /// It answers this to whatever it is asked: status line and headers without the last empty line, and the body.
    Answers(&'static str, Vec<u8>),
}

impl Fault {
    /// An answer with a status, a content type and a body.
    pub(crate) fn answer(status: u16, kind: &str, body: &str) -> Self {
        let head = format!("HTTP/1.1 {status} Status\r\ncontent-type: {kind}");
        Self::Answers(Box::leak(head.into_boxed_str()), body.as_bytes().to_vec())
    }
}

/// An upstream that fails always in the same way, and counts.
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
    /// Connections on which a request came and that the other side has closed.
    closed: watch::Receiver<usize>,
    /// Holds a port on which nobody listens, so that no other test gets it.
    _held: Option<TcpSocket>,
}

impl Faulty {
    pub(crate) fn start(fault: Fault) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let (closing, closed) = watch::channel(0);
        if matches!(fault, Fault::Refuses) {
            return Self { address, asked, closed, _held: Some(socket) };
        }
        let listener = socket.listen(1_024).unwrap();
        let faulty = Self { address, asked: Arc::clone(&asked), closed, _held: None };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, fault.clone(), Arc::clone(&asked), closing.clone()));
            }
        });
        faulty
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that came.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until a request has come.
    pub(crate) async fn is_asked(&self) {
        while self.asked() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the other side has closed a connection on which it had asked.
    pub(crate) async fn is_left(&mut self) {
        self.closed.wait_for(|closed| *closed > 0).await.unwrap();
    }
}

async fn converse(mut stream: TcpStream, fault: Fault, asked: Arc<AtomicUsize>, closing: watch::Sender<usize>) {
    // A request's head; its body is read after the answer.
    let mut buffer = Vec::new();
    while !buffer.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut chunk = [0; 8_192];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let mut rest = [0; 8_192];
    match &fault {
        Fault::Refuses | Fault::Closes => {}
        Fault::Hangs => {
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            closing.send_modify(|count| *count += 1);
        }
        Fault::Answers(head, body) => {
            let head = format!("{head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(head.as_bytes()).await.is_ok() {
                let _gone = stream.write_all(body).await;
            }
            // A body that is still being sent must arrive, or the answer is lost by a reset.
            let _closed = stream.shutdown().await;
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
        }
    }
}
