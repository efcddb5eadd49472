//! [`FolderWatch`], which hears from the kernel what happens in a folder and its subfolders, and reads them for
//! what was missed.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::arrivals::{ARRIVALS_MAX, Arrivals};
use super::refuse_name;
use crate::source::mailbox::{Mailbox, Taken};
use crate::source::open::{self, Expected};
use crate::source::{Cancel, SourceError};

/// Most folders that one source watches. A folder with more subfolders is refused; one that grows beyond ends
/// the source.
pub const WATCHED_FOLDERS_MAX: usize = 4096;

/// Most pieces of news that wait to be heard. Where there are more, the folder is read instead.
const NEWS_MAX: usize = 4096;

/// Folders that wait to be read; where there are more, all of it is read.
const SCANS_MAX: usize = 64;

/// A folder is not read for less room than this: it is read whole each time.
const SCAN_ROOM_MIN: usize = ARRIVALS_MAX / 2;

/// How much earlier than the last time that nothing was missed a file may have changed, and is looked at: clocks
/// of file systems lag a little.
pub(super) const SCAN_SLACK: Duration = Duration::from_secs(2);

/// Something that happened in the folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A file was created or written.
    Written(PathBuf),
    /// A file was closed by who wrote it, or renamed into place; or a folder was.
    Finished(PathBuf),
    /// A folder was created.
    Folder(PathBuf),
    /// What was here has another name now, of which there is news of its own.
    Renamed(PathBuf),
    /// Something was deleted or moved away.
    Gone(PathBuf),
}

/// What the kernel said, translated on the thread that hears it.
#[derive(Debug)]
enum Heard {
    News(News),
    Failed(notify::Error),
}

/// A folder that has to be read for files that were missed.
#[derive(Debug, PartialEq, Eq)]
struct Scan {
    folder: PathBuf,
    /// Only files that changed since then, in microseconds since 1970; `None`: all of them.
    since: Option<i64>,
    /// Only files behind this one, in the order of paths: those before have arrived.
    after: Option<PathBuf>,
}

/// Watches a folder and its subfolders.
#[derive(Debug)]
pub(super) struct FolderWatch {
    /// The folder as it was named; `root` is where that leads.
    named: PathBuf,
    root: PathBuf,
    root_file: (u64, u64),
    watcher: RecommendedWatcher,
    mailbox: Arc<Mailbox<Heard>>,
    /// Whether news was lost since [`FolderWatch::catch_up`] asked last.
    pub(super) missed: Arc<AtomicBool>,
    watched: HashSet<PathBuf>,
    scans: VecDeque<Scan>,
    /// When all news had been heard, in microseconds since 1970.
    caught_up_at: i64,
    /// When the folder was seen to be the one that is watched.
    seen_at: i64,
}

impl FolderWatch {
    /// Watches `path` and all its subfolders, and reads them for what has come `since` a time.
    pub(super) fn open(
        path: &Path,
        since: Option<i64>,
        cancel: Cancel,
    ) -> Result<Self, SourceError> {
        let (_, metadata) = open::open(path, Expected::Folder)?;
        let root = fs::canonicalize(path)
            .map_err(|source| SourceError::Open { path: path.into(), source })?;
        let mailbox = Mailbox::new(NEWS_MAX, cancel);
        let missed = Arc::new(AtomicBool::new(false));
        let watcher = notify::recommended_watcher(listener(&mailbox, &missed))
            .map_err(|error| refused(&root, &error))?;
        let now = utc_micros_now();
        let mut watch = Self {
            named: path.to_owned(),
            root_file: file_of(&metadata),
            watcher,
            mailbox,
            missed,
            watched: HashSet::new(),
            scans: VecDeque::new(),
            caught_up_at: since.unwrap_or(now),
            seen_at: now,
            root,
        };
        let root = watch.root.clone();
        watch.watch_tree(&root)?;
        if since.is_some() {
            watch.scan(root, since);
        }
        Ok(watch)
    }

    /// Watches the folder again, or what is there in its place, and reads it for what has come since it was certainly
    /// watched.
    pub(super) fn reopen(&mut self, cancel: Cancel) -> Result<(), SourceError> {
        let since = self.caught_up_at.min(self.seen_at);
        *self = Self::open(&self.named, Some(since), cancel)?;
        Ok(())
    }

    /// What happened next; waits for it until `deadline`. `None` if nothing did, or the source was cancelled.
    pub(super) fn news(&mut self, deadline: Option<Instant>) -> Result<Option<News>, SourceError> {
        match self.mailbox.take(deadline) {
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
        self.watch_tree(folder)?;
        self.scan(folder.into(), None);
        Ok(())
    }

    /// Forgets a folder that is gone. The kernel has done so already.
    pub(super) fn forget(&mut self, path: &Path) {
        if self.watched.contains(path) {
            self.watched.retain(|watched| !watched.starts_with(path));
        }
    }

    /// Finds what was missed, as far as there is room for it. To be called when all news has been heard.
    pub(super) fn catch_up(&mut self, arrivals: &mut Arrivals) {
        // Both are asked, so that both are reset.
        let missed = self.missed.swap(false, Ordering::AcqRel) | arrivals.take_missed();
        if missed {
            let since = self.caught_up_at;
            self.scan(self.root.clone(), Some(since));
        } else if self.scans.is_empty() {
            self.caught_up_at = utc_micros_now();
        }
        let now = Instant::now();
        while arrivals.room() >= SCAN_ROOM_MIN
            && let Some(mut scan) = self.scans.pop_front()
        {
            let files = scan.files(arrivals.room());
            let is_full = files.len() == arrivals.room();
            scan.after = files.last().cloned();
            files.into_iter().for_each(|file| arrivals.written(file, now));
            if is_full {
                self.scans.push_front(scan);
            }
        }
    }

    /// Checks that the folder is still where it was.
    pub(super) fn check_folder(&mut self) -> Result<(), SourceError> {
        // Before it is looked at: what comes afterwards may come into another one.
        let now = utc_micros_now();
        match fs::metadata(&self.root) {
            Ok(metadata) if file_of(&metadata) == self.root_file => {
                self.seen_at = now;
                Ok(())
            }
            _ => Err(SourceError::FolderGone { path: self.root.clone() }),
        }
    }

    fn scan(&mut self, folder: PathBuf, since: Option<i64>) {
        if self.scans.len() >= SCANS_MAX {
            self.scans.clear();
            let since = Some(self.caught_up_at);
            self.scans.push_back(Scan { folder: self.root.clone(), since, after: None });
        }
        let scan = Scan { folder, since, after: None };
        if !self.scans.contains(&scan) {
            self.scans.push_back(scan);
        }
    }

    /// Watches a folder and all below it, each before it is read: what appears meanwhile makes news.
    fn watch_tree(&mut self, folder: &Path) -> Result<(), SourceError> {
        let mut folders = vec![folder.to_path_buf()];
        while let Some(folder) = folders.pop() {
            if self.watched.len() >= WATCHED_FOLDERS_MAX && !self.watched.contains(&folder) {
                return Err(limit_reached(&folder));
            }
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // Deleted since it was heard of, or not ours to read: no reason to end the others.
                Err(_) if folder != self.root && fs::read_dir(&folder).is_err() => continue,
                Err(error) => return Err(refused(&folder, &error)),
            }
            self.watched.insert(folder.clone());
            folders
                .extend(entries(&folder).filter(|entry| entry.is_folder).map(|entry| entry.path));
        }
        Ok(())
    }
}

impl Scan {
    /// The first `count` pictures, in the order of paths, that this scan is to find.
    fn files(&self, count: usize) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in entries(&folder) {
                if entry.is_folder {
                    if folders.len() < WATCHED_FOLDERS_MAX {
                        folders.push(entry.path);
                    }
                } else if self.wants(&entry.path) {
                    found.insert(entry.path);
                    if found.len() > count {
                        found.pop_last();
                    }
                }
            }
        }
        found.into_iter().collect()
    }

    fn wants(&self, path: &Path) -> bool {
        if refuse_name(path).is_some() || self.after.as_deref().is_some_and(|after| path <= after) {
            return false;
        }
        let slack = i64::try_from(SCAN_SLACK.as_micros()).unwrap_or_default();
        self.since.is_none_or(|since| {
            // The time of the last change of name or content, which no program can set.
            let changed = fs::symlink_metadata(path).map(|metadata| changed_utc_micros(&metadata));
            changed.is_ok_and(|changed| changed >= since.saturating_sub(slack))
        })
    }
}

/// What lies in a folder.
struct Entry {
    path: PathBuf,
    is_folder: bool,
}

/// What lies in a folder; what cannot be read is left out. Links to folders are not folders.
fn entries(folder: &Path) -> impl Iterator<Item = Entry> {
    let read = fs::read_dir(folder).into_iter().flatten().flatten();
    read.filter_map(|entry| {
        let is_folder = entry.file_type().ok()?.is_dir();
        Some(Entry { path: entry.path(), is_folder })
    })
}

/// Puts what the kernel tells into the mailbox.
fn listener(
    mailbox: &Arc<Mailbox<Heard>>,
    missed: &Arc<AtomicBool>,
) -> impl FnMut(notify::Result<Event>) + Send + 'static {
    let (mailbox, missed) = (Arc::clone(mailbox), Arc::clone(missed));
    move |event| {
        let heard = match event {
            Ok(event) if event.need_rescan() => {
                missed.store(true, Ordering::Release);
                return;
            }
            Ok(event) => match translate(event) {
                Some(news) => Heard::News(news),
                None => return,
            },
            Err(error) => Heard::Failed(error),
        };
        if mailbox.offer(heard).is_err() {
            missed.store(true, Ordering::Release);
        }
    }
}

fn translate(event: Event) -> Option<News> {
    let path = event.paths.into_iter().next()?;
    match event.kind {
        EventKind::Create(CreateKind::Folder) => Some(News::Folder(path)),
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => Some(News::Written(path)),
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(News::Finished(path)),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
            Some(News::Gone(path))
        }
        // The first of its two paths is the old one.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => Some(News::Renamed(path)),
        _ => None,
    }
}

fn refused(folder: &Path, error: &notify::Error) -> SourceError {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => limit_reached(folder),
        _ => SourceError::Watch { path: folder.into(), reason: error.to_string() },
    }
}

fn limit_reached(folder: &Path) -> SourceError {
    SourceError::WatchLimit { path: folder.into(), limit: WATCHED_FOLDERS_MAX }
}

fn file_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn changed_utc_micros(metadata: &Metadata) -> i64 {
    metadata.ctime().saturating_mul(1_000_000).saturating_add(metadata.ctime_nsec() / 1000)
}

/// What time it is, in microseconds since 1970.
pub(super) fn utc_micros_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag};

    use super::*;

    fn written(path: &str) -> notify::Result<Event> {
        let kind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        Ok(Event::new(kind).add_path(path.into()))
    }

    #[test]
    fn news_that_does_not_fit_and_news_that_the_kernel_lost_are_missed() {
        let mailbox = Mailbox::new(1, Cancel::new());
        let missed = Arc::new(AtomicBool::new(false));
        let mut hear = listener(&mailbox, &missed);
        hear(written("a"));
        assert!(!missed.swap(false, Ordering::AcqRel));
        hear(written("b"));
        assert!(missed.swap(false, Ordering::AcqRel));
        hear(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(missed.load(Ordering::Acquire));
    }

    #[test]
    fn reading_a_file_is_no_news() {
        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert_eq!(translate(Event::new(read).add_path("a".into())), None);
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert_eq!(translate(Event::new(opened).add_path("a".into())), None);
    }

    #[test]
    fn a_scan_goes_on_behind_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        let names = ["a.jpg", "b/c.jpg", "b/d.png", "e.jpg", "f.txt", ".g.jpg"];
        for name in names {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        let mut scan = Scan { folder: folder.path().into(), since: None, after: None };
        let paths = |names: &[&str]| -> Vec<_> {
            names.iter().map(|name| folder.path().join(name)).collect()
        };
        assert_eq!(scan.files(2), paths(&["a.jpg", "b/c.jpg"]));
        scan.after = Some(folder.path().join("b/c.jpg"));
        assert_eq!(scan.files(5), paths(&["b/d.png", "e.jpg"]));
        let later = utc_micros_now() + 3_600_000_000;
        assert_eq!(Scan { since: Some(later), ..scan }.files(5), paths(&[]));
    }
}
