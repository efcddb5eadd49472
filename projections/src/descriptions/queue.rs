//! [`DescriptionQueue`]: the events that wait for a sentence, shared by the projection that keeps it and the worker that
//! works it off. In memory, with lines of text for the checkpoint:
//!
//! ```text
//! waiting 42 2026-11-20 1795424400000000 60 1 evt_01a2      seq, day of the event, when it was appended, deferred, id
//! settled 2026-11-20 17                                     sentences and failures journaled that day
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lenslog_events::EventRef;
use lenslog_journal::{Day, Seq, Timestamp};

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

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Queue {
    waiting: BTreeMap<Seq, Waiting>,
    /// Those of them whose sentence, or failure, is on its way into the journal.
    taken: BTreeSet<Seq>,
    /// The last day on which a sentence or a failure was journaled, and how many.
    settled: Option<(Day, u64)>,
    /// Everything that was in the journal at the start is known.
    is_complete: bool,
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
        self.lock().settled.filter(|(settled, _)| *settled == day).map_or(0, |(_, count)| count)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.settled = match self.settled {
            Some((settled, count)) if settled == day => Some((day, count + 1)),
            _ => Some((day, 1)),
        };
    }

    pub(super) fn deferred(&mut self, event: Seq) {
        if let Some(waiting) = self.waiting.get_mut(&event) {
            waiting.deferred = true;
        }
    }

    pub(super) fn pruned_through(&mut self, day: Day) {
        self.waiting.retain(|_, waiting| waiting.event.event_day > day);
        self.taken.retain(|seq| self.waiting.contains_key(seq));
    }

    fn remove(&mut self, seq: Seq) {
        self.waiting.remove(&seq);
        self.taken.remove(&seq);
    }

    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for Waiting { event, appended, deferred } in self.waiting.values() {
            let Timestamp { utc_micros, offset_minutes } = appended;
            let (seq, day, id) = (event.event_seq, event.event_day, &event.event_id);
            let deferred = u8::from(*deferred);
            let _ =
                writeln!(text, "waiting {seq} {day} {utc_micros} {offset_minutes} {deferred} {id}");
        }
        if let Some((day, count)) = self.settled {
            let _ = writeln!(text, "settled {day} {count}");
        }
        text
    }

    /// Reads what [`Queue::to_text`] wrote, other lines passed over; `None` where it makes no sense.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut queue = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("waiting", words)) => queue.insert(waiting_from_text(words)?),
                Some(("settled", words)) => {
                    let (day, count) = words.split_once(' ')?;
                    queue.settled = Some((day.parse().ok()?, count.parse().ok()?));
                }
                _ => {}
            }
        }
        Some(queue)
    }
}

fn waiting_from_text(words: &str) -> Option<Waiting> {
    let mut words = words.splitn(6, ' ');
    let event_seq = Seq(words.next()?.parse().ok()?);
    let event_day = words.next()?.parse().ok()?;
    let utc_micros = words.next()?.parse().ok()?;
    let offset_minutes = words.next()?.parse().ok()?;
    let deferred = words.next()? == "1";
    let event_id = words.next()?.to_owned();
    let event = EventRef { event_seq, event_day, event_id };
    Some(Waiting { event, appended: Timestamp { utc_micros, offset_minutes }, deferred })
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
        assert!(queue.lock().to_text().contains("waiting 3 "), "a crash brings it back");
        queue.lock().settled(Seq(3), Day(1));
        assert!(!queue.lock().to_text().contains("waiting 3 "), "the journal has its sentence");
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
        queue.lock().pruned_through(Day(2));
        assert_eq!(queue.newest(|_| false).unwrap().event.event_seq, Seq(3));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn the_text_round_trips_and_nonsense_is_refused() {
        let mut queue = Queue::default();
        queue.insert(waiting(7, 20_000, 5));
        queue.insert(waiting(8, 20_001, -5));
        queue.deferred(Seq(8));
        queue.settled(Seq(1), Day(20_000));
        let text = queue.to_text();
        assert_eq!(Queue::from_text(&format!("other line\n{text}")), Some(queue), "{text}");
        for (good, bad) in [("waiting 7", "waiting x"), ("-90 1", "-90"), (" 1\n", " x\n")] {
            assert!(text.contains(good), "{good}: {text}");
            assert_eq!(Queue::from_text(&text.replace(good, bad)), None, "{bad}");
        }
    }
}
