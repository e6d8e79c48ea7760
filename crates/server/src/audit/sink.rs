//! Where records go: a thread for each sink, behind a queue that is bounded. A sink that fails is tried again with the
//! next record.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Losses, chain::Chain};
use pod_api::status::SinkState;

/// Records that wait to be written.
const QUEUE: usize = 4_096;
/// Records that are written at a time, so that many at once cost few system calls.
const AT_A_TIME: usize = 256;
/// Records that come sooner after others than this are gathered for as long: to wake the thread for each of thousands a second
/// would cost more than the calls that they are about.
pub(super) const GATHER: Duration = Duration::from_millis(2);
/// Name of the file that is written; older ones have a number behind it, the oldest the highest.
const FILE_NAME: &str = "audit.log";

enum Message {
    Record(Arc<str>),
    Flush(SyncSender<()>),
}

/// One way for records to go.
pub(super) struct Sink {
    name: &'static str,
    queue: Option<SyncSender<Message>>,
    losses: Arc<Losses>,
    failing: Arc<AtomicBool>,
}

impl Sink {
    /// Starts the thread that writes.
    pub fn start(name: &'static str, output: Box<dyn Write + Send>, hash_chain: bool) -> Self {
        let (queue, records) = sync_channel(QUEUE);
        let (losses, failing) = (Arc::new(Losses::default()), Arc::new(AtomicBool::new(false)));
        let writer = Writer {
            name,
            output,
            chain: hash_chain.then(Chain::new),
            losses: losses.clone(),
            failing: failing.clone(),
        };
        let started = thread::Builder::new().name(format!("audit-{name}")).spawn(move || writer.run(&records));
        if let Err(error) = &started {
            tracing::error!(sink = name, %error, "the thread that writes audit records could not be started");
        }
        Self { name, queue: started.is_ok().then_some(queue), losses, failing }
    }

    /// Hands a record over. One for which there is no room is lost and counted.
    pub fn send(&self, record: &Arc<str>) {
        let sent = self.queue.as_ref().is_some_and(|queue| queue.try_send(Message::Record(record.clone())).is_ok());
        if !sent {
            self.losses.add(1);
        }
    }

    pub fn state(&self) -> SinkState {
        SinkState {
            name: self.name.to_owned(),
            lost: self.losses.get(),
            failing: self.queue.is_none() || self.failing.load(Ordering::Relaxed),
        }
    }

    /// Waits until what was handed over is written.
    pub fn finish(&self, timeout: Duration) {
        let Some(queue) = &self.queue else { return };
        let deadline = Instant::now() + timeout;
        let (done, finished) = sync_channel(1);
        while queue.try_send(Message::Flush(done.clone())).is_err() {
            if Instant::now() >= deadline {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // Too late is told by what is missing in the sink; there is nobody left to tell.
        let _late = finished.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

struct Writer {
    name: &'static str,
    output: Box<dyn Write + Send>,
    chain: Option<Chain>,
    losses: Arc<Losses>,
    failing: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut text = String::new();
        let mut written: Option<Instant> = None;
        while let Ok(first) = messages.recv() {
            if written.is_some_and(|at| at.elapsed() < GATHER) {
                thread::sleep(GATHER);
            }
            text.clear();
            let (mut records, mut waiting) = (0, Vec::new());
            for message in std::iter::once(first).chain(messages.try_iter().take(AT_A_TIME)) {
                match message {
                    Message::Record(record) => {
                        records += 1;
                        match &mut self.chain {
                            Some(chain) => chain.append(&record, &mut text),
                            None => text.push_str(&record),
                        }
                        text.push('\n');
                    }
                    Message::Flush(done) => waiting.push(done),
                }
            }
            self.write(&text, records);
            written = Some(Instant::now());
            for done in waiting {
                let _gone = done.send(());
            }
        }
    }

    fn write(&mut self, text: &str, records: u64) {
        if records == 0 {
            return;
        }
        let outcome = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
        let failed_before = self.failing.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Ok(()) if failed_before => tracing::info!(sink = self.name, "audit records are written again"),
            Ok(()) => {}
            Err(error) => {
                self.losses.add(records);
                // What was lost is missing from the chain; a new one says so.
                self.chain = self.chain.as_ref().map(|_| Chain::new());
                if !failed_before {
                    tracing::error!(sink = self.name, %error, "audit records can't be written; they are lost");
                }
            }
        }
    }
}

/// A file that is replaced when it is full, of which a number is kept.
pub(super) struct FileSink {
    directory: PathBuf,
    max_bytes: u64,
    files: u32,
    current: Option<(File, u64)>,
}

impl FileSink {
    /// `files` is how many there are at most, the one that is written included.
    pub fn new(directory: PathBuf, max_bytes: u64, files: u32) -> Self {
        Self { directory, max_bytes, files: files.max(1), current: None }
    }

    fn path(&self, number: u32) -> PathBuf {
        match number {
            0 => self.directory.join(FILE_NAME),
            number => self.directory.join(format!("{FILE_NAME}.{number}")),
        }
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).append(true).open(self.path(0))?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.current = None;
        if self.files == 1 {
            fs::remove_file(self.path(0))?;
        }
        for number in (0..self.files - 1).rev() {
            match fs::rename(self.path(number), self.path(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Write for FileSink {
    /// Writes all or nothing, as far as the file system lets it: records are whole in one file.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut file, length) = match self.current.take() {
            Some(current) => current,
            None => self.open()?,
        };
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut length = length;
        if length > 0 && length.saturating_add(more) > self.max_bytes {
            drop(file);
            self.rotate()?;
            (file, length) = self.open()?;
        }
        if let Err(error) = file.write_all(bytes) {
            // A part of a record would spoil the one that is written next.
            let _best_effort = file.set_len(length);
            return Err(error);
        }
        self.current = Some((file, length.saturating_add(more)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
