//! [`OpenEvents`], the events that have begun and not ended, and the labels that continue them.

use std::time::Duration;

use lenslog_journal::Timestamp;

use super::object_count::ObjectCount;
use super::objects::Counted;
use super::{BACKWARD_MAX, PolicyConfig};

/// Most labels that are remembered at once. With more, the one that was seen longest ago is forgotten, and its
/// event ends if it has no other.
pub const OPEN_LABELS_MAX: usize = 128;

/// Names an event from its beginning to its end, within one [`PolicyState`](super::PolicyState).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(pub u64);

/// An event that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventEnd {
    /// The event.
    pub key: EventKey,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// How many frames showed it.
    pub sightings: u64,
}

/// The events of a camera that have begun and not ended.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenEvents {
    events: Vec<OpenEvent>,
    keys: u64,
}

#[derive(Debug, Clone)]
struct OpenEvent {
    key: EventKey,
    began: Timestamp,
    last_seen: Timestamp,
    sightings: u64,
    /// What continues it; it ends with the last one.
    labels: Vec<OpenLabel>,
}

#[derive(Debug, Clone)]
struct OpenLabel {
    label: String,
    last_seen: Timestamp,
    count: ObjectCount,
}

/// What a sighting came to.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    /// Events that end with it.
    pub(super) ended: Vec<EventEnd>,
    /// The event that begins with it.
    pub(super) begun: Option<EventKey>,
    /// The labels of that event.
    pub(super) new_labels: Vec<String>,
}

impl OpenEvents {
    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether an event of this label is open.
    pub(super) fn has(&self, label: &str) -> bool {
        self.events.iter().any(|event| event.has(label))
    }

    /// Ends all.
    pub(super) fn end_all(&mut self) -> impl Iterator<Item = EventEnd> {
        self.events.drain(..).map(|event| event.end())
    }

    /// Ends the events whose time is over at `now`, and forgets labels that have not been seen for the window.
    pub(super) fn expire(
        &mut self,
        config: &PolicyConfig,
        now: Timestamp,
    ) -> impl Iterator<Item = EventEnd> + use<> {
        let window = micros(config.deduplication_window);
        let max_event = micros(config.max_event);
        let is_back = |event: &OpenEvent| since(event.last_seen, now) < -micros(BACKWARD_MAX);
        let mut ended = Vec::new();
        if self.events.iter().any(is_back) {
            ended.extend(self.end_all());
        }
        self.events.retain_mut(|event| {
            event.labels.retain(|label| since(label.last_seen, now) < window);
            let goes_on = !event.labels.is_empty() && since(event.began, now) < max_event;
            if !goes_on {
                ended.push(event.end());
            }
            goes_on
        });
        ended.into_iter()
    }

    /// Continues the events of the labels that were seen, and begins one for those that are new. What is over
    /// has been ended before.
    pub(super) fn sight(
        &mut self,
        config: &PolicyConfig,
        now: Timestamp,
        objects: &[Counted],
    ) -> Sighting {
        let mut sighting = Sighting::default();
        let mut begun = Vec::new();
        let mut continued: Vec<EventKey> = Vec::new();
        for (label, things) in count_by_label(objects) {
            if let Some(event) = self.events.iter_mut().find(|event| event.has(label)) {
                let joined = event.meet(label, now, things) && config.split_on_new_object;
                if !joined {
                    if !continued.contains(&event.key) {
                        continued.push(event.key);
                        event.last_seen = later(event.last_seen, now);
                        event.sightings = event.sightings.saturating_add(1);
                    }
                    continue;
                }
                sighting.ended.extend(self.forget(label));
            }
            let count = ObjectCount::of(things);
            begun.push(OpenLabel { label: label.into(), last_seen: now, count });
        }
        if begun.is_empty() {
            return sighting;
        }
        sighting.new_labels = begun.iter().map(|open| open.label.clone()).collect();
        sighting.begun = Some(self.begin(now, begun));
        while let Some(label) = self.label_too_many() {
            sighting.ended.extend(self.forget(&label));
        }
        sighting
    }

    fn begin(&mut self, now: Timestamp, labels: Vec<OpenLabel>) -> EventKey {
        self.keys += 1;
        let key = EventKey(self.keys);
        self.events.push(OpenEvent { key, began: now, last_seen: now, sightings: 1, labels });
        key
    }

    /// Takes a label from its event, which ends if it was the last.
    fn forget(&mut self, label: &str) -> Option<EventEnd> {
        let index = self.events.iter().position(|event| event.has(label))?;
        let event = &mut self.events[index];
        event.labels.retain(|open| open.label != label);
        event.labels.is_empty().then(|| self.events.remove(index).end())
    }

    /// The label that was seen longest ago, if there are too many.
    fn label_too_many(&self) -> Option<String> {
        let labels = || self.events.iter().flat_map(|event| &event.labels);
        if labels().count() <= OPEN_LABELS_MAX {
            return None;
        }
        labels().min_by_key(|open| open.last_seen.utc_micros).map(|open| open.label.clone())
    }
}

impl OpenEvent {
    fn has(&self, label: &str) -> bool {
        self.labels.iter().any(|open| open.label == label)
    }

    /// Sees a label of this event again, so many things of it. Returns whether a person has joined.
    fn meet(&mut self, label: &str, now: Timestamp, things: usize) -> bool {
        let age = since(self.began, now);
        let Some(open) = self.labels.iter_mut().find(|open| open.label == label) else {
            return false;
        };
        open.last_seen = later(open.last_seen, now);
        open.count.joined(things, now.utc_micros, age)
    }

    fn end(&self) -> EventEnd {
        EventEnd { key: self.key, last_seen: self.last_seen, sightings: self.sightings }
    }
}

/// The labels among the objects, in the order of their first ones, with the number of their things.
fn count_by_label(objects: &[Counted]) -> Vec<(&str, usize)> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for Counted { object, things } in objects {
        match counts.iter_mut().find(|(label, _)| *label == object.label) {
            Some((_, count)) => *count += things,
            None => counts.push((&object.label, *things)),
        }
    }
    counts
}

/// Microseconds from `then` to `now`; negative where the clock was set back.
pub(super) fn since(then: Timestamp, now: Timestamp) -> i64 {
    now.utc_micros.saturating_sub(then.utc_micros)
}

fn later(one: Timestamp, other: Timestamp) -> Timestamp {
    if other.utc_micros > one.utc_micros { other } else { one }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
