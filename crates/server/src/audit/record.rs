//! One record: a CloudEvent (1.0) whose data is an event of OCSF's class API Activity (6003, schema 1.6.0). What OCSF has
//! no attribute for stands in `unmapped`. Written in one go, without building a tree of values.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;

use super::{super::access::Caller, ConnectorIdentity};
use pod_api::status::CallOutcome;
use tools::Effect;

const OCSF_VERSION: &str = "1.6.0";
const CLASS_API_ACTIVITY: u32 = 6_003;
const CATEGORY_APPLICATION_ACTIVITY: u32 = 6;
/// OCSF's severity Informational.
const INFORMATIONAL: u8 = 1;
/// OCSF's severity Low.
const LOW: u8 = 2;
/// OCSF's type of a user that is a person.
const PERSON: u8 = 1;
/// OCSF's type of a user that is no person.
const SYSTEM_USER: u8 = 3;

/// What a record is about.
pub(super) struct Event<'a> {
    pub id: &'a str,
    pub phase: Phase,
    pub request_id: &'a str,
    /// Who calls, where that is known.
    pub caller: Option<&'a str>,
    pub peer: Option<SocketAddr>,
    pub tool: Option<&'a str>,
    pub effect: Option<Effect>,
    pub arguments: &'a [String],
    pub trace_id: &'a str,
}

/// When in a call a record is written.
pub(super) enum Phase {
    /// Before it.
    Attempt,
    /// After it.
    Result { outcome: CallOutcome, error_code: &'static str, duration: Duration },
    /// Instead of it: the caller was turned away.
    AuthFailure { reason: &'static str, suppressed: u64 },
}

/// Who writes the records.
pub(super) struct Source {
    uri: String,
    platform: &'static str,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: CloudEventId<'a>,
    source: &'a str,
    r#type: &'static str,
    time: jiff::Timestamp,
    datacontenttype: &'static str,
    data: ApiActivity<'a>,
}

/// The event's id and the phase: a CloudEvent's id must not repeat.
struct CloudEventId<'a>(&'a str, &'static str);

impl Serialize for CloudEventId<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}-{}", self.0, self.1))
    }
}

#[derive(Serialize)]
struct ApiActivity<'a> {
    class_uid: u32,
    category_uid: u32,
    activity_id: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_name: Option<&'static str>,
    type_uid: u32,
    severity_id: u8,
    status_id: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    status_code: &'static str,
    /// Milliseconds since 1970.
    time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    metadata: Metadata<'a>,
    actor: Actor<'a>,
    api: Api<'a>,
    src_endpoint: Endpoint,
    unmapped: Unmapped<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    version: &'static str,
    product: Product,
    correlation_uid: &'a str,
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Actor<'a> {
    user: User<'a>,
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    type_id: u8,
}

#[derive(Serialize)]
struct Api<'a> {
    operation: &'a str,
    request: Request<'a>,
    service: Service<'a>,
}

#[derive(Serialize)]
struct Request<'a> {
    uid: &'a str,
}

#[derive(Serialize)]
struct Service<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Endpoint {
    ip: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<CallOutcome>,
    arguments: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
}

impl Source {
    pub fn new(connector: &ConnectorIdentity, platform: &'static str) -> Self {
        Self { uri: format!("/namespaces/{}/mcpconnectors/{}", connector.namespace, connector.name), platform }
    }

    /// The record as one line, without the line's end.
    pub fn build_line(&self, event: &Event<'_>) -> String {
        let now = jiff::Timestamp::now();
        let (phase, kind) = match event.phase {
            Phase::Attempt => ("attempt", "io.mcp-connectors.tool_call.attempt"),
            Phase::Result { .. } => ("result", "io.mcp-connectors.tool_call.result"),
            Phase::AuthFailure { .. } => ("auth_failure", "io.mcp-connectors.auth_failure"),
        };
        let (status_id, status_code) = match event.phase {
            Phase::Attempt => (0, ""),
            Phase::Result { outcome: CallOutcome::Success, .. } => (1, ""),
            Phase::Result { error_code, .. } => (2, error_code),
            Phase::AuthFailure { reason, .. } => (2, reason),
        };
        let (outcome, duration) = match event.phase {
            Phase::Result { outcome, duration, .. } => {
                (Some(outcome), Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
            }
            Phase::Attempt | Phase::AuthFailure { .. } => (None, None),
        };
        let refused = matches!(event.phase, Phase::AuthFailure { .. }) || outcome == Some(CallOutcome::Denied);
        let (activity_id, activity_name) = match (&event.phase, event.effect) {
            (Phase::AuthFailure { .. }, _) => (99, Some("Authenticate")),
            (_, Some(Effect::Read)) => (2, None),
            (_, Some(Effect::Mutate)) => (3, None),
            (_, Some(Effect::Destroy)) => (4, None),
            (_, None) => (0, None),
        };
        let suppressed = match event.phase {
            Phase::AuthFailure { suppressed, .. } if suppressed > 0 => Some(suppressed),
            _ => None,
        };
        let caller = event.caller.unwrap_or("unknown");
        let record = CloudEvent {
            specversion: "1.0",
            id: CloudEventId(event.id, phase),
            source: &self.uri,
            r#type: kind,
            time: now,
            datacontenttype: "application/json",
            data: ApiActivity {
                class_uid: CLASS_API_ACTIVITY,
                category_uid: CATEGORY_APPLICATION_ACTIVITY,
                activity_id,
                activity_name,
                type_uid: CLASS_API_ACTIVITY * 100 + u32::from(activity_id),
                severity_id: if refused { LOW } else { INFORMATIONAL },
                status_id,
                status_code,
                time: now.as_millisecond(),
                duration,
                metadata: Metadata {
                    version: OCSF_VERSION,
                    product: Product {
                        name: "mcp-connectors",
                        vendor_name: "mcp-connectors.io",
                        version: env!("CARGO_PKG_VERSION"),
                    },
                    correlation_uid: event.id,
                },
                actor: Actor { user: User { name: caller, type_id: type_of(event.caller) } },
                api: Api {
                    operation: event.tool.unwrap_or("authenticate"),
                    request: Request { uid: event.request_id },
                    service: Service { name: self.platform },
                },
                src_endpoint: Endpoint {
                    ip: event.peer.map(|peer| peer.ip().to_canonical()),
                    port: event.peer.map(|peer| peer.port()),
                },
                unmapped: Unmapped { phase, outcome, arguments: event.arguments, trace_id: event.trace_id, suppressed },
            },
        };
        // Every part is a text or a number, so it can't fail; an empty line would be seen by who reads the records.
        serde_json::to_string(&record).unwrap_or_default()
    }
}

/// OCSF's type of the user: a ServiceAccount is a system user, and whoever runs a connector without a cluster a person; of
/// nobody, nothing is known.
fn type_of(caller: Option<&str>) -> u8 {
    match caller {
        Some(name) if name == Caller::Local.to_string() => PERSON,
        Some(name) if name != Caller::Anonymous.to_string() => SYSTEM_USER,
        _ => 0,
    }
}
