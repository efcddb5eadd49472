//! [`Decision`]: a command that reads what it depends on, decides, and appends only if that still holds.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use lenslog_journal::{
    AppendCondition, Appended, Error, Journal, Key, NewRecord, Query, Seq, SeqRange,
};
use parking_lot::FairMutex;

use crate::codec::encode_all;
use crate::{AppendError, EventCodec, Events, ReadError, SequencedEvent};

/// A command on a journal: the consistency boundary that it reads, and what it decides from that.
///
/// [`EventLog::decide`](crate::EventLog::decide) folds the events of the boundary into a state, calls
/// [`Decision::decide`] and appends the result unless an event that matches the guard was appended meanwhile; then it
/// begins again. All methods are pure: no clock, nothing random, and no call of the log.
///
/// `testkit::check_decision` (feature `simulation`) tests the laws:
///
/// * **D1** The state over all events equals the state over those of the boundary.
/// * **D2** An event that matches the boundary but not the guard never changes a yes.
/// * **D3** Two decisions at once give what one order of them gives.
/// * **D4** A decision that a power cut interrupts, repeated with its key, happens once.
pub trait Decision<C: EventCodec> {
    /// What it needs to know to decide.
    type State: Default;
    /// Why it may be refused.
    type Refusal;

    /// The events that it depends on.
    fn boundary(&self) -> Query;

    /// The events that invalidate a yes, if they are appended after the boundary was read. A narrower guard than the
    /// boundary has fewer conflicts: see law D2.
    fn guard(&self) -> Query {
        self.boundary()
    }

    /// Changes the state by an event. Events that do not belong to the boundary change nothing: see law D1.
    fn evolve(&self, state: &mut Self::State, event: &SequencedEvent<C::Event>);

    /// The events to append, as one atomic batch; none if nothing is to be done.
    ///
    /// # Errors
    ///
    /// The refusal.
    fn decide(&self, state: &Self::State) -> Result<Vec<C::Event>, Self::Refusal>;

    /// Identifies this command: repeated with the same key it happens once. Without a key it happens each time.
    ///
    /// The key is that of the last appended event that has none of its own.
    fn key(&self) -> Option<Key> {
        None
    }

    /// Decides although records are lost that may belong to the boundary. Normally that is an error.
    fn accept_lost(&self) -> bool {
        false
    }
}

/// How often a decision is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries(u32);

impl Retries {
    /// One try.
    pub const NONE: Self = Self(0);

    /// So many further tries after the first.
    #[must_use]
    pub const fn new(retries: u32) -> Self {
        Self(retries)
    }
}

/// A hundred.
impl Default for Retries {
    fn default() -> Self {
        Self(100)
    }
}

/// How a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decided {
    /// Its events were appended and are durable.
    Appended(SeqRange),
    /// Nothing was appended: a retained record has its key, or the key of one of its events.
    Duplicate(Seq),
    /// It decided to append nothing.
    Nothing,
}

impl Decided {
    /// The last seq of its events, for [`Handle::at_least`](crate::Handle::at_least).
    #[must_use]
    pub fn last_seq(self) -> Option<Seq> {
        match self {
            Self::Appended(range) => Some(Seq(range.to.0.saturating_sub(1))),
            Self::Duplicate(seq) => Some(seq),
            Self::Nothing => None,
        }
    }
}

/// Why nothing was decided, or nothing appended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError<R> {
    /// The decision refused.
    #[error("{0}")]
    Refused(R),
    /// Other events came first, each time.
    #[error(
        "decision: conflicts in {tries} tries, the last one with event {seq}; nothing was appended; repeat it later, or \
         narrow its guard"
    )]
    Contended {
        /// How often it was tried.
        tries: u32,
        /// The event that came first in the last try.
        seq: Seq,
    },
    /// The boundary cannot be read.
    #[error("decision: nothing was appended; {0}")]
    Read(#[from] ReadError),
    /// Its events cannot be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Lets decisions with the same guard take turns once one of them met a conflict: none starves, and most tries succeed.
#[derive(Debug)]
pub(crate) struct Contention([FairMutex<()>; 64]);

impl Contention {
    pub(crate) fn new() -> Self {
        Self([const { FairMutex::new(()) }; 64])
    }

    fn of(&self, guard: &Query) -> &FairMutex<()> {
        let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(guard);
        &self.0[hash as usize % self.0.len()]
    }
}

/// Decides and appends. `interrupt` is called once, between the first decision and its append.
pub(crate) fn decide<C: EventCodec, D: Decision<C>>(
    journal: &Journal,
    contention: &Contention,
    decision: &D,
    retries: Retries,
    interrupt: impl FnOnce(),
) -> Result<Decided, DecideError<D::Refusal>> {
    let (mut interrupt, mut tries) = (Some(interrupt), 0);
    let turns = contention.of(&decision.guard());
    // Where others wait already, a first try would only make them conflict again.
    let mut turn = turns.is_locked().then(|| turns.lock());
    loop {
        tries += 1;
        if let Some(seq) = known(journal, decision.key())? {
            return Ok(Decided::Duplicate(seq));
        }
        let (state, head) = read::<C, D>(journal, decision)?;
        let decided = decision.decide(&state);
        if let Some(interrupt) = interrupt.take() {
            interrupt();
        }
        let events = match decided {
            Ok(events) if events.is_empty() => return Ok(Decided::Nothing),
            Ok(events) => events,
            // The state may contain its own events, appended by another call meanwhile.
            Err(refusal) => {
                let known = known(journal, decision.key())?;
                return known.map(Decided::Duplicate).ok_or(DecideError::Refused(refusal));
            }
        };
        let seq = match append::<C, D>(journal, decision, &events, head) {
            Ok(decided) => return Ok(decided),
            Err(AppendError::Journal(Error::Conflict { seq, .. })) => seq,
            // The state contains what was pruned meanwhile.
            Err(AppendError::Journal(Error::Pruned { floor })) => floor,
            Err(error) => return Err(error.into()),
        };
        if tries > retries.0 {
            return Err(DecideError::Contended { tries, seq });
        }
        turn.get_or_insert_with(|| turns.lock());
    }
}

/// The durable record with the key, if there is one.
fn known(journal: &Journal, key: Option<Key>) -> Result<Option<Seq>, AppendError> {
    let found = key.map(|key| journal.find(&key)).transpose()?.flatten();
    if found.is_some() {
        journal.sync()?;
    }
    Ok(found)
}

/// The state over the boundary, and the seq that it was read to.
fn read<C: EventCodec, D: Decision<C>>(
    journal: &Journal,
    decision: &D,
) -> Result<(D::State, Seq), ReadError> {
    let view = journal.view();
    let head = view.head()?;
    let mut state = D::State::default();
    for event in Events::<C>::read(&view, &decision.boundary(), ..head)? {
        match event {
            Ok(event) => decision.evolve(&mut state, &event),
            Err(ReadError::Lost(_)) if decision.accept_lost() => {}
            Err(error) => return Err(error),
        }
    }
    Ok((state, head))
}

/// Appends the events unless the guard matches from `head` on.
fn append<C: EventCodec, D: Decision<C>>(
    journal: &Journal,
    decision: &D,
    events: &[C::Event],
    head: Seq,
) -> Result<Decided, AppendError> {
    let mut batch = encode_all::<C>(events)?;
    if let Some(key) = decision.key() {
        let Some(last) = batch.iter_mut().rfind(|encoded| encoded.key.is_none()) else {
            let reason = "each event of the decision has a key, none is left for the decision's";
            return Err(Error::Refused { reason }.into());
        };
        last.key = Some(key);
    }
    let mut condition = AppendCondition::new(decision.guard());
    condition.accept_lost = decision.accept_lost();
    if head > Seq::FIRST {
        condition = condition.after(Seq(head.0 - 1));
    }
    let records: Vec<NewRecord<'_>> = batch.iter().map(crate::Encoded::as_record).collect();
    Ok(match journal.append_if(&records, &[condition])? {
        Appended::New(first) => {
            Decided::Appended(SeqRange::new(first, first.plus(records.len() as u64)))
        }
        Appended::Duplicate { seq, .. } => Decided::Duplicate(seq),
    })
}
