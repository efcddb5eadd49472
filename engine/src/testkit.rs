//! Tests of decisions on a simulated disk: [`scenario`] for examples, [`check_decision`] for the [laws](Decision).

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use lenslog_journal::storage::{Fault, FaultyStorage};
use lenslog_journal::{Journal, Options, Query, Seq, SimulatedClock, Timestamp};

use crate::codec::encode_all;
use crate::decision::{Contention, decide};
use crate::laws::{LawBroken, broken};
use crate::{DecideError, Decided, Decision, EventCodec, Events, Retries, SequencedEvent};

/// 2026-11-23T10:00:00+01:00, when the first event is appended. A millisecond passes before each.
pub const START: Timestamp = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };
/// Draws of what a power cut leaves, at each operation.
const SEEDS: u64 = 3;

/// Begins an example of a decision: `scenario::<Bank>().given([…]).when(&withdraw).then([…])`.
pub fn scenario<C: EventCodec>() -> Scenario<C> {
    Scenario { given: Vec::new(), meanwhile: Vec::new() }
}

/// What happened before a decision, and while it was made.
#[derive(Debug)]
#[must_use = "`when` runs it"]
pub struct Scenario<C: EventCodec> {
    given: Vec<C::Event>,
    meanwhile: Vec<C::Event>,
}

impl<C: EventCodec> Scenario<C> {
    /// Events before the decision.
    pub fn given(mut self, events: impl IntoIterator<Item = C::Event>) -> Self {
        self.given.extend(events);
        self
    }

    /// Events that others append between the decision's reading and its append.
    pub fn meanwhile(mut self, events: impl IntoIterator<Item = C::Event>) -> Self {
        self.meanwhile.extend(events);
        self
    }

    /// Decides, on a journal in memory.
    ///
    /// # Panics
    ///
    /// Where an event cannot be encoded or appended: a mistake in the test.
    pub fn when<D: Decision<C>>(self, decision: &D) -> Outcome<C::Event, D::Refusal> {
        let run = || -> Result<_, Box<dyn std::error::Error>> {
            let world = World::new::<C>(&self.given)?;
            let mut interrupted = Ok(());
            let contention = Contention::new();
            let result = decide(&world.journal, &contention, decision, Retries::default(), || {
                interrupted = world.append::<C>(&self.meanwhile);
            });
            interrupted?;
            let count = self.given.len() + self.meanwhile.len();
            Ok(Outcome { result, appended: world.events_after::<C>(count)? })
        };
        run().unwrap_or_else(|error| panic!("scenario: {error}"))
    }
}

/// How a decision of a [`Scenario`] ended.
#[derive(Debug)]
#[must_use = "`then` and `then_refused` compare it"]
pub struct Outcome<E, R> {
    result: Result<Decided, DecideError<R>>,
    appended: Vec<E>,
}

impl<E: Debug + PartialEq, R: Debug> Outcome<E, R> {
    /// The decision succeeded and appended exactly these events, or none.
    ///
    /// # Panics
    ///
    /// Where it did not.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = E>) {
        let expected: Vec<E> = expected.into_iter().collect();
        assert!(self.result.is_ok(), "expected {expected:?}, found {:?}", self.result);
        assert_eq!(self.appended, expected, "the appended events");
    }

    /// The decision was refused for this reason, and nothing was appended.
    ///
    /// # Panics
    ///
    /// Where it was not.
    #[track_caller]
    pub fn then_refused<T: Debug>(self, expected: T)
    where
        R: PartialEq<T>,
    {
        match &self.result {
            Err(DecideError::Refused(refusal)) if *refusal == expected => {}
            other => panic!("expected the refusal {expected:?}, found {other:?}"),
        }
        assert_eq!(self.appended, [], "the appended events");
    }
}

/// Tests D1 to D4 with every decision, after every part of a history.
///
/// A decision that is refused after every part shows little: give a history in which each succeeds at least once.
///
/// # Errors
///
/// The first law that does not hold, and how that showed.
pub fn check_decision<C, D>(decisions: &[D], history: &[C::Event]) -> Result<(), LawBroken>
where
    C: EventCodec,
    D: Decision<C> + Debug,
    D::State: Debug,
    D::Refusal: Debug,
{
    let trial = Trial::<C, D> { decisions, history };
    trial.check_reading()?;
    for len in 0..=history.len() {
        for one in decisions {
            for other in decisions {
                trial.check_order(len, one, other)?;
            }
            trial.check_power_cuts(len, one)?;
        }
    }
    Ok(())
}

struct Trial<'a, C: EventCodec, D> {
    decisions: &'a [D],
    history: &'a [C::Event],
}

/// An event with what the queries of one decision say of it.
struct Seen<E> {
    event: SequencedEvent<E>,
    in_boundary: bool,
    in_guard: bool,
}

impl<C, D> Trial<'_, C, D>
where
    C: EventCodec,
    D: Decision<C> + Debug,
    D::State: Debug,
    D::Refusal: Debug,
{
    /// D1 and D2.
    fn check_reading(&self) -> Result<(), LawBroken> {
        let failed = |error: Failed| broken("setting up", error);
        let events = self.candidates().map_err(failed)?;
        let world = World::new::<C>(&events).map_err(failed)?;
        for decision in self.decisions {
            let seen = world.seen::<C, D>(decision).map_err(failed)?;
            self.check_boundary(decision, &seen)?;
            for len in 0..=self.history.len() {
                self.check_guard(decision, &seen, len)?;
            }
        }
        Ok(())
    }

    /// The history, and every event that a decision may append after a part of it.
    fn candidates(&self) -> Result<Vec<C::Event>, Failed> {
        let mut events = self.history.to_vec();
        let world = World::new::<C>(self.history)?;
        for decision in self.decisions {
            let seen = world.seen::<C, D>(decision)?;
            for len in 0..=self.history.len() {
                for event in self.decide(decision, &seen[..len], &[]).unwrap_or_default() {
                    if !events.contains(&event) {
                        events.push(event);
                    }
                }
            }
        }
        Ok(events)
    }

    fn check_boundary(&self, decision: &D, seen: &[Seen<C::Event>]) -> Result<(), LawBroken> {
        let (mut all, mut bounded) = (D::State::default(), D::State::default());
        for Seen { event, in_boundary, .. } in seen {
            decision.evolve(&mut all, event);
            if *in_boundary {
                decision.evolve(&mut bounded, event);
            }
            let (all, bounded) = (format!("{all:?}"), format!("{bounded:?}"));
            if all != bounded {
                let detail = format!(
                    "{decision:?}: up to {event:?} the state is {bounded} over the boundary and {all} over all events"
                );
                return Err(broken("D1 (the boundary has every event that counts)", detail));
            }
        }
        Ok(())
    }

    fn check_guard(
        &self,
        decision: &D,
        seen: &[Seen<C::Event>],
        len: usize,
    ) -> Result<(), LawBroken> {
        let before = &seen[..len];
        let Ok(yes) = self.decide(decision, before, &[]) else { return Ok(()) };
        let outside: Vec<_> =
            seen.iter().filter(|seen| seen.in_boundary && !seen.in_guard).collect();
        let single = outside.iter().map(std::slice::from_ref);
        let further = (2..=outside.len()).map(|count| &outside[..count]);
        for later in single.chain(further) {
            let then = self.decide(decision, before, later);
            if then.as_ref().ok() != Some(&yes) {
                let later: Vec<_> = later.iter().map(|seen| &seen.event.event).collect();
                let detail = format!(
                    "{decision:?} gives {yes:?} after {len} events, and {then:?} if {later:?} follow, which the guard misses"
                );
                return Err(broken("D2 (the guard has every event that changes a yes)", detail));
            }
        }
        Ok(())
    }

    /// What the decision says after these events.
    fn decide(
        &self,
        decision: &D,
        before: &[Seen<C::Event>],
        later: &[&Seen<C::Event>],
    ) -> Result<Vec<C::Event>, D::Refusal> {
        let mut state = D::State::default();
        let events = before.iter().chain(later.iter().copied());
        for seen in events.filter(|seen| seen.in_boundary) {
            decision.evolve(&mut state, &seen.event);
        }
        decision.decide(&state)
    }

    /// D3: `other` runs between the reading of `one` and its append.
    fn check_order(&self, len: usize, one: &D, other: &D) -> Result<(), LawBroken> {
        let failed = |error: Failed| broken("D3 (setting up)", error);
        let history = &self.history[..len];
        let serial = |first: &D, second: &D| -> Result<[String; 2], Failed> {
            let world = World::new::<C>(history)?;
            Ok([world.outcome::<C, D>(first, || ()), world.outcome::<C, D>(second, || ())])
        };
        let forwards = serial(one, other).map_err(failed)?;
        let [later, earlier] = serial(other, one).map_err(failed)?;
        let backwards = [earlier, later];
        let world = World::new::<C>(history).map_err(failed)?;
        let mut interrupting = String::new();
        let first = world.outcome::<C, D>(one, || {
            interrupting = world.outcome::<C, D>(other, || ());
        });
        let both = [first, interrupting];
        if both == forwards || both == backwards {
            return Ok(());
        }
        let detail = format!(
            "{one:?} and {other:?} at once, after {len} events, give {both:?}; one after the other {forwards:?} or \
             {backwards:?}"
        );
        Err(broken("D3 (two at once are as one after the other)", detail))
    }

    /// D4: the power is cut at every operation of the decision; it is repeated after the next opening.
    fn check_power_cuts(&self, len: usize, decision: &D) -> Result<(), LawBroken> {
        let law = "D4 (repeated after a power cut it happens once)";
        let failed = |error: Failed| broken("D4 (setting up)", error);
        let base = World::new::<C>(&self.history[..len]).map_err(failed)?;
        base.journal.close().map_err(|error| failed(error.into()))?;
        let whole = base.reopened(|storage| storage.fork()).map_err(failed)?;
        let before = whole.storage.operations();
        whole.outcome::<C, D>(decision, || ());
        let operations = whole.storage.operations() - before;
        let expected = whole.events_after::<C>(len).map_err(failed)?;
        if expected.is_empty() {
            return Ok(());
        }
        for (cut, seed) in (0..=operations).flat_map(|cut| (0..SEEDS).map(move |seed| (cut, seed)))
        {
            let world = base.reopened(|storage| storage.fork()).map_err(failed)?;
            let operations = world.storage.operations() + cut;
            world.storage.inject(Fault::PowerCutAfter { operations });
            world.outcome::<C, D>(decision, || ());
            let after = world.reopened(|storage| storage.power_cut(seed)).map_err(failed)?;
            let outcome = after.outcome::<C, D>(decision, || ());
            let found = after.events_after::<C>(len).map_err(failed)?;
            if found != expected {
                let detail = format!(
                    "{decision:?} after {len} events, power cut after {cut} operations (seed {seed}), repeated: {outcome}; \
                     the journal has {found:?} instead of {expected:?}; a key makes it happen once"
                );
                return Err(broken(law, detail));
            }
        }
        Ok(())
    }
}

type Failed = Box<dyn std::error::Error>;

/// A journal on a simulated disk.
struct World {
    storage: FaultyStorage,
    clock: Arc<SimulatedClock>,
    journal: Journal,
}

impl World {
    fn new<C: EventCodec>(events: &[C::Event]) -> Result<Self, Failed> {
        let world = Self::open(FaultyStorage::new(), Arc::new(SimulatedClock::new(START)))?;
        world.append::<C>(events)?;
        Ok(world)
    }

    fn open(storage: FaultyStorage, clock: Arc<SimulatedClock>) -> Result<Self, Failed> {
        let options = Options {
            storage: Arc::new(storage.clone()),
            clock: Arc::clone(&clock) as Arc<dyn lenslog_journal::Clock>,
            seed: Some(1),
            ..Options::default()
        };
        Ok(Self { journal: Journal::open("/testkit", &options)?, storage, clock })
    }

    /// The same journal on another disk made of this one's.
    fn reopened(&self, disk: impl FnOnce(&FaultyStorage) -> FaultyStorage) -> Result<Self, Failed> {
        let clock = Arc::new(SimulatedClock::new(START));
        clock.advance(Duration::from_secs(1));
        Self::open(disk(&self.storage), clock)
    }

    /// Appends each event as a batch of its own.
    fn append<C: EventCodec>(&self, events: &[C::Event]) -> Result<(), Failed> {
        for encoded in encode_all::<C>(events)? {
            self.clock.advance(Duration::from_millis(1));
            let _ = self.journal.append_unsynced(&[encoded.as_record()])?;
        }
        Ok(self.journal.sync()?)
    }

    /// The events after the first `count`.
    fn events_after<C: EventCodec>(&self, count: usize) -> Result<Vec<C::Event>, Failed> {
        let events = Events::<C>::read(&self.journal.view(), &Query::all(), ..)?;
        let events = events.map(|event| Ok(event?.event));
        events.skip(count).collect()
    }

    /// All events, and what the queries of a decision say of them.
    fn seen<C: EventCodec, D: Decision<C>>(
        &self,
        decision: &D,
    ) -> Result<Vec<Seen<C::Event>>, Failed> {
        let matching = |query| -> Result<Vec<Seq>, Failed> {
            let events = Events::<C>::read(&self.journal.view(), &query, ..)?;
            events.map(|event| Ok(event?.seq)).collect()
        };
        let (boundary, guard) = (matching(decision.boundary())?, matching(decision.guard())?);
        let events = Events::<C>::read(&self.journal.view(), &Query::all(), ..)?;
        let seen = |event: SequencedEvent<C::Event>| Seen {
            in_boundary: boundary.contains(&event.seq),
            in_guard: guard.contains(&event.seq),
            event,
        };
        events.map(|event| Ok(seen(event?))).collect()
    }

    /// Decides, and says how that ended. `interrupt` runs between the reading and the append.
    fn outcome<C, D>(&self, decision: &D, interrupt: impl FnOnce()) -> String
    where
        C: EventCodec,
        D: Decision<C>,
        D::Refusal: Debug,
    {
        self.clock.advance(Duration::from_millis(1));
        let contention = Contention::new();
        match decide(&self.journal, &contention, decision, Retries::default(), interrupt) {
            Ok(Decided::Appended(range)) => {
                let events =
                    Events::<C>::read(&self.journal.view(), &Query::all(), range.from..range.to);
                let events = events.map(|events| {
                    let event =
                        |event: Result<SequencedEvent<_>, _>| event.map(|event| event.event);
                    events.map(event).collect::<Result<Vec<_>, _>>()
                });
                format!("appended {events:?}")
            }
            Ok(Decided::Duplicate(_)) => "appended before".to_owned(),
            Ok(Decided::Nothing) => "nothing to append".to_owned(),
            Err(DecideError::Refused(refusal)) => format!("refused: {refusal:?}"),
            Err(error) => format!("failed: {error:?}"),
        }
    }
}
