//! [`State`]: what could not be deleted yet. The checkpoint holds a copy.

use std::collections::{BTreeMap, BTreeSet};

use lenslog_journal::{Day, PrunedDays, Timestamp};
use serde::{Deserialize, Serialize};

/// What is to be deleted and is still there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Pictures, by their image_path.
    pub(super) pictures: BTreeSet<String>,
    /// Days, each with the time of its tombstone.
    #[serde(with = "days")]
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

    /// A tombstone prunes what was kept in its days.
    pub(super) fn prune_kept(&mut self, days: PrunedDays) {
        self.kept.retain(|path| day_of(path).is_some_and(|day| !days.contains(day)));
    }
}

/// Days with the times of their tombstones, as a list.
mod days {
    use lenslog_engine::sealed;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{BTreeMap, Day, Timestamp};

    #[derive(Serialize, Deserialize)]
    struct Listed {
        #[serde(with = "sealed::day")]
        day: Day,
        #[serde(with = "sealed::time")]
        pruned: Timestamp,
    }

    pub(super) fn serialize<S: Serializer>(
        days: &BTreeMap<Day, Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(days.iter().map(|(day, pruned)| Listed { day: *day, pruned: *pruned }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Day, Timestamp>, D::Error> {
        let listed = Vec::<Listed>::deserialize(from)?;
        Ok(listed.into_iter().map(|listed| (listed.day, listed.pruned)).collect())
    }
}

fn day_of(image_path: &str) -> Option<Day> {
    lenslog_events::parse_image_path(image_path).map(|(day, _)| day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_round_trips() {
        let state = State {
            pictures: ["data/events/2026-11-20/a b.jpg".to_owned()].into(),
            days: [(Day(20_000), Timestamp { utc_micros: -5, offset_minutes: -210 })].into(),
            kept: ["data/events/2024-10-04/b.jpg".to_owned()].into(),
        };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state, "{text}");
    }
}
