//! [`FolderWatch`], which hears from the kernel what happens in a folder and its subfolders, polls where the kernel does
//! not see it, and compares with what is really there.

mod compare;
mod known;
mod poll;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::arrivals::{ARRIVALS_MAX, Arrivals};
use super::attended::Attended;
use super::delivered::Delivered;
use super::file_system::FileSystem;
use super::news::{Heard, News, listener};
use super::walk::{Scan, Walk};
use crate::source::SourceError;
use crate::source::open::{self, Expected};
use crate::util::{BoundedQueue, CancellationToken, Taken};
use known::KnownFiles;

/// Most folders that one source watches: those in which something happened last. The others are looked into when all
/// is compared with what is there.
pub const WATCHED_FOLDERS_MAX: usize = 1024;

/// Most folders that are read at each poll, where the kernel does not see what others write.
pub const POLLED_FOLDERS_MAX: usize = 64;

/// Most pieces of news that wait to be heard. Where there are more, the folder is read instead.
const NEWS_MAX: usize = 4096;

/// New folders that wait to be read; where there are more, all of it is read.
const SCANS_MAX: usize = 1024;

/// Nothing is looked for while there is less room for what is found.
const SCAN_ROOM_MIN: usize = ARRIVALS_MAX / 2;

/// How often folders are polled at most. A poll that takes long is followed by a pause of ten times that.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const POLL_SHARE: u32 = 10;

/// A file of which nothing was heard for so long was not reported by the kernel.
const UNHEARD_MICROS: i64 = 60_000_000;

/// A walk goes on for so long before news is heard.
const STEP: Duration = Duration::from_millis(20);

/// Watches a folder and its subfolders.
#[derive(Debug)]
pub(super) struct FolderWatch {
    /// The folder as it was named; `root` is where that leads.
    named: PathBuf,
    root: PathBuf,
    root_file: (u64, u64),
    /// `None` where the kernel gives none: folders are polled.
    watcher: Option<RecommendedWatcher>,
    queue: Arc<BoundedQueue<Heard>>,
    cancel: CancellationToken,
    /// Whether news was lost since it was last looked.
    pub(super) missed: Arc<AtomicBool>,
    file_system: FileSystem,
    attended: Attended,
    is_polled: bool,
    next_poll: Instant,
    /// The files that were seen. Only where folders are polled.
    known: KnownFiles,
    scans: VecDeque<Scan>,
    walk: Option<Walk>,
    /// What walks have found.
    found: VecDeque<PathBuf>,
    /// How often all is compared with what is there.
    compare: Duration,
    next_compare: Instant,
    /// When everything had been found, in microseconds since 1970, and by the clock that is never set.
    caught_up_at: (i64, Instant),
    /// What changed last before this was there before, or was dealt with in an earlier run.
    floor: i64,
    /// When the folder was opened.
    opened_at: i64,
    /// A file that nothing was heard of for so long was not reported by the kernel, in microseconds.
    unheard: i64,
    /// What changed last before this is found.
    mark: Option<i64>,
}

impl FolderWatch {
    /// Watches `path` and the subfolders of it in which something happened last, and reads all for what has come `since`
    /// a time.
    pub(super) fn open(
        path: &Path,
        since: i64,
        compare: Duration,
        cancel: CancellationToken,
    ) -> Result<Self, SourceError> {
        let (_, metadata) = open::open(path, Expected::Folder)?;
        let root = fs::canonicalize(path)
            .map_err(|source| SourceError::Open { path: path.into(), source })?;
        let queue = BoundedQueue::new(NEWS_MAX, cancel.clone());
        let missed = Arc::new(AtomicBool::new(false));
        let watcher = notify::recommended_watcher(listener(&queue, &missed));
        let file_system = FileSystem::of(&root);
        let (now, instant) = (utc_micros_now(), Instant::now());
        let mut watch = Self {
            named: path.to_owned(),
            root_file: file_of(&metadata),
            watcher: None,
            queue,
            cancel,
            missed,
            file_system,
            attended: Attended::new(WATCHED_FOLDERS_MAX),
            is_polled: false,
            next_poll: instant,
            known: KnownFiles::default(),
            scans: VecDeque::new(),
            walk: None,
            found: VecDeque::new(),
            compare,
            next_compare: instant,
            caught_up_at: (since, instant),
            floor: since,
            opened_at: now,
            unheard: UNHEARD_MICROS,
            mark: None,
            root,
        };
        watch.use_watcher(watcher);
        if let Some(kind) = file_system.polled_as {
            let reason = format!("it is on {kind}, where changes by others are not reported");
            watch.poll_from_now_on(&reason);
        }
        watch.attend(&watch.root.clone())?;
        watch.first_walk()?;
        Ok(watch)
    }

    /// Hears from that watcher; polls where the kernel gives none.
    fn use_watcher(&mut self, made: notify::Result<RecommendedWatcher>) {
        match made {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => self.poll_from_now_on(&error.to_string()),
        }
    }

    /// Watches the folder again, or what is there in its place, and reads it for what has come since it was certainly
    /// watched.
    pub(super) fn reopen(&mut self, cancel: CancellationToken) -> Result<(), SourceError> {
        let since = self.scanned_since(self.since());
        *self = Self::open(&self.named, since, self.compare, cancel)?;
        Ok(())
    }

    /// Whether this machine's clock dates what changes here.
    pub(super) const fn is_dated_here(&self) -> bool {
        self.file_system.is_dated_here
    }

    /// What happened next; waits for it until `deadline`. `None` if nothing did, or the source was cancelled.
    pub(super) fn news(&mut self, deadline: Option<Instant>) -> Result<Option<News>, SourceError> {
        match self.queue.take(deadline) {
            Taken::Item { item: Heard::News(News::Gone(path)), .. } if path == self.root => {
                Err(SourceError::FolderGone { path })
            }
            Taken::Item { item: Heard::News(news), .. } => Ok(Some(news)),
            Taken::Item { item: Heard::Failed(error), .. } => Err(refused(&self.root, &error)),
            Taken::TimedOut | Taken::Closed | Taken::Cancelled => Ok(None),
        }
    }

    /// Watches a folder that has appeared, and has its files read: they may have been there before it was
    /// watched.
    pub(super) fn add(&mut self, folder: &Path) -> Result<(), SourceError> {
        self.attend(folder)?;
        if self.scans.len() >= SCANS_MAX {
            self.missed.store(true, Ordering::Release);
            return Ok(());
        }
        let scan = Scan { folder: folder.into(), since: None, is_full: false, is_first: false };
        if !self.scans.contains(&scan) {
            self.scans.push_back(scan);
        }
        Ok(())
    }

    /// Something happened to a file.
    pub(super) fn touch(&mut self, file: &Path) -> Result<(), SourceError> {
        file.parent().map_or(Ok(()), |folder| self.attend(folder))
    }

    /// Forgets a folder that is gone. The kernel has done so already.
    pub(super) fn forget(&mut self, path: &Path) {
        self.attended.forget(path);
    }

    /// Polls, and looks for what was missed, as far as there is room for it and for a moment. To be called when all news
    /// has been heard.
    pub(super) fn work(
        &mut self,
        arrivals: &mut Arrivals,
        delivered: &Delivered,
    ) -> Result<(), SourceError> {
        let now = Instant::now();
        if self.is_polled && now >= self.next_poll {
            self.poll(arrivals)?;
            self.next_poll = Instant::now() + pause_after_poll(now.elapsed());
        }
        // Both are asked, so that both are reset.
        let missed = self.missed.swap(false, Ordering::AcqRel) | arrivals.take_missed();
        let is_due = self.walk.is_none() && self.scans.is_empty() && now >= self.next_compare;
        let is_unknown = self.is_polled && !self.known.is_complete;
        if missed || is_due {
            self.scan_all(is_unknown);
        }
        self.search(now + STEP, arrivals, delivered)
    }

    /// Hands over what walks have found, and reads on until that time, where there is room.
    fn search(
        &mut self,
        until: Instant,
        arrivals: &mut Arrivals,
        delivered: &Delivered,
    ) -> Result<(), SourceError> {
        while arrivals.room() >= SCAN_ROOM_MIN && !self.cancel.is_cancelled() {
            if let Some(path) = self.found.pop_front() {
                self.arrive(path, arrivals);
            } else if self.walk.is_some() || !self.scans.is_empty() {
                if Instant::now() >= until {
                    break;
                }
                self.walk_on(until, arrivals, delivered)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// When there is something to do again, if nothing happens.
    pub(super) fn next_work(&self, arrivals: &Arrivals) -> Instant {
        let is_busy = !self.found.is_empty() || self.walk.is_some() || !self.scans.is_empty();
        if is_busy && arrivals.room() >= SCAN_ROOM_MIN {
            return Instant::now();
        }
        let next = if is_busy { Instant::now() + POLL_INTERVAL } else { self.next_compare };
        if self.is_polled { next.min(self.next_poll) } else { next }
    }

    /// What changed last before this time was dealt with, where that is news. To be asked when nothing has arrived that
    /// was not dealt with.
    pub(super) fn take_mark(&mut self) -> Option<i64> {
        self.found.is_empty().then(|| self.mark.take()).flatten()
    }

    /// How many folders are watched or polled.
    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.attended.len()
    }

    /// Whether folders are polled.
    #[cfg(test)]
    pub(super) fn is_polled(&self) -> bool {
        self.is_polled
    }

    /// As on a file system that reports nothing, which a comparison may notice at once.
    #[cfg(test)]
    pub(super) fn deafen(&mut self) {
        self.watcher = None;
        self.unheard = 0;
    }

    /// As on a share, whose clock dates its files.
    #[cfg(test)]
    pub(super) fn pretend_share(&mut self) {
        self.file_system.is_dated_here = false;
    }

    /// Checks that the folder is still where it was.
    pub(super) fn check_folder(&self) -> Result<(), SourceError> {
        match fs::metadata(&self.root) {
            Ok(metadata) if file_of(&metadata) == self.root_file => Ok(()),
            _ => Err(SourceError::FolderGone { path: self.root.clone() }),
        }
    }

    /// A subfolder may be a mount point.
    fn check_file_system(&mut self, folder: &Path) {
        let found = FileSystem::of(folder);
        self.file_system.is_dated_here &= found.is_dated_here;
        if let Some(kind) = found.polled_as {
            let reason = format!(
                "{} is on {kind}, where changes by others are not reported",
                folder.display()
            );
            self.poll_from_now_on(&reason);
        }
    }

    fn poll_from_now_on(&mut self, reason: &str) {
        if !self.is_polled {
            let folder = self.root.display();
            tracing::info!(%folder, reason, "the folder is polled, every second or less often");
            self.is_polled = true;
            self.attended.limit(POLLED_FOLDERS_MAX);
            // What is there has to be known first.
            self.next_compare = Instant::now();
        }
    }

    /// Watches a folder and those that it lies in; another one is no longer watched where there are too many.
    fn attend(&mut self, folder: &Path) -> Result<(), SourceError> {
        let new = self.attended.touch(folder, &self.root, utc_micros_now());
        // From above: what appears in between makes news.
        for path in new.into_iter().rev() {
            self.watch_folder(&path)?;
            if self.is_polled
                && let Some(folder) = self.attended.get_mut(&path)
            {
                folder.changed = fs::metadata(&path).ok().map(|metadata| changed_ns(&metadata));
            }
        }
        while let Some(surplus) = self.attended.pop_surplus() {
            self.unwatch(&surplus);
        }
        Ok(())
    }

    fn watch_folder(&mut self, folder: &Path) -> Result<(), SourceError> {
        let Some(watcher) = &mut self.watcher else { return Ok(()) };
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => Ok(()),
            Err(error) => self.refused_watch(folder, &error),
        }
    }

    /// The kernel does not watch a folder.
    fn refused_watch(&mut self, folder: &Path, error: &notify::Error) -> Result<(), SourceError> {
        if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) {
            self.poll_from_now_on("the sysctl fs.inotify.max_user_watches allows no more watches");
            return Ok(());
        }
        // Deleted since it was heard of, or not ours to read: no reason to end the others.
        if folder != self.root && fs::read_dir(folder).is_err() {
            self.attended.forget(folder);
            return Ok(());
        }
        Err(refused(folder, error))
    }

    fn unwatch(&mut self, folder: &Path) {
        if let Some(watcher) = &mut self.watcher {
            // One that is gone is not watched any more.
            let _ = watcher.unwatch(folder);
        }
    }

    /// A walk or a poll has found a file.
    fn arrive(&mut self, path: PathBuf, arrivals: &mut Arrivals) {
        if self.is_polled
            && let Ok(metadata) = fs::symlink_metadata(&path)
        {
            self.known.insert(&path, &metadata);
        }
        arrivals.written(path, Instant::now());
    }
}

/// How long nothing is polled after a poll that took so long.
fn pause_after_poll(spent: Duration) -> Duration {
    POLL_INTERVAL.max(spent * POLL_SHARE)
}

fn refused(folder: &Path, error: &notify::Error) -> SourceError {
    SourceError::Watch { path: folder.into(), reason: error.to_string() }
}

fn file_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// When a folder got or lost an entry last, or a file its content, in nanoseconds since 1970.
fn changed_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// The earliest time of change, in microseconds, of a file that is created after this returns. No file that existed
/// before has that time or a later one.
///
/// The kernel dates changes by the ticks of its clock, 1 to 10 ms apart: this waits for the next one.
pub(super) fn first_new_micros() -> i64 {
    /// Longer than any tick: a clock that was set back meanwhile is not waited for.
    const TICK_MAX: Duration = Duration::from_millis(20);
    let (now, start) = (utc_micros_now(), Instant::now());
    let tick = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000)
    };
    while tick() <= now && start.elapsed() < TICK_MAX {
        std::thread::sleep(Duration::from_millis(1));
    }
    now.saturating_add(1)
}

/// What time it is, in microseconds since 1970.
pub(super) fn utc_micros_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
