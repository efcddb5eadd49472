//! [`Runner`]: a thread for each projection, which follows the journal and helps itself out of trouble.

mod thread;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lenslog_journal::{JournalView, Lost, Seq};

use crate::follow::Follower;
use crate::rebuild::{RebuildError, RebuildOptions, Rebuilt};
use crate::status::{Progress, ProjectionState, ProjectionStatus};
use crate::{Projection, Vocabulary};
use thread::Thread;

/// Told of every loss that a follower meets in the journal.
pub type OnLost = Arc<dyn Fn(&Lost) + Send + Sync>;

/// Follows a journal with any number of projections.
///
/// Each has a thread of its own: it applies in batches, backs off from errors that may pass, parks events that cannot
/// be applied, rebuilds what is broken, and notices files that are deleted or replaced. Dropping the runner stops it.
#[derive(Debug)]
pub struct Runner {
    view: JournalView,
    stop: Arc<AtomicBool>,
    threads: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    status: Arc<Mutex<ProjectionStatus>>,
    commands: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Command {
    options: RebuildOptions,
    reply: Sender<Result<Rebuilt, RebuildError>>,
}

impl Runner {
    /// Starts following. `on_lost` hears of every loss met: a program that writes journals it
    /// ([`Journal::report_lost`](lenslog_journal::Journal::report_lost)).
    #[must_use]
    pub fn start<V: Vocabulary>(
        view: &JournalView,
        projections: Vec<Box<dyn Projection<V>>>,
        on_lost: OnLost,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = projections
            .into_iter()
            .map(|projection| Worker::start(view, projection, &on_lost, &stop))
            .collect();
        Self { view: view.clone(), stop, threads }
    }

    /// How every projection fares, in the order they were given.
    #[must_use]
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.threads.iter().map(Worker::status).collect()
    }

    /// Waits until every projection follows and has applied everything before `seq`. Gives up when nothing has moved
    /// for `patience`, and returns the names of those that are behind.
    #[must_use]
    pub fn wait_for(&self, seq: Seq, patience: Duration) -> Vec<&'static str> {
        self.wait(seq, patience, None)
    }

    /// As [`Runner::wait_for`], but no longer than `limit`, whatever progress there is: for a caller that has something
    /// to append.
    #[must_use]
    pub fn wait_at_most(&self, seq: Seq, limit: Duration) -> Vec<&'static str> {
        self.wait(seq, limit, Some(Instant::now() + limit))
    }

    fn wait(&self, seq: Seq, patience: Duration, end: Option<Instant>) -> Vec<&'static str> {
        const PAUSE: Duration = Duration::from_millis(2);
        let mut progress = Progress::default();
        let mut last = Instant::now();
        loop {
            let status = self.status();
            if progress.note(&status) {
                last = Instant::now();
            }
            let behind: Vec<_> = status
                .iter()
                // What a rebuild has read is in its place only when it follows again.
                .filter(|status| status.next < seq || status.state != ProjectionState::Following)
                .map(|status| status.name)
                .collect();
            let is_over = end.is_some_and(|end| Instant::now() >= end);
            if behind.is_empty() || is_over || last.elapsed() >= patience {
                return behind;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Has one projection made again by its own thread, and waits for it. `None`: there is none of that name.
    #[must_use]
    pub fn rebuild(
        &self,
        name: &str,
        options: &RebuildOptions,
    ) -> Option<Result<Rebuilt, RebuildError>> {
        let worker = self.threads.iter().find(|worker| lock(&worker.status).name == name)?;
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
            let Some(thread) = lock(&worker.thread).take() else { continue };
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

impl Worker {
    fn start<V: Vocabulary>(
        view: &JournalView,
        projection: Box<dyn Projection<V>>,
        on_lost: &OnLost,
        stop: &Arc<AtomicBool>,
    ) -> Self {
        let follower = Follower::new(projection, view.clone());
        let name = follower.spec.name;
        let status = Arc::new(Mutex::new(ProjectionStatus {
            name,
            state: ProjectionState::Starting,
            next: Seq(0),
            parked: 0,
            errors: 0,
            last_error: None,
            rebuilds: 0,
        }));
        let (commands, inbox) = mpsc::channel();
        let thread = Thread::new(
            follower,
            view.clone(),
            Arc::clone(&status),
            inbox,
            Arc::clone(stop),
            Arc::clone(on_lost),
        );
        let builder = std::thread::Builder::new().name(format!("follow {name}"));
        let thread = match builder.spawn(move || thread.run()) {
            Ok(thread) => Some(thread),
            Err(error) => {
                let mut status = lock(&status);
                status.state = ProjectionState::Stopped;
                status.last_error = Some(format!("its thread cannot be started: {error}"));
                None
            }
        };
        Self { status, commands, thread: Mutex::new(thread) }
    }

    /// How it fares. A thread that ended without having been asked to has panicked.
    fn status(&self) -> ProjectionStatus {
        let ended = lock(&self.thread).as_ref().is_some_and(JoinHandle::is_finished);
        let mut status = lock(&self.status).clone();
        if ended && status.state != ProjectionState::Stopped {
            self.note_panic();
            status = lock(&self.status).clone();
        }
        status
    }

    fn note_panic(&self) {
        let mut status = lock(&self.status);
        status.state = ProjectionState::Stopped;
        status.last_error = Some("its thread panicked".to_owned());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
