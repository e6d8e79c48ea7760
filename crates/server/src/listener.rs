//! Connections: a bounded number of them, none of which can be held open by somebody who sends slowly, and all of which
//! are told to close before the process goes.

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Bytes of a connection's read buffer, and so of a request's headers.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Pause after connections could not be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Connections at a time.
    pub connections: usize,
    /// What happens when there are as many.
    pub when_full: WhenFull,
    /// Time that a request's headers may take to arrive; also the time that an idle connection is kept.
    pub header_timeout: Duration,
}

/// What happens to a further connection when there is no place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits to be accepted until another one ends.
    Wait,
    /// The oldest one is closed, whatever it does: for a port whose answers take milliseconds, so that who holds connections
    /// can't keep others out.
    CloseOldest,
}

/// Where a connection comes from, as an extension of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A port that is served.
pub struct Port {
    ending: Ending,
    serving: JoinHandle<()>,
}

impl Port {
    /// Serves the connections of a listener.
    pub fn serve<F, R>(listener: TcpListener, limits: ListenerLimits, answer: F) -> Self
    where
        F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let ending = Ending::default();
        let serving = tokio::spawn(accept(listener, limits, ending.clone(), answer));
        Self { ending, serving }
    }

    /// Accepts no more connections, closes idle ones, and waits until the others are gone. Not to be called again when it
    /// has returned.
    pub async fn close(&mut self) {
        self.ending.close.cancel();
        let _panicked = (&mut self.serving).await;
    }

    /// Accepts no more connections, and drops those that are left.
    pub fn abort(&self) {
        self.ending.close.cancel();
        self.ending.abort.cancel();
    }
}

/// How a listener ends.
#[derive(Clone, Debug, Default)]
struct Ending {
    /// Accepts no more, closes idle connections, and the others after their answer.
    close: CancellationToken,
    /// Drops the connections that are left.
    abort: CancellationToken,
}

/// Serves connections until `ending` says to stop, and returns when the last of them is gone.
async fn accept<F, R>(listener: TcpListener, limits: ListenerLimits, ending: Ending, answer: F)
where
    F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let mut open = OpenConnections::default();
    loop {
        let accepted = tokio::select! {
            () = ending.close.cancelled() => break,
            accepted = async {
                match limits.when_full {
                    WhenFull::Wait => (places.clone().acquire_owned().await.ok(), listener.accept().await),
                    WhenFull::CloseOldest => (None, listener.accept().await),
                }
            } => accepted,
        };
        match accepted {
            (place, Ok((stream, peer))) => {
                let Ending { close, mut abort } = ending.clone();
                let mut over = None;
                if limits.when_full == WhenFull::CloseOldest {
                    abort = open.admit(limits.connections, &abort);
                    over = Some(abort.clone().drop_guard());
                }
                let (ending, answer) = (Ending { close, abort }, answer.clone());
                connections.spawn(async move {
                    let (_place, _over) = (place, over);
                    converse(stream, Peer(peer), limits, ending, answer).await;
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Connections that may be closed for others, the oldest first: each by a token that closes it, and is cancelled when it has
/// ended.
#[derive(Default)]
struct OpenConnections(VecDeque<CancellationToken>);

impl OpenConnections {
    /// Makes room for one more, by closing the oldest if there are as many as there may be. `abort` closes it, too.
    fn admit(&mut self, most: usize, abort: &CancellationToken) -> CancellationToken {
        self.0.retain(|connection| !connection.is_cancelled());
        if self.0.len() >= most
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.cancel();
        }
        let admitted = abort.child_token();
        self.0.push_back(admitted.clone());
        admitted
    }
}

async fn converse<F, R>(stream: TcpStream, peer: Peer, limits: ListenerLimits, ending: Ending, answer: F)
where
    F: Fn(Request<Body>) -> R,
    R: Future<Output = Response<Body>>,
{
    // Answers are small and somebody waits for them.
    let _refused = stream.set_nodelay(true);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.abort.cancelled() => return,
        () = ending.close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = ending.abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
