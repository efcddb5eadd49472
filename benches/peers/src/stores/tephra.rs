//! tephra: its writer thread syncs the segment for all that wait.

use std::path::Path;

use anyhow::Result;
use tephra::{
    AppendCondition, AppendError, EventType, Position, Query, QueryItem, SegmentConfig, SegmentSet,
    Tag, Tags, WriteCoordinator, WriteHandle, WriterConfig,
};

use super::{EventStore, Store};
use crate::event::{Event, Filter};

pub struct Tephra {
    coordinator: Option<WriteCoordinator>,
    handle: WriteHandle,
}

impl Tephra {
    pub fn open(directory: &Path, small: bool) -> Result<Self> {
        let bytes = if small { 16 << 20 } else { 256 << 20 };
        let set = SegmentSet::open(directory, SegmentConfig::new(bytes))?;
        let (coordinator, handle) = WriteCoordinator::start(set, WriterConfig::default())?;
        Ok(Self { coordinator: Some(coordinator), handle })
    }

    fn append_with(&self, events: &[Event], guard: Option<AppendCondition>) -> Result<bool> {
        let event = |event: &Event| -> Result<tephra::Event> {
            let tags = tags(&event.tags)?;
            Ok(tephra::Event::new(&kind(event.kind)?, &tags, &event.payload)?)
        };
        let events = events.iter().map(event).collect::<Result<Vec<_>>>()?;
        match self.handle.append(events, guard) {
            Ok(_) => Ok(true),
            Err(AppendError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn kind(kind: u16) -> Result<EventType> {
    Ok(EventType::new(format!("kind-{kind}"))?)
}

fn tags(tags: &[String]) -> Result<Tags> {
    let tags = tags.iter().map(|tag| Tag::new(tag.as_str())).collect::<Result<Vec<_>, _>>()?;
    Ok(Tags::new(tags)?)
}

fn query(filter: &Filter) -> Result<Query> {
    let kinds = filter.kind.map(kind).transpose()?.into_iter().collect();
    Ok(Query::item(QueryItem::new(kinds, tags(&filter.tags)?)))
}

impl Store for Tephra {
    fn append(&self, events: &[Event]) -> Result<()> {
        self.append_with(events, None).map(drop)
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.read_query(&Query::all(), 0, each).map(drop)
    }

    fn events(&self) -> Option<&dyn EventStore> {
        Some(self)
    }
}

impl Tephra {
    fn read_query(&self, query: &Query, after: u64, each: &mut dyn FnMut(&[u8])) -> Result<u64> {
        let mut reads = self.handle.read(query, Position::new(after), None);
        let mut last = after;
        while let Some(item) = reads.next() {
            let item = item?;
            each(item.event.data());
            last = item.position.get();
        }
        Ok(last)
    }
}

impl EventStore for Tephra {
    fn append_unless(&self, events: &[Event], filter: &Filter, after: u64) -> Result<bool> {
        let condition = AppendCondition::new(query(filter)?);
        let condition = if after == 0 { condition } else { condition.after(Position::new(after)) };
        self.append_with(events, Some(condition))
    }

    fn read(&self, filter: &Filter, after: u64, each: &mut dyn FnMut(&[u8])) -> Result<u64> {
        self.read_query(&query(filter)?, after, each)
    }

    fn head(&self) -> Result<u64> {
        Ok(self.handle.head().get())
    }
}

impl Drop for Tephra {
    fn drop(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.shutdown();
        }
    }
}
