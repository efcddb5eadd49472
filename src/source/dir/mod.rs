//! [`DirSource`], `dir:PATH`: pictures that appear in a folder, such as a camera uploads by FTP.
//!
//! It learns of files from the kernel, waits until they are whole, and hands each over once. It changes
//! nothing in the folder.

mod arrivals;
mod attempt;
mod attended;
mod delivered;
mod file_system;
mod memory;
mod news;
mod sender_clock;
mod taken;
#[cfg(test)]
mod tests;
mod walk;
mod watch;

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lenslog_journal::Timestamp;

use super::open::modified_utc_micros;
use super::{ClockNews, FrameProblem, LocalOffset, PictureFault, Source, SourceError, SourceItem};
use crate::util::{CancellationToken, Trust};
use arrivals::{Arrivals, Stage};
use attempt::{Attempt, attempt};
use delivered::{Delivered, Keys};
use lenslog_vision::frame::Frame;
use memory::{Memory, Remembered};
use news::News;
use sender_clock::SenderClock;
pub use sender_clock::{ClockFault, ClockSettings, PictureTime};
use taken::Claim;
use watch::FolderWatch;
pub use watch::WATCHED_FOLDERS_MAX;

/// Endings of the names that are looked at, in any case.
const PICTURE_ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// How often it is checked that the folder is still the same: an unmounted one makes no event.
const FOLDER_CHECK: Duration = Duration::from_secs(30);
/// How often a folder is compared with what is really there.
const COMPARE: Duration = Duration::from_secs(600);

/// How new pictures are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirOptions {
    /// A file that its writer neither closes nor renames is tried after so long without a change.
    pub settle: Duration,
    /// A file that is no whole picture is dropped and reported after so long without a change.
    pub stall_timeout: Duration,
    /// Pictures that have come since then are handed over too, in microseconds since 1970; `None`: only those that come
    /// from now on.
    pub since: Option<i64>,
    /// Where it is remembered which files were handed over, so that a restart goes on where this run ends; `None`:
    /// nowhere.
    pub memory: Option<PathBuf>,
    /// Local time of pictures that do not say it themselves.
    pub local_offset: LocalOffset,
    /// The offset from UTC of the sender's clock, in minutes, where it is not this machine's.
    pub zone_minutes: Option<i16>,
    /// Whether the sender's clock is believed.
    pub clock: ClockSettings,
    /// Whether this machine's clock is.
    pub trust: Trust,
    /// How often what is known of the folder is compared with what is there, at most; ten times as often where the folder
    /// is polled. A comparison takes a twentieth of the time at most.
    pub compare: Duration,
}

impl Default for DirOptions {
    /// 1 second, 30 seconds, from now on, the machine's local time, every 10 minutes.
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(30),
            since: None,
            memory: None,
            local_offset: LocalOffset::System,
            zone_minutes: None,
            clock: ClockSettings::default(),
            trust: Trust::default(),
            compare: COMPARE,
        }
    }
}

/// The pictures that appear in a folder and its subfolders. It waits for the pipeline and never ends by itself.
///
/// - JPEG and PNG files are handed over, by written, renamed, moved or linked into place, when they were closed
///   or renamed and hold a whole picture. Files that were there before are not.
/// - A JPEG file without an end marker is handed over when it was closed and has settled, or when
///   [stall timeout](DirOptions::stall_timeout) ends, if there is data for all of its rows.
/// - Each file is handed over once, and again only when other bytes were written. The last
///   `DELIVERED_MAX` ones are remembered, with a [memory](DirOptions::memory) across restarts too; what came between two
///   runs is handed over then.
/// - Of a folder that was away for a while, such as a disk that was unmounted, what has come meanwhile is handed over.
/// - A picture claims a time: its EXIF time (`DateTimeOriginal`, with `SubSecTimeOriginal` and
///   `OffsetTimeOriginal` where they are), else its file was last modified then. That is its time while it is
///   possible (`ClockSettings`), else the time of its arrival is.
/// - Names that begin with a dot or end in anything else than `.jpg`, `.jpeg` or `.png` are ignored; this is
///   where uploads have their temporary names.
/// - Links to folders are not followed. Folders more than 64 deep are not read.
/// - The [`WATCHED_FOLDERS_MAX`] folders in which something happened last are watched. On file systems where others
///   write too (SMB, NFS, FUSE and the like) the last `POLLED_FOLDERS_MAX` of them are read every second. Everything is
///   compared with what is there [now and then](DirOptions::compare).
///
/// Memory is bounded. Where more happens at once than is kept, the folder is read for what was missed.
#[derive(Debug)]
pub struct DirSource {
    options: DirOptions,
    watch: FolderWatch,
    arrivals: Arrivals,
    delivered: Delivered,
    memory: Option<Memory>,
    clock: SenderClock,
    /// How claims without an offset of their own were read, if the last one had none.
    claim_offset: Option<i16>,
    /// What is to be logged of the sender's clock.
    news: Option<ClockNews>,
    cancel: CancellationToken,
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
    /// `SourceError::NotFound`, `SourceError::WrongType`, `SourceError::Open`, `SourceError::Watch`.
    pub fn open(
        path: &Path,
        options: DirOptions,
        cancel: CancellationToken,
    ) -> Result<Self, SourceError> {
        let first_new = watch::first_new_micros();
        let (memory, Remembered { since, delivered, clock }) = remember(&options, first_new);
        let slack = |since: i64| since.saturating_sub(walk::SLACK_MICROS);
        let since = [options.since.map(slack), since].into_iter().flatten().min();
        let since = since.unwrap_or(first_new);
        Ok(Self {
            watch: FolderWatch::open(path, since, options.compare, cancel.clone())?,
            arrivals: Arrivals::new(options.settle, options.stall_timeout),
            options,
            delivered,
            memory,
            clock,
            claim_offset: None,
            news: None,
            cancel,
            number: 0,
            next_check: Instant::now() + FOLDER_CHECK,
            finished: false,
        })
    }

    fn next_unless_finished(&mut self) -> Result<Option<SourceItem>, SourceError> {
        while !self.finished {
            // What has happened already first: it may concern the files that are due.
            while let Some(news) = self.watch.news(Some(Instant::now()))? {
                if let Some(problem) = self.hear(news)? {
                    return Ok(Some(SourceItem::Problem(problem)));
                }
            }
            self.watch.work(&mut self.arrivals, &self.delivered)?;
            if self.cancel.is_cancelled() {
                return Ok(None);
            }
            let now = Instant::now();
            if let Some((path, stage)) = self.arrivals.due(now) {
                if let Some(item) = self.try_file(path, stage) {
                    return Ok(Some(item));
                }
                continue;
            }
            self.remember_mark();
            if now >= self.next_check {
                self.watch.check_folder()?;
                self.next_check = now + FOLDER_CHECK;
            }
            let deadline = self.watch.next_work(&self.arrivals).min(self.next_check);
            let deadline = self.arrivals.next_due().map_or(deadline, |due| due.min(deadline));
            if let Some(news) = self.watch.news(Some(deadline))?
                && let Some(problem) = self.hear(news)?
            {
                return Ok(Some(SourceItem::Problem(problem)));
            }
        }
        Ok(None)
    }

    /// Remembers up to when everything was handed over, once nothing is waited for.
    fn remember_mark(&mut self) {
        if self.arrivals.is_empty()
            && let Some(mark) = self.watch.take_mark()
            && let Some(memory) = &mut self.memory
        {
            memory.mark(mark, &self.delivered);
        }
    }

    /// Takes note of something that happened in the folder.
    fn hear(&mut self, news: News) -> Result<Option<FrameProblem>, SourceError> {
        let now = Instant::now();
        match news {
            News::Written(path) if refuse_name(&path).is_none() => {
                self.watch.touch(&path)?;
                self.arrivals.written(path, now);
            }
            News::Written(_) => {}
            News::Finished(path) if path.is_dir() => self.watch.add(&path)?,
            News::Finished(path) => match refuse_name(&path) {
                None => {
                    self.watch.touch(&path)?;
                    self.arrivals.finished(path, now);
                }
                Some(reason) => return Ok(Some(ignored(&path, reason))),
            },
            News::Folder(path) => self.watch.add(&path)?,
            News::Renamed(from) => self.arrivals.forget(&from),
            News::Gone(path) => self.watch.forget(&path),
        }
        Ok(None)
    }

    /// Tries to read a file as a picture. `None`: there is nothing to hand over, or not yet.
    fn try_file(&mut self, path: PathBuf, stage: Stage) -> Option<SourceItem> {
        match attempt(&path, &self.delivered, stage) {
            Attempt::Picture { picture, claim, metadata, keys } => {
                self.arrivals.forget(&path);
                let (time, claimed) = self.date(claim, &metadata);
                self.hand_over(keys);
                let number = self.number;
                self.number += 1;
                Some(SourceItem::Frame(Frame {
                    number,
                    time,
                    picture: *picture,
                    dropped_before: 0,
                    origin: Some(path),
                    claimed,
                }))
            }
            Attempt::Known(keys) => {
                self.arrivals.forget(&path);
                // Uploaded again: it need not be read once more.
                if let Some(keys) = keys {
                    self.hand_over(keys);
                }
                None
            }
            Attempt::NotYet { .. } if stage != Stage::Last => None,
            Attempt::NotYet { fault, keys } | Attempt::Never { fault, keys } => {
                self.arrivals.forget(&path);
                keys.into_iter().for_each(|keys| self.delivered.remember(keys));
                Some(SourceItem::Problem(problem(&path, fault)))
            }
        }
    }

    fn hand_over(&mut self, keys: Keys) {
        self.delivered.remember(keys);
        if let Some(memory) = &mut self.memory {
            memory.confirm(&self.delivered);
            memory.hand_over(keys, &self.clock);
        }
    }

    /// The time of a picture, and the one that it claims where that is not used.
    fn date(
        &mut self,
        claim: Option<Claim>,
        metadata: &Metadata,
    ) -> (Timestamp, Option<Timestamp>) {
        let DirOptions { local_offset, zone_minutes, clock, ref trust, .. } = self.options;
        let now = watch::utc_micros_now();
        let changed = self.watch.is_dated_here().then(|| walk::changed_utc_micros(metadata));
        let arrival = sender_clock::arrival(changed, now);
        let not_after = arrival.saturating_add(sender_clock::EARLY_MAX);
        let claimed = match claim {
            Some(claim) => claim.resolve(zone_minutes, local_offset, not_after),
            None => local_offset.at(modified_utc_micros(metadata)),
        };
        self.claim_offset = claim
            .filter(|claim| claim.offset.is_none())
            .map(|_| zone_minutes.unwrap_or(claimed.offset_minutes));
        let verdict = self.clock.judge(&clock, claimed.utc_micros, arrival, now, trust.is_given());
        if verdict.warn.is_some() || verdict.is_right_again {
            self.news = Some(ClockNews { fault: self.clock_fault(), claimed });
        }
        match verdict.is_believed {
            true => (claimed, None),
            false => (local_offset.at(arrival), Some(claimed)),
        }
    }
}

impl Source for DirSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, SourceError> {
        if let Some(memory) = &mut self.memory {
            memory.confirm(&self.delivered);
        }
        let outcome = self.next_unless_finished();
        self.finished |= !matches!(outcome, Ok(Some(_)));
        outcome
    }

    fn reopen(&mut self) -> Result<bool, SourceError> {
        self.watch.reopen(self.cancel.clone())?;
        self.finished = false;
        Ok(true)
    }

    fn take_clock_news(&mut self) -> Option<ClockNews> {
        self.news.take()
    }

    fn clock_fault(&self) -> Option<ClockFault> {
        let is_asked = self.options.clock.time == PictureTime::Auto;
        self.clock.off().filter(|_| is_asked).map(|lag| ClockFault::new(lag, self.claim_offset))
    }
}

/// The memory of earlier runs. Without one that can be used it goes on, and says so.
fn remember(options: &DirOptions, now: i64) -> (Option<Memory>, Remembered) {
    let Some(path) = &options.memory else { return (None, Remembered::default()) };
    match Memory::open(path, now) {
        Ok((memory, remembered)) => (Some(memory), remembered),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "memory of folder pictures: not writable; pictures that arrive while the recorder is off are not recorded");
            (None, Remembered::default())
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
