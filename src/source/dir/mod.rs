//! [`DirSource`], `dir:PATH`: pictures that appear in a folder, such as a camera uploads by FTP.
//!
//! It learns of files from the kernel, waits until they are whole, and hands each over once. It changes
//! nothing in the folder.

mod arrivals;
mod attempt;
mod delivered;
mod memory;
mod taken;
#[cfg(test)]
mod tests;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Cancel, FrameProblem, LocalOffset, PictureFault, Source, SourceError, SourceItem};
use crate::frame::Frame;
use arrivals::Arrivals;
use attempt::{Attempt, attempt};
pub use delivered::DELIVERED_MAX;
use delivered::Delivered;
use memory::{Memory, Remembered};
pub use watch::WATCHED_FOLDERS_MAX;
use watch::{FolderWatch, News};

/// Endings of the names that are looked at, in any case.
const PICTURE_ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// How often it is checked that the folder is still the same: an unmounted one makes no event.
const FOLDER_CHECK: Duration = Duration::from_secs(30);

/// How new pictures are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirOptions {
    /// A file that its writer neither closes nor renames is tried after so long without a change.
    pub settle: Duration,
    /// A file that is no whole picture is given up after so long without a change, and reported.
    pub patience: Duration,
    /// Pictures that have come since then are handed over too, in microseconds since 1970; `None`: only those that come
    /// from now on.
    pub since: Option<i64>,
    /// Where it is remembered which files were handed over, so that a restart goes on where this run ends; `None`:
    /// nowhere.
    pub memory: Option<PathBuf>,
    /// Local time of pictures that do not say it themselves.
    pub local_offset: LocalOffset,
}

impl Default for DirOptions {
    /// 1 second, 30 seconds, from now on, the machine's local time.
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(1),
            patience: Duration::from_secs(30),
            since: None,
            memory: None,
            local_offset: LocalOffset::System,
        }
    }
}

/// The pictures that appear in a folder and its subfolders. It waits for the pipeline and never ends by itself.
///
/// - JPEG and PNG files are handed over, by written, renamed, moved or linked into place, when they were closed
///   or renamed and hold a whole picture. Files that were there before are not.
/// - Each file is handed over once, and again only when its content was written anew. The last
///   [`DELIVERED_MAX`] ones are remembered, with a [memory](DirOptions::memory) across restarts too; what came between two
///   runs is handed over then.
/// - Of a folder that was away for a while, such as a disk that was unmounted, what has come meanwhile is handed over.
/// - The time of a picture is its EXIF time (`DateTimeOriginal`, with `SubSecTimeOriginal` and
///   `OffsetTimeOriginal` where they are), else its file was last modified then.
/// - Names that begin with a dot or end in anything else than `.jpg`, `.jpeg` or `.png` are ignored; this is
///   where uploads have their temporary names.
/// - Links to folders are not followed. A network file system tells only of what this machine writes.
///
/// Memory is bounded. Where more happens at once than is kept, the folder is read for what was missed.
#[derive(Debug)]
pub struct DirSource {
    options: DirOptions,
    watch: FolderWatch,
    arrivals: Arrivals,
    delivered: Delivered,
    memory: Option<Memory>,
    cancel: Cancel,
    /// Number of the next frame.
    number: u64,
    next_check: Instant,
    finished: bool,
}

impl DirSource {
    /// Watches the folder from now on.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotFound`], [`SourceError::WrongType`], [`SourceError::Open`], [`SourceError::Watch`],
    /// [`SourceError::WatchLimit`].
    pub fn open(path: &Path, options: DirOptions, cancel: Cancel) -> Result<Self, SourceError> {
        let (memory, remembered) = remember(&options);
        let since = [options.since, remembered.since].into_iter().flatten().min();
        Ok(Self {
            watch: FolderWatch::open(path, since, cancel.clone())?,
            arrivals: Arrivals::new(options.settle, options.patience),
            options,
            delivered: remembered.delivered,
            memory,
            cancel,
            number: 0,
            next_check: Instant::now() + FOLDER_CHECK,
            finished: false,
        })
    }

    fn next_unless_finished(&mut self) -> Result<Option<SourceItem>, SourceError> {
        while !self.finished {
            // What has happened already first: it may tell more of the files that are due.
            while let Some(news) = self.watch.news(Some(Instant::now()))? {
                if let Some(problem) = self.hear(news)? {
                    return Ok(Some(SourceItem::Problem(problem)));
                }
            }
            self.watch.catch_up(&mut self.arrivals);
            if self.cancel.is_cancelled() {
                return Ok(None);
            }
            let now = Instant::now();
            if let Some((path, is_last)) = self.arrivals.due(now) {
                if let Some(item) = self.try_file(path, is_last) {
                    return Ok(Some(item));
                }
                continue;
            }
            if now >= self.next_check {
                self.watch.check_folder()?;
                self.next_check = now + FOLDER_CHECK;
            }
            let deadline =
                self.arrivals.next_due().map_or(self.next_check, |due| due.min(self.next_check));
            if let Some(news) = self.watch.news(Some(deadline))?
                && let Some(problem) = self.hear(news)?
            {
                return Ok(Some(SourceItem::Problem(problem)));
            }
        }
        Ok(None)
    }

    /// Takes note of something that happened in the folder.
    fn hear(&mut self, news: News) -> Result<Option<FrameProblem>, SourceError> {
        let now = Instant::now();
        match news {
            News::Written(path) if refuse_name(&path).is_none() => self.arrivals.written(path, now),
            News::Written(_) => {}
            News::Finished(path) if path.is_dir() => self.watch.add(&path)?,
            News::Finished(path) => match refuse_name(&path) {
                None => self.arrivals.finished(path, now),
                Some(reason) => return Ok(Some(ignored(&path, reason))),
            },
            News::Folder(path) => self.watch.add(&path)?,
            News::Renamed(from) => self.arrivals.forget(&from),
            News::Gone(path) => self.watch.forget(&path),
        }
        Ok(None)
    }

    /// Tries to read a file as a picture. `None`: there is nothing to hand over, or not yet.
    fn try_file(&mut self, path: PathBuf, is_last: bool) -> Option<SourceItem> {
        match attempt(&path, &self.delivered, self.options.local_offset) {
            Attempt::Picture { picture, time, identity } => {
                self.arrivals.forget(&path);
                self.delivered.remember(&path, identity);
                if let Some(memory) = &mut self.memory {
                    memory.hand_over(&path, identity);
                }
                let number = self.number;
                self.number += 1;
                Some(SourceItem::Frame(Frame {
                    number,
                    time,
                    picture: *picture,
                    dropped_before: 0,
                    origin: Some(path),
                }))
            }
            Attempt::Known => {
                self.arrivals.forget(&path);
                None
            }
            Attempt::NotYet(_) if !is_last => None,
            Attempt::NotYet(fault) => {
                self.arrivals.forget(&path);
                Some(SourceItem::Problem(problem(&path, fault)))
            }
            Attempt::Never { fault, identity } => {
                self.arrivals.forget(&path);
                if let Some(identity) = identity {
                    self.delivered.remember(&path, identity);
                }
                Some(SourceItem::Problem(problem(&path, fault)))
            }
        }
    }
}

impl Source for DirSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if let Some(memory) = &mut self.memory {
            memory.confirm();
        }
        let outcome = self.next_unless_finished();
        self.finished |= !matches!(outcome, Ok(Some(_)));
        outcome
    }

    fn reopen(&mut self) -> Result<bool, SourceError> {
        self.watch.reopen(self.cancel.clone())?;
        self.next_check = Instant::now() + FOLDER_CHECK;
        self.finished = false;
        Ok(true)
    }
}

/// The memory of earlier runs. Without one that can be used it goes on, and says so.
fn remember(options: &DirOptions) -> (Option<Memory>, Remembered) {
    let none = || Remembered { since: None, delivered: Delivered::default() };
    let Some(path) = &options.memory else { return (None, none()) };
    match Memory::open(path, watch::utc_micros_now()) {
        Ok((memory, remembered)) => (Some(memory), remembered),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "what comes while nothing runs will not be recorded");
            (None, none())
        }
    }
}

/// Why a file with such a name is not looked at; `None` if it is.
fn refuse_name(path: &Path) -> Option<&'static str> {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if name.starts_with('.') {
        return Some("a hidden or temporary file");
    }
    let ending = path.extension().map(|ending| ending.to_string_lossy()).unwrap_or_default();
    let is_picture = PICTURE_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known));
    (!is_picture).then_some("its name does not end in .jpg, .jpeg or .png")
}

fn ignored(path: &Path, reason: &'static str) -> FrameProblem {
    problem(path, PictureFault::NotAPicture { reason })
}

fn problem(path: &Path, fault: PictureFault) -> FrameProblem {
    FrameProblem::in_file(path, None, fault)
}
