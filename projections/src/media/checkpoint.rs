//! [`State`]: what could not be deleted yet, as lines of the checkpoint.
//!
//! ```text
//! picture data/events/2026-11-20/evt_1.jpg      purged, still there
//! day 2026-11-20 1795424400000000 60            pruned by the tombstone of this time, not empty
//! keep data/events/2026-11-20/evt_2.jpg         in such a day, of an event behind that tombstone
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lenslog_engine::Checkpoint;
use lenslog_journal::{Day, Timestamp};

/// What is to be deleted and is still there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Pictures, by their image_path.
    pub(super) pictures: BTreeSet<String>,
    /// Days, each with the time of its tombstone.
    pub(super) days: BTreeMap<Day, Timestamp>,
    /// Pictures in these days that stay, by their image_path: of events that came behind the tombstone.
    pub(super) kept: BTreeSet<String>,
}

impl State {
    pub(super) fn is_empty(&self) -> bool {
        self.pictures.is_empty() && self.days.is_empty()
    }

    /// Notes a day that could not be emptied.
    pub(super) fn note(&mut self, day: Day, at: Timestamp, max: usize) {
        if self.days.len() < max {
            self.days.insert(day, at);
        }
    }

    pub(super) fn to_text(&self, checkpoint: &Checkpoint) -> String {
        let mut text = checkpoint.to_text();
        // Writing to a string cannot fail.
        for path in &self.pictures {
            let _ = writeln!(text, "picture {path}");
        }
        for (day, at) in &self.days {
            let _ = writeln!(text, "day {day} {} {}", at.utc_micros, at.offset_minutes);
        }
        for path in &self.kept {
            let _ = writeln!(text, "keep {path}");
        }
        text
    }

    /// Notes the picture of an event that came behind the tombstone of its day. A day with more of them than can be
    /// noted is not tried again before the next tombstone.
    pub(super) fn keep(&mut self, day: Day, image_path: &str, max: usize) -> bool {
        if !self.days.contains_key(&day) {
            return false;
        }
        if self.kept.len() < max {
            return self.kept.insert(image_path.to_owned());
        }
        self.forget_day(day);
        true
    }

    /// Forgets a day that is empty, or not to be tried again.
    pub(super) fn forget_day(&mut self, day: Day) {
        self.days.remove(&day);
        self.kept.retain(|path| day_of(path) != Some(day));
    }

    /// A tombstone prunes what was kept in the days up to its own.
    pub(super) fn prune_kept(&mut self, through: Day) {
        self.kept.retain(|path| day_of(path).is_some_and(|day| day > through));
    }

    /// Reads what [`State::to_text`] wrote; `None` where it is something else.
    pub(super) fn from_text(text: &str) -> Option<(Checkpoint, Self)> {
        let checkpoint = Checkpoint::from_text(text)?;
        let mut state = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("picture", path)) => {
                    lenslog_events::parse_image_path(path)?;
                    state.pictures.insert(path.to_owned());
                }
                Some(("keep", path)) => {
                    day_of(path)?;
                    state.kept.insert(path.to_owned());
                }
                Some(("day", words)) => {
                    let mut words = words.split(' ');
                    let day = words.next()?.parse().ok()?;
                    let utc_micros = words.next()?.parse().ok()?;
                    let offset_minutes = words.next()?.parse().ok()?;
                    state.days.insert(day, Timestamp { utc_micros, offset_minutes });
                }
                _ => {}
            }
        }
        Some((checkpoint, state))
    }
}

fn day_of(image_path: &str) -> Option<Day> {
    lenslog_events::parse_image_path(image_path).map(|(day, _)| day)
}

#[cfg(test)]
mod tests {
    use lenslog_engine::Spec;

    use super::*;

    #[test]
    fn what_is_left_round_trips_and_nonsense_is_refused() {
        let spec = Spec { name: "media", logic: 1, kinds: None, options: String::new() };
        let checkpoint = Checkpoint::at_start([7; 16], &spec);
        let state = State {
            pictures: ["data/events/2026-11-20/a b.jpg".to_owned()].into(),
            days: [(Day(20_000), Timestamp { utc_micros: -5, offset_minutes: -210 })].into(),
            kept: ["data/events/2024-10-04/b.jpg".to_owned()].into(),
        };
        let text = state.to_text(&checkpoint);
        assert_eq!(State::from_text(&text), Some((checkpoint, state)), "{text}");
        for (good, bad) in [("data/events", "data/../etc"), ("-210", "x"), ("day 2", "day x")] {
            assert_eq!(State::from_text(&text.replace(good, bad)), None, "{bad}");
        }
    }
}
