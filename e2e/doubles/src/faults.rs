//! Faults that a story asks for, and what it can ask afterwards: which requests came, and which were refused and why.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::platform::{Credentials, Platform, Refusal, response};

/// Refused requests that are kept.
const KEPT: usize = 200;
/// Characters of a refusal's body that are kept.
const WHY: usize = 300;

/// How the double is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It answers.
    #[default]
    Up,
    /// It closes every connection.
    Down,
    /// It accepts nobody's credentials.
    Unauthorized,
    /// It says that there were too many requests.
    RateLimited,
    /// It answers late.
    Slow,
    /// It answers with an error of its own.
    ServerError,
    /// Something before it answers with a page, as proxies that want a login do.
    Html,
}

/// A fault, as a story asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// How the double is from now on.
    pub mode: Mode,
    /// Of `slow`: seconds until it answers. Of `rate-limited`: seconds until it is good again, which it only says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Concerns only requests with this in their path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Fault {
    /// What is wrong with it, if anything is.
    fn check(&self) -> Result<(), String> {
        let timed = matches!(self.mode, Mode::Slow | Mode::RateLimited);
        match (self.seconds, &self.path) {
            (None, _) if timed => Err("slow and rate-limited need seconds".to_owned()),
            (Some(_), _) if !timed => Err("only slow and rate-limited take seconds".to_owned()),
            (_, Some(_)) if matches!(self.mode, Mode::Up | Mode::Down | Mode::Unauthorized) => {
                Err("up, down and unauthorized concern every path".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn concerns(&self, path: &str) -> bool {
        self.path.as_ref().is_none_or(|part| path.contains(part))
    }
}

/// A request that was answered with 4xx or 5xx.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Method and path.
    pub request: String,
    /// The answer's status.
    pub status: u16,
    /// The beginning of the answer's body.
    pub why: String,
}

/// What came, since the program began.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Requests {
    /// All of them.
    pub total: u64,
    /// How many of each method and path.
    pub paths: BTreeMap<String, u64>,
    /// The last ones that were refused, oldest first.
    pub refused: VecDeque<Refused>,
    /// What the real platform would let pass, and that no good client sends.
    pub offences: Vec<String>,
}

/// A double's faults and counters.
pub struct Control {
    platform: Arc<dyn Platform>,
    fault: watch::Sender<Fault>,
    credentials: Mutex<Credentials>,
    requests: Mutex<Requests>,
}

impl Control {
    /// Everything works, with these credentials.
    ///
    /// # Errors
    ///
    /// If the platform has no such credentials.
    pub fn new(platform: Arc<dyn Platform>, credentials: Credentials) -> Result<Self, String> {
        platform.accept(Some(&credentials))?;
        let (credentials, requests) = (Mutex::new(credentials), Mutex::default());
        Ok(Self { platform, fault: watch::Sender::new(Fault::default()), credentials, requests })
    }

    /// The fault that there is.
    pub fn fault(&self) -> Fault {
        self.fault.borrow().clone()
    }

    /// Another fault from now on, instead of the one that there was.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn set(&self, fault: Fault) -> Result<(), String> {
        fault.check()?;
        let credentials = self.credentials.lock().unwrap();
        self.platform.accept((fault.mode != Mode::Unauthorized).then_some(&*credentials))?;
        self.fault.send_replace(fault);
        Ok(())
    }

    /// Accepts other credentials from now on, as after a rotation.
    ///
    /// # Errors
    ///
    /// If the platform has no such credentials.
    pub fn rotate(&self, rotated: Credentials) -> Result<(), String> {
        let mut credentials = self.credentials.lock().unwrap();
        self.platform.accept(Some(&rotated))?;
        if self.fault().mode == Mode::Unauthorized {
            self.platform.accept(None)?;
        }
        *credentials = rotated;
        Ok(())
    }

    /// What came.
    pub fn requests(&self) -> Requests {
        Requests { offences: self.platform.offences(), ..self.requests.lock().unwrap().clone() }
    }

    /// Answers with the fault in front.
    pub(crate) fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::clone(self), pass))
    }

    pub(crate) fn is_down(&self) -> bool {
        self.fault.borrow().mode == Mode::Down
    }

    /// Waits until the double is to be down.
    pub(crate) async fn goes_down(&self) {
        let mut fault = self.fault.subscribe();
        // The sender lives as long as this value.
        let _down = fault.wait_for(|fault| fault.mode == Mode::Down).await;
    }

    /// Waits some time, or until there is another fault.
    async fn dawdle(&self, seconds: u64) {
        let mut fault = self.fault.subscribe();
        let _sooner = tokio::time::timeout(Duration::from_secs(seconds), fault.changed()).await;
    }

    async fn note(&self, request: String, answer: Response) -> Response {
        let status = answer.status();
        let (parts, mut body) = answer.into_parts();
        let mut refused = None;
        if status.is_client_error() || status.is_server_error() {
            let bytes = to_bytes(body, 1 << 20).await.unwrap_or_default();
            let why = String::from_utf8_lossy(&bytes).chars().take(WHY).collect();
            refused = Some(Refused { request: request.clone(), status: status.as_u16(), why });
            body = Body::from(bytes);
        }
        let mut requests = self.requests.lock().unwrap();
        requests.total += 1;
        *requests.paths.entry(request).or_default() += 1;
        requests.refused.extend(refused);
        let surplus = requests.refused.len().saturating_sub(KEPT);
        requests.refused.drain(..surplus);
        Response::from_parts(parts, body)
    }
}

async fn pass(State(control): State<Arc<Control>>, request: Request, next: Next) -> Response {
    let fault = control.fault();
    let named = format!("{} {}", request.method(), request.uri().path());
    let seconds = fault.seconds.unwrap_or_default();
    let mode = if fault.concerns(request.uri().path()) { fault.mode } else { Mode::Up };
    let refusal = match mode {
        Mode::RateLimited => Some(Refusal::RateLimited(seconds)),
        Mode::ServerError => Some(Refusal::ServerError),
        Mode::Up | Mode::Down | Mode::Unauthorized | Mode::Slow | Mode::Html => None,
    };
    let answer = if let Some(refusal) = refusal {
        control.platform.refuse(refusal, &request.into_parts().0)
    } else if mode == Mode::Html {
        response(200, "text/html;charset=utf-8", "<!doctype html><title>Sign in</title>planted")
    } else {
        if mode == Mode::Slow {
            control.dawdle(seconds).await;
            if control.is_down() {
                // The connection is about to be closed, without an answer.
                std::future::pending::<()>().await;
            }
        }
        next.run(request).await
    };
    control.note(named, answer).await
}
