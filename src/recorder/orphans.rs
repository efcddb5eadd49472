//! Removes pictures whose events a crash kept from the journal.
//!
//! A picture is durable before its event is journaled, so a crash between the two leaves a picture of no event; a clean end
//! leaves none. Such a picture has one of our names, and is younger than the last event in the journal and older than this process. Where the
//! journal has lost records nothing is removed: the picture may be all that is left of an event.

use std::ffi::OsStr;
use std::path::Path;
use std::time::SystemTime;

use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, RecorderVocabulary};
use lenslog_journal::{Day, Entry, Error, Journal, JournalView, Opening, ReaderOptions};
use uuid::Uuid;

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
    let mut end = None;
    for segment in segments.iter().rev() {
        let base = segment.name.base;
        let mut reader = view.reader(base.max(floor), ReaderOptions::default())?;
        let mut newest = None;
        while end.is_none_or(|end| reader.next_seq() < end) {
            match reader.next()? {
                Some(Entry::Record(record)) => {
                    let recorded = Recorded::decode::<RecorderVocabulary>(&record);
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
    use std::time::Duration;

    use uuid::Timestamp;

    use super::*;

    /// The id of an event that was seen so many seconds after 2026 began.
    fn id(seconds: u64) -> Uuid {
        Uuid::new_v7(Timestamp::from_unix(uuid::NoContext, 1_767_225_600 + seconds, 0))
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
