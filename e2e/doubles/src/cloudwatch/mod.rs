//! A strict double of CloudWatch, CloudWatch Logs and STS behind one address. It refuses what AWS refuses: requests without
//! a whole SigV4 header, with another region or the service of another API, in another protocol, to operations that there
//! aren't, with members that an operation doesn't have, and times in the wrong unit. What it refuses for such a reason is
//! kept, and fails the test.
//!
//! Where its behaviour comes from:
//! - protocols: <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html> (CBOR),
//!   <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>, <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>;
//! - signatures: <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>;
//! - operations and their members: the API references of CloudWatch, CloudWatch Logs and STS, and the SDK's models.

pub mod cbor;
pub mod identity;
mod logs;
mod metrics;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State as Shared,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, StatusCode, Uri, request::Parts};
use serde_json::{Value, json};

use crate::{
    platform::{Credentials, Platform, Refusal as Fault, field, only},
    serving::Loopback,
};

pub use self::{logs::State as Logs, metrics::State as Metrics, metrics::alarm};

/// The region that requests are signed for.
pub const REGION: &str = "eu-central-1";
/// The access key that is accepted.
pub const KEY: &str = "AKIAplanted00planted";
/// What the access keys of the role's sessions begin with.
pub const ROLE_KEY: &str = "ASIAROLE";
/// Where CloudWatch's operations are in CBOR.
const OPERATIONS: &str = "/service/GraniteServiceVersion20100801/operation/";
/// Its operation that nobody signs.
const WEB_IDENTITY: &str = "AssumeRoleWithWebIdentity";
const ACCOUNT: &str = "123456789012";
/// What each of its answers carries.
pub const REQUEST_ID: &str = "0ca0ca0c-1111-2222-3333-444455556666";

/// An error of AWS: status, code and message. The message holds what may not come out.
pub type Refusal = (u16, String, String);

fn refuse<T>(status: u16, code: &str) -> Result<T, Refusal> {
    Err((status, code.to_owned(), "planted".to_owned()))
}

/// What the double knows.
pub struct State {
    /// Access keys that are good.
    pub keys: BTreeSet<String>,
    /// Session token that must come with the key; none if there must be none.
    pub token: Option<String>,
    /// Faults by operation: they stay until they are taken out.
    pub faults: BTreeMap<String, Refusal>,
    /// Answers with a page instead of the operation.
    pub pages: BTreeSet<String>,
    /// Answers of something in front of AWS, by operation: status, type and text.
    pub in_front: BTreeMap<String, (u16, &'static str, &'static str)>,
    /// Requests that were taken: operation and input.
    pub log: Vec<(String, Value)>,
    /// What no client of AWS may send.
    offences: Vec<String>,
    /// External id that the role asks for.
    pub external_id: Option<String>,
    /// Sessions of the role that there were.
    pub sessions: usize,
    /// Name of the last session that was made by a token of a ServiceAccount, or with other keys.
    session_name: String,
    /// Minutes that a session of the role lasts.
    pub session_minutes: i64,
    /// Seconds by which its clock is ahead of that of the machine.
    pub clock: i64,
    /// Metrics and alarms.
    pub metrics: Metrics,
    /// Log groups and queries.
    pub logs: Logs,
}

/// An account with metrics, alarms and logs.
pub fn world() -> Mutex<State> {
    Mutex::new(State {
        keys: [KEY.to_owned()].into(),
        token: None,
        faults: BTreeMap::new(),
        pages: BTreeSet::new(),
        in_front: BTreeMap::new(),
        log: Vec::new(),
        offences: Vec::new(),
        external_id: None,
        sessions: 0,
        session_name: String::new(),
        session_minutes: 60,
        clock: 0,
        metrics: Metrics::new(),
        logs: Logs::new(),
    })
}

impl Platform for Mutex<State> {
    fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    fn default_credentials(&self) -> Credentials {
        [("access_key_id".to_owned(), KEY.to_owned())].into()
    }

    fn accept(&self, credentials: Option<&Credentials>) -> Result<(), String> {
        let (mut keys, mut token) = (BTreeSet::new(), None);
        if let Some(given) = credentials {
            only(given, &["access_key_id", "second_access_key_id", "secret_access_key", "session_token"])?;
            keys.insert(field(given, "access_key_id")?);
            // A user may have two keys, so that one can be replaced while it is used.
            keys.extend(given.get("second_access_key_id").cloned());
            token = given.get("session_token").cloned();
        }
        let mut state = self.lock().unwrap();
        // Sessions that were made with the keys of before end with them.
        state.sessions += 1;
        (state.keys, state.token) = (keys, token);
        Ok(())
    }

    fn refuse(&self, refusal: Fault, request: &Parts) -> Response {
        let protocol = protocol(&request.uri, &request.headers);
        let (status, code) = match refusal {
            // AWS tells no time to wait.
            Fault::RateLimited(_) => (400, "ThrottlingException"),
            Fault::ServerError => (500, "InternalFailure"),
        };
        written(protocol, "", status, &json!({ "__type": code, "message": "planted" }))
    }

    fn offences(&self) -> Vec<String> {
        self.lock().unwrap().offences.clone()
    }
}

/// An account on loopback, for a unit test.
#[derive(Clone)]
pub struct Double {
    state: Arc<Mutex<State>>,
    server: Arc<Loopback>,
    /// The last one to go looks whether something was wrong.
    _watch: Arc<Watch>,
}

struct Watch(Arc<Mutex<State>>);

impl Drop for Watch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let offences = self.0.lock().unwrap().offences.clone();
            assert_eq!(offences, Vec::<String>::new());
        }
    }
}

impl Double {
    /// An account with metrics, alarms and logs.
    pub async fn start() -> Self {
        let state = Arc::new(world());
        let server = Arc::new(Loopback::serve(Loopback::bind().await, Arc::clone(&state).router()));
        Self { _watch: Arc::new(Watch(Arc::clone(&state))), state, server }
    }

    /// The URL.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Looks at what there is, and changes it.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    /// Lets an operation fail.
    pub fn fail(&self, operation: &str, status: u16, code: &str) {
        self.fail_with(operation, status, code, "planted");
    }

    /// Lets an operation fail with a message.
    pub fn fail_with(&self, operation: &str, status: u16, code: &str, message: &str) {
        let fault = (status, code.to_owned(), message.to_owned());
        self.change(|state| state.faults.insert(operation.to_owned(), fault));
    }

    /// Lets everything work again.
    pub fn mend(&self) {
        self.change(|state| state.faults.clear());
    }

    /// Requests of an operation that came; of all, for `""`.
    pub fn count(&self, operation: &str) -> usize {
        self.change(|state| state.log.iter().filter(|(name, _)| operation.is_empty() || name == operation).count())
    }

    /// The last input of an operation.
    pub fn input(&self, operation: &str) -> Value {
        let found = self.change(|state| state.log.iter().rev().find(|(name, _)| name == operation).cloned());
        found.unwrap_or_else(|| panic!("{operation} was not called")).1
    }
}

/// How an operation is spoken.
#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Cbor,
    Json,
    Query,
}

async fn answer(
    Shared(state): Shared<Arc<Mutex<State>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = state.lock().unwrap();
    if let Some(response) = identity::on_node(&mut state, &method, &uri, &headers) {
        return response;
    }
    let clock = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(state.clock);
    let mut response = respond(&mut state, &method, &uri, &headers, &body);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&clock).unwrap();
    response.headers_mut().insert("date", date.parse().unwrap());
    let is_of_aws = !response.headers().contains_key("x-in-front")
        && response.headers().get("content-type").is_none_or(|kind| kind != "text/html");
    if is_of_aws {
        response.headers_mut().insert("x-amzn-requestid", REQUEST_ID.parse().unwrap());
    }
    response
}

fn respond(state: &mut State, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    match understand(method, uri, headers, body) {
        Ok((protocol, operation, input)) => {
            if let Some((status, kind, text)) = state.in_front.get(&operation) {
                let status = StatusCode::from_u16(*status).unwrap();
                return (status, [("content-type", *kind), ("x-in-front", "1")], *text).into_response();
            }
            let (status, body) = match take(state, protocol, &operation, &input, headers) {
                Ok(output) => (200, output),
                Err((status, code, message)) => (status, json!({ "__type": code, "message": message })),
            };
            if state.pages.contains(&operation) {
                let page = "<!doctype html><title>planted</title>";
                return ([("content-type", "text/html")], page).into_response();
            }
            written(protocol, &operation, status, &body)
        }
        Err(offence) => {
            state.offences.push(offence.clone());
            (StatusCode::IM_A_TEAPOT, offence).into_response()
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, String> {
    let value = headers.get(name).ok_or(format!("no header {name}"))?;
    value.to_str().map_err(|_| format!("{name} is no text"))
}

/// How a request is spoken, by what tells protocols apart.
fn protocol(uri: &Uri, headers: &HeaderMap) -> Protocol {
    if uri.path().starts_with(OPERATIONS) {
        Protocol::Cbor
    } else if headers.contains_key("x-amz-target") {
        Protocol::Json
    } else {
        Protocol::Query
    }
}

/// What a request asks for; otherwise what is wrong with it.
fn understand(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(Protocol, String, Value), String> {
    if method != Method::POST || uri.query().is_some() {
        return Err(format!("{method} {uri}"));
    }
    let content_type = header(headers, "content-type")?;
    if let Some(operation) = uri.path().strip_prefix(OPERATIONS) {
        for (name, value) in
            [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor"), ("accept", "application/cbor")]
        {
            if header(headers, name)? != value {
                return Err(format!("{operation}: {name} is {}", header(headers, name)?));
            }
        }
        return Ok((Protocol::Cbor, operation.to_owned(), cbor::decode(body)));
    }
    if uri.path() != "/" {
        return Err(format!("path {}", uri.path()));
    }
    if let Ok(target) = header(headers, "x-amz-target") {
        let operation = target.strip_prefix("Logs_20140328.").ok_or(format!("target {target}"))?;
        if content_type != "application/x-amz-json-1.1" {
            return Err(format!("{operation}: content type {content_type}"));
        }
        let input = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        return Ok((Protocol::Json, operation.to_owned(), input));
    }
    if content_type != "application/x-www-form-urlencoded" {
        return Err(format!("content type {content_type}"));
    }
    let mut form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    if form.remove("Version").as_deref() != Some("2011-06-15") {
        return Err("STS of another version".to_owned());
    }
    let operation = form.remove("Action").ok_or("no Action")?;
    Ok((Protocol::Query, operation, serde_json::to_value(form).unwrap()))
}

/// The access key of a request whose signature has the right form.
fn signed(protocol: Protocol, headers: &HeaderMap) -> Result<String, String> {
    let authorization = header(headers, "authorization")?;
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=").ok_or("another way to sign")?;
    let parts: Vec<&str> = rest.split(", ").collect();
    let [scope, signed, signature] = parts.as_slice() else { return Err(format!("{} parts", parts.len())) };
    let scope: Vec<&str> = scope.split('/').collect();
    let service = match protocol {
        Protocol::Cbor => "monitoring",
        Protocol::Json => "logs",
        Protocol::Query => "sts",
    };
    let date = header(headers, "x-amz-date")?;
    if date.len() != 16 || !date.ends_with('Z') {
        return Err(format!("date {date}"));
    }
    let [key, day, region, for_service, "aws4_request"] = scope.as_slice() else { return Err("scope".to_owned()) };
    if *day != &date[..8] || *region != REGION || *for_service != service {
        return Err(format!("signed for {day} {region} {for_service}, and called {service}"));
    }
    let names: BTreeSet<&str> = signed.strip_prefix("SignedHeaders=").ok_or("no signed headers")?.split(';').collect();
    let mut needed = vec!["host", "x-amz-date"];
    needed.extend(headers.contains_key("x-amz-security-token").then_some("x-amz-security-token"));
    needed.extend(headers.contains_key("x-amz-target").then_some("x-amz-target"));
    if let Some(missing) = needed.iter().find(|name| !names.contains(*name)) {
        return Err(format!("{missing} is not signed"));
    }
    if let Some(missing) = names.iter().find(|name| !headers.contains_key(**name)) {
        return Err(format!("{missing} is signed and not there"));
    }
    let digits = signature.strip_prefix("Signature=").ok_or("no signature")?;
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("signature".to_owned());
    }
    Ok((*key).to_owned())
}

fn take(
    state: &mut State,
    protocol: Protocol,
    operation: &str,
    input: &Value,
    headers: &HeaderMap,
) -> Result<Value, Refusal> {
    let known = match protocol {
        Protocol::Cbor => metrics::members(operation),
        Protocol::Json => logs::members(operation),
        Protocol::Query => sts_members(operation),
    };
    if operation == WEB_IDENTITY {
        let members = known.unwrap_or_default();
        let given = input.as_object().cloned().unwrap_or_default();
        let unknown = given.keys().filter(|name| !members.contains(&name.as_str()));
        state.offences.extend(unknown.map(|name| format!("{operation} has no {name}")));
        state.log.push((operation.to_owned(), input.clone()));
        return match state.faults.get(operation) {
            Some(fault) => Err(fault.clone()),
            None => identity::assume(state, input, headers),
        };
    }
    let key = match (signed(protocol, headers), known) {
        (Ok(key), Some(known)) => {
            let given = input.as_object().cloned().unwrap_or_default();
            if let Some(unknown) = given.keys().find(|name| !known.contains(&name.as_str())) {
                state.offences.push(format!("{operation} has no {unknown}"));
            }
            key
        }
        (Err(offence), _) => {
            state.offences.push(format!("{operation}: {offence}"));
            return refuse(403, "IncompleteSignature");
        }
        (_, None) => {
            state.offences.push(format!("no operation {operation}"));
            return refuse(404, "UnknownOperationException");
        }
    };
    state.log.push((operation.to_owned(), input.clone()));
    let token = headers.get("x-amz-security-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let of_role = (key == format!("{ROLE_KEY}{}", state.sessions)) && token.as_deref() == Some("planted-role-token");
    if !of_role && (!state.keys.contains(&key) || token != state.token) {
        let code = if protocol == Protocol::Json { "UnrecognizedClientException" } else { "InvalidClientTokenId" };
        return refuse(if protocol == Protocol::Json { 400 } else { 403 }, code);
    }
    if let Some(fault) = state.faults.get(operation) {
        return Err(fault.clone());
    }
    match protocol {
        Protocol::Cbor => metrics::answer(&mut state.metrics, operation, input),
        Protocol::Json => logs::answer(&mut state.logs, operation, input),
        Protocol::Query => sts(state, operation, input, of_role),
    }
}

fn sts_members(operation: &str) -> Option<&'static [&'static str]> {
    match operation {
        "GetCallerIdentity" => Some(&[]),
        "AssumeRole" => Some(&["RoleArn", "RoleSessionName", "ExternalId"]),
        WEB_IDENTITY => Some(&["RoleArn", "RoleSessionName", "WebIdentityToken"]),
        _ => None,
    }
}

fn sts(state: &mut State, operation: &str, input: &Value, of_role: bool) -> Result<Value, Refusal> {
    if operation == "GetCallerIdentity" {
        let session = format!("assumed-role/reader/{}", state.session_name);
        let who = if of_role { session.as_str() } else { "user/reader" };
        return Ok(json!({ "Arn": format!("arn:aws:sts::{ACCOUNT}:{who}"), "UserId": "U", "Account": ACCOUNT }));
    }
    if input["ExternalId"].as_str() != state.external_id.as_deref() {
        return refuse(403, "AccessDenied");
    }
    input["RoleSessionName"].as_str().unwrap_or_default().clone_into(&mut state.session_name);
    Ok(json!({ "Credentials": issue(state) }))
}

/// The keys of a new session, as STS gives them.
fn issue(state: &mut State) -> Value {
    state.sessions += 1;
    let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(state.session_minutes);
    json!({
        "AccessKeyId": format!("{ROLE_KEY}{}", state.sessions),
        "SecretAccessKey": "planted-role-secret",
        "SessionToken": "planted-role-token",
        "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

fn xml(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let elements: Vec<String> =
                map.iter().map(|(name, value)| format!("<{name}>{}</{name}>", xml(value))).collect();
            elements.concat()
        }
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

fn written(protocol: Protocol, operation: &str, status: u16, body: &Value) -> Response {
    let code = StatusCode::from_u16(status).unwrap();
    match protocol {
        Protocol::Cbor => {
            let headers = [("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")];
            (code, headers, cbor::encode(body)).into_response()
        }
        Protocol::Json => (code, [("content-type", "application/x-amz-json-1.1")], body.to_string()).into_response(),
        Protocol::Query => {
            let text = if status == 200 {
                format!(
                    "<{operation}Response><{operation}Result>{}</{operation}Result></{operation}Response>",
                    xml(body)
                )
            } else {
                let (code, message) = (&body["__type"].as_str().unwrap(), &body["message"].as_str().unwrap());
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                     <RequestId>r</RequestId></ErrorResponse>"
                )
            };
            (code, [("content-type", "text/xml")], text).into_response()
        }
    }
}
