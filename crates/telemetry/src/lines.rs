//! The way of log lines out of the process: a bounded queue and a thread that writes, so that whoever reads them slowly, or
//! not at all, holds up nobody. Lines for which there is no room are lost, counted, and told of when it is over.

use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait to be written.
const QUEUE: usize = 4_096;
/// Time between two looks at what was lost.
const LOOK: Duration = Duration::from_secs(1);
/// Time that writing what is left may take, at the end.
const FINISH_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The count of the logger's queue: a process has one.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that were lost since the process began.
pub fn dropped() -> u64 {
    DROPPED.get().map_or(0, count)
}

fn count(dropped: &ErrorCounter) -> u64 {
    u64::try_from(dropped.dropped_lines()).unwrap_or(u64::MAX)
}

/// The thread that writes lines. Dropped, it writes what is left, for a second and a half at most, in which it blocks.
#[derive(Debug)]
pub struct Lines {
    guard: Option<WorkerGuard>,
    dropped: ErrorCounter,
    written: Arc<AtomicU64>,
}

impl Lines {
    /// Starts the thread. The writer that is returned never blocks.
    pub fn start(output: impl Write + Send + 'static) -> (NonBlocking, Self) {
        let written = Arc::new(AtomicU64::new(0));
        let output = Counted { output, written: written.clone() };
        let (queue, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUE)
            .thread_name("log-lines")
            .finish(output);
        let dropped = queue.error_counter();
        (queue, Self { guard: Some(guard), dropped, written })
    }

    /// Makes these the lines that [`dropped`] counts, unless others are.
    pub fn be_counted(&self) {
        let _others_are = DROPPED.set(self.dropped.clone());
    }

    /// Says in one line how many were lost, whenever no more are. Never ends.
    pub fn tell_losses(&self) -> impl Future<Output = ()> + Send + use<> {
        let (dropped, written) = (self.dropped.clone(), self.written.clone());
        async move {
            let mut losses = Losses::default();
            loop {
                tokio::time::sleep(LOOK).await;
                if let Some(lines) = losses.over(count(&dropped), written.load(Ordering::Relaxed)) {
                    tracing::warn!(lines, "log lines were lost: they were not read as fast as they were written");
                }
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let guard = self.guard.take();
        let (done, finished) = mpsc::sync_channel::<()>(1);
        // If nobody reads the lines, the guard says so on standard output and hangs there for ever: not this thread.
        let flushing = thread::Builder::new().name("log-flush".to_owned()).spawn(move || {
            drop(guard);
            drop(done);
        });
        if flushing.is_ok() {
            let _late = finished.recv_timeout(FINISH_TIMEOUT);
        }
    }
}

/// What was lost, and what of it was told.
#[derive(Default)]
struct Losses {
    dropped: u64,
    written: u64,
    told: u64,
}

impl Losses {
    /// How many lines were lost that nobody was told of, if there are some and it is over: since the last look none was lost,
    /// and some were written.
    fn over(&mut self, dropped: u64, written: u64) -> Option<u64> {
        let is_over = dropped == self.dropped && written > self.written;
        (self.dropped, self.written) = (dropped, written);
        let lost = dropped.saturating_sub(self.told);
        if !is_over || lost == 0 {
            return None;
        }
        self.told = dropped;
        Some(lost)
    }
}

/// Counts what was written.
struct Counted<W> {
    output: W,
    written: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.output.write(bytes)?;
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Instant};

    use prometheus_client::{encoding::text::encode, registry::Registry};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::{logs::build_json_layer, process::ProcessFigures};

    /// A pipe that nobody reads until it is opened.
    #[derive(Clone, Default)]
    struct Pipe {
        read: Arc<Mutex<()>>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.read.lock().unwrap();
            self.text.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_up_nobody_and_what_is_lost_is_counted() {
        let pipe = Pipe::default();
        let closed = pipe.read.lock().unwrap();
        let (queue, lines) = Lines::start(pipe.clone());
        lines.be_counted();
        let subscriber = tracing_subscriber::registry().with(build_json_layer(queue, None));
        tracing::subscriber::with_default(subscriber, || {
            // With a pipe in the way, this would not end.
            for number in 0..QUEUE + 100 {
                tracing::info!(number, "a line");
            }
        });
        // The thread may have taken one that it can't write.
        let lost = count(&lines.dropped);
        assert!((99..=100).contains(&lost), "{lost}");
        assert_eq!(lines.written.load(Ordering::Relaxed), 0);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessFigures));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains(&format!("\nprocess_log_lines_dropped_total {lost}\n")), "{text}");

        drop(closed);
        drop(lines);
        let text = pipe.text.lock().unwrap();
        assert_eq!(text.lines().count() as u64, (QUEUE + 100) as u64 - lost, "what was not lost is written at the end");
    }

    #[test]
    fn the_end_of_the_process_waits_for_a_pipe_that_nobody_reads_for_a_bounded_time() {
        let pipe = Pipe::default();
        let _closed = pipe.read.lock().unwrap();
        let (mut queue, lines) = Lines::start(pipe.clone());
        for _ in 0..QUEUE + 2 {
            queue.write_all(b"a line\n").unwrap();
        }
        let began = Instant::now();
        drop(lines);
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn losses_are_told_once_they_are_over() {
        let mut losses = Losses::default();
        assert_eq!(losses.over(0, 10), None, "nothing was lost");
        assert_eq!(losses.over(5, 20), None, "more may be lost");
        assert_eq!(losses.over(5, 20), None, "nobody reads");
        assert_eq!(losses.over(7, 21), None, "more were lost");
        assert_eq!(losses.over(7, 22), Some(7));
        assert_eq!(losses.over(7, 23), None, "it was told");
        assert_eq!(losses.over(9, 24), None);
        assert_eq!(losses.over(9, 25), Some(2));
    }
}
