//! [`Submitted`]: an append that is synced by another thread, and waited for by a thread or by a future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use lenslog_journal::limits::UNSYNCED_RECORDS_MAX;
use lenslog_journal::{Appended, Error, Journal, Seq};
use parking_lot::{Condvar, Mutex};

/// Submitted batches that may wait for a sync. The next one waits until there is room.
const WAITING_MAX: usize = UNSYNCED_RECORDS_MAX as usize;

/// An append that is not durable yet.
///
/// [`Submitted::wait`] blocks until it is; as a future it needs no runtime, and polling never blocks. Dropping it changes
/// nothing: the events are appended.
#[derive(Debug)]
#[must_use = "the events are not durable yet"]
pub struct Submitted(Arc<Slot>);

impl Submitted {
    /// Waits until the events survive a power cut.
    ///
    /// # Errors
    ///
    /// [`Error::Sync`]: the outcome is unknown. The events are in memory, and durable once [`Journal::sync`] succeeds.
    /// [`Error::Closed`]: the log ended without a sync that succeeded.
    pub fn wait(self) -> Result<Appended, Error> {
        let mut state = self.0.state.lock();
        loop {
            if let State::Done(result) = &*state {
                return result.clone();
            }
            self.0.done.wait(&mut state);
        }
    }
}

impl Future for Submitted {
    type Output = Result<Appended, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state.lock();
        match &mut *state {
            State::Done(result) => Poll::Ready(result.clone()),
            State::Waiting(waker) => {
                // Only the last task that polled is woken.
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[derive(Debug)]
struct Slot {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Done(Result<Appended, Error>),
}

/// The thread's end of a [`Submitted`]. If it is dropped, the log was closed.
#[derive(Debug)]
struct Ticket {
    slot: Arc<Slot>,
    appended: Appended,
    /// The seq after the last event.
    end: Seq,
}

impl Ticket {
    fn complete(&self, result: Result<Appended, Error>) {
        let mut state = self.slot.state.lock();
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Done(result);
            drop(state);
            self.slot.done.notify_all();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.complete(Err(Error::Closed));
    }
}

/// The thread that syncs what was submitted: one sync for all that waits.
#[derive(Debug)]
pub(crate) struct Syncer {
    tickets: Option<SyncSender<Ticket>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start(journal: &Journal) -> Result<Self, Error> {
        let (tickets, submitted) = sync_channel(WAITING_MAX);
        let (root, journal) = (journal.view().root().to_owned(), journal.clone());
        let builder = std::thread::Builder::new().name("sync submitted".to_owned());
        let thread = builder.spawn(move || run(&journal, &submitted)).map_err(|error| {
            let (operation, source) = ("start a thread for", Arc::new(error));
            Error::Io { operation, path: root, source }
        })?;
        Ok(Self { tickets: Some(tickets), thread: Some(thread) })
    }

    /// A sender that outlives the lock around the syncer.
    pub(crate) fn sender(&self) -> Sender {
        Sender(self.tickets.clone())
    }
}

/// Ends the thread when it has synced what was submitted.
impl Drop for Syncer {
    fn drop(&mut self) {
        self.tickets = None;
        if let Some(thread) = self.thread.take() {
            // A waker may drop the last handle on the log in the thread itself; the thread ends without a join then.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

pub(crate) struct Sender(Option<SyncSender<Ticket>>);

impl Sender {
    /// Has a batch of `count` events synced that was appended as `appended`.
    pub(crate) fn submit(self, appended: Appended, count: u64) -> Submitted {
        let end = match appended {
            Appended::New(first) => first.plus(count),
            Appended::Duplicate { seq, .. } => seq.next(),
        };
        let (state, done) = (Mutex::new(State::Waiting(None)), Condvar::new());
        let slot = Arc::new(Slot { state, done });
        let ticket = Ticket { slot: Arc::clone(&slot), appended, end };
        if let Some(tickets) = self.0 {
            // If the thread has ended, the ticket comes back in the error, and its end completes it.
            let _ = tickets.send(ticket);
        }
        Submitted(slot)
    }
}

fn run(journal: &Journal, submitted: &Receiver<Ticket>) {
    while let Ok(first) = submitted.recv() {
        let tickets: Vec<_> = std::iter::once(first).chain(submitted.try_iter()).collect();
        let synced = journal.sync().map_err(unknown_outcome);
        let head = journal.view().head().unwrap_or_default();
        for ticket in tickets {
            let is_durable = synced.is_ok() || head >= ticket.end;
            ticket.complete(match &synced {
                Err(error) if !is_durable => Err(error.clone()),
                _ => Ok(ticket.appended),
            });
        }
    }
}

/// What a failed sync means for records that were appended before.
fn unknown_outcome(error: Error) -> Error {
    match error {
        Error::Suspended { path, source } => Error::Sync { path, source },
        Error::StorageFull { path } => {
            Error::Sync { path, source: Arc::new(std::io::ErrorKind::StorageFull.into()) }
        }
        other => other,
    }
}
