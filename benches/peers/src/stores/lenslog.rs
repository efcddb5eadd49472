//! Lenslog's journal.

use std::path::Path;

use anyhow::{Result, bail};
use lenslog_journal::{
    AppendCondition, Entry, Error, Journal, Kind, NewRecord, Options, Query, ReaderOptions, Seq,
    Tags,
};

use super::{EventStore, Store};
use crate::event::{Event, Filter};

pub struct Lenslog(Journal);

impl Lenslog {
    pub fn open(directory: &Path) -> Result<Self> {
        Ok(Self(Journal::open(directory, &Options::default())?))
    }

    /// Whether the events were appended.
    fn append_with(&self, events: &[Event], conditions: &[AppendCondition]) -> Result<bool> {
        let tags =
            events.iter().map(|event| Tags::new(&event.tags)).collect::<Result<Vec<_>, _>>()?;
        let records: Vec<_> = events
            .iter()
            .zip(&tags)
            .map(|(event, tags)| {
                NewRecord::new(Kind(event.kind), 1, &event.payload).tags(tags.list())
            })
            .collect();
        let appended = match conditions {
            [] => self.0.append(&records),
            conditions => self.0.append_if(&records, conditions),
        };
        match appended {
            Ok(_) => Ok(true),
            Err(Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Store for Lenslog {
    fn append(&self, events: &[Event]) -> Result<()> {
        self.append_with(events, &[]).map(drop)
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        read(&self.0, Seq::FIRST, ReaderOptions::default(), each).map(drop)
    }

    fn events(&self) -> Option<&dyn EventStore> {
        Some(self)
    }
}

impl EventStore for Lenslog {
    fn append_unless(&self, events: &[Event], filter: &Filter, after: u64) -> Result<bool> {
        let condition = AppendCondition::new(query(filter));
        let condition = if after == 0 { condition } else { condition.after(Seq(after)) };
        self.append_with(events, &[condition])
    }

    fn read(&self, filter: &Filter, after: u64, each: &mut dyn FnMut(&[u8])) -> Result<u64> {
        let options = ReaderOptions::default().query(query(filter));
        read(&self.0, Seq(after + 1).max(Seq::FIRST), options, each).map(|last| last.max(after))
    }

    fn head(&self) -> Result<u64> {
        Ok(self.0.view().head()?.0 - 1)
    }
}

fn query(filter: &Filter) -> Query {
    Query::item(filter.kind.map(Kind), &filter.tags)
}

/// Reads from a seq on; returns the last seq.
fn read(
    journal: &Journal,
    from: Seq,
    options: ReaderOptions,
    each: &mut dyn FnMut(&[u8]),
) -> Result<u64> {
    let mut reader = journal.view().reader(from, options)?;
    let mut last = 0;
    while let Some(entry) = reader.next()? {
        match entry {
            Entry::Record(record) if record.kind.is_reserved() => {}
            Entry::Record(record) => {
                each(record.payload);
                last = record.seq.0;
            }
            Entry::Lost(lost) => bail!("lost: {lost:?}"),
        }
    }
    Ok(last)
}
