//! Connections: a bounded number of them, none of which can be held open by somebody who sends slowly, reads nothing or only
//! waits, and all of which are told to close before the process goes. When there are as many as there may be, those make
//! room who have shown least that they have business here.

use std::{
    cmp::Reverse,
    collections::HashMap,
    convert::Infallible,
    hash::Hash,
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{guards::principal::network, patience::Patience};
use outbound::CallerKey;

/// Bytes of a connection's read buffer, and so of a request's headers.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Pause after connections could not be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Connections at a time.
    pub connections: usize,
    /// What happens when there are as many.
    pub when_full: WhenFull,
    /// Time that a request's headers may take to arrive; also the time that an idle connection is kept, and in which a peer
    /// must take something of what is written to it.
    pub header_timeout: Duration,
}

/// What happens to a further connection when there is no place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits until another one ends.
    Wait,
    /// The oldest one is closed, whatever it does: for a port whose answers take milliseconds, so that who holds connections
    /// can't keep others out.
    CloseOldest,
    /// One is closed on which nothing is worked on for a known caller: one that has shown no caller yet, or if there is none,
    /// an idle one. Of those it is one of the address, or the caller, that has most, and the one that has been quiet for
    /// longest. While there is none, it waits.
    CloseIdle,
}

/// Where a connection comes from, as an extension of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A connection, as an extension of its requests.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Seat>);

impl Connection {
    /// Says whose request is worked on, until the answer is dropped.
    #[must_use]
    pub fn work_for(&self, caller: CallerKey) -> Working {
        self.0.caller.store(caller.number().get(), Ordering::Relaxed);
        self.0.working.fetch_add(1, Ordering::AcqRel);
        Working(self.0.clone())
    }
}

/// A request of a known caller that is worked on.
#[derive(Debug)]
pub struct Working(Arc<Seat>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.touch();
        self.0.working.fetch_sub(1, Ordering::AcqRel);
        if self.0.crowd.is_full() {
            self.0.crowd.0.idle.notify_one();
        }
    }
}

/// Whether a port has no place for those who wait. Clones are of the same port.
#[derive(Clone, Debug, Default)]
pub struct Crowd(Arc<Crowding>);

#[derive(Debug, Default)]
struct Crowding {
    full: AtomicBool,
    /// Told when a connection becomes idle while it is full.
    idle: Notify,
}

impl Crowd {
    /// Whether somebody waits for whom nobody can make room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Acquire)
    }
}

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
        Self::serve_telling(listener, limits, Crowd::default(), answer)
    }

    /// The same, and tells by `crowd` whether there is no place.
    pub fn serve_telling<F, R>(listener: TcpListener, limits: ListenerLimits, crowd: Crowd, answer: F) -> Self
    where
        F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let ending = Ending::default();
        let seats = Seats::new(limits, crowd, ending.abort.clone());
        let serving = tokio::spawn(accept(listener, limits, seats, ending.clone(), answer));
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
async fn accept<F, R>(listener: TcpListener, limits: ListenerLimits, mut seats: Seats, ending: Ending, answer: F)
where
    F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = ending.close.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (seat, place) = tokio::select! {
                    () = ending.close.cancelled() => break,
                    admitted = seats.admit(peer) => admitted,
                };
                let (close, answer) = (ending.close.clone(), answer.clone());
                connections.spawn(async move {
                    let (_place, _over) = (place, seat.abort.clone().drop_guard());
                    converse(stream, Peer(peer), seat, limits, close, answer).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// A connection that is open.
#[derive(Debug)]
struct Seat {
    /// Where it comes from.
    address: IpAddr,
    /// Who called last on it; 0 if nobody has shown yet who calls.
    caller: AtomicU64,
    /// Requests of a known caller that are worked on.
    working: AtomicUsize,
    /// Milliseconds of the port's life at which something was last done on it.
    quiet_since: AtomicU64,
    /// Closes it, and is cancelled when it has ended.
    abort: CancellationToken,
    began: Instant,
    crowd: Crowd,
}

impl Seat {
    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.quiet_since.store(now, Ordering::Relaxed);
    }

    fn caller(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.caller.load(Ordering::Relaxed))
    }

    fn is_idle(&self) -> bool {
        self.working.load(Ordering::Acquire) == 0
    }
}

/// The connections of a port.
struct Seats {
    places: Arc<Semaphore>,
    /// Those that are open, and some that have ended; the oldest first.
    open: Vec<Arc<Seat>>,
    limits: ListenerLimits,
    crowd: Crowd,
    abort: CancellationToken,
    began: Instant,
}

impl Seats {
    fn new(limits: ListenerLimits, crowd: Crowd, abort: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
        Self { places, open: Vec::new(), limits, crowd, abort, began: Instant::now() }
    }

    /// Gives a connection a place, for which others may have to go.
    async fn admit(&mut self, peer: SocketAddr) -> (Arc<Seat>, Option<OwnedSemaphorePermit>) {
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => self.make_room().await,
        };
        if self.open.len() >= self.limits.connections {
            self.forget_ended();
        }
        let seat = Arc::new(Seat {
            address: network(peer.ip()),
            caller: AtomicU64::new(0),
            working: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
            abort: self.abort.child_token(),
            began: self.began,
            crowd: self.crowd.clone(),
        });
        seat.touch();
        self.open.push(seat.clone());
        (seat, place)
    }

    fn forget_ended(&mut self) {
        self.open.retain(|seat| !seat.abort.is_cancelled());
    }

    async fn make_room(&mut self) -> Option<OwnedSemaphorePermit> {
        let crowd = self.crowd.clone();
        // Says that there is room again, also if this is given up.
        let _full = Full(&crowd);
        loop {
            self.forget_ended();
            let goes = match self.limits.when_full {
                WhenFull::Wait => None,
                WhenFull::CloseOldest => self.open.first(),
                WhenFull::CloseIdle => choose(&self.open),
            };
            if let Some(goes) = goes {
                goes.abort.cancel();
                return self.places.clone().acquire_owned().await.ok();
            }
            if !crowd.0.full.swap(true, Ordering::AcqRel) {
                // One may have become idle since.
                continue;
            }
            tokio::select! {
                place = self.places.clone().acquire_owned() => return place.ok(),
                () = crowd.0.idle.notified() => {}
            }
        }
    }
}

struct Full<'a>(&'a Crowd);

impl Drop for Full<'_> {
    fn drop(&mut self) {
        self.0.0.full.store(false, Ordering::Release);
    }
}

/// The connection that can be closed with the least harm, if there is one.
fn choose(open: &[Arc<Seat>]) -> Option<&Arc<Seat>> {
    let unknown = || open.iter().filter(|seat| seat.caller().is_none());
    let known = || open.iter().filter(|seat| seat.caller().is_some());
    one_of_most(unknown(), unknown(), |seat| seat.address)
        .or_else(|| one_of_most(known(), known().filter(|seat| seat.is_idle()), Seat::caller))
}

/// Of the candidates one whose owner has most of all, and of those the one that has been quiet for longest.
fn one_of_most<'a, K: Hash + Eq>(
    all: impl Iterator<Item = &'a Arc<Seat>>,
    candidates: impl Iterator<Item = &'a Arc<Seat>>,
    owner: impl Fn(&Seat) -> K,
) -> Option<&'a Arc<Seat>> {
    let mut counts: HashMap<K, usize> = HashMap::new();
    for seat in all {
        *counts.entry(owner(seat)).or_default() += 1;
    }
    candidates.min_by_key(|seat| {
        (Reverse(counts.get(&owner(seat)).copied().unwrap_or_default()), seat.quiet_since.load(Ordering::Relaxed))
    })
}

async fn converse<F, R>(
    stream: TcpStream,
    peer: Peer,
    seat: Arc<Seat>,
    limits: ListenerLimits,
    close: CancellationToken,
    answer: F,
) where
    F: Fn(Request<Body>) -> R,
    R: Future<Output = Response<Body>>,
{
    // Answers are small and somebody waits for them.
    let _refused = stream.set_nodelay(true);
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        seat.touch();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Connection(seat.clone()));
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // Who takes nothing of what is written to it is given up; hyper itself would wait for ever.
    let stream = Patience::new(stream, limits.header_timeout);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = seat.abort.cancelled() => return,
        () = close.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = seat.abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(address: &str, quiet_since: u64) -> Arc<Seat> {
        Arc::new(Seat {
            address: address.parse().unwrap(),
            caller: AtomicU64::new(0),
            working: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(quiet_since),
            abort: CancellationToken::new(),
            began: Instant::now(),
            crowd: Crowd::default(),
        })
    }

    #[test]
    fn who_has_shown_least_makes_room() {
        let open = [
            seat("10.0.0.1", 5),
            seat("10.0.0.2", 4),
            seat("10.0.0.2", 3),
            seat("10.0.0.3", 0),
            seat("10.0.0.3", 1),
            seat("10.0.0.3", 2),
        ];
        let [one, two] = ["one", "two"].map(|name| CallerKey::of(&name));
        let work = |index: usize, caller| Connection(open[index].clone()).work_for(caller);
        let chosen = |open: &[Arc<Seat>]| choose(open).map(|seat| seat.quiet_since.load(Ordering::Relaxed));
        let busy = [work(3, one), work(4, one)];
        // Of the address with most that show no caller, the one that has been quiet for longest.
        assert_eq!(chosen(&open), Some(3));
        assert_eq!(chosen(&open[3..]), Some(2), "the caller's are worked on");
        drop(work(5, two));
        assert_eq!(chosen(&open[3..5]), None, "there is none that could go");
        assert_eq!(chosen(&open[3..]), Some(open[5].quiet_since.load(Ordering::Relaxed)), "it is idle");
        drop(busy);
        for (index, since) in [(3, 8), (4, 7), (5, 0)] {
            open[index].quiet_since.store(since, Ordering::Relaxed);
        }
        assert_eq!(chosen(&open[3..]), Some(7), "of the caller with most");
        assert_eq!(chosen(&open), Some(3), "who has shown nobody goes first");
    }
}
