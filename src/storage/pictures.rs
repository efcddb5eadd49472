//! Which pictures of a day can be purged: those that an event in the journal names and that are still there.

use std::fs;
use std::path::{Path, PathBuf};

use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, EventRef, ImagePurged, RecorderCodec, kind, parse_image_path};
use lenslog_journal::{Day, Entry, Error, JournalView, Kind, Query, ReaderOptions, Seq};

use super::tree::blocks;

/// A picture to purge, and what that gives back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub(super) purged: ImagePurged,
    pub(super) bytes: u64,
}

/// The pictures in the directory of `day`, oldest event first, until `wanted` bytes are together.
pub(super) fn of_day(
    view: &JournalView,
    data: &Path,
    day: Day,
    wanted: u64,
) -> Result<Vec<Picture>, Error> {
    let directory = data.join("events").join(day.to_string());
    let mut pictures = Vec::new();
    let mut bytes = 0_u64;
    // A directory of ours, and no link to another one.
    if !fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir()) {
        return Ok(pictures);
    }
    let query = Query::kinds([Kind(kind::EVENT_DETECTED)]);
    for (from, to) in stretches(view, day)? {
        let mut reader = view.reader(from, ReaderOptions::default().query(query.clone()))?;
        while let Some(entry) = reader.next()? {
            let Entry::Record(record) = entry else { continue };
            if to.is_some_and(|to| record.seq >= to) {
                break;
            }
            let recorded = Recorded::decode::<RecorderCodec>(&record);
            for picture in pictures_of(&recorded, &directory, day) {
                bytes = bytes.saturating_add(picture.bytes);
                pictures.push(picture);
            }
            if bytes >= wanted {
                return Ok(pictures);
            }
        }
    }
    Ok(pictures)
}

/// Where in the journal records of a day may stand.
fn stretches(view: &JournalView, day: Day) -> Result<Vec<(Seq, Option<Seq>)>, Error> {
    let floor = view.floor()?;
    let segments = view.segments()?;
    let stretch = |segment: &lenslog_journal::SegmentInfo| match segment.sealed {
        Some(sealed) => sealed
            .days
            .is_some_and(|(first, last)| first <= day && day <= last)
            .then_some((segment.name.base.max(floor), Some(sealed.end))),
        None => Some((segment.name.base.max(floor), None)),
    };
    let mut stretches: Vec<_> = segments.iter().filter_map(stretch).collect();
    // One that is not sealed ends where the next begins.
    for index in 1..stretches.len() {
        let next = stretches.get(index).map(|(from, _)| *from);
        if let Some((_, to @ None)) = stretches.get_mut(index - 1) {
            *to = next;
        }
    }
    Ok(stretches)
}

/// The pictures of an event that are there: the one it names, and the clean copy beside it.
fn pictures_of(recorded: &Recorded<Event>, directory: &Path, day: Day) -> Vec<Picture> {
    let Fact::Event(Event::Detected(event)) = &recorded.fact else { return Vec::new() };
    let named = event.image_path.as_deref().and_then(parse_image_path);
    let Some((_, file)) = named.filter(|(in_day, _)| *in_day == day) else { return Vec::new() };
    let clean = file.strip_suffix(".jpg").map(|stem| format!("{stem}_clean.jpg"));
    let picture = |file: &str| {
        let path: PathBuf = directory.join(file);
        let found = fs::symlink_metadata(path).ok().filter(|found| !found.is_dir())?;
        let event = EventRef {
            event_seq: recorded.seq,
            event_day: event.timestamp.day(),
            event_id: event.event_id.clone(),
        };
        let image_path = format!("data/events/{day}/{file}");
        Some(Picture { purged: ImagePurged { event, image_path }, bytes: blocks(&found) })
    };
    [Some(file), clean.as_deref()].into_iter().flatten().filter_map(picture).collect()
}
