//! [`EventLog`]: a journal of typed events, with projections that follow it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

use lenslog_journal::{Appended, Error, Journal, JournalView, NewRecord, Options, Query, Seq};
use parking_lot::Mutex;

use crate::codec::encode_all;
use crate::decision::{Contention, decide};
use crate::submit::{Submitted, Syncer};
use crate::{
    AppendError, DecideError, Decided, Decision, Encoded, EventCodec, Events, Handle, OnLost,
    Projection, ProjectionState, ProjectionStatus, Reducer, Retries, Runner, RunnerOptions,
    Snapshot,
};

/// A journal of a program's events. Clones are handles on the same log; every method may be called from any thread.
///
/// ```
/// # use lenslog_engine::{CodecError, Encoded, EventCodec, EventLog};
/// # use lenslog_journal::{Kind, Query, Tags};
/// # struct Names;
/// # impl EventCodec for Names {
/// #     type Event = String;
/// #     fn encode(name: &String) -> Result<Encoded, CodecError> {
/// #         Ok(Encoded::new(Kind(1), 1, name.as_bytes().to_vec()).tags(Tags::new([&name[..1]])?))
/// #     }
/// #     fn decode(_: Kind, _: u16, payload: &[u8]) -> Result<Option<String>, CodecError> {
/// #         Ok(Some(std::str::from_utf8(payload)?.to_owned()))
/// #     }
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let (log, ()) = EventLog::<Names>::open(directory.path())?.start()?;
/// log.append(&"anna".to_owned())?; // durable when it returns
/// for event in log.read(&Query::tag("a"), ..)? {
///     assert_eq!(event?.event, "anna");
/// }
/// # Ok(())
/// # }
/// ```
pub struct EventLog<C> {
    inner: Arc<Inner>,
    codec: PhantomData<fn() -> C>,
}

/// Ends in the order of the fields: the projections first.
#[derive(Debug)]
struct Inner {
    runner: Runner,
    /// Started by the first submit.
    syncer: Mutex<Option<Syncer>>,
    journal: Journal,
    contention: Contention,
}

impl<C: EventCodec> EventLog<C> {
    /// Opens the journal in a directory, or creates it, and recovers it after an abnormal end.
    ///
    /// Then name the projections that follow it, and [start](EventLogBuilder::start).
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<EventLogBuilder<C>, Error> {
        Self::open_with(directory, &Options::default())
    }

    /// As [`EventLog::open`], with the journal's options.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::open`].
    pub fn open_with(
        directory: impl AsRef<Path>,
        options: &Options,
    ) -> Result<EventLogBuilder<C>, Error> {
        Ok(Self::on(Journal::open(directory, options)?))
    }

    /// A log on a journal that is open already.
    pub fn on(journal: Journal) -> EventLogBuilder<C> {
        let options = RunnerOptions::default();
        EventLogBuilder { journal, projections: Vec::new(), options, handles: () }
    }

    /// Appends an event and returns once it survives a power cut; returns its seq.
    ///
    /// If a retained record has its key, nothing is appended, and the seq is that of the retained record.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; nothing was appended, except after [`Error::Sync`].
    pub fn append(&self, event: &C::Event) -> Result<Seq, AppendError> {
        self.append_batch(std::slice::from_ref(event)).map(Appended::seq)
    }

    /// Appends events as one batch: after any crash all of them are there, or none.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; nothing was appended, except after [`Error::Sync`].
    pub fn append_batch(&self, events: &[C::Event]) -> Result<Appended, AppendError> {
        let batch = encode_all::<C>(events)?;
        let records: Vec<NewRecord<'_>> = batch.iter().map(Encoded::as_record).collect();
        Ok(self.inner.journal.append(&records)?)
    }

    /// Appends events as one batch without waiting for the sync: a thread that the first call starts does that.
    ///
    /// The events survive the end of this process when this returns, and a power cut when the result is ready. The call
    /// blocks for a write, and for a sync when too much waits already.
    ///
    /// # Errors
    ///
    /// [`AppendError`]; nothing was appended, except after [`Error::Sync`].
    pub fn submit(&self, events: &[C::Event]) -> Result<Submitted, AppendError> {
        let Inner { journal, syncer, .. } = &*self.inner;
        let batch = encode_all::<C>(events)?;
        let records: Vec<NewRecord<'_>> = batch.iter().map(Encoded::as_record).collect();
        let sender = {
            let mut syncer = syncer.lock();
            let started = syncer.take().map_or_else(|| Syncer::start(journal), Ok)?;
            syncer.insert(started).sender()
        };
        let appended = journal.append_unsynced(&records)?;
        Ok(sender.submit(appended, records.len() as u64))
    }

    /// The durable events that match a query, in order. A range without a beginning begins at the floor.
    ///
    /// Cost: with an index, reads the frames that match; without one, the range.
    ///
    /// # Errors
    ///
    /// The errors of [`Events::read`].
    pub fn read(&self, query: &Query, range: impl RangeBounds<Seq>) -> Result<Events<C>, Error> {
        Events::read(&self.view(), query, range)
    }

    /// Decides and appends the result, durably, unless it was invalidated meanwhile: then it decides again.
    ///
    /// Cost: reads the boundary once a try.
    ///
    /// # Errors
    ///
    /// [`DecideError`]; nothing was appended, except after [`Error::Sync`].
    pub fn decide<D: Decision<C>>(
        &self,
        decision: &D,
        retries: Retries,
    ) -> Result<Decided, DecideError<D::Refusal>> {
        let Inner { journal, contention, .. } = &*self.inner;
        decide(journal, contention, decision, retries, || ())
    }

    /// The journal, for everything else: pruning, health, statistics.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// A view to read from.
    #[must_use]
    pub fn view(&self) -> JournalView {
        self.inner.journal.view()
    }

    /// The projections: their status, waiting for them, rebuilding one.
    #[must_use]
    pub fn runner(&self) -> &Runner {
        &self.inner.runner
    }

    /// Stops the projections, makes everything durable and closes the journal, for every handle.
    ///
    /// Dropping the last handle does the same, and only logs errors.
    ///
    /// # Errors
    ///
    /// The errors of [`Journal::close`]; the journal is still open then.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.runner.stop();
        let syncer = self.inner.syncer.lock().take();
        drop(syncer);
        self.inner.journal.close()
    }
}

impl<C> Clone for EventLog<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), codec: PhantomData }
    }
}

impl<C> fmt::Debug for EventLog<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

/// Names the projections of an [`EventLog`]. `H` are the handles on those that are reducers.
#[must_use = "a log is opened by `start`"]
pub struct EventLogBuilder<C: EventCodec, H = ()> {
    journal: Journal,
    projections: Vec<Box<dyn Projection<C>>>,
    options: RunnerOptions,
    handles: H,
}

impl<C: EventCodec, H: Handles> EventLogBuilder<C, H> {
    /// Adds a reducer, kept in a file: its name in the log's directory, or a path.
    pub fn reduce<R: Reducer<C>>(
        self,
        file: impl AsRef<Path>,
    ) -> EventLogBuilder<C, H::With<Handle<R>>> {
        let view = self.journal.view();
        let snapshot = Snapshot::<R>::new(Arc::clone(view.storage()), view.root().join(file));
        let handles = self.handles.with(snapshot.handle::<C>());
        let Self { journal, mut projections, options, .. } = self;
        projections.push(Box::new(snapshot));
        EventLogBuilder { journal, projections, options, handles }
    }
}

impl<C: EventCodec, H> EventLogBuilder<C, H> {
    /// Adds any projection.
    pub fn projection(mut self, projection: impl Projection<C> + 'static) -> Self {
        self.projections.push(Box::new(projection));
        self
    }

    /// Sets the intervals of the projections.
    pub fn runner_options(self, options: RunnerOptions) -> Self {
        Self { options, ..self }
    }

    /// Starts to follow: one thread a projection. Losses that a projection meets are journaled.
    ///
    /// Returns the log, and the handles in the order of [`EventLogBuilder::reduce`]: `()`, one, or a tuple.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn start(self) -> Result<(EventLog<C>, H), StartError> {
        let Self { journal, projections, options, handles } = self;
        let mut names: Vec<_> = projections.iter().map(|one| one.spec().name).collect();
        names.sort_unstable();
        if let Some(two) = names.windows(2).find(|two| two[0] == two[1]) {
            return Err(StartError::SameName { name: two[0] });
        }
        let on_lost: OnLost = {
            let journal = journal.clone();
            Arc::new(move |lost| {
                if let Err(error) = journal.report_lost(lost) {
                    tracing::warn!(%error, "journal: a loss was not journaled; a later reader reports it again");
                }
            })
        };
        let runner = Runner::start_with(&journal.view(), projections, on_lost, &options);
        let is_stopped = |status: &ProjectionStatus| status.state == ProjectionState::Stopped;
        if let Some(ProjectionStatus { name, last_error: Some(reason), .. }) =
            runner.status().into_iter().find(is_stopped)
        {
            return Err(StartError::Thread { name, reason });
        }
        let (syncer, contention) = (Mutex::default(), Contention::new());
        let inner = Inner { runner, syncer, journal, contention };
        Ok((EventLog { inner: Arc::new(inner), codec: PhantomData }, handles))
    }
}

impl<C: EventCodec, H: fmt::Debug> fmt::Debug for EventLogBuilder<C, H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("EventLogBuilder");
        debug.field("journal", &self.journal).field("handles", &self.handles);
        debug.finish_non_exhaustive()
    }
}

/// Why a log was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two projections have the same name.
    #[error("projection {name}: two have this name; give each its own")]
    SameName {
        /// The name.
        name: &'static str,
    },
    /// A thread could not be started, or ended at once.
    #[error("projection {name}: {reason}")]
    Thread {
        /// The projection.
        name: &'static str,
        /// The problem and the remedy.
        reason: String,
    },
}

/// The handles of a builder: none, one, or a tuple of up to four.
pub trait Handles: sealed::Sealed {
    /// These and another one.
    type With<T>;

    /// Adds one.
    fn with<T>(self, added: T) -> Self::With<T>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! handles {
    ($([$($type:ident),*] $self:ty => $pattern:pat, $added:ident, $with:ty, $value:expr;)*) => {$(
        impl<$($type),*> sealed::Sealed for $self {}
        impl<$($type),*> Handles for $self {
            type With<T> = $with;

            fn with<T>(self, $added: T) -> Self::With<T> {
                let $pattern = self;
                $value
            }
        }
    )*};
}

handles! {
    [] () => (), t, T, t;
    [A] Handle<A> => a, t, (Self, T), (a, t);
    [A, B] (Handle<A>, Handle<B>) => (a, b), t, (Handle<A>, Handle<B>, T), (a, b, t);
    [A, B, D] (Handle<A>, Handle<B>, Handle<D>) => (a, b, d), t, (Handle<A>, Handle<B>, Handle<D>, T), (a, b, d, t);
}
