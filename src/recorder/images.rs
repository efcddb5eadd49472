//! Writes the picture of an event durably, before the event is journaled.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use image::RgbImage;
use lenslog_engine::{Fact, Recorded};
use lenslog_events::{DetectedObject, Event, RecorderCodec, kind};
use lenslog_journal::storage::Access;
use lenslog_journal::{
    Day, Entry, Error, Journal, JournalView, Kind, Opening, Query, ReaderOptions, Timestamp,
};
use lenslog_vision::drawing::{Annotation, PictureError, Quality, Taken, annotate, encode_taken};
use uuid::Uuid;

use super::writer::EventWriter;
use crate::config::{Images, KeepImages};

/// Why a picture was not written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It cannot be encoded.
    #[error(transparent)]
    Encode(#[from] PictureError),
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no data directory.
    #[error(transparent)]
    Away(#[from] Error),
}

/// What of an event is drawn and how it is named.
#[derive(Debug, Clone, Copy)]
pub struct EventPicture<'a> {
    /// The event's id.
    pub event_id: &'a str,
    /// When it was seen.
    pub time: Timestamp,
    /// What people call the camera.
    pub camera_name: &'a str,
    /// What was seen.
    pub objects: &'a [DetectedObject],
}

/// Writes pictures below a data directory.
#[derive(Debug, Clone)]
pub struct ImageWriter {
    writer: Arc<EventWriter>,
    data: PathBuf,
    images: Images,
    /// The day whose directory is known to be durable.
    durable: Option<Day>,
}

impl ImageWriter {
    /// A writer below `data`, on the storage of the journal that `writer` writes to.
    #[must_use]
    pub fn new(writer: Arc<EventWriter>, data: &Path, images: Images) -> Self {
        Self { writer, data: data.to_owned(), images, durable: None }
    }

    /// Writes the pictures that are to be kept. Returns the one to name in the event, as
    /// `data/events/DAY/FILE`; it survives a power cut. `None` where none is kept.
    ///
    /// # Errors
    ///
    /// [`ImageError`]; what was written before it stays.
    pub fn write(
        &mut self,
        picture: &RgbImage,
        event: &EventPicture<'_>,
    ) -> Result<Option<String>, ImageError> {
        let quality = Quality::new(self.images.quality).unwrap_or_default();
        let (annotated, clean) = match self.images.keep {
            KeepImages::None => return Ok(None),
            KeepImages::Annotated => (true, false),
            KeepImages::Clean => (false, true),
            KeepImages::Both => (true, true),
        };
        let day = event.time.day();
        let taken = Taken { time: event.time, camera_name: event.camera_name };
        let mut named = None;
        if clean {
            let suffix = if annotated { "_clean" } else { "" };
            let file = format!("{}{suffix}.jpg", event.event_id);
            self.write_file(day, &file, &encode_taken(picture, quality, &taken)?)?;
            named = Some(file);
        }
        if annotated {
            let annotation = Annotation {
                camera_name: event.camera_name,
                time: event.time,
                objects: event.objects,
            };
            let file = format!("{}.jpg", event.event_id);
            self.write_file(
                day,
                &file,
                &encode_taken(&annotate(picture, &annotation), quality, &taken)?,
            )?;
            named = Some(file);
        }
        Ok(named.map(|file| format!("data/events/{day}/{file}")))
    }

    fn write_file(&mut self, day: Day, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let events = self.data.join("events");
        let directory = events.join(day.to_string());
        let path = directory.join(name);
        let storage = self.writer.storage()?;
        let mut write = || -> io::Result<()> {
            let is_there = storage.stat(&directory).is_ok();
            if !is_there {
                storage.create_directory(&directory)?;
            }
            // Another camera may have made it just now, and not synced it yet; or that has failed.
            if !is_there || self.durable != Some(day) {
                storage.sync_directory(&events)?;
                storage.sync_directory(&self.data)?;
                self.durable = Some(day);
            }
            let file = storage.open(&path, Access::Truncate)?;
            file.write_at(bytes, 0)?;
            file.sync()?;
            storage.sync_directory(&directory)
        };
        write().map_err(|source| ImageError::Write { path: path.clone(), source })
    }
}

/// Looks for them on a thread of its own, once.
pub(super) fn remove_in_background(journal: &Journal, data: &Path) {
    let crashed = matches!(journal.opening(), Opening::Recovered { .. });
    if !crashed || !journal.health().gaps.is_empty() {
        return;
    }
    let (view, data, now) = (journal.view(), data.to_owned(), SystemTime::now());
    let look = move || match last_event(&view) {
        Ok(Some(last)) => remove(&data, last, now),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "pictures without an event are not looked for"),
    };
    let _ = std::thread::Builder::new().name("orphans".to_owned()).spawn(look);
}

/// The newest id that a recorder made for an event, in the newest segment that has one.
fn last_event(view: &JournalView) -> Result<Option<Uuid>, Error> {
    let (segments, floor) = (view.segments()?, view.floor()?);
    let query = Query::kinds([Kind(kind::EVENT_DETECTED)]);
    let options = ReaderOptions::default().query(query);
    let mut end = None;
    for segment in segments.iter().rev() {
        let base = segment.name.base;
        let mut reader = view.reader(base.max(floor), options.clone())?;
        let mut newest = None;
        while end.is_none_or(|end| reader.next_seq() < end) {
            match reader.next()? {
                Some(Entry::Record(record)) => {
                    let recorded = Recorded::decode::<RecorderCodec>(&record);
                    if let Fact::Event(Event::Detected(event)) = recorded.fact {
                        newest = newest.max(event.event_id.strip_prefix("evt_").and_then(parse));
                    }
                }
                // What was lost may be an event.
                Some(Entry::Lost(_)) => return Ok(None),
                None => break,
            }
        }
        if newest.is_some() {
            return Ok(newest);
        }
        end = Some(base);
    }
    Ok(None)
}

fn remove(data: &Path, last: Uuid, now: SystemTime) {
    let is_directory = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    for day in std::fs::read_dir(data.join("events")).into_iter().flatten().flatten() {
        let is_day = day.file_name().to_str().is_some_and(|name| name.parse::<Day>().is_ok());
        if !is_day || !is_directory(&day.path()) {
            continue;
        }
        for file in std::fs::read_dir(day.path()).into_iter().flatten().flatten() {
            if !is_orphan(&file.file_name(), last, now) {
                continue;
            }
            let path = file.path();
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "a picture without an event is removed")
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a picture without an event stays");
                }
            }
        }
    }
}

/// Whether a file is a picture that this recorder made after its last event and before `now`.
fn is_orphan(name: &OsStr, last: Uuid, now: SystemTime) -> bool {
    let stem = name.to_str().and_then(|name| name.strip_prefix("evt_")?.strip_suffix(".jpg"));
    let Some(id) = stem.map(|stem| stem.strip_suffix("_clean").unwrap_or(stem)).and_then(parse)
    else {
        return false;
    };
    let Some(made) = id.get_timestamp() else { return false };
    let (seconds, nanos) = made.to_unix();
    let made = SystemTime::UNIX_EPOCH + std::time::Duration::new(seconds, nanos);
    id > last && made < now
}

/// A version 7 UUID as we write it.
fn parse(text: &str) -> Option<Uuid> {
    let id = Uuid::parse_str(text).ok()?;
    (id.get_version_num() == 7 && id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::MetricsCollector;
    use lenslog_journal::storage::{Fault, FaultyStorage, Storage};
    use lenslog_journal::{Journal, Options};
    use std::time::Duration;

    #[test]
    fn a_picture_that_was_written_survives_a_power_cut_whoever_made_its_directory() {
        let picture = RgbImage::new(16, 16);
        // Each sync of the first camera's picture fails once; the second camera finds what is there by then.
        for nth in 0..5 {
            let disk = FaultyStorage::new();
            let data = Path::new("/data");
            let options = Options { storage: Arc::new(disk.clone()), ..Options::default() };
            let metrics = Arc::new(MetricsCollector::new(Arc::clone(&options.clock)));
            let writer = Arc::new(EventWriter::new(data, metrics));
            writer.attach(Journal::open(data, &options).unwrap());
            let mut images =
                [0, 1].map(|_| ImageWriter::new(Arc::clone(&writer), data, Images::default()));
            disk.inject(Fault::SyncFails { nth });
            let written: Vec<String> = [("evt_a", 0), ("evt_b", 1), ("evt_c", 0)]
                .into_iter()
                .filter_map(|(event_id, camera)| {
                    let (time, camera_name) = (Timestamp::default(), "door");
                    let event = EventPicture { event_id, time, camera_name, objects: &[] };
                    images[camera].write(&picture, &event).ok().flatten()
                })
                .collect();
            assert!(written.len() >= 2, "one sync has failed");
            for seed in 0..20 {
                let after = disk.fork().power_cut(seed);
                for path in &written {
                    let found = after.stat(&Path::new("/").join(path));
                    assert!(found.is_ok_and(|found| found.len > 0), "{path} after sync {nth}");
                }
            }
        }
    }

    /// The id of an event that was seen so many seconds after 2026 began.
    fn id(seconds: u64) -> Uuid {
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_767_225_600 + seconds, 0))
    }

    #[test]
    fn only_our_pictures_between_the_last_event_and_now_are_orphans() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 100);
        let last = id(50);
        let check = |name: String, expected: bool| {
            assert_eq!(is_orphan(OsStr::new(&name), last, now), expected, "{name}");
        };
        check(format!("evt_{}.jpg", id(60)), true);
        check(format!("evt_{}_clean.jpg", id(60)), true);
        check(format!("evt_{}.jpg", id(40)), false);
        check(format!("evt_{last}.jpg"), false);
        check(format!("evt_{}.jpg", id(200)), false);
        check(format!("evt_{}.png", id(60)), false);
        check(format!("{}.jpg", id(60)), false);
        check(format!("evt_{}.jpg", id(60).simple()), false);
        check(format!("evt_{}.jpg", Uuid::nil()), false);
        check("evt_1.jpg".to_owned(), false);
    }
}
