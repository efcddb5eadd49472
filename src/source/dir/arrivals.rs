//! [`Arrivals`], the files that have appeared and were not handed over yet, and when to try each. Pure:
//! the caller passes the time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most files that are waited for at once. What appears beyond is found later, by reading the folder.
pub(super) const ARRIVALS_MAX: usize = 1024;

/// A file is dropped after this many times the stall timeout even if it never stops changing.
const STALL_TIMEOUT_FACTOR: u32 = 20;

/// Files that have appeared, each with the time it is tried next.
#[derive(Debug)]
pub(super) struct Arrivals {
    files: HashMap<PathBuf, Arrival>,
    settle: Duration,
    stall_timeout: Duration,
    count: u64,
    missed: bool,
}

/// How far a file is when it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Stage {
    /// It may still be written.
    Early,
    /// Its writer closed it, and it has settled since.
    Settled,
    /// It is not tried again.
    Last,
}

#[derive(Debug)]
struct Arrival {
    /// Its place in the order of arrival.
    order: u64,
    /// When it is tried; `None`: not before something happens to it.
    try_at: Option<Instant>,
    /// What it is then, if the stall timeout has not ended.
    stage: Stage,
    /// When it has settled, if its writer has closed it.
    settled_at: Option<Instant>,
    /// When it is tried for the last time.
    last_try_at: Instant,
    /// When it is dropped, whatever happens to it.
    latest: Instant,
}

impl Arrivals {
    /// Nothing; see [`DirOptions`](super::DirOptions) for the times.
    pub(super) fn new(settle: Duration, stall_timeout: Duration) -> Self {
        Self { files: HashMap::new(), settle, stall_timeout, count: 0, missed: false }
    }

    /// The file was created or written, and may be written further.
    pub(super) fn written(&mut self, path: PathBuf, now: Instant) {
        let settle = self.settle;
        self.note(path, now, now + settle, None);
    }

    /// The file was closed by its writer, or renamed: it is probably whole.
    pub(super) fn finished(&mut self, path: PathBuf, now: Instant) {
        let settle = self.settle;
        self.note(path, now, now, Some(now + settle));
    }

    fn note(&mut self, path: PathBuf, now: Instant, try_at: Instant, settled_at: Option<Instant>) {
        if self.room() == 0 && !self.files.contains_key(&path) {
            self.missed = true;
            return;
        }
        let stall_timeout = self.stall_timeout;
        self.count += 1;
        let arrival = self.files.entry(path).or_insert(Arrival {
            order: self.count,
            try_at: None,
            stage: Stage::Early,
            settled_at: None,
            last_try_at: now,
            latest: now + stall_timeout * STALL_TIMEOUT_FACTOR,
        });
        arrival.try_at = Some(try_at);
        arrival.stage = Stage::Early;
        arrival.settled_at = settled_at;
        arrival.last_try_at = (now + stall_timeout).min(arrival.latest);
    }

    /// The file was dealt with.
    pub(super) fn forget(&mut self, path: &Path) {
        self.files.remove(path);
    }

    /// Whether the file is waited for.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// The files that are waited for.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// Whether no file is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// How many more files fit.
    pub(super) fn room(&self) -> usize {
        ARRIVALS_MAX - self.files.len()
    }

    /// Whether a file did not fit since this was asked last.
    pub(super) fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    /// The file to be tried now, the first that came of several, and how far it is. One that was closed is tried at once,
    /// and again when it has settled.
    pub(super) fn due(&mut self, now: Instant) -> Option<(PathBuf, Stage)> {
        let files = self.files.iter_mut().filter(|(_, file)| file.is_due(now));
        let (path, arrival) = files.min_by_key(|(_, file)| file.order)?;
        arrival.try_at = arrival.settled_at.take();
        let stage = if arrival.last_try_at <= now { Stage::Last } else { arrival.stage };
        arrival.stage = Stage::Settled;
        Some((path.clone(), stage))
    }

    /// When the next file is to be tried.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let next =
            |file: &Arrival| file.try_at.map_or(file.last_try_at, |at| at.min(file.last_try_at));
        self.files.values().map(next).min()
    }
}

impl Arrival {
    fn is_due(&self, now: Instant) -> bool {
        self.last_try_at <= now || self.try_at.is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(1);
    const STALL_TIMEOUT: Duration = Duration::from_secs(30);

    fn new() -> (Arrivals, Instant) {
        (Arrivals::new(SETTLE, STALL_TIMEOUT), Instant::now())
    }

    fn path(name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    #[test]
    fn a_closed_file_is_tried_at_once_and_an_open_one_when_it_has_settled() {
        let (mut arrivals, now) = new();
        arrivals.written(path("open"), now);
        arrivals.finished(path("closed"), now);
        assert_eq!(arrivals.due(now), Some((path("closed"), Stage::Early)));
        arrivals.forget(&path("closed"));
        assert_eq!(arrivals.due(now), None);
        assert_eq!(arrivals.next_due(), Some(now + SETTLE));
        arrivals.written(path("open"), now + SETTLE / 2);
        assert_eq!(arrivals.due(now + SETTLE), None, "it was written again");
        assert_eq!(arrivals.due(now + SETTLE * 3 / 2), Some((path("open"), Stage::Early)));
    }

    #[test]
    fn files_are_tried_in_the_order_in_which_they_came() {
        let (mut arrivals, now) = new();
        for name in ["c", "a", "b"] {
            arrivals.finished(path(name), now);
        }
        arrivals.finished(path("c"), now);
        let order: Vec<_> =
            std::iter::from_fn(|| arrivals.due(now)).map(|(path, _)| path).collect();
        assert_eq!(order, ["c", "a", "b"].map(path));
    }

    #[test]
    fn a_file_that_is_never_whole_is_tried_a_last_time_at_the_stall_timeout() {
        let (mut arrivals, now) = new();
        arrivals.finished(path("a"), now);
        assert_eq!(arrivals.due(now), Some((path("a"), Stage::Early)));
        assert_eq!(arrivals.due(now + SETTLE), Some((path("a"), Stage::Settled)));
        assert_eq!(arrivals.next_due(), Some(now + STALL_TIMEOUT));
        assert_eq!(arrivals.due(now + STALL_TIMEOUT), Some((path("a"), Stage::Last)));
        arrivals.forget(&path("a"));
        assert_eq!(arrivals.next_due(), None);
    }

    #[test]
    fn a_file_that_never_stops_changing_is_dropped_too() {
        let (mut arrivals, now) = new();
        let mut time = now;
        while time < now + STALL_TIMEOUT * STALL_TIMEOUT_FACTOR {
            arrivals.written(path("a"), time);
            assert_eq!(arrivals.due(time), None);
            time += SETTLE / 2;
        }
        assert_eq!(arrivals.due(time), Some((path("a"), Stage::Last)));
    }

    #[test]
    fn more_files_than_fit_are_noticed() {
        let (mut arrivals, now) = new();
        for index in 0..ARRIVALS_MAX {
            arrivals.finished(path(&index.to_string()), now);
        }
        arrivals.finished(path("0"), now);
        assert!(!arrivals.take_missed(), "a known one needs no room");
        arrivals.finished(path("one more"), now);
        assert_eq!(
            (arrivals.room(), arrivals.take_missed(), arrivals.take_missed()),
            (0, true, false)
        );
    }
}
