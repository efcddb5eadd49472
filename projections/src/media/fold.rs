//! [`Fold`]: what the whole journal says of pictures: which were purged, and which stand behind the last tombstone.

use std::collections::{BTreeMap, BTreeSet};

use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, parse_image_path};
use lenslog_journal::{ControlRecord, Day, PrunedDays};

use super::tombstone::Tombstone;

/// Pictures of pruned days that are known to stay. Empty in an ordinary journal.
#[derive(Debug, Default)]
pub(super) struct Fold {
    tombstone: Option<Tombstone>,
    purged: BTreeSet<String>,
    /// Pictures by the day of their directory, of events that no tombstone has pruned.
    named: BTreeMap<Day, BTreeSet<String>>,
}

impl Fold {
    /// What is known to stay, by its image_path, where the journal is not folded as a whole.
    pub(super) fn keeping<'p>(paths: impl IntoIterator<Item = &'p String>) -> Self {
        let mut fold = Self::default();
        for (day, file) in paths.into_iter().filter_map(|path| parse_image_path(path)) {
            fold.named.entry(day).or_default().insert(file.to_owned());
        }
        fold
    }

    pub(super) fn apply(&mut self, record: &Recorded<Event>) {
        match &record.fact {
            Fact::Event(Event::Detected(event)) => {
                let Some(image_path) = &event.image_path else { return };
                let Some(path) = parse_image_path(image_path) else { return };
                // A new picture has a name that was purged.
                self.purged.remove(image_path);
                // Tombstones never name a day before the last one: days behind it cannot be pruned unseen.
                if self.tombstone.is_some_and(|tombstone| tombstone.days.contains(path.0)) {
                    self.named.entry(path.0).or_default().insert(path.1.to_owned());
                }
            }
            Fact::Event(Event::ImagePurged(purged)) => {
                if let Some((day, file)) = parse_image_path(&purged.image_path) {
                    if let Some(named) = self.named.get_mut(&day) {
                        named.remove(file);
                    }
                    self.purged.insert(purged.image_path.clone());
                }
            }
            Fact::Journal(ControlRecord::PrunedThrough(pruned)) => {
                let days = pruned.days();
                // Days of a wrong clock that an earlier one took are looked for again.
                let before = self.tombstone.and_then(|tombstone| tombstone.days.wrong_from);
                let wrong_from = days.wrong_from.or(before);
                let all = PrunedDays { wrong_from, ..days };
                self.tombstone = Some(Tombstone { days: all, at: record.time });
                self.named.retain(|day, _| !days.contains(*day));
                let stays = |path: &String| {
                    parse_image_path(path).is_some_and(|(day, _)| !days.contains(day))
                };
                self.purged.retain(stays);
            }
            _ => {}
        }
    }

    pub(super) const fn tombstone(&self) -> Option<Tombstone> {
        self.tombstone
    }

    pub(super) fn take_purged(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.purged)
    }

    /// The pictures in the directory of this day that stay, by their image_path.
    pub(super) fn kept_in(&self, day: Day) -> impl Iterator<Item = String> {
        let named = self.named.get(&day).into_iter().flatten();
        named.map(move |file| format!("data/events/{day}/{file}"))
    }

    /// Whether any event behind the tombstone has its picture in the directory of this day.
    pub(super) fn is_alive(&self, day: Day) -> bool {
        self.named.get(&day).is_some_and(|files| !files.is_empty())
    }

    /// Whether an event behind the tombstone has this picture.
    pub(super) fn keeps(&self, day: Day, file: &str) -> bool {
        self.named.get(&day).is_some_and(|files| files.contains(file))
    }
}
