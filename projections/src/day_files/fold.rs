//! [`Fold`]: which entry a record leads to. Holds events that wait for their description. Pure: no I/O.

use std::collections::{BTreeMap, BTreeSet};

use lenslog_engine::{Fact, Recorded, sealed};
use lenslog_events::{DescriptionAdded, Event, EventDetected, EventRef};
use lenslog_journal::{ControlRecord, Day, PrunedDays, Seq};
use serde::{Deserialize, Serialize};

use super::limits::HELD_MAX;

/// Everything that the entries to come depend on.
#[derive(Debug, Default)]
pub(super) struct Fold {
    held: BTreeMap<Seq, Box<EventDetected>>,
    pruned: Option<Horizon>,
}

/// The newest tombstone. Tombstones never name a day before the last one, so it covers those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Horizon {
    /// Days up to this one were pruned.
    #[serde(with = "sealed::day")]
    pub(super) day: Day,
    /// What stands before this seq, that is.
    #[serde(with = "sealed::seq")]
    pub(super) seq: Seq,
    /// What the newest one took that named days of a wrong clock too.
    pub(super) wrong: Option<WrongDays>,
}

/// Days of a wrong clock that were pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WrongDays {
    /// The first of them.
    #[serde(with = "sealed::day")]
    pub(super) from: Day,
    /// The tombstone that took them.
    #[serde(with = "sealed::seq")]
    pub(super) seq: Seq,
}

impl Horizon {
    /// Whether an event of this day and seq was pruned.
    pub(super) fn covers(self, day: Day, seq: Seq) -> bool {
        day <= self.day && seq < self.seq
            || self.wrong.is_some_and(|wrong| day >= wrong.from && seq < wrong.seq)
    }

    /// The days that its tombstone took.
    pub(super) fn days(self) -> PrunedDays {
        let wrong = self.wrong.filter(|wrong| wrong.seq == self.seq);
        PrunedDays { through: self.day, wrong_from: wrong.map(|wrong| wrong.from) }
    }
}

/// What a record leads to.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome<'r> {
    /// No entry.
    Nothing,
    /// The entry of the record's event.
    Event(&'r EventDetected),
    /// The entry of an earlier event, which waited until now.
    Released(Seq, Box<EventDetected>),
    /// A description of an event that was written before.
    Amendment(&'r DescriptionAdded),
    /// The entries of these days go.
    Pruned(PrunedDays),
}

/// Where the next entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// To the events of this day.
    Events(Day),
    /// To the amendments of this day.
    Amendments(Day),
}

/// What to do about a record.
enum Step<'r> {
    Nothing,
    Write(&'r EventDetected),
    Hold(&'r EventDetected),
    Release(Seq, Option<&'r DescriptionAdded>),
    Amend(&'r DescriptionAdded),
    Prune(PrunedDays),
}

impl Fold {
    /// The state of a checkpoint; held events follow through [`Fold::restore`].
    pub(super) fn resume(pruned: Option<Horizon>) -> Self {
        Self { held: BTreeMap::new(), pruned }
    }

    /// Takes back an event that was held. Says whether it can be one.
    pub(super) fn restore(&mut self, record: &Recorded<Event>) -> bool {
        let Fact::Event(Event::Detected(event)) = &record.fact else { return false };
        self.held.insert(record.seq, Box::new(event.clone()));
        true
    }

    /// Whether the event of this seq waits.
    pub(super) fn holds(&self, seq: Seq) -> bool {
        self.held.contains_key(&seq)
    }

    /// Seqs of the events that wait.
    pub(super) fn held(&self) -> BTreeSet<Seq> {
        self.held.keys().copied().collect()
    }

    pub(super) const fn pruned(&self) -> Option<Horizon> {
        self.pruned
    }

    /// Where the entry goes that a record will lead to, if it leads to one.
    pub(super) fn target(&self, record: &Recorded<Event>) -> Option<Target> {
        match self.step(record) {
            Step::Write(event) => Some(Target::Events(event.timestamp.day())),
            Step::Hold(_) if self.held.len() >= HELD_MAX => self
                .held
                .first_key_value()
                .map(|(_, oldest)| Target::Events(oldest.timestamp.day())),
            Step::Release(seq, _) => {
                self.held.get(&seq).map(|event| Target::Events(event.timestamp.day()))
            }
            Step::Amend(added) => Some(Target::Amendments(added.event.event_day)),
            Step::Nothing | Step::Hold(_) | Step::Prune(_) => None,
        }
    }

    /// Takes the next record.
    pub(super) fn apply<'r>(&mut self, record: &'r Recorded<Event>) -> Outcome<'r> {
        match self.step(record) {
            Step::Nothing => Outcome::Nothing,
            Step::Write(event) => Outcome::Event(event),
            Step::Hold(event) => {
                let oldest = if self.held.len() >= HELD_MAX { self.held.pop_first() } else { None };
                self.held.insert(record.seq, Box::new(event.clone()));
                oldest.map_or(Outcome::Nothing, |(seq, event)| Outcome::Released(seq, event))
            }
            Step::Release(seq, added) => match self.held.remove(&seq) {
                Some(mut event) => {
                    if let Some(added) = added {
                        event.llm_description = Some(added.llm_description.clone());
                    }
                    Outcome::Released(seq, event)
                }
                None => Outcome::Nothing,
            },
            Step::Amend(added) => Outcome::Amendment(added),
            Step::Prune(days) => {
                self.held.retain(|_, event| !days.contains(event.timestamp.day()));
                let (day, seq) = (days.through, record.seq);
                let before = self.pruned.and_then(|horizon| horizon.wrong);
                let wrong = days.wrong_from.map(|from| WrongDays { from, seq }).or(before);
                self.pruned = Some(Horizon { day, seq, wrong });
                Outcome::Pruned(days)
            }
        }
    }

    fn step<'r>(&self, record: &'r Recorded<Event>) -> Step<'r> {
        match &record.fact {
            Fact::Event(Event::Detected(event)) if event.description_expected => Step::Hold(event),
            Fact::Event(Event::Detected(event)) => Step::Write(event),
            Fact::Event(Event::DescriptionAdded(added)) if self.waits(&added.event) => {
                Step::Release(added.event.event_seq, Some(added))
            }
            Fact::Event(Event::DescriptionAdded(added)) if !self.is_pruned(&added.event) => {
                Step::Amend(added)
            }
            Fact::Event(Event::DescriptionDeferred(deferred)) => self.settle(&deferred.event),
            Fact::Event(Event::DescriptionFailed(failed)) => self.settle(&failed.event),
            Fact::Journal(ControlRecord::PrunedThrough(pruned)) => Step::Prune(pruned.days()),
            _ => Step::Nothing,
        }
    }

    fn settle<'r>(&self, event: &EventRef) -> Step<'r> {
        if self.waits(event) { Step::Release(event.event_seq, None) } else { Step::Nothing }
    }

    fn waits(&self, event: &EventRef) -> bool {
        self.held.get(&event.event_seq).is_some_and(|held| held.event_id == event.event_id)
    }

    fn is_pruned(&self, event: &EventRef) -> bool {
        self.pruned.is_some_and(|horizon| horizon.covers(event.event_day, event.event_seq))
    }
}
