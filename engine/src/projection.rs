//! [`Projection`]: a view of the journal that can be rebuilt at any time.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use lenslog_journal::{ControlRecord, Day, Kind, Seq, SeqRange};

use crate::{Aside, Checkpoint, EventCodec, Fact, Recorded};

/// The name of a projection, and what its output depends on.
///
/// ```
/// # use lenslog_engine::Spec;
/// # use lenslog_journal::Kind;
/// let spec = Spec::new("balance", 1).kinds(&[Kind(1)]).options("currency=EUR");
/// assert!(spec.wants(Kind(1)) && !spec.wants(Kind(2)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spec {
    /// Its name: lower case, one word.
    pub name: &'static str,
    /// Version of the projection: rises whenever the same events would give another output. A mismatch rebuilds it.
    pub version: u32,
    /// The kinds it wants; `None` for all. The journal's own records always come.
    pub kinds: Option<&'static [Kind]>,
    /// Options that change its output, in a fixed form. A mismatch rebuilds it.
    pub options: String,
}

impl Spec {
    /// A projection that wants every kind and has no options.
    #[must_use]
    pub const fn new(name: &'static str, version: u32) -> Self {
        Self { name, version, kinds: None, options: String::new() }
    }

    /// Sets the kinds that it wants.
    #[must_use]
    pub fn kinds(self, kinds: &'static [Kind]) -> Self {
        Self { kinds: Some(kinds), ..self }
    }

    /// Sets the options that change its output, in a fixed form.
    #[must_use]
    pub fn options(self, options: impl Into<String>) -> Self {
        Self { options: options.into(), ..self }
    }

    /// Whether the projection wants records of this kind.
    #[must_use]
    pub fn wants(&self, kind: Kind) -> bool {
        kind.is_reserved() || self.kinds.is_none_or(|kinds| kinds.contains(&kind))
    }
}

/// How a projection was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// There is nothing: it begins at the start.
    Absent,
    /// It goes on from a checkpoint. What a crash left after it is undone or recognised while records come again.
    At {
        /// How far it is.
        checkpoint: Checkpoint,
        /// Records before it that are needed once more, through [`Projection::restore`].
        needs: BTreeSet<Seq>,
    },
    /// The content is unusable. The rebuild moves it to `*.old-N`; nothing of it is lost.
    Broken {
        /// Path and cause, for the log.
        reason: String,
    },
}

/// Which part of a projection is rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All of it.
    All,
    /// Only the content of these days, both ends included.
    Range(Day, Day),
    /// Only the content of these days.
    Days(BTreeSet<Day>),
}

impl Scope {
    /// Whether a day belongs to it.
    #[must_use]
    pub fn contains(&self, day: Day) -> bool {
        match self {
            Self::All => true,
            Self::Range(from, to) => (*from..=*to).contains(&day),
            Self::Days(days) => days.contains(&day),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(formatter, "all days"),
            Self::Range(from, to) => write!(formatter, "{from} to {to}"),
            Self::Days(days) => {
                let names: Vec<_> = days.iter().map(ToString::to_string).collect();
                formatter.write_str(&names.join(", "))
            }
        }
    }
}

/// What has to last when a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitKind {
    /// What was applied can be seen by others. A power cut may take it back: it is applied again then.
    Visible,
    /// What was applied, and the checkpoint, survive a power cut. A checkpoint that only moved may stay unwritten, so
    /// that an idle system writes next to nothing.
    Durable,
    /// As durable, and the last one: the checkpoint is written in any case.
    Final,
}

/// What a look at a projection's files found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// They are as the projection left them.
    Intact,
    /// They were deleted, replaced or cut: this much must be rebuilt.
    Tampered {
        /// What was found, for the log.
        reason: String,
        /// What to rebuild.
        scope: Scope,
    },
}

/// The error of a projection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// It may pass: a full disk, a lock, a permission, a medium that does not answer. What was not committed is
    /// applied again later.
    #[error("{what} {}: {source}", path.display())]
    Retry {
        /// What was attempted.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another object is in the place of the projection's file or directory, or must not be used; nothing
    /// is touched until it is moved away.
    #[error("{} {problem}; {remedy}", path.display())]
    Blocked {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The content is unusable and must be rebuilt.
    #[error("{reason}")]
    Broken {
        /// Path and cause, for the log.
        reason: String,
    },
    /// This very event cannot be applied, now or later: it is parked. Nothing of it was applied.
    #[error("{reason}")]
    Rejected {
        /// Why.
        reason: String,
    },
}

impl ProjectionError {
    /// Names what was attempted on what, for [`Result::map_err`].
    pub fn retry(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Retry { what, path, source }
    }
}

/// A view of the journal that can be rebuilt at any time.
///
/// # The laws
///
/// With `fold(prefix)` for what a projection is after a prefix of the journal:
///
/// * **L1** `resume(fold(a), b) == fold(a ++ b)`, wherever a crash cuts.
/// * **L2** What was followed live equals what is rebuilt, byte for byte, in any time zone, as often as one likes.
/// * **L3** A rebuild touches nothing it does not own and leaves no less than before if it fails. Where the journal
///   is damaged it replaces nothing unless loss is accepted, and then keeps the old aside.
/// * **L4** A failing projection stops no other and never the journal.
/// * **L5** Nothing is shown that is not yet durable in the journal.
///
/// `laws::check_laws` (feature `simulation`) tests a projection against them.
///
/// # Calls
///
/// Methods are called from one thread at a time. `apply` reads no clock, no environment, no configuration and draws
/// nothing at random: its output depends on the records and on [`Spec::options`] only.
pub trait Projection<V: EventCodec>: Send {
    /// What it is called and what its output depends on.
    fn spec(&self) -> Spec;

    /// Opens what there is, forgetting everything in memory, and returns how far it is. Called again after an error.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`], [`ProjectionError::Blocked`].
    fn open(&mut self) -> Result<Opened, ProjectionError>;

    /// Takes a record from before the checkpoint that [`Opened::At`] asked for. Those that do not come are gone.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Rejected`] where it cannot be what was asked for.
    fn restore(&mut self, record: &Recorded<V::Event>) -> Result<(), ProjectionError> {
        let _ = record;
        Ok(())
    }

    /// Whether everything before this record must be committed durably before it is applied.
    fn must_commit_before(&self, record: &Recorded<V::Event>) -> bool {
        let _ = record;
        false
    }

    /// Applies the next record that it wants.
    ///
    /// # Errors
    ///
    /// Any; after all but [`ProjectionError::Rejected`] the projection is opened again.
    fn apply(&mut self, record: &Recorded<V::Event>) -> Result<(), ProjectionError>;

    /// Whether a record that [`Projection::apply`] rejected earlier could be applied by now. Asked once, after
    /// [`Projection::open`]; nothing of the record may stay.
    ///
    /// # Errors
    ///
    /// As [`Projection::apply`], but for [`ProjectionError::Rejected`].
    fn would_apply(&mut self, record: &Recorded<V::Event>) -> Result<bool, ProjectionError> {
        let _ = record;
        Ok(false)
    }

    /// The journal has lost these records: they will never come.
    fn lost(&mut self, range: SeqRange) {
        let _ = range;
    }

    /// Makes what was applied visible or durable, together with the checkpoint.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`], [`ProjectionError::Broken`].
    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError>;

    /// Everything durable in the journal was applied and committed: any further content of the files is not the
    /// journal's.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`].
    fn caught_up(&mut self) -> Result<(), ProjectionError> {
        Ok(())
    }

    /// Looks whether the files are still those it wrote. Cheap: called every few seconds.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`], [`ProjectionError::Blocked`].
    fn inspect(&mut self) -> Result<Inspection, ProjectionError> {
        Ok(Inspection::Intact)
    }

    /// From here on `apply` builds a second copy beside the first, which stays as it is.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`], [`ProjectionError::Blocked`].
    fn begin_rebuild(&mut self, scope: &Scope) -> Result<(), ProjectionError>;

    /// Puts the copy in place of the first, as of `checkpoint`. The first is moved aside where `keep_old` says how;
    /// else it is removed, for the journal has everything in it.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`], [`ProjectionError::Blocked`]; the first copy is then still in place, or can be had
    /// back by opening.
    fn finish_rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError>;

    /// Discards the copy.
    fn abort_rebuild(&mut self);

    /// The files whose replacement may end the cause of repeated rebuilds: while a rebuild waits, a new inode or
    /// modification time of one of them ends the pause.
    fn watched_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Removes everything that rebuilds moved aside as `.lost-N`; returns the number of files.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`].
    fn remove_lost(&mut self) -> Result<u64, ProjectionError> {
        Ok(0)
    }

    /// Opens what there is for comparison, without changing anything. `None`: there is nothing.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`], [`ProjectionError::Blocked`], [`ProjectionError::Broken`].
    fn verifier(&self) -> Result<Option<Box<dyn Verifier<V>>>, ProjectionError>;
}

/// Compares a projection with the records it was made from.
pub trait Verifier<V: EventCodec>: Send {
    /// How far the projection is: records from there on are not given.
    fn checkpoint(&self) -> &Checkpoint;

    /// Takes the next record that the projection wants.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`] where the projection cannot be read.
    fn apply(&mut self, record: &Recorded<V::Event>) -> Result<(), ProjectionError>;

    /// Whether a record after the checkpoint would change what the projection holds. A checkpoint that only lacks others
    /// is as good as one at the head.
    fn is_changed_by(&self, record: &Recorded<V::Event>) -> bool {
        match &record.fact {
            Fact::Journal(system) => matches!(system, ControlRecord::PrunedThrough(_)),
            _ => true,
        }
    }

    /// The journal has lost these records: what the projection holds of them cannot be checked.
    fn lost(&mut self, range: SeqRange) {
        let _ = range;
    }

    /// What differs, each in one line for an operator; empty where nothing does. At most
    /// [`DIFFERENCES_MAX`] are named.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Retry`] where the projection cannot be read.
    fn finish(self: Box<Self>) -> Result<Vec<String>, ProjectionError>;
}

/// Differences one verification names.
pub const DIFFERENCES_MAX: usize = 20;
