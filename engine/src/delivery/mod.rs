//! [`Delivery`]: an effect outside of the program, such as a message, for records of the journal.
//!
//! A projection may be rebuilt at will; an effect must not be repeated by a rebuild. A delivery therefore has a cursor that
//! only deliveries move, and laws of its own:
//!
//! | law | says |
//! |---|---|
//! | E1 | nothing is sent before it is durable |
//! | E2 | every record is sent at least once, with the same [id](MessageId) each time; after a crash it resumes at its cursor |
//! | E3 | rebuilding, verifying and restoring send nothing |
//! | E4 | a dead receiver stops neither appends nor other deliveries, nor pruning |
//! | E5 | what cannot be delivered is parked, listed and replayable; it never counts as delivered |
//! | E6 | lost and pruned records are reported as a [`DeliveryGap`] |
//! | E7 | the cursor names journal, incarnation, seq and digest of the last record, so that a restored copy is noticed |
//!
//! | module | task |
//! |---|---|
//! | `mod.rs` | the trait, its messages and outcomes |
//! | `cursor.rs` | the file of a delivery: how far it is, what is open, what is parked |
//! | `opened.rs` | where it begins or continues |
//! | `sender.rs` | what is sent next, given outcomes and the time |
//! | `worker.rs` | a thread for each delivery; its status |

mod cursor;
mod opened;
mod sender;
mod worker;

use std::fmt;
use std::time::Duration;

use lenslog_journal::{Query, Seq, SeqRange, Timestamp};

use crate::{EventCodec, Recorded};

pub use cursor::{
    CursorError, DeliveryCursor, OPEN_MAX, PARKED_MESSAGES_MAX, ParkedMessage, SenderError,
};
pub use sender::Sender;
pub use worker::{
    Deliveries, DeliveriesOptions, DeliveryError, DeliveryState, DeliveryStatus, OnNotice,
};

/// Sends what happened to a receiver outside of this program.
///
/// Runs in a thread of its own ([`Deliveries`]). It may block, with a time limit: only its own messages wait.
pub trait Delivery<V: EventCodec>: Send {
    /// Its name and how it is run.
    fn spec(&self) -> DeliverySpec;

    /// Sends one message. The same message comes again, with the same id, until it is delivered, refused for good, or
    /// replayed.
    fn deliver(&mut self, message: &Message<'_, V::Event>) -> DeliveryOutcome;

    /// Reports records that will never be sent: they are lost, or were pruned before they could be sent. By default the gap
    /// is only logged.
    fn gap(&mut self, gap: &DeliveryGap) -> DeliveryOutcome {
        let _ = gap;
        DeliveryOutcome::Delivered
    }
}

/// How a delivery is run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliverySpec {
    /// Its name; that of its cursor's file, too. Lower case letters, digits, `-` and `_`.
    pub name: String,
    /// Where it begins without a cursor.
    pub begin: Begin,
    /// The records that it wants.
    pub query: Query,
    /// Pauses before a refused message is sent again; after the last one it is parked. Meanwhile others overtake it. Empty:
    /// a refused message is parked at once, and the order is kept.
    pub retries: Vec<Duration>,
}

impl DeliverySpec {
    /// A delivery of every record, which begins at the head and parks what is refused.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let (begin, query) = (Begin::Head, Query::all());
        Self { name: name.into(), begin, query, retries: Vec::new() }
    }

    /// Begins here where there is no cursor.
    #[must_use]
    pub fn begin(self, begin: Begin) -> Self {
        Self { begin, ..self }
    }

    /// Only these records.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        Self { query, ..self }
    }

    /// Sends a refused message again after these pauses.
    #[must_use]
    pub fn retries(self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        Self { retries: pauses.into_iter().collect(), ..self }
    }
}

/// Where a delivery without a cursor begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With what is appended from now on.
    Head,
    /// With the first retained record.
    Floor,
}

/// The name of a message: the same for every attempt, in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The journal.
    pub journal: [u8; 16],
    /// Its incarnation.
    pub incarnation: [u8; 16],
    /// The record.
    pub seq: Seq,
    /// The first bytes of the record's digest.
    pub digest: [u8; 4],
}

/// `<journal>.<incarnation>.<seq>.<8 hexadecimal digits of the digest>`
impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (journal, incarnation) =
            (u128::from_be_bytes(self.journal), u128::from_be_bytes(self.incarnation));
        let digest = u32::from_be_bytes(self.digest);
        write!(formatter, "{journal:032x}.{incarnation:032x}.{}.{digest:08x}", self.seq)
    }
}

/// One attempt to deliver a record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Message<'a, E> {
    /// Its name.
    pub id: MessageId,
    /// The record.
    pub record: &'a Recorded<E>,
    /// How often it was sent before.
    pub attempts: u32,
    /// How long ago it was appended; `None`: that is not known, because the clock is not trusted.
    pub age: Option<Duration>,
}

impl<'a, E> Message<'a, E> {
    /// A message, as the tests of a delivery make it.
    #[must_use]
    pub const fn new(
        id: MessageId,
        record: &'a Recorded<E>,
        attempts: u32,
        age: Option<Duration>,
    ) -> Self {
        Self { id, record, attempts, age }
    }
}

/// The receiver's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryOutcome {
    /// It has the message, or does not want it.
    Delivered,
    /// It takes nothing at the moment: no connection, or an error of its own. Everything waits: 1, 2, 4 … 60 s, or as long
    /// as the receiver says.
    Down {
        /// The problem, for the operator.
        reason: String,
        /// What the receiver asks for, up to an hour.
        retry_after: Option<Duration>,
    },
    /// It does not take this message; it may take others.
    Refused {
        /// The problem, for the operator.
        reason: String,
    },
    /// It wants no more messages. Nothing is sent until the program starts again.
    Disabled {
        /// The problem, for the operator.
        reason: String,
    },
}

/// Records that will never be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryGap {
    /// Their seqs.
    pub range: SeqRange,
    /// Why.
    pub cause: GapCause,
}

/// Why records will never be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// The journal has lost them.
    Lost,
    /// They were pruned before they could be sent.
    Pruned,
    /// The journal is a restored copy: another record has this seq now.
    Replaced,
}

impl DeliveryGap {
    /// The gap of these seqs; `None` if there are none.
    fn of(range: SeqRange, cause: GapCause) -> Option<Self> {
        (!range.is_empty()).then_some(Self { range, cause })
    }
}

impl fmt::Display for DeliveryGap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.cause {
            GapCause::Lost => "lost by the journal",
            GapCause::Pruned => "pruned before they were sent",
            GapCause::Replaced => "replaced by a restored copy",
        };
        write!(formatter, "records {} to {} are {cause}", self.range.from, self.range.to.0 - 1)
    }
}

/// The time of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// A clock that is never set.
    pub monotonic: Duration,
    /// The wall clock; `None` while it is not trusted.
    pub wall: Option<Timestamp>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Something was sent or passed: the next step may follow at once.
    Again,
    /// Nothing can be sent before this time of the monotonic clock.
    At(Duration),
    /// Everything is sent: the next step follows when the journal has grown, or at this time.
    Head(Option<Duration>),
    /// Parked messages fill their list: an operator has to replay or discard some.
    Full,
    /// The receiver wants no more.
    Disabled,
}

/// What a delivery has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliveryNotice {
    /// There was no cursor: it begins here.
    Begun {
        /// The first seq that may be sent.
        from: Seq,
    },
    /// The journal is a restored copy: from this seq on it differs from what was sent.
    Restored {
        /// The first seq that is sent again or is another record now.
        from: Seq,
    },
    /// The receiver is down, or wants no more. Said once.
    Failing {
        /// The problem.
        reason: String,
    },
    /// The receiver takes messages again. Said once.
    Recovered,
    /// A message was refused for good.
    Parked {
        /// Its record.
        seq: Seq,
        /// The problem.
        reason: String,
    },
    /// Records will never be sent.
    Gap(DeliveryGap),
}
