//! [`Runner`]: a thread for each projection, which follows the journal and recovers from errors.

mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lenslog_journal::{JournalView, Lost, Seq};
use parking_lot::{Condvar, Mutex};

use crate::follow::Follower;
use crate::rebuild::{RebuildError, RebuildOptions, Rebuilt};
use crate::status::{Progress, ProjectionState, ProjectionStatus};
use crate::{Behind, EventCodec, Projection};
use thread::Thread;

/// Called for every loss that a follower meets in the journal.
pub type OnLost = Arc<dyn Fn(&Lost) + Send + Sync>;

/// How often a runner makes projections durable, and looks at their files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunnerOptions {
    /// Checkpoints are made durable this often while something is applied: 3 s. After a crash, what was applied since the
    /// last one is applied again.
    pub durable_interval: Duration,
    /// The projections' files are looked at this often: 2 s.
    pub inspect_interval: Duration,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        let (durable_interval, inspect_interval) = (Duration::from_secs(3), Duration::from_secs(2));
        Self { durable_interval, inspect_interval }
    }
}

impl RunnerOptions {
    /// Sets how often checkpoints are made durable.
    #[must_use]
    pub const fn durable_interval(mut self, interval: Duration) -> Self {
        self.durable_interval = interval;
        self
    }

    /// Sets how often files are looked at.
    #[must_use]
    pub const fn inspect_interval(mut self, interval: Duration) -> Self {
        self.inspect_interval = interval;
        self
    }
}

/// Follows a journal with any number of projections.
///
/// Each has a thread of its own: it applies in batches, backs off from errors that may pass, parks events that cannot
/// be applied, rebuilds what is broken, and notices files that are deleted or replaced. Dropping the runner stops it.
#[derive(Debug)]
pub struct Runner {
    view: JournalView,
    stop: Arc<AtomicBool>,
    threads: Vec<Worker>,
    changes: Arc<Changes>,
}

/// Counts the changes of any status, for threads that wait for one.
#[derive(Debug, Default)]
struct Changes {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Changes {
    fn notify(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    fn count(&self) -> u64 {
        *self.count.lock()
    }

    /// Waits until there were more changes than `seen`, or the deadline.
    fn wait(&self, seen: u64, deadline: Instant) {
        let mut count = self.count.lock();
        while *count == seen {
            if self.changed.wait_until(&mut count, deadline).timed_out() {
                return;
            }
        }
    }
}

/// The status of a projection; every change wakes those that wait.
#[derive(Debug)]
struct StatusCell {
    status: Mutex<ProjectionStatus>,
    changes: Arc<Changes>,
}

impl StatusCell {
    fn get(&self) -> ProjectionStatus {
        self.status.lock().clone()
    }

    fn update<T>(&self, update: impl FnOnce(&mut ProjectionStatus) -> T) -> T {
        let result = update(&mut self.status.lock());
        self.changes.notify();
        result
    }
}

#[derive(Debug)]
struct Worker {
    name: &'static str,
    status: Arc<StatusCell>,
    commands: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Command {
    options: RebuildOptions,
    reply: Sender<Result<Rebuilt, RebuildError>>,
}

impl Runner {
    /// Starts following. `on_lost` is called for every loss met: a program that writes journals it
    /// ([`Journal::report_lost`](lenslog_journal::Journal::report_lost)).
    #[must_use]
    pub fn start<V: EventCodec>(
        view: &JournalView,
        projections: Vec<Box<dyn Projection<V>>>,
        on_lost: OnLost,
    ) -> Self {
        Self::start_with(view, projections, on_lost, &RunnerOptions::default())
    }

    /// As [`Runner::start`], with other intervals.
    #[must_use]
    pub fn start_with<V: EventCodec>(
        view: &JournalView,
        projections: Vec<Box<dyn Projection<V>>>,
        on_lost: OnLost,
        options: &RunnerOptions,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let changes = Arc::new(Changes::default());
        let context = Context {
            view: view.clone(),
            stop: Arc::clone(&stop),
            on_lost,
            options: options.clone(),
        };
        let threads = projections
            .into_iter()
            .map(|projection| Worker::start(context.clone(), projection, &changes))
            .collect();
        Self { view: view.clone(), stop, threads, changes }
    }

    /// The status of every projection, in the order they were given.
    #[must_use]
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.threads.iter().map(Worker::status).collect()
    }

    /// Waits until every projection follows and has applied everything before `seq`.
    ///
    /// # Errors
    ///
    /// [`Behind`] if nothing has moved for `stall_timeout`.
    pub fn wait_for(&self, seq: Seq, stall_timeout: Duration) -> Result<(), Behind> {
        self.wait(seq, stall_timeout, None)
    }

    /// As [`Runner::wait_for`], but no longer than `limit`, whatever progress there is: for a caller that has something
    /// to append.
    ///
    /// # Errors
    ///
    /// [`Behind`] after `limit`.
    pub fn wait_at_most(&self, seq: Seq, limit: Duration) -> Result<(), Behind> {
        self.wait(seq, limit, Some(Instant::now() + limit))
    }

    fn wait(&self, seq: Seq, stall_timeout: Duration, end: Option<Instant>) -> Result<(), Behind> {
        let mut progress = Progress::default();
        let mut last = Instant::now();
        loop {
            let seen = self.changes.count();
            let status = self.status();
            if progress.note(&status) {
                last = Instant::now();
            }
            let names: Vec<_> = status
                .iter()
                // What a rebuild has read is in its place only when it follows again.
                .filter(|status| status.next < seq || status.state != ProjectionState::Following)
                .map(|status| status.name)
                .collect();
            if names.is_empty() {
                return Ok(());
            }
            let deadline = end.unwrap_or(last + stall_timeout);
            if Instant::now() >= deadline {
                return Err(Behind { names, next: seq });
            }
            self.changes.wait(seen, deadline);
        }
    }

    /// Rebuilds one projection in its own thread, and waits for it. `None`: no projection has that name.
    #[must_use]
    pub fn rebuild(
        &self,
        name: &str,
        options: &RebuildOptions,
    ) -> Option<Result<Rebuilt, RebuildError>> {
        let worker = self.threads.iter().find(|worker| worker.name == name)?;
        let (reply, answer) = mpsc::channel();
        let command = Command { options: options.clone(), reply };
        if worker.commands.send(command).is_err() {
            return Some(Err(RebuildError::Interrupted));
        }
        self.view.nudge();
        Some(answer.recv().unwrap_or(Err(RebuildError::Interrupted)))
    }

    /// Stops all threads; every projection commits durably what it has applied. Returns the last status.
    pub fn stop(&self) -> Vec<ProjectionStatus> {
        self.stop.store(true, Ordering::Release);
        self.view.nudge();
        for worker in &self.threads {
            let Some(thread) = worker.thread.lock().take() else { continue };
            thread.thread().unpark();
            if thread.join().is_err() {
                worker.note_panic();
            }
        }
        self.status()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What every projection's thread has.
#[derive(Clone)]
struct Context {
    view: JournalView,
    stop: Arc<AtomicBool>,
    on_lost: OnLost,
    options: RunnerOptions,
}

/// Wakes those that wait when the thread ends, also by a panic.
struct NotifyAtEnd(Arc<StatusCell>);

impl Drop for NotifyAtEnd {
    fn drop(&mut self) {
        self.0.changes.notify();
    }
}

impl Worker {
    fn start<V: EventCodec>(
        context: Context,
        projection: Box<dyn Projection<V>>,
        changes: &Arc<Changes>,
    ) -> Self {
        let follower = Follower::new(projection, context.view.clone());
        let name = follower.spec.name;
        let status = Arc::new(StatusCell {
            status: Mutex::new(ProjectionStatus {
                name,
                state: ProjectionState::Starting,
                next: Seq(0),
                parked: 0,
                errors: 0,
                last_error: None,
                rebuilds: 0,
            }),
            changes: Arc::clone(changes),
        });
        let (commands, inbox) = mpsc::channel();
        let at_end = NotifyAtEnd(Arc::clone(&status));
        let thread = Thread::new(follower, context, Arc::clone(&status), inbox);
        let builder = std::thread::Builder::new().name(format!("follow {name}"));
        let thread = match builder.spawn(move || {
            let _at_end = at_end;
            thread.run();
        }) {
            Ok(thread) => Some(thread),
            Err(error) => {
                status.update(|status| {
                    status.state = ProjectionState::Stopped;
                    status.last_error = Some(format!(
                        "the thread cannot be started: {error}; free some memory, then restart"
                    ));
                });
                None
            }
        };
        Self { name, status, commands, thread: Mutex::new(thread) }
    }

    /// The status. A thread that ended without a stop has panicked.
    fn status(&self) -> ProjectionStatus {
        let ended = self.thread.lock().as_ref().is_some_and(JoinHandle::is_finished);
        let status = self.status.get();
        if ended && status.state != ProjectionState::Stopped {
            self.note_panic();
            return self.status.get();
        }
        status
    }

    fn note_panic(&self) {
        self.status.update(|status| {
            status.state = ProjectionState::Stopped;
            status.last_error =
                Some("the thread panicked; restart the program and report the bug".to_owned());
        });
    }
}
