//! [`DescriptionQueue`]: the events that wait for a sentence, shared by the projection that keeps it and the worker that
//! works it off. It is in memory; the checkpoint holds a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lenslog_events::EventRef;
use lenslog_journal::{Day, PrunedDays, Seq, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

/// Events that wait at most. With more, the oldest stays without a sentence until it is asked for by hand.
pub const WAITING_MAX: usize = 100_000;

/// An event that waits for a sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The event.
    pub event: EventRef,
    /// When it was appended to the journal.
    pub appended: Timestamp,
    /// The file projections no longer wait for it.
    pub deferred: bool,
}

/// The events that wait for a sentence. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct DescriptionQueue(Arc<Mutex<Queue>>);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Queue {
    #[serde(with = "waiting_list")]
    waiting: BTreeMap<Seq, Waiting>,
    /// Those of them whose sentence, or failure, is on its way into the journal.
    #[serde(skip)]
    taken: BTreeSet<Seq>,
    /// The last day on which a sentence or a failure was journaled, and how many.
    settled: Option<Settled>,
    /// Everything that was in the journal at the start is known.
    #[serde(skip)]
    is_complete: bool,
}

/// Sentences and failures that were journaled on one day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Settled {
    #[serde(with = "lenslog_engine::sealed::day")]
    day: Day,
    count: u64,
}

impl DescriptionQueue {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        let queue = self.lock();
        queue.waiting.len() - queue.taken.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest event that waits and is not among those that `skip` names; what was just seen comes first, since its
    /// line in the files still waits. `None` until the queue has caught up with the journal.
    #[must_use]
    pub fn newest(&self, skip: impl Fn(Seq) -> bool) -> Option<Waiting> {
        let queue = self.lock();
        let mut newest = queue.waiting.iter().rev().filter(|_| queue.is_complete);
        newest
            .find(|(seq, _)| !queue.taken.contains(seq) && !skip(**seq))
            .map(|(_, waiting)| waiting.clone())
    }

    /// Takes an event whose sentence, or failure, is being journaled. It is gone for good once the journal has that; a
    /// crash before brings it back.
    pub fn take(&self, seq: Seq) {
        let mut queue = self.lock();
        if queue.waiting.contains_key(&seq) {
            queue.taken.insert(seq);
        }
    }

    /// A queue of its own with these events, for a worker that works them off beside this one.
    #[must_use]
    pub fn beside(&self, events: impl IntoIterator<Item = Waiting>) -> Self {
        let mut queue =
            Queue { settled: self.lock().settled, is_complete: true, ..Queue::default() };
        events.into_iter().for_each(|event| queue.insert(event));
        Self(Arc::new(Mutex::new(queue)))
    }

    /// Puts in events that are to be tried again, or for the first time.
    pub fn add(&self, events: impl IntoIterator<Item = Waiting>) {
        let mut queue = self.lock();
        for event in events {
            queue.insert(event);
        }
    }

    /// Takes note that the events which have waited for longer than `hold` are deferred, and returns them, oldest
    /// first. Those that seem to come from the future are among them: the clock was set.
    #[must_use]
    pub fn defer(&self, now: Timestamp, hold: Duration) -> Vec<EventRef> {
        let mut queue = self.lock();
        if !queue.is_complete {
            return Vec::new();
        }
        let hold = i64::try_from(hold.as_micros()).unwrap_or(i64::MAX);
        let mut expired = Vec::new();
        for waiting in queue.waiting.values_mut().filter(|waiting| !waiting.deferred) {
            let age = now.utc_micros.saturating_sub(waiting.appended.utc_micros);
            if !(0..hold).contains(&age) {
                waiting.deferred = true;
                expired.push(waiting.event.clone());
            }
        }
        expired
    }

    /// Sentences and failures that were journaled on `day`.
    #[must_use]
    pub fn settled_on(&self, day: Day) -> u64 {
        self.lock().settled.filter(|settled| settled.day == day).map_or(0, |settled| settled.count)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock()
    }
}

impl Queue {
    pub(super) fn insert(&mut self, event: Waiting) {
        self.waiting.insert(event.event.event_seq, event);
        if self.waiting.len() > WAITING_MAX
            && let Some((seq, dropped)) = self.waiting.pop_first()
        {
            self.taken.remove(&seq);
            let event = dropped.event.event_id;
            tracing::warn!(event, "too many events wait for a sentence; it stays without");
        }
    }

    pub(super) fn settled(&mut self, event: Seq, day: Day) {
        self.remove(event);
        let before = self.settled.filter(|settled| settled.day == day);
        self.settled = Some(Settled { day, count: before.map_or(0, |settled| settled.count) + 1 });
    }

    pub(super) fn deferred(&mut self, event: Seq) {
        if let Some(waiting) = self.waiting.get_mut(&event) {
            waiting.deferred = true;
        }
    }

    pub(super) fn pruned(&mut self, days: PrunedDays) {
        self.waiting.retain(|_, waiting| !days.contains(waiting.event.event_day));
        self.taken.retain(|seq| self.waiting.contains_key(seq));
    }

    fn remove(&mut self, seq: Seq) {
        self.waiting.remove(&seq);
        self.taken.remove(&seq);
    }

    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }
}

/// The events in the form of the checkpoint.
mod waiting_list {
    use lenslog_engine::sealed;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{BTreeMap, Day, EventRef, Seq, Timestamp, Waiting};

    #[derive(Serialize, Deserialize)]
    struct Listed {
        #[serde(with = "sealed::seq")]
        seq: Seq,
        #[serde(with = "sealed::day")]
        day: Day,
        #[serde(with = "sealed::time")]
        appended: Timestamp,
        deferred: bool,
        id: String,
    }

    pub(super) fn serialize<S: Serializer>(
        waiting: &BTreeMap<Seq, Waiting>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(waiting.values().map(|Waiting { event, appended, deferred }| Listed {
            seq: event.event_seq,
            day: event.event_day,
            appended: *appended,
            deferred: *deferred,
            id: event.event_id.clone(),
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Seq, Waiting>, D::Error> {
        let waiting = |Listed { seq, day, appended, deferred, id }| {
            let event = EventRef { event_seq: seq, event_day: day, event_id: id };
            (seq, Waiting { event, appended, deferred })
        };
        Ok(Vec::<Listed>::deserialize(from)?.into_iter().map(waiting).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(seq: u64, day: i32, seconds: i64) -> Waiting {
        let event =
            EventRef { event_seq: Seq(seq), event_day: Day(day), event_id: format!("evt_{seq}") };
        let appended = Timestamp { utc_micros: seconds * 1_000_000, offset_minutes: -90 };
        Waiting { event, appended, deferred: false }
    }

    fn queue(events: &[Waiting]) -> DescriptionQueue {
        let queue = DescriptionQueue::default();
        queue.add(events.iter().cloned());
        queue.lock().complete();
        queue
    }

    fn stored(queue: &DescriptionQueue) -> String {
        serde_json::to_string(&*queue.lock()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { utc_micros: seconds * 1_000_000, offset_minutes: 0 }
    }

    #[test]
    fn the_newest_comes_first_and_nothing_before_the_journal_is_known() {
        let queue = DescriptionQueue::default();
        queue.add([waiting(1, 1, 1), waiting(3, 1, 3), waiting(2, 1, 2)]);
        assert_eq!(queue.newest(|_| false), None);
        queue.lock().complete();
        assert_eq!(queue.newest(|_| false).unwrap().event.event_seq, Seq(3));
        assert_eq!(queue.newest(|seq| seq == Seq(3)).unwrap().event.event_seq, Seq(2));
        queue.take(Seq(3));
        assert_eq!((queue.newest(|_| false).unwrap().event.event_seq, queue.len()), (Seq(2), 2));
        assert!(stored(&queue).contains("\"seq\":3"), "a crash brings it back");
        queue.lock().settled(Seq(3), Day(1));
        assert!(!stored(&queue).contains("\"seq\":3"), "the journal has its sentence");
        assert_eq!(
            queue.beside([waiting(9, 1, 9)]).newest(|_| false).unwrap().event.event_seq,
            Seq(9)
        );
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn what_has_waited_too_long_is_deferred_once() {
        let queue = queue(&[waiting(1, 1, 100), waiting(2, 1, 105), waiting(3, 1, 500)]);
        let hold = Duration::from_secs(10);
        let seqs = |now| -> Vec<u64> {
            queue.defer(at(now), hold).iter().map(|event| event.event_seq.0).collect()
        };
        assert_eq!(seqs(109), [3], "the clock was set back");
        assert_eq!(seqs(110), [1]);
        assert_eq!(seqs(110), [0; 0]);
        assert_eq!(seqs(200), [2]);
        assert_eq!(queue.len(), 3, "they still wait for their sentence");
    }

    #[test]
    fn sentences_of_a_day_are_counted_and_pruned_days_wait_no_more() {
        let queue = queue(&[waiting(1, 1, 1), waiting(2, 2, 2), waiting(3, 3, 3)]);
        queue.lock().settled(Seq(1), Day(7));
        queue.lock().settled(Seq(9), Day(7));
        assert_eq!((queue.settled_on(Day(7)), queue.settled_on(Day(8))), (2, 0));
        queue.lock().settled(Seq(9), Day(8));
        assert_eq!((queue.settled_on(Day(7)), queue.settled_on(Day(8))), (0, 1));
        queue.take(Seq(2));
        queue.lock().pruned(PrunedDays { through: Day(2), wrong_from: None });
        assert_eq!(queue.newest(|_| false).unwrap().event.event_seq, Seq(3));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_queue_round_trips() {
        let mut queue = Queue::default();
        queue.insert(waiting(7, 20_000, 5));
        queue.insert(waiting(8, 20_001, -5));
        queue.deferred(Seq(8));
        queue.settled(Seq(1), Day(20_000));
        let text = serde_json::to_string(&queue).unwrap();
        assert_eq!(serde_json::from_str::<Queue>(&text).unwrap(), queue, "{text}");
    }
}
