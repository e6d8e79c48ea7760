//! A platform that answers well, or shows what it was sent wherever a platform, or a proxy before it, can show something.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Response, StatusCode},
};
use platform_doubles::Platform;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};
use tower::ServiceExt;

use crate::forms::leak;

/// What the platform does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// It answers.
    Well,
    /// It shows all that it was sent, in the fields in which platforms put messages, and in headers.
    Shows(u16),
    /// A proxy's page shows it.
    Page(u16),
    /// It leads elsewhere, with all of it in the address.
    Redirects,
    /// It doesn't answer.
    Hangs,
}

/// Where good answers come from.
#[derive(Clone, Copy)]
pub enum World {
    /// A strict double, at this URL.
    Double(fn(&str) -> Arc<dyn Platform>),
    /// Answers by path, just enough for a client to go on.
    Answers(fn(&str) -> Value),
}

/// A platform that does what it is told, and knows what it was sent.
pub struct Upstream {
    act: Mutex<Act>,
    seen: Mutex<Vec<(Act, String)>>,
    good: Good,
}

enum Good {
    Router(Router),
    Answers(fn(&str) -> Value),
}

impl Upstream {
    /// Serves it, with what says which credentials it accepts.
    pub async fn start(world: World) -> (Arc<Self>, SocketAddr, Option<Arc<dyn Platform>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (good, double) = match world {
            World::Answers(answers) => (Good::Answers(answers), None),
            World::Double(make) => {
                let double = make(&format!("http://{address}"));
                (Good::Router(Arc::clone(&double).router()), Some(double))
            }
        };
        let upstream = Arc::new(Self { act: Mutex::new(Act::Well), seen: Mutex::default(), good });
        let router = Router::new().fallback(Self::answer).with_state(Arc::clone(&upstream));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (upstream, address, double)
    }

    async fn answer(State(upstream): State<Arc<Self>>, request: Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let headers: Vec<_> = head.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        let sent = format!("{} {} {} {}", head.method, head.uri, headers.join(" "), String::from_utf8_lossy(&body));
        let act = *upstream.act.lock().unwrap();
        upstream.seen.lock().unwrap().push((act, sent.clone()));
        let shown = json!({ "message": sent, "error": sent, "errors": [sent], "__type": sent, "Message": sent });
        let answer = Response::builder();
        match act {
            Act::Well => match &upstream.good {
                Good::Router(router) => {
                    router.clone().oneshot(Request::from_parts(head, Body::from(body))).await.unwrap()
                }
                Good::Answers(answers) => answer
                    .header("content-type", "application/json")
                    .body(answers(head.uri.path()).to_string().into())
                    .unwrap(),
            },
            Act::Shows(status) => answer
                .status(status)
                .header("content-type", "application/json")
                .header("www-authenticate", format!("Bearer error=\"{}\"", headers.join(" ")))
                .header("x-error", headers.join(" "))
                .body(shown.to_string().into())
                .unwrap(),
            Act::Page(status) => answer
                .status(status)
                .header("content-type", "text/html")
                .body(format!("<html><pre>{sent}</pre></html>").into())
                .unwrap(),
            Act::Redirects => answer
                .status(StatusCode::FOUND)
                .header(
                    "location",
                    format!(
                        "/login?from={}",
                        url::form_urlencoded::byte_serialize(sent.as_bytes()).collect::<String>()
                    ),
                )
                .body(Body::empty())
                .unwrap(),
            Act::Hangs => std::future::pending().await,
        }
    }

    pub fn now_does(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    /// Waits until it was asked while it did such a thing, and, if a secret is named, with it.
    pub async fn is_asked(&self, acts: impl Fn(Act) -> bool, secret: Option<&str>, place: &str) {
        let begun = Instant::now();
        loop {
            let seen = |(at, sent): &(Act, String)| acts(*at) && secret.is_none_or(|one| leak(sent, one).is_some());
            if self.seen.lock().unwrap().iter().any(seen) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{place}: not asked with {secret:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
