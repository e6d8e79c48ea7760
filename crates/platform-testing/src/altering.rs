//! A proxy between a platform's client and its double that changes one value of one answer, as real servers do: null where a
//! value was, a number as a text, a word that nobody knows; or ends an answer early; or answers one request with a failure.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode, Uri},
    response::Response,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// It is null.
    Null,
    /// It isn't there: a member is left out, an element of a list, too.
    Missing,
    /// A number is a text; anything else is a word that nobody knows.
    Text,
    /// It is a negative number.
    Negative,
    /// It is an empty list.
    Empty,
    /// The answer ends in its middle.
    Cut,
    /// The platform fails to answer: 500, now and whenever the same is asked again.
    Fails,
}

impl Alteration {
    /// All that change one value.
    pub const OF_A_VALUE: [Self; 5] = [Self::Null, Self::Missing, Self::Text, Self::Negative, Self::Empty];

    fn change(self, body: &mut Value, place: &str) {
        let new = match (self, body.pointer(place)) {
            (Self::Null, _) => Value::Null,
            (Self::Text, Some(Value::Number(number))) => json!(number.to_string()),
            (Self::Text, _) => json!("AWordThatNobodyKnows"),
            (Self::Negative, _) => json!(-1),
            (Self::Empty, _) => json!([]),
            (Self::Missing | Self::Cut | Self::Fails, _) => {
                let Some((parent, last)) = place.rsplit_once('/') else { return };
                let name = last.replace("~1", "/").replace("~0", "~");
                match body.pointer_mut(parent) {
                    Some(Value::Object(members)) => drop(members.remove(&name)),
                    Some(Value::Array(elements)) => drop(elements.remove(name.parse().unwrap())),
                    _ => {}
                }
                return;
            }
        };
        if let Some(value) = body.pointer_mut(place) {
            *value = new;
        }
    }
}

/// Every place in a value, as JSON pointers (RFC 6901); of a list the first two elements stand for all.
#[must_use]
pub fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, places: &mut Vec<String>) {
        let mut step = |name: &str, value: &Value| {
            let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            places.push(at.clone());
            walk(value, &at, places);
        };
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| step(name, value)),
            Value::Array(elements) => {
                elements.iter().take(2).enumerate().for_each(|(index, value)| step(&index.to_string(), value));
            }
            _ => {}
        }
    }
    let mut places = Vec::new();
    walk(value, "", &mut places);
    places
}

/// Which answer is changed, where and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of the answer, from 0, since it was planned.
    pub answer: usize,
    /// Where in it.
    pub place: String,
    /// How.
    pub alteration: Alteration,
}

#[derive(Default)]
struct Work {
    upstream: String,
    plan: Option<Plan>,
    /// What fails by the plan.
    failing: Option<Uri>,
    /// The answers since the last plan, as the double gave them; null for what is not JSON.
    seen: Vec<Value>,
}

/// The proxy. It ends when it is dropped.
pub struct Altering {
    /// Where it listens.
    pub url: String,
    work: Arc<Mutex<Work>>,
    serving: AbortHandle,
}

impl Drop for Altering {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Altering {
    /// Listens before an upstream at a URL.
    pub async fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_end_matches('/').to_owned();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let work = Arc::new(Mutex::new(Work { upstream, ..Work::default() }));
        let router = Router::new().fallback(answer).with_state((client, work.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { url, work, serving }
    }

    /// Plans for what comes next; forgets what was seen.
    pub fn plan(&self, plan: Option<Plan>) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.plan = plan;
        work.failing = None;
        work.seen.clear();
    }

    /// The answers that were seen since the last plan.
    #[must_use]
    pub fn seen(&self) -> Vec<Value> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }
}

async fn answer(
    State((client, work)): State<(reqwest::Client, Arc<Mutex<Work>>)>,
    request: Request<Body>,
) -> Response<Body> {
    let upstream = work.lock().unwrap_or_else(PoisonError::into_inner).upstream.clone();
    let (parts, body) = request.into_parts();
    let asked = parts.uri.clone();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let url = format!("{upstream}{}", parts.uri.path_and_query().map_or("/", |path| path.as_str()));
    let host = parts.headers["host"].to_str().unwrap().to_owned();
    // With the host that the client has written, which may be signed.
    let answered = client.request(parts.method, url).headers(parts.headers).body(body).send().await.unwrap();
    let (status, mut headers) = (answered.status(), answered.headers().clone());
    #[expect(clippy::disallowed_methods, reason = "a double of ours answers")]
    let bytes = answered.bytes().await.unwrap().to_vec();
    // The double's own address would lead past this proxy.
    let own = upstream.split("//").last().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap_or_default().replace(own, &host);
    let bytes = if text.is_empty() { bytes } else { text.into_bytes() };
    let mut value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
    let number = work.seen.len();
    work.seen.push(value.clone());
    let begins = |plan: &Plan| plan.answer == number && plan.alteration == Alteration::Fails;
    if work.plan.as_ref().is_some_and(begins) {
        work.failing = Some(asked.clone());
    }
    if work.failing.as_ref() == Some(&asked) {
        let mut failure = Response::new(Body::from("{}"));
        *failure.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        failure.headers_mut().insert("content-type", "application/json".parse().unwrap());
        return failure;
    }
    let bytes = match work.plan.as_ref().filter(|plan| plan.answer == number && !value.is_null()) {
        Some(Plan { alteration: Alteration::Cut, .. }) => bytes[..bytes.len() / 2].to_vec(),
        Some(plan) => {
            plan.alteration.change(&mut value, &plan.place);
            value.to_string().into_bytes()
        }
        None => bytes,
    };
    headers.remove("content-length");
    headers.remove("transfer-encoding");
    let mut response = Response::new(Body::from(bytes));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}
