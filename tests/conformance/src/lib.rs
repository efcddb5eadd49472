//! The journal as an event store: each event is a record, its type a kind, its tags the record's tags.
//!
//! Names of types are journaled as records of [`TYPE`], so that every handle and every opening gives a type the same kind.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_core::Stream;
use happenstance_core::{
    AppendCondition, AppendError, ConditionViolated, Event, EventId, Query, ReadOptions,
    RecordedAt, SendEventStore, SequencePosition, SequencedEvent, StoreId, StoreLimit, Tag,
};
use lenslog_journal as journal;
use lenslog_journal::{Entry, Error, Journal, Kind, NewRecord, ReaderOptions, Record, Seq, Tags};

/// The kind of the records that name a type of events. Types have the kinds after it, in the order of these records.
const TYPE: Kind = Kind(1);

/// Why a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] Error),
    /// A record is no event.
    #[error("record {seq}: {reason}")]
    Record {
        /// Its seq.
        seq: Seq,
        /// The problem.
        reason: &'static str,
    },
}

/// A handle on an event store. Clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct LenslogStore {
    journal: Journal,
    types: Arc<Mutex<HashMap<String, Kind>>>,
}

impl LenslogStore {
    /// A store in this journal.
    pub fn new(journal: Journal) -> Result<Self, StoreError> {
        let store = Self { journal, types: Arc::default() };
        store.read_types()?;
        Ok(store)
    }

    fn read_types(&self) -> Result<(), StoreError> {
        let options = ReaderOptions::default().query(journal::Query::kinds([TYPE]));
        let mut reader = self.journal.view().reader(Seq::FIRST, options)?;
        let mut types = self.types.lock().expect("no handle panics");
        types.clear();
        while let Some(record) = next(&mut reader)? {
            let name = String::from_utf8_lossy(record.payload).into_owned();
            let kind = Kind(TYPE.0 + 1 + types.len() as u16);
            types.insert(name, kind);
        }
        Ok(())
    }

    /// The kind of a type of events, which is journaled when it is met first.
    fn kind_of(&self, name: &str) -> Result<Kind, StoreError> {
        let known = || self.types.lock().expect("no handle panics").get(name).copied();
        while known().is_none() {
            let after = self.journal.view().last(journal::Query::kinds([TYPE]))?;
            let condition = journal::AppendCondition::new(journal::Query::kinds([TYPE]));
            let condition = match after {
                Some(last) => condition.after(last.seq),
                None => condition,
            };
            self.read_types()?;
            if known().is_none() {
                let record = NewRecord::new(TYPE, 1, name.as_bytes());
                match self.journal.append_if(&[record], &[condition]) {
                    Ok(_) | Err(Error::Conflict { .. }) => self.read_types()?,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(known().unwrap_or(TYPE))
    }

    fn query_of(&self, query: &Query) -> Result<journal::Query, StoreError> {
        let Some(items) = query.items() else { return Ok(self.all()) };
        let mut all = journal::Query::default();
        for item in items {
            let mut kinds = Vec::new();
            for name in item.types() {
                kinds.push(self.kind_of(name.as_str())?);
            }
            let tags = item.tags().iter().map(Tag::as_str);
            all = all.or(journal::Query::item(kinds, tags));
        }
        Ok(all)
    }

    /// Every event: the records of all kinds but that of types are told apart where they are read.
    fn all(&self) -> journal::Query {
        journal::Query::all()
    }

    fn read_all(
        &self,
        query: &Query,
        options: ReadOptions,
    ) -> Result<Vec<SequencedEvent>, StoreError> {
        let query = self.query_of(query)?;
        let seq = |position: Option<SequencePosition>| position.map(|position| Seq(position.get()));
        let (from, to) = match options.backwards {
            true => (seq(options.to), seq(options.from)),
            false => (seq(options.from), seq(options.to)),
        };
        let view = self.journal.view();
        // The names of types, as of now: a record of a later type has a later seq.
        let head = view.head()?;
        self.read_types()?;
        let names: HashMap<Kind, String> = {
            let types = self.types.lock().expect("no handle panics");
            types.iter().map(|(name, kind)| (*kind, name.clone())).collect()
        };
        let until = to.map_or(head, |to| Seq(to.0.saturating_add(1))).min(head);
        let reading = ReaderOptions::default().query(query).until(until);
        let from = from.unwrap_or(Seq::FIRST);
        let limit = options.limit.unwrap_or(usize::MAX);
        let mut events = Vec::new();
        if limit == 0 || from >= until {
            return Ok(events);
        }
        let mut take = |record: &Record<'_>| -> Result<bool, StoreError> {
            if record.kind != TYPE {
                events.push(self.event_of(record, &names)?);
            }
            Ok(events.len() < limit)
        };
        if options.backwards {
            let mut reader = view.reader_backward(from, reading)?;
            while let Some(entry) = reader.next()? {
                if !take(&whole(entry)?)? {
                    break;
                }
            }
        } else {
            let mut reader = view.reader(from, reading)?;
            while let Some(record) = next(&mut reader)? {
                if !take(&record)? {
                    break;
                }
            }
        }
        Ok(events)
    }

    fn event_of(
        &self,
        record: &Record<'_>,
        names: &HashMap<Kind, String>,
    ) -> Result<SequencedEvent, StoreError> {
        let problem = |reason| StoreError::Record { seq: record.seq, reason };
        let name = names.get(&record.kind).ok_or(problem("its type has no name"))?;
        let (len, rest) = record.payload.split_first_chunk().ok_or(problem("it has no length"))?;
        let (data, metadata) = rest
            .split_at_checked(u32::from_le_bytes(*len) as usize)
            .ok_or(problem("it is too short"))?;
        let tags: Result<Vec<Tag>, _> = record
            .tags
            .iter()
            .map(|tag| Tag::new(String::from_utf8_lossy(tag).into_owned()))
            .collect();
        let event =
            Event::new(name.clone(), data.to_vec()).map_err(|_| problem("its type is invalid"))?;
        let event =
            event.with_tags(tags.map_err(|_| problem("a tag is invalid"))?.into_iter().collect());
        let event = match metadata.split_first() {
            Some((_, metadata)) => event.with_metadata(metadata.to_vec()),
            None => event,
        };
        let position = SequencePosition::new(record.seq.0).ok_or(problem("its seq is 0"))?;
        let id = EventId::new(StoreId::from_bytes(self.journal.view().journal_id()), position);
        let recorded_at = RecordedAt::from_millis(record.time.utc_micros.div_euclid(1000));
        Ok(SequencedEvent::new(position, id, recorded_at, event))
    }

    fn append_all(
        &self,
        events: &[Event],
        condition: Option<&AppendCondition>,
    ) -> Result<SequencePosition, AppendError<StoreError>> {
        let failed = |error: StoreError| AppendError::Store(error);
        if events.is_empty() {
            return Err(AppendError::NoEvents);
        }
        let mut parts = Vec::with_capacity(events.len());
        for event in events {
            let kind = self.kind_of(event.event_type().as_str()).map_err(failed)?;
            let mut payload = (event.data().len() as u32).to_le_bytes().to_vec();
            payload.extend_from_slice(event.data());
            if let Some(metadata) = event.metadata() {
                payload.push(1);
                payload.extend_from_slice(metadata);
            }
            let tags = Tags::new(event.tags().iter().map(Tag::as_str)).map_err(|_| {
                let (limit, len) = (StoreLimit::TagsPerEvent, event.tags().len());
                AppendError::ExceedsStoreLimit { limit, len }
            })?;
            parts.push((kind, payload, tags));
        }
        let records: Vec<_> = parts
            .iter()
            .map(|(kind, payload, tags)| NewRecord::new(*kind, 1, payload).tags(tags.list()))
            .collect();
        let next_seq = self.journal.next_seq();
        let mut conditions = Vec::new();
        for guard in condition.map_or(&[][..], AppendCondition::guards) {
            let query = self.query_of(&guard.query).map_err(failed)?;
            let condition =
                journal::AppendCondition::new(without_types(query, guard.query.is_all()));
            conditions.push(match guard.after {
                // The journal refuses a seq that it has not reached; here such a position means the head.
                Some(after) => {
                    condition.after(Seq(after.get()).min(Seq(next_seq.0.saturating_sub(1))))
                }
                None => condition,
            });
        }
        match self.journal.append_if(&records, &conditions) {
            Ok(appended) => {
                let last = appended.seq().0 + records.len() as u64 - 1;
                Ok(SequencePosition::new(last).unwrap_or(SequencePosition::FIRST))
            }
            Err(Error::Conflict { seq, .. }) => {
                let position = SequencePosition::new(seq.0).unwrap_or(SequencePosition::FIRST);
                Err(ConditionViolated::at(position).into())
            }
            Err(Error::TooLarge { what, found, .. }) => {
                let limit = match what {
                    "number of records" => StoreLimit::EventsPerBatch,
                    _ => StoreLimit::EventDataLen,
                };
                Err(AppendError::ExceedsStoreLimit { limit, len: found as usize })
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// A condition on every event holds for events only: the record that names a type is none.
fn without_types(query: journal::Query, is_all: bool) -> journal::Query {
    let kinds = (TYPE.0 + 1..TYPE.0 + 1 + 64 * 8).collect::<Vec<_>>();
    match is_all {
        true => kinds.chunks(64).fold(journal::Query::default(), |all, kinds| {
            all.or(journal::Query::kinds(kinds.iter().map(|kind| Kind(*kind))))
        }),
        false => query,
    }
}

fn whole(entry: Entry<'_>) -> Result<Record<'_>, StoreError> {
    match entry {
        Entry::Record(record) => Ok(record),
        Entry::Lost(lost) => Err(Error::Lost(lost).into()),
    }
}

fn next(reader: &mut journal::Reader) -> Result<Option<Record<'_>>, StoreError> {
    reader.next()?.map(whole).transpose()
}

/// The events of one read, which were collected when it began.
struct Snapshot(std::vec::IntoIter<Result<SequencedEvent, StoreError>>);

impl Stream for Snapshot {
    type Item = Result<SequencedEvent, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

impl SendEventStore for LenslogStore {
    type Error = StoreError;

    fn read(
        &self,
        query: &Query,
        options: ReadOptions,
    ) -> impl Stream<Item = Result<SequencedEvent, Self::Error>> + Send {
        let events = match self.read_all(query, options) {
            Ok(events) => events.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Snapshot(events.into_iter())
    }

    async fn append(
        &self,
        events: &[Event],
        condition: Option<&AppendCondition>,
    ) -> Result<SequencePosition, AppendError<Self::Error>> {
        self.append_all(events, condition)
    }

    async fn head(&self) -> Result<Option<SequencePosition>, Self::Error> {
        let options = ReadOptions::new().backwards().limit(1);
        Ok(self.read_all(&Query::all(), options)?.first().map(|event| event.position))
    }

    async fn contains_event_id(&self, id: EventId) -> Result<bool, Self::Error> {
        let view = self.journal.view();
        if id.store() != StoreId::from_bytes(view.journal_id()) {
            return Ok(false);
        }
        let found = view.get(Seq(id.position().get()))?;
        Ok(found.is_some_and(|record| record.kind > TYPE && !record.kind.is_reserved()))
    }
}
