//! A proxy between a platform's client and its double that changes one value of one answer, as real servers do: null where a
//! value was, a number as a text, a word that nobody knows; or ends an answer early; or answers one request with a
//! failure; or leads a list's pages back to its first one.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode, Uri},
    response::Response,
};
use futures::stream;
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
    /// A text has [`MARK`] at its end; anything else stays.
    Marked,
    /// The answer ends in its middle.
    Cut,
    /// The platform fails to answer: 500, now and whenever the same is asked again.
    Fails,
    /// The platform says, without a look, that there is no such thing.
    Refuses,
    /// The connection ends instead of the answer.
    Breaks,
}

/// What a text of the platform ends with to be known again: short, so that a name is still like others.
pub const MARK: &str = "Qzx7";

/// A request, and how it was answered.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub uri: Uri,
    /// The operation that AWS' header names.
    pub operation: String,
    /// The answer's status, if there was one.
    pub status: Option<StatusCode>,
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
            (Self::Marked, Some(Value::String(text))) => json!(format!("{text}{MARK}")),
            (Self::Marked, _) => return,
            (Self::Missing | Self::Cut | Self::Fails | Self::Refuses | Self::Breaks, _) => {
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

/// An answer with this token for the next page; nothing if it is no page of a list.
pub type Pages = fn(&Asked, &[u8], &str) -> Option<Vec<u8>>;

/// What the tokens of pages that lead back begin with.
const LEADS_BACK: &str = "leads-back-";

#[derive(Default)]
struct Work {
    upstream: String,
    plan: Option<Plan>,
    /// What fails by the plan.
    failing: Option<Uri>,
    /// The answers since the last plan, as the double gave them; null for what is not JSON.
    seen: Vec<Value>,
    asked: Vec<Asked>,
    /// How pages lead back: by how many tokens.
    pages: Option<(Pages, usize)>,
    /// The first page of each list, by path and operation.
    first: BTreeMap<(String, String), (StatusCode, HeaderMap, Vec<u8>)>,
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
        work.asked.clear();
        work.pages = None;
        work.first.clear();
    }

    /// From now on each page of a list leads to its first one again, by so many tokens that lead to each other.
    pub fn lead_back(&self, pages: Pages, tokens: usize) {
        self.plan(None);
        self.work.lock().unwrap_or_else(PoisonError::into_inner).pages = Some((pages, tokens));
    }

    /// Lists whose pages led back.
    #[must_use]
    pub fn led_back(&self) -> usize {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).first.len()
    }

    /// The answers that were seen since the last plan.
    #[must_use]
    pub fn seen(&self) -> Vec<Value> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    /// The requests that were seen since the last plan.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }
}

/// An answer in the words of every platform.
fn failure(status: StatusCode) -> Response<Body> {
    let text = "not found";
    let body = json!({ "errors": [text], "message": text, "error": text, "code": 5, "__type": "ResourceNotFound" });
    let mut failure = Response::new(Body::from(if status.is_server_error() { json!({}) } else { body }.to_string()));
    *failure.status_mut() = status;
    failure.headers_mut().insert("content-type", "application/json".parse().unwrap());
    failure.headers_mut().insert("x-jenkins", "2.500".parse().unwrap());
    failure
}

/// The number of the token that a request goes on at, if it is one of those that lead back.
fn token_of(uri: &Uri, body: &[u8]) -> Option<usize> {
    let text = format!("{uri} {}", String::from_utf8_lossy(body));
    let (_, number) = text.split_once(LEADS_BACK)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

async fn answer(
    State((client, work)): State<(reqwest::Client, Arc<Mutex<Work>>)>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let operation = parts.headers.get("x-amz-target").map(|operation| operation.to_str().unwrap().to_owned());
    let (method, uri, operation) = (parts.method.clone(), parts.uri.clone(), operation.unwrap_or_default());
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let list = (uri.path().to_owned(), operation.clone());
    let asked = Asked { method, uri: uri.clone(), operation, status: None };
    let (upstream, number, planned) = {
        let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
        let number = work.asked.len();
        work.asked.push(asked.clone());
        if let (Some((pages, tokens)), Some(at)) = (work.pages, token_of(&uri, &body)) {
            let (status, headers, first) = work.first[&list].clone();
            let next = format!("{LEADS_BACK}{}", (at + 1) % tokens);
            let mut response = Response::new(Body::from(pages(&asked, &first, &next).unwrap()));
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            return response;
        }
        work.seen.push(Value::Null);
        let planned = work.plan.clone().filter(|plan| plan.answer == number);
        if planned.as_ref().is_some_and(|plan| plan.alteration == Alteration::Fails) {
            work.failing = Some(uri.clone());
        }
        (work.upstream.clone(), number, planned)
    };
    let told = |response: Response<Body>| {
        let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = work.asked.get_mut(number) {
            asked.status = Some(response.status());
        }
        response
    };
    if planned.as_ref().is_some_and(|plan| plan.alteration == Alteration::Refuses) {
        return told(failure(StatusCode::NOT_FOUND));
    }
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
    {
        let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = work.seen.get_mut(number) {
            seen.clone_from(&value);
        }
        if work.failing.as_ref() == Some(&uri) {
            drop(work);
            return told(failure(StatusCode::INTERNAL_SERVER_ERROR));
        }
    }
    let bytes = match planned {
        Some(Plan { alteration: Alteration::Breaks, .. }) => {
            return Response::new(Body::from_stream(stream::once(async {
                Err::<Vec<u8>, _>(io::Error::other("cut"))
            })));
        }
        Some(_) if value.is_null() => bytes,
        Some(Plan { alteration: Alteration::Cut, .. }) => bytes[..bytes.len() / 2].to_vec(),
        Some(plan) => {
            plan.alteration.change(&mut value, &plan.place);
            value.to_string().into_bytes()
        }
        None => bytes,
    };
    headers.remove("content-length");
    headers.remove("transfer-encoding");
    let bytes = {
        let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = work.pages.map(|(pages, _)| pages).filter(|_| status.is_success());
        match pages.and_then(|pages| pages(&asked, &bytes, &format!("{LEADS_BACK}0"))) {
            Some(leading) => {
                work.first.entry(list).or_insert((status, headers.clone(), bytes));
                leading
            }
            None => bytes,
        }
    };
    let mut response = Response::new(Body::from(bytes));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    told(response)
}
