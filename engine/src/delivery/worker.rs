//! [`Deliveries`]: a thread for each delivery, and its status.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender as Inbox};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lenslog_journal::{Clock, JournalView, Seq, SeqRange, SystemClock};
use parking_lot::Mutex;

use super::{Delivery, DeliveryNotice, Next, Now, Sender, SenderError};
use crate::EventCodec;

/// The pause after an error of the journal or of the cursor's file.
const ERROR_PAUSE: Duration = Duration::from_secs(2);
/// A command waits no longer than this.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Called for everything that a delivery has to say: its name, and the notice.
pub type OnNotice = Arc<dyn Fn(&str, &DeliveryNotice) + Send + Sync>;

/// How deliveries are run.
#[derive(Clone)]
#[non_exhaustive]
pub struct DeliveriesOptions {
    /// The directory of the cursors; it exists.
    pub directory: PathBuf,
    /// Whether the wall clock is trusted. By default it is.
    pub is_clock_trusted: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Called in the delivery's thread.
    pub on_notice: OnNotice,
}

impl DeliveriesOptions {
    /// Cursors in this directory; notices are logged only.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { directory, is_clock_trusted: Arc::new(|| true), on_notice: Arc::new(|_, _| ()) }
    }

    /// Calls this for every notice.
    #[must_use]
    pub fn on_notice(self, on_notice: OnNotice) -> Self {
        Self { on_notice, ..self }
    }

    /// Asks this before the age of a message is computed from its time.
    #[must_use]
    pub fn clock_trust(self, is_clock_trusted: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        Self { is_clock_trusted, ..self }
    }
}

/// The status of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryStatus {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: DeliveryState,
    /// Seq of the record that it sends next.
    pub next: Seq,
    /// Messages that wait to be sent again.
    pub open: usize,
    /// Messages that were refused for good.
    pub parked: usize,
    /// Why it fails.
    pub last_error: Option<String>,
}

/// What a delivery does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryState {
    /// Sending, or waiting for something to send.
    Delivering,
    /// The receiver is down.
    Down,
    /// Too many messages are parked.
    Full,
    /// The receiver wants no more.
    Disabled,
    /// The journal or the cursor's file cannot be used.
    Waiting,
    /// Not running any more.
    Stopped,
}

impl DeliveryState {
    /// Whether it needs an operator's attention.
    #[must_use]
    pub const fn is_degraded(self) -> bool {
        matches!(self, Self::Down | Self::Full | Self::Disabled | Self::Waiting)
    }
}

/// Why a command to a delivery failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// No delivery has this name.
    #[error("delivery {0}: no delivery has this name; see the configuration")]
    Unknown(String),
    /// Its thread has ended.
    #[error("delivery {0}: its thread has ended; restart the program")]
    Stopped(String),
    /// The cursor's file cannot be written.
    #[error("{0}")]
    Failed(String),
}

enum Command {
    Replay(SeqRange, Inbox<Result<usize, String>>),
    Discard(SeqRange, Inbox<Result<usize, String>>),
}

/// Runs deliveries, each in a thread of its own. Dropping it stops them.
pub struct Deliveries {
    view: JournalView,
    stop: Arc<AtomicBool>,
    workers: Vec<Worker>,
}

struct Worker {
    name: String,
    status: Arc<Mutex<DeliveryStatus>>,
    commands: Inbox<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Deliveries {
    /// Starts them.
    #[must_use]
    pub fn start<V: EventCodec>(
        view: &JournalView,
        deliveries: Vec<Box<dyn Delivery<V>>>,
        options: &DeliveriesOptions,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = deliveries
            .into_iter()
            .map(|delivery| Worker::start(delivery, view.clone(), Arc::clone(&stop), options))
            .collect();
        Self { view: view.clone(), stop, workers }
    }

    /// The status of every delivery, in the order they were given.
    #[must_use]
    pub fn status(&self) -> Vec<DeliveryStatus> {
        self.workers.iter().map(|worker| worker.status.lock().clone()).collect()
    }

    /// Sends the parked messages of these seqs again. Returns how many.
    ///
    /// # Errors
    ///
    /// [`DeliveryError`].
    pub fn replay(&self, name: &str, range: SeqRange) -> Result<usize, DeliveryError> {
        self.command(name, |reply| Command::Replay(range, reply))
    }

    /// Forgets the parked messages of these seqs. Returns how many.
    ///
    /// # Errors
    ///
    /// [`DeliveryError`].
    pub fn discard(&self, name: &str, range: SeqRange) -> Result<usize, DeliveryError> {
        self.command(name, |reply| Command::Discard(range, reply))
    }

    fn command(
        &self,
        name: &str,
        command: impl FnOnce(Inbox<Result<usize, String>>) -> Command,
    ) -> Result<usize, DeliveryError> {
        let worker = self.workers.iter().find(|worker| worker.name == name);
        let worker = worker.ok_or_else(|| DeliveryError::Unknown(name.to_owned()))?;
        let stopped = || DeliveryError::Stopped(name.to_owned());
        let (reply, answer) = mpsc::channel();
        worker.commands.send(command(reply)).map_err(|_| stopped())?;
        self.view.nudge();
        if let Some(thread) = &*worker.thread.lock() {
            thread.thread().unpark();
        }
        answer.recv().map_err(|_| stopped())?.map_err(DeliveryError::Failed)
    }

    /// Begins to stop: after the message that is being sent comes no other one, and its failure is not reported.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.view.nudge();
    }

    /// Stops all threads, which save their cursors. A message that is being sent is waited for.
    pub fn stop(&self) {
        self.request_stop();
        for worker in &self.workers {
            let Some(thread) = worker.thread.lock().take() else { continue };
            thread.thread().unpark();
            if thread.join().is_err() {
                let mut status = worker.status.lock();
                status.last_error = Some("the thread panicked; report the bug".to_owned());
            }
            worker.status.lock().state = DeliveryState::Stopped;
        }
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Worker {
    fn start<V: EventCodec>(
        delivery: Box<dyn Delivery<V>>,
        view: JournalView,
        stop: Arc<AtomicBool>,
        options: &DeliveriesOptions,
    ) -> Self {
        let name = delivery.spec().name;
        let status = Arc::new(Mutex::new(DeliveryStatus {
            name: name.clone(),
            state: DeliveryState::Delivering,
            next: Seq(0),
            open: 0,
            parked: 0,
            last_error: None,
        }));
        let (commands, inbox) = mpsc::channel();
        let thread = Thread {
            view,
            stop,
            options: options.clone(),
            name: name.clone(),
            status: Arc::clone(&status),
            inbox,
            begun: Instant::now(),
        };
        // Here and not in the thread: what is appended from now on comes after the head at which it may begin.
        let opened = thread.open(delivery);
        let builder = std::thread::Builder::new().name(format!("deliver {name}"));
        let thread = match builder.spawn(move || thread.run(opened)) {
            Ok(thread) => Some(thread),
            Err(error) => {
                let mut status = status.lock();
                status.state = DeliveryState::Stopped;
                status.last_error = Some(format!("the thread cannot be started: {error}"));
                None
            }
        };
        Self { name, status, commands, thread: Mutex::new(thread) }
    }
}

struct Thread {
    view: JournalView,
    stop: Arc<AtomicBool>,
    options: DeliveriesOptions,
    name: String,
    status: Arc<Mutex<DeliveryStatus>>,
    inbox: Receiver<Command>,
    begun: Instant,
}

/// A delivery at its place, or one that could not be opened yet.
type Opening<V> = Result<Sender<V>, (Box<dyn Delivery<V>>, SenderError)>;

impl Thread {
    fn open<V: EventCodec>(&self, delivery: Box<dyn Delivery<V>>) -> Opening<V> {
        let path = self.options.directory.join(format!("{}.cursor", self.name));
        Sender::open(delivery, &self.view, Arc::clone(self.view.storage()), path)
    }

    fn run<V: EventCodec>(self, mut opening: Opening<V>) {
        while !self.stop.load(Ordering::Acquire) {
            let sender = match opening {
                Ok(ref mut sender) => sender,
                Err((delivery, error)) => {
                    self.failed(&error);
                    std::thread::park_timeout(ERROR_PAUSE);
                    opening = self.open(delivery);
                    continue;
                }
            };
            self.serve(sender);
            let next = sender.step(self.now());
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            self.publish(sender, next.as_ref().ok());
            match next {
                Ok(Next::Again) => {}
                Ok(Next::Head(until)) => sender.wait(self.rest(until)),
                Ok(Next::At(until)) => std::thread::park_timeout(self.rest(Some(until))),
                Ok(Next::Full | Next::Disabled) => std::thread::park_timeout(WAIT_MAX),
                Err(error) => {
                    self.failed(&error);
                    std::thread::park_timeout(ERROR_PAUSE);
                }
            }
        }
        if let Ok(mut sender) = opening
            && let Err(error) = sender.save()
        {
            self.failed(&error);
        }
    }

    fn serve<V: EventCodec>(&self, sender: &mut Sender<V>) {
        while let Ok(command) = self.inbox.try_recv() {
            let (result, reply) = match command {
                Command::Replay(range, reply) => (sender.replay(range), reply),
                Command::Discard(range, reply) => (sender.discard(range), reply),
            };
            // The caller may be gone.
            let _ = reply.send(result.map_err(|error| error.to_string()));
        }
    }

    fn now(&self) -> Now {
        let wall = (self.options.is_clock_trusted)().then(|| SystemClock::default().read().wall);
        Now { monotonic: self.begun.elapsed(), wall }
    }

    fn rest(&self, until: Option<Duration>) -> Duration {
        until.map_or(WAIT_MAX, |until| until.saturating_sub(self.begun.elapsed()).min(WAIT_MAX))
    }

    fn publish<V: EventCodec>(&self, sender: &mut Sender<V>, next: Option<&Next>) {
        for notice in sender.take_notices() {
            self.log(&notice);
            (self.options.on_notice)(&self.name, &notice);
        }
        let mut status = self.status.lock();
        status.next = sender.cursor().next_seq();
        status.open = sender.cursor().open_count();
        status.parked = sender.cursor().parked().len();
        let Some(next) = next else { return };
        status.last_error = sender.failing.clone();
        status.state = match next {
            Next::Disabled => DeliveryState::Disabled,
            Next::Full => DeliveryState::Full,
            _ if sender.failing.is_some() => DeliveryState::Down,
            _ => DeliveryState::Delivering,
        };
    }

    fn log(&self, notice: &DeliveryNotice) {
        let delivery = self.name.as_str();
        match notice {
            DeliveryNotice::Begun { from } => {
                tracing::info!(delivery, %from, "delivery has no cursor; it begins at this seq");
            }
            DeliveryNotice::Restored { from } => tracing::warn!(
                delivery, %from,
                "journal is a restored copy; from this seq on it differs from what was sent"
            ),
            DeliveryNotice::Failing { reason } => {
                tracing::warn!(delivery, reason, "delivery fails; messages wait");
            }
            DeliveryNotice::Recovered => tracing::info!(delivery, "delivery works again"),
            DeliveryNotice::Parked { seq, reason } => {
                tracing::warn!(delivery, %seq, reason, "message was refused; it is parked");
            }
            DeliveryNotice::Gap(gap) => {
                tracing::warn!(delivery, %gap, "records will not be delivered");
            }
        }
    }

    fn failed(&self, error: &SenderError) {
        let text = error.to_string();
        let mut status = self.status.lock();
        status.state = DeliveryState::Waiting;
        // A repeated error is logged once.
        if status.last_error.as_ref() != Some(&text) {
            tracing::error!(delivery = self.name, error = text, "delivery failed; it retries");
        }
        status.last_error = Some(text);
    }
}
