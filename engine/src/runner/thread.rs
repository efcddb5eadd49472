//! [`Thread`]: what runs in a projection's thread: it starts, follows, rebuilds, and waits after errors.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lenslog_journal::{JournalView, Lost, ReaderOptions};

use super::{Command, Context, OnLost, RunnerOptions, StatusCell};
use crate::follow::{FollowError, Follower, Start};
use crate::rebuild::{RebuildError, RebuildOptions, Rebuilt, rebuild};
use crate::status::{ProjectionState, RebuildBackoff};
use crate::{CommitKind, EventCodec, Inspection, ProjectionError};

/// The first pause after an error that may pass; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// While a rebuild waits, commands and files are looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// The medium failed.
const EIO: i32 = 5;
/// A record that took longer from its append to the projection is logged.
const SLOW: Duration = Duration::from_millis(10);

/// What runs in a projection's thread.
pub(super) struct Thread<V: EventCodec> {
    follower: Follower<V>,
    view: JournalView,
    status: Arc<StatusCell>,
    inbox: Receiver<Command>,
    stop: Arc<AtomicBool>,
    on_lost: OnLost,
    options: RunnerOptions,
    pause: Duration,
    started: bool,
    /// What an inspection found was rebuilt, and nothing was followed since.
    repaired: bool,
    backoff: RebuildBackoff,
    /// Parked events were checked since the thread began.
    parked_tried: bool,
    /// The projection was rebuilt here, and nothing was applied to it since.
    is_own: bool,
    /// The head was reached: what comes now is new, and how long it took says something.
    live: bool,
    last_durable: Instant,
    last_inspect: Instant,
}

impl<V: EventCodec> Thread<V> {
    pub(super) fn new(
        follower: Follower<V>,
        context: Context,
        status: Arc<StatusCell>,
        inbox: Receiver<Command>,
    ) -> Self {
        let Context { view, stop, on_lost, options } = context;
        Self {
            follower,
            view,
            status,
            inbox,
            stop,
            on_lost,
            options,
            pause: PAUSE_MIN,
            started: false,
            repaired: false,
            backoff: RebuildBackoff::default(),
            parked_tried: false,
            is_own: false,
            live: false,
            last_durable: Instant::now(),
            last_inspect: Instant::now(),
        }
    }

    pub(super) fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            match self.inbox.try_recv() {
                Ok(command) => {
                    let result = self.rebuild(&command.options);
                    // The caller may be gone; the rebuild is complete anyway.
                    let _ = command.reply.send(result);
                    continue;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => break,
            }
            match self.work() {
                Ok(()) => self.pause = PAUSE_MIN,
                Err(error) => self.recover(error),
            }
        }
        if self.started
            && self.view.check_place().is_ok()
            && let Err(error) = self.follower.commit(CommitKind::Final)
        {
            self.note_error(&error.to_string());
        }
        self.set_state(ProjectionState::Stopped);
    }

    /// Starts where that is due, applies what there is, waits where there is nothing.
    fn work(&mut self) -> Result<(), FollowError> {
        // Where the whole directory is gone, nothing is rebuilt in its place.
        self.view.check_place()?;
        if !self.started {
            return self.start();
        }
        let mut on_lost = |lost: &Lost| (self.on_lost)(lost);
        let step = self.follower.step(&mut on_lost)?;
        self.repaired = false;
        self.is_own &= step.records == 0;
        self.backoff.note_followed(self.follower.next_seq());
        self.log_slow(step.oldest_micros);
        self.publish();
        let RunnerOptions { durable_interval, inspect_interval } = self.options;
        if self.follower.dirty && self.last_durable.elapsed() >= durable_interval {
            self.follower.commit(CommitKind::Durable)?;
            self.last_durable = Instant::now();
        }
        if self.last_inspect.elapsed() >= inspect_interval {
            self.inspect()?;
            self.last_inspect = Instant::now();
        }
        if step.at_head {
            self.live = true;
            let timeout = if self.follower.dirty { durable_interval } else { inspect_interval };
            self.follower.wait(timeout.min(inspect_interval));
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), FollowError> {
        self.live = false;
        let name = self.follower.spec.name;
        // Nothing exists yet: rebuilding despite losses cannot destroy data. A broken one is moved to `*.old-N`.
        let (accept_loss, keep_old, reason) = match self.follower.start()? {
            Start::Following => {
                if !std::mem::replace(&mut self.parked_tried, true)
                    && self.follower.can_apply_parked()?
                {
                    return self.retry_parked();
                }
                self.started = true;
                // Files deleted while no runner followed come back before the projection counts as following.
                if !self.repaired {
                    self.inspect()?;
                }
                // A failed projection counts as following after its next step, not when it was opened.
                if self.started && self.status.get().state != ProjectionState::Waiting {
                    self.publish();
                }
                return Ok(());
            }
            Start::Absent => (true, false, "the projection does not exist yet".to_owned()),
            Start::Broken(reason) => {
                tracing::error!(
                    projection = name,
                    reason,
                    "projection is unusable; it is rebuilt from the journal"
                );
                (true, true, reason)
            }
            Start::Outdated(reason) => {
                tracing::warn!(
                    projection = name,
                    reason,
                    "projection is outdated; it is rebuilt from the journal"
                );
                (false, false, reason)
            }
        };
        if !self.hold_back(&reason) {
            return Ok(());
        }
        let options = RebuildOptions { accept_loss, keep_old, ..RebuildOptions::default() };
        match self.rebuild(&options) {
            Ok(rebuilt) => {
                tracing::info!(
                    projection = name,
                    records = rebuilt.records,
                    reason,
                    "projection rebuilt from the journal"
                );
                Ok(())
            }
            Err(error @ (RebuildError::Damaged { .. } | RebuildError::Ahead { .. })) => {
                self.note_error(&error.to_string());
                self.keep();
                Ok(())
            }
            Err(RebuildError::Interrupted) => Ok(()),
            Err(RebuildError::Projection(error)) => Err(error.into()),
            Err(RebuildError::Journal(error)) => Err(error.into()),
        }
    }

    /// Rebuilds the projection with its parked events. Where that fails it goes on without them.
    fn retry_parked(&mut self) -> Result<(), FollowError> {
        let name = self.follower.spec.name;
        tracing::info!(
            projection = name,
            "a parked event can be applied now; the projection is rebuilt"
        );
        match self.rebuild(&RebuildOptions::default()) {
            Ok(_) | Err(RebuildError::Interrupted) => Ok(()),
            Err(error @ (RebuildError::Damaged { .. } | RebuildError::Ahead { .. })) => {
                tracing::warn!(projection = name, %error, "the events stay parked");
                Ok(())
            }
            Err(RebuildError::Projection(error)) => Err(error.into()),
            Err(RebuildError::Journal(error)) => Err(error.into()),
        }
    }

    /// Leaves the projection as it is until a command rebuilds it, its files change or the runner stops.
    fn keep(&mut self) {
        self.wait_unless_changed(ProjectionState::NeedsOperator, None);
    }

    /// Waits where the rebuilds before brought no progress. `false`: the runner stops, or a command has rebuilt the
    /// projection meanwhile.
    fn hold_back(&mut self, reason: &str) -> bool {
        let Some(pause) = self.backoff.pause() else { return true };
        let seconds = pause.as_secs();
        self.note_error(&format!(
            "{reason}; the last rebuilds brought no progress; the next one begins in {seconds} s, or when the projection's files \
             change"
        ));
        self.wait_unless_changed(ProjectionState::Waiting, Some(Instant::now() + pause))
    }

    /// Waits until `deadline`, or until a file of the projection has another inode or modification time. Commands are
    /// served meanwhile. `false`: one of them has rebuilt the projection, or the runner stops.
    fn wait_unless_changed(&mut self, state: ProjectionState, deadline: Option<Instant>) -> bool {
        self.set_state(state);
        let mut files = watched(&self.follower);
        while !self.stop.load(Ordering::Acquire) {
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if rest.is_some_and(|rest| rest.is_zero()) || watched(&self.follower) != files {
                return true;
            }
            match self
                .inbox
                .recv_timeout(rest.map_or(LOOK_INTERVAL, |rest| rest.min(LOOK_INTERVAL)))
            {
                Ok(command) => {
                    let result = self.rebuild(&command.options);
                    let done = result.is_ok();
                    let _ = command.reply.send(result);
                    if done {
                        return false;
                    }
                    self.set_state(state);
                    files = watched(&self.follower);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        false
    }

    fn rebuild(&mut self, options: &RebuildOptions) -> Result<Rebuilt, RebuildError> {
        if self.started && self.follower.dirty {
            match self.follower.commit(CommitKind::Durable) {
                Ok(()) => {}
                Err(FollowError::Projection(error)) => return Err(error.into()),
                Err(FollowError::Journal(error)) => return Err(error.into()),
            }
        }
        self.started = false;
        self.set_state(ProjectionState::Rebuilding);
        let is_own = self.is_own;
        let options =
            RebuildOptions { reader: ReaderOptions::default(), is_own, ..options.clone() };
        let (stop, status) = (Arc::clone(&self.stop), Arc::clone(&self.status));
        let mut progress = |progress: crate::Progress| {
            status.update(|status| status.next = progress.next);
            !stop.load(Ordering::Acquire)
        };
        let result = rebuild(&mut *self.follower.projection, &self.view, &options, &mut progress);
        if let Ok(Rebuilt { lost, .. }) | Err(RebuildError::Damaged { lost }) = &result {
            lost.iter().for_each(|lost| (self.on_lost)(lost));
        }
        self.set_state(ProjectionState::Starting);
        if result.is_ok() {
            self.status.update(|status| status.rebuilds += 1);
        }
        self.is_own = result.is_ok();
        if result.as_ref().map_or_else(is_lasting, |_| true) {
            self.backoff.note_rebuild();
        }
        result
    }

    fn inspect(&mut self) -> Result<(), FollowError> {
        let Inspection::Tampered { reason, scope } = self.follower.projection.inspect()? else {
            return Ok(());
        };
        tracing::warn!(
            projection = self.follower.spec.name,
            reason,
            "projection files changed; rebuilding from the journal"
        );
        self.is_own = false;
        if !self.hold_back(&reason) {
            return Ok(());
        }
        // What is gone cannot be lost: a damaged journal still gives back what it has.
        let options = RebuildOptions { scope, accept_loss: true, ..RebuildOptions::default() };
        self.repaired = true;
        match self.rebuild(&options) {
            Ok(_)
            | Err(
                RebuildError::Interrupted
                | RebuildError::Damaged { .. }
                | RebuildError::Ahead { .. },
            ) => Ok(()),
            Err(RebuildError::Projection(error)) => Err(error.into()),
            Err(RebuildError::Journal(error)) => Err(error.into()),
        }
    }

    /// After an error: rebuilds a broken projection, and retries everything else after a pause.
    fn recover(&mut self, error: FollowError) {
        self.started = false;
        self.live = false;
        self.note_error(&error.to_string());
        if let FollowError::Projection(ProjectionError::Broken { reason }) = error {
            if !self.hold_back(&reason) {
                return;
            }
            let options =
                RebuildOptions { accept_loss: true, keep_old: true, ..RebuildOptions::default() };
            match self.rebuild(&options) {
                Ok(_) => return,
                Err(error) => self.note_error(&format!("{reason}; the rebuild failed: {error}")),
            }
        }
        self.set_state(ProjectionState::Waiting);
        // A command waits no longer than the pause; a stop ends it.
        let deadline = Instant::now() + self.pause;
        while !self.stop.load(Ordering::Acquire) {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            std::thread::park_timeout(rest);
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    fn note_error(&self, error: &str) {
        self.status.update(|status| {
            status.errors += 1;
            // A repeated error is logged once.
            if status.last_error.as_deref() != Some(error) {
                tracing::error!(projection = status.name, error, "projection failed; it retries");
            }
            status.last_error = Some(error.to_owned());
        });
    }

    fn set_state(&self, state: ProjectionState) {
        self.status.update(|status| status.state = state);
    }

    fn publish(&self) {
        self.status.update(|status| {
            status.next = self.follower.next_seq();
            status.parked = self.follower.checkpoint.parked_count;
            status.state = ProjectionState::Following;
        });
    }

    fn log_slow(&self, oldest_micros: Option<i64>) {
        let Some(appended) = oldest_micros.filter(|_| self.live) else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let appended = Duration::from_micros(u64::try_from(appended).unwrap_or_default());
        let lag = now.saturating_sub(appended);
        if lag > SLOW {
            let lag_ms = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(
                projection = self.follower.spec.name,
                lag_ms,
                "projection is slow to follow"
            );
        }
    }
}

/// Whether a rebuild failed for a reason that no waiting takes away: its content is broken, or the medium is.
fn is_lasting(error: &RebuildError) -> bool {
    match error {
        RebuildError::Projection(ProjectionError::Broken { .. }) => true,
        RebuildError::Projection(ProjectionError::Retry { source, .. }) => {
            source.raw_os_error() == Some(EIO)
        }
        _ => false,
    }
}

/// Device, inode, length and modification time of the projection's files, as far as the operating system has them.
fn watched<V: EventCodec>(follower: &Follower<V>) -> Vec<Option<[u64; 5]>> {
    let look = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        let seconds = found.mtime().cast_unsigned();
        Some([found.dev(), found.ino(), found.len(), seconds, found.mtime_nsec().cast_unsigned()])
    };
    follower.projection.watched_files().iter().map(look).collect()
}
