//! Writes the picture of an event durably, before the event is journaled.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use lenslog_events::DetectedObject;
use lenslog_journal::storage::Access;
use lenslog_journal::{Day, Error, Timestamp};

use super::writer::EventWriter;
use crate::config::{Images, KeepImages};
use crate::picture::{Annotation, PictureError, Quality, Taken, annotate, encode_taken};

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

#[cfg(test)]
mod tests {
    use lenslog_journal::storage::{Fault, FaultyStorage, Storage};
    use lenslog_journal::{Journal, Options};

    use super::*;
    use crate::metrics::MetricsCollector;

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
}
