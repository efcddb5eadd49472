//! [`Sweep`]: deletes what a tombstone takes from the directory of one day.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use lenslog_engine::{ProjectionError, is_aside};
use lenslog_journal::Day;
use lenslog_journal::storage::EntryKind;

use super::fold::Fold;
use super::tombstone::Tombstone;
use crate::data_dir::{DataDir, Unsynced};

/// Files of the other projections; a rebuild makes further ones next to them.
const OF_OTHERS: &[&str] = &["events.json", "amendments.json", "events.log"];
/// A picture made less than this before a tombstone may belong to an event that stands behind it.
const ON_THE_WAY_MICROS: i64 = 60_000_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Directories inside the directory of a day are emptied this deep; the recorder creates none.
const DEPTH_MAX: usize = 16;

/// One pruned day.
pub(super) struct Sweep<'a> {
    data: &'a DataDir,
    day: Day,
    tombstone: Tombstone,
    fold: &'a Fold,
}

impl<'a> Sweep<'a> {
    pub(super) const fn of(
        data: &'a DataDir,
        day: Day,
        tombstone: Tombstone,
        fold: &'a Fold,
    ) -> Self {
        Self { data, day, tombstone, fold }
    }

    /// Deletes it all. What cannot be deleted stops nothing else; the first error is returned at the end.
    pub(super) fn run(&self, unsynced: &mut Unsynced) -> Result<(), ProjectionError> {
        let directory = self.data.day(self.day);
        let mut first_error = None;
        let mut deleted = false;
        for entry in self.data.list(&directory)? {
            if !self.goes(entry.name.to_str()) {
                continue;
            }
            match self.delete(&directory.join(&entry.name), entry.kind, 0) {
                Ok(()) => deleted = true,
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        if deleted {
            unsynced.insert(directory);
        }
        self.data.remove_day_if_empty(self.day, unsynced);
        first_error.map_or(Ok(()), Err)
    }

    /// Names that are to be deleted and are still there.
    pub(super) fn left(&self) -> Result<Vec<PathBuf>, ProjectionError> {
        let directory = self.data.day(self.day);
        let entries = self.data.list(&directory)?;
        let goes = entries.into_iter().filter(|entry| self.goes(entry.name.to_str()));
        Ok(goes.map(|entry| directory.join(entry.name)).collect())
    }

    /// Whether the tombstone takes a name; `None` is one that is not UTF-8.
    fn goes(&self, name: Option<&str>) -> bool {
        let Some(name) = name else { return !self.fold.is_alive(self.day) };
        if is_of_others(name) || self.fold.keeps(self.day, name) {
            return false;
        }
        match made_at_micros(name) {
            // The clock that named a wrong day may have named the picture too.
            Some(made) => {
                let is_wrong = |from: Day| made / MICROS_PER_DAY >= i64::from(from.0);
                made < self.tombstone.at.utc_micros.saturating_sub(ON_THE_WAY_MICROS)
                    || self.tombstone.days.wrong_from.is_some_and(is_wrong)
            }
            None => !self.fold.is_alive(self.day),
        }
    }

    fn delete(&self, path: &Path, kind: EntryKind, depth: usize) -> Result<(), ProjectionError> {
        if kind != EntryKind::Directory {
            return self.data.remove(path).map(drop);
        }
        if depth >= DEPTH_MAX {
            let source = std::io::Error::other("it lies too deep");
            return Err(ProjectionError::retry("cannot remove", path)(source));
        }
        for entry in self.data.list(path)? {
            self.delete(&path.join(&entry.name), entry.kind, depth + 1)?;
        }
        self.data.remove_directory(path)
    }
}

/// Whether a file is one that another projection takes care of; one derived from it (`events.json.gz`) is not.
fn is_of_others(name: &str) -> bool {
    OF_OTHERS.iter().any(|other| {
        matches!(name.strip_prefix(other), Some("" | ".rebuild"))
            || is_aside(OsStr::new(other), OsStr::new(name))
    })
}

/// When a picture was made, in UTC microseconds, by the UUIDv7 in its name (`evt_UUID.jpg`, `evt_UUID_clean.jpg`).
fn made_at_micros(name: &str) -> Option<i64> {
    let uuid = name.strip_prefix("evt_")?.get(..36)?;
    let is_uuid = uuid.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        14 => byte == b'7',
        _ => byte.is_ascii_hexdigit(),
    });
    let millis = i64::from_str_radix(&format!("{}{}", &uuid[..8], uuid.get(9..13)?), 16).ok()?;
    is_uuid.then(|| millis.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_when_its_picture_was_made() {
        let name = "evt_019ab023-3c00-7abc-8def-0123456789ab.jpg";
        assert_eq!(made_at_micros(name), Some(0x019a_b023_3c00 * 1000));
        assert_eq!(made_at_micros(&name.replace(".jpg", "_clean.jpg")), made_at_micros(name));
        for other in ["evt_1.jpg", "evt_019ab023-3c00-4abc-8def-0123456789ab.jpg", "evt_", "x"] {
            assert_eq!(made_at_micros(other), None, "{other}");
        }
        assert_eq!(made_at_micros(&format!("evt_{}", "ä".repeat(20))), None);
    }
}
