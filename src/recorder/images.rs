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
}

impl ImageWriter {
    /// A writer below `data`, on the storage of the journal that `writer` writes to.
    #[must_use]
    pub fn new(writer: Arc<EventWriter>, data: &Path, images: Images) -> Self {
        Self { writer, data: data.to_owned(), images }
    }

    /// Writes the pictures that are to be kept. Returns the one to name in the event, as
    /// `data/events/DAY/FILE`; it survives a power cut. `None` where none is kept.
    ///
    /// # Errors
    ///
    /// [`ImageError`]; what was written before it stays.
    pub fn write(
        &self,
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

    fn write_file(&self, day: Day, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let events = self.data.join("events");
        let directory = events.join(day.to_string());
        let path = directory.join(name);
        let storage = self.writer.storage()?;
        let write = || -> io::Result<()> {
            if storage.stat(&directory).is_err() {
                storage.create_directory(&directory)?;
                storage.sync_directory(&events)?;
                storage.sync_directory(&self.data)?;
            }
            let file = storage.open(&path, Access::Truncate)?;
            file.write_at(bytes, 0)?;
            file.sync()?;
            storage.sync_directory(&directory)
        };
        write().map_err(|source| ImageError::Write { path: path.clone(), source })
    }
}
