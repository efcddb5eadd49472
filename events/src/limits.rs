//! The one table of limits of events. Lengths are in bytes of UTF-8 unless a name says otherwise.
//!
//! Every limit is enforced at the door, by `validate()` and by [`parse_line`](crate::parse_line): what is
//! beyond it is refused with an error that names the field, never cut. The decoder does not enforce them (but
//! for [`METADATA_VALUES_MAX`] and [`METADATA_DEPTH_MAX`], which bound its memory): what was journaled stays
//! readable. A limit may therefore be raised in a later release; those two may never be lowered.

use lenslog_journal::Timestamp;

/// Longest event_id; at least 1 byte, of `[A-Za-z0-9._:-]`.
pub const EVENT_ID_BYTES_MAX: usize = 128;
/// Longest camera_id; at least 1 byte, no control characters.
pub const CAMERA_ID_BYTES_MAX: usize = 128;
/// Longest camera_name.
pub const CAMERA_NAME_BYTES_MAX: usize = 256;
/// Longest label of an object; at least 1 byte.
pub const LABEL_BYTES_MAX: usize = 128;
/// Most objects of one event. The common detectors stop at 300.
pub const OBJECTS_MAX: usize = 512;
/// Largest magnitude of a coordinate or extent of a bounding box, in pixels (or the producer's own unit).
pub const COORDINATE_MAX: f64 = 1_000_000.0;
/// Longest llm_description.
pub const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
/// Longest name of a language model.
pub const MODEL_BYTES_MAX: usize = 256;
/// Longest FILE in an image_path `data/events/YYYY-MM-DD/FILE`: what the common file systems hold.
pub const IMAGE_FILE_BYTES_MAX: usize = 255;
/// Largest metadata: its names and the compact JSON texts of its values together.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Most names in metadata.
pub const METADATA_FIELDS_MAX: usize = 256;
/// Longest name in metadata.
pub const METADATA_NAME_BYTES_MAX: usize = 128;
/// Deepest nesting of metadata; a number is at depth 1, a number in a list at depth 2. The decoder refuses
/// deeper values, too.
pub const METADATA_DEPTH_MAX: usize = 32;
/// Most JSON values in metadata, counted at every depth. The decoder refuses more, too: a parsed value can
/// take 100 times the memory of its text.
pub const METADATA_VALUES_MAX: usize = 4_096;
/// Longest name of a delivery; at least 1 byte.
pub const DELIVERY_BYTES_MAX: usize = 128;
/// Longest reason, of any kind of event that gives one.
pub const REASON_BYTES_MAX: usize = 4 * 1024;
/// Most reasons for suppression in one minute of a camera.
pub const SUPPRESSED_MAX: usize = 64;
/// Longest name of a reason for suppression; at least 1 byte.
pub const SUPPRESSED_REASON_BYTES_MAX: usize = 64;
/// Largest motion of a frame, in per cent of the picture.
pub const MOTION_PERCENT_MAX: f64 = 100.0;
/// Most cameras of one recorder.
pub const CAMERAS_MAX: usize = 1_024;
/// Longest version text of a program.
pub const VERSION_BYTES_MAX: usize = 128;
/// Longest name of a time zone.
pub const TIME_ZONE_BYTES_MAX: usize = 128;

/// Earliest moment of an event, in UTC and in its own local time: 1970-01-01T00:00:00, in microseconds.
pub const TIME_MICROS_MIN: i64 = 0;
/// Latest moment of an event, in UTC and in its own local time: 9999-12-31T23:59:59.999999, in microseconds.
pub const TIME_MICROS_MAX: i64 = 253_402_300_799_999_999;
/// Largest distance of local time from UTC, in minutes.
pub const OFFSET_MINUTES_MAX: i16 = Timestamp::OFFSET_MINUTES_MAX;
/// How far ahead of the clock the timestamp of an ingested event may lie, in hours.
pub const FUTURE_HOURS_MAX: i64 = 24;

/// Longest line of `lenslog ingest`, without its end. Every valid event renders to a shorter one. The caller
/// stops reading a line there, reports it, and goes on behind its end.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Most JSON values in one line of ingest, counted at every depth: bounds the memory of parsing it.
pub const LINE_VALUES_MAX: usize = 16 + OBJECTS_MAX * 8 + METADATA_VALUES_MAX;
/// Deepest nesting of one line of ingest: metadata of [`METADATA_DEPTH_MAX`] within its line.
pub const LINE_DEPTH_MAX: usize = METADATA_DEPTH_MAX + 2;
/// How much of an offending value an error repeats, in characters.
pub const SHOWN_CHARS_MAX: usize = 60;
