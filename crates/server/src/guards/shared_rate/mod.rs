//! How often callers call all replicas together: their buckets lie in a Redis, or Valkey, that the replicas share. It is
//! asked within a twentieth of a second or not at all: while it is away each replica counts by itself, says so at `/status`, in
//! its metrics and once in its log, and tries to come back.

mod connection;
mod trouble;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

pub use self::connection::SharedRateError;
use self::{
    connection::{Connected, Recipe},
    trouble::Trouble,
};
use api::endpoint::AddressPolicy;
use pod_api::{
    config::{ConnectorIdentity, SharedRateConfig},
    status::SharedRateState,
};

/// Time that an answer may take. A call waits no longer for its bucket.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(50);
/// Answers that may be late in a row before it is left alone for a while.
const LATE_ANSWERS: u32 = 3;
/// Time before the first attempt to come back; it doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Time between two attempts to come back, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Time for which a connection has to be good before pauses are short again, so that one that comes and goes is not used
/// all the time.
const STEADY: Duration = Duration::from_mins(1);

/// Takes a call out of a bucket, as `Quota::take` does, by the server's clock. A bucket is the time at which it is full
/// again, in microseconds since 1970; one that is full has no key. Whatever is written there, nobody waits longer than for a
/// bucket that is empty.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
local missing = math.min(math.max(full_at - now, 0), tonumber(ARGV[2]))
local wanted = missing + tonumber(ARGV[1])
if wanted > tonumber(ARGV[2]) then
  return {0, missing}
end
redis.call('SET', KEYS[1], string.format('%.0f', now + wanted), 'PX', math.ceil(wanted / 1000))
return {1, wanted}
";

/// A rate, as the script takes it.
#[derive(Clone, Copy, Debug)]
pub struct SharedQuota {
    /// Time in which a call comes back.
    pub interval: Duration,
    /// Calls that may come at once.
    pub burst: u32,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whether it was taken out of the bucket; otherwise it is one too many.
    pub taken: bool,
    /// Time until the bucket is full again.
    pub missing: Duration,
}

/// How many calls were counted where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedRateCounts {
    /// By all replicas together.
    pub shared: u64,
    /// By this replica, because no answer came, or an error.
    pub failed: u64,
    /// By this replica, because nobody was to be asked.
    pub local: u64,
}

/// The count that replicas share.
pub struct SharedRates {
    recipe: Recipe,
    /// What keys begin with: the connector.
    prefix: String,
    link: Mutex<Link>,
    /// Tells the keeper that the connection is of no use any more.
    lost: Notify,
    shared: AtomicU64,
    failed: AtomicU64,
    local: AtomicU64,
}

struct Link {
    state: Result<MultiplexedConnection, Trouble>,
    /// Answers that were late in a row.
    late: u32,
    /// When the last late one was given up: those that were asked for before say nothing new.
    late_at: Instant,
}

impl SharedRates {
    /// The count of a connector. `credentials` is where the user's name and password lie, if there are any.
    ///
    /// # Errors
    /// When no connection could ever be made.
    pub fn new(
        connector: &ConnectorIdentity,
        config: &SharedRateConfig,
        credentials: PathBuf,
        addresses: AddressPolicy,
    ) -> Result<Self, SharedRateError> {
        Ok(Self {
            recipe: Recipe::new(config, credentials, addresses)?,
            prefix: format!("mcp-connectors:{}/{}:{}", connector.namespace, connector.name, connector.uid),
            link: Mutex::new(Link { state: Err(Trouble::Starting), late: 0, late_at: Instant::now() }),
            lost: Notify::new(),
            shared: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            local: AtomicU64::new(0),
        })
    }

    /// Counts a call in a bucket of this name; nothing if it has to be counted here.
    pub async fn take(&self, quota: SharedQuota, bucket: &str) -> Option<Counted> {
        let connection = self.link().state.as_ref().ok().cloned();
        let Some(mut connection) = connection else {
            self.local.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let asked = Instant::now();
        match self.ask(&mut connection, quota, bucket).await {
            Ok(counted) => {
                self.link().late = 0;
                self.shared.fetch_add(1, Ordering::Relaxed);
                Some(counted)
            }
            Err(trouble) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.failed(asked, trouble);
                None
            }
        }
    }

    /// How it does.
    #[must_use]
    pub fn state(&self) -> SharedRateState {
        match &self.link().state {
            Ok(_) => SharedRateState { available: true, reason: "Available".to_owned() },
            Err(trouble) => SharedRateState { available: false, reason: trouble.reason().to_owned() },
        }
    }

    /// How many calls were counted where.
    #[must_use]
    pub fn counts(&self) -> SharedRateCounts {
        SharedRateCounts {
            shared: self.shared.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            local: self.local.load(Ordering::Relaxed),
        }
    }

    /// Connects, and again whenever the connection is lost, until `shutdown`.
    pub async fn keep(self: Arc<Self>, shutdown: CancellationToken) {
        let work = async {
            let mut pause = FIRST_PAUSE;
            loop {
                let began = Instant::now();
                let trouble = match self.connect().await {
                    Ok(trouble) | Err(trouble) => trouble,
                };
                self.away(trouble);
                if began.elapsed() > STEADY {
                    pause = FIRST_PAUSE;
                }
                // Replicas that lost it together don't come back together.
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Connects, and stays connected for as long as it goes well; returns what ended it.
    async fn connect(&self) -> Result<Trouble, Trouble> {
        let Connected { mut connection, driver } = self.recipe.connect().await?;
        let mut driver = std::pin::pin!(driver);
        // As a call would ask: who can't be asked in time, or may not run the script, isn't asked by calls.
        let trial = SharedQuota { interval: Duration::from_millis(1), burst: 1 };
        tokio::select! {
            () = &mut driver => return Err(Trouble::Unreachable),
            tried = self.ask(&mut connection, trial, "trial") => tried?,
        };
        self.here(connection);
        tokio::select! {
            () = &mut driver => Ok(Trouble::Unreachable),
            trouble = self.lost() => Ok(trouble),
        }
    }

    /// Waits until a call has found that the connection is of no use.
    async fn lost(&self) -> Trouble {
        loop {
            // Before it waits, and again after: what woke it may have been about an earlier connection.
            if let Err(trouble) = &self.link().state {
                return *trouble;
            }
            self.lost.notified().await;
        }
    }

    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        quota: SharedQuota,
        bucket: &str,
    ) -> Result<Counted, Trouble> {
        let interval = u64::try_from(quota.interval.as_micros()).unwrap_or(u64::MAX).max(1);
        let capacity = interval.saturating_mul(u64::from(quota.burst));
        // The whole script each time: half a kilobyte, and nothing to be loaded again when the server has forgotten it.
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(1).arg(format!("{}:{bucket}", self.prefix)).arg(interval).arg(capacity);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, command.query_async::<(u8, u64)>(connection)).await;
        let (taken, missing) = answer.map_err(|_| Trouble::Timeout)?.map_err(|error| Trouble::of(&error))?;
        Ok(Counted { taken: taken == 1, missing: Duration::from_micros(missing) })
    }

    fn failed(&self, asked: Instant, trouble: Trouble) {
        {
            let mut link = self.link();
            if link.state.is_err() {
                return;
            }
            if trouble == Trouble::Timeout {
                if asked < link.late_at {
                    return;
                }
                link.late_at = Instant::now();
                link.late += 1;
                if link.late < LATE_ANSWERS {
                    return;
                }
            }
        }
        self.away(trouble);
        self.lost.notify_one();
    }

    fn here(&self, connection: MultiplexedConnection) {
        {
            let mut link = self.link();
            link.state = Ok(connection);
            link.late = 0;
        }
        tracing::info!("calls are counted by all replicas together");
    }

    fn away(&self, trouble: Trouble) {
        let before = std::mem::replace(&mut self.link().state, Err(trouble));
        if before.is_ok() || matches!(before, Err(Trouble::Starting)) {
            let reason = trouble.reason();
            tracing::warn!(reason, "the shared rate limit's Redis is away: this replica counts calls by itself");
        }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
