//! Who did what: two records for each tool call, one before it begins and one when it has ended however it ended, and one
//! for each caller that was turned away. Records hold names of arguments and never a value.
//!
//! A record is written by threads of their own, one for each sink, so that a sink that is full, slow or broken neither
//! stops a call nor the other sink. What a sink loses is counted.

pub mod chain;
mod record;
mod sink;
#[cfg(test)]
mod tests;

use std::{
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::time::Instant;

use self::{
    record::{Event, Phase, Source},
    sink::{FileSink, Sink},
};
use super::{access::Caller, text::safe_name};
use pod_api::{
    config::{AuditConfig, AuditFileConfig, ConnectorIdentity},
    status::{CallOutcome, SinkState},
};
use tools::Effect;

/// Argument names in a record, at most.
const MAX_ARGUMENTS: usize = 32;
/// Records of refused callers in a second, at most; how many there were beside them is told in the next one.
const AUTH_FAILURES_PER_SECOND: u64 = 10;
/// Time that writing what is left may take, at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// A call that is about to begin.
pub struct CallDescription<'a> {
    /// Id of the HTTP request.
    pub request_id: &'a str,
    /// Who calls.
    pub caller: &'a Caller,
    /// Where the connection comes from.
    pub peer: Option<SocketAddr>,
    /// The tool's name as it was called.
    pub tool: &'a str,
    /// What the tool does; unknown if there is no such tool.
    pub effect: Option<Effect>,
    /// The arguments; only their names are taken.
    pub arguments: &'a Map<String, Value>,
    /// W3C trace id, 32 hex digits.
    pub trace_id: &'a str,
}

/// Writes audit records.
pub struct Audit {
    source: Source,
    sinks: Vec<Sink>,
    refusals: Mutex<Refusals>,
}

impl Audit {
    /// Starts the sinks: `stdout`, and the file that the configuration asks for, in `directory`.
    pub fn start(
        connector: &ConnectorIdentity,
        platform: &'static str,
        config: &AuditConfig,
        directory: PathBuf,
        stdout: Box<dyn Write + Send>,
    ) -> Arc<Self> {
        let mut sinks = vec![Sink::start("stdout", stdout, config.hash_chain)];
        if let Some(AuditFileConfig { max_bytes, files }) = config.file {
            sinks.push(Sink::start("file", Box::new(FileSink::new(directory, max_bytes, files)), config.hash_chain));
        }
        Arc::new(Self { source: Source::new(connector, platform), sinks, refusals: Mutex::default() })
    }

    /// Writes that a call begins. What is returned writes how it ended, at the latest when it is dropped.
    pub fn begin(self: &Arc<Self>, call: &CallDescription<'_>) -> CallRecord {
        let arguments = argument_names(call.arguments);
        let record = CallRecord {
            audit: self.clone(),
            event_id: new_event_id(),
            request_id: call.request_id.to_owned(),
            caller: call.caller.to_string(),
            peer: call.peer,
            tool: safe_name(call.tool),
            effect: call.effect,
            arguments,
            trace_id: call.trace_id.to_owned(),
            started: Instant::now(),
            ended: AtomicBool::new(false),
        };
        record.write(Phase::Attempt);
        record
    }

    /// Writes that a caller was turned away, unless there are too many of them.
    pub fn refused_caller(&self, request_id: &str, peer: Option<SocketAddr>, reason: &'static str) {
        let Some(suppressed) = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).admit() else { return };
        let event_id = new_event_id();
        self.send(&Event {
            id: &event_id,
            phase: Phase::AuthFailure { reason, suppressed },
            request_id,
            caller: None,
            peer,
            tool: None,
            effect: None,
            arguments: &[],
            trace_id: "",
        });
    }

    /// How the sinks do.
    #[must_use]
    pub fn states(&self) -> Vec<SinkState> {
        self.sinks.iter().map(Sink::state).collect()
    }

    /// Waits until everything is written, for two seconds at most. Blocks.
    pub fn finish(&self) {
        for sink in &self.sinks {
            sink.finish(FINISH_TIMEOUT);
        }
    }

    fn send(&self, event: &Event<'_>) {
        let line: Arc<str> = self.source.build_line(event).into();
        for sink in &self.sinks {
            sink.send(&line);
        }
    }
}

/// A call that has begun. Its end is written at the latest when it is dropped.
pub struct CallRecord {
    audit: Arc<Audit>,
    event_id: String,
    request_id: String,
    caller: String,
    peer: Option<SocketAddr>,
    tool: String,
    effect: Option<Effect>,
    arguments: Vec<String>,
    trace_id: String,
    started: Instant,
    ended: AtomicBool,
}

impl CallRecord {
    /// Id that both records of the call carry.
    #[must_use]
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// Writes how the call ended, once. `error_code` is the class of the error, or empty.
    pub fn end(&self, outcome: CallOutcome, error_code: &'static str) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            self.write(Phase::Result { outcome, error_code, duration: self.started.elapsed() });
        }
    }

    fn write(&self, phase: Phase) {
        self.audit.send(&Event {
            id: &self.event_id,
            phase,
            request_id: &self.request_id,
            caller: Some(&self.caller),
            peer: self.peer,
            tool: Some(&self.tool),
            effect: self.effect,
            arguments: &self.arguments,
            trace_id: &self.trace_id,
        });
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        self.end(CallOutcome::Abandoned, "abandoned");
    }
}

/// How many callers were turned away lately.
#[derive(Default)]
struct Refusals {
    window: Option<Instant>,
    admitted: u64,
    suppressed: u64,
}

impl Refusals {
    /// Whether one more is told, and how many were not since the last that was.
    fn admit(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.window.is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1)) {
            (self.window, self.admitted) = (Some(now), 0);
        }
        if self.admitted >= AUTH_FAILURES_PER_SECOND {
            self.suppressed += 1;
            return None;
        }
        self.admitted += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Names of a call's arguments, cleaned and bounded.
pub(super) fn argument_names(arguments: &Map<String, Value>) -> Vec<String> {
    arguments.keys().take(MAX_ARGUMENTS).map(|name| safe_name(name)).collect()
}

/// 128 random bits, as 32 hex digits.
fn new_event_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Counts what a sink lost.
#[derive(Debug, Default)]
struct Losses(AtomicU64);

impl Losses {
    fn add(&self, records: u64) {
        self.0.fetch_add(records, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
