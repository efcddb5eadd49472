//! umadb-core through its writer thread: two threads that write by themselves corrupt it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{
    DcbAppendCondition, DcbError, DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem,
};

use super::{EventStore, Store};
use crate::event::{Event, Filter};

pub struct Umadb {
    mvcc: Arc<Mvcc>,
    requests: mpsc::Sender<WriterThreadRequest>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Umadb {
    pub fn open(directory: &Path) -> Result<Self> {
        let options = StorageOptions::default().db_path(directory);
        let mvcc = Arc::new(Mvcc::new(false, options)?);
        let (requests, receiver) = mpsc::channel(1024);
        let (head, _) = watch::channel(None);
        let shared = Arc::clone(&mvcc);
        let thread =
            std::thread::spawn(move || writer_thread_blocking(shared, receiver, head, 2000));
        Ok(Self { mvcc, requests, thread: Some(thread) })
    }

    fn database(&self) -> UmaDb {
        UmaDb::from_arc(Arc::clone(&self.mvcc))
    }

    fn append_with(&self, events: &[Event], condition: Option<DcbAppendCondition>) -> Result<bool> {
        let event = |event: &Event| {
            let kind = format!("kind-{}", event.kind);
            DcbEvent::new().event_type(kind).tags(event.tags.clone()).data(event.payload)
        };
        let (response_tx, response) = oneshot::channel();
        let request = WriterThreadRequest::Append {
            events: events.iter().map(event).collect(),
            condition,
            tracking_info: None,
            response_tx,
            cancel: None,
        };
        self.requests.blocking_send(request).ok().context("the writer thread has ended")?;
        match response.blocking_recv()? {
            Ok(_) => Ok(true),
            Err(DcbError::IntegrityError(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read_query(
        &self,
        query: Option<DcbQuery>,
        after: u64,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<u64> {
        let mut last = after;
        for event in self.database().read(query, Some(after + 1), false, None)? {
            let event = event?;
            each(&event.event.data);
            last = event.position;
        }
        Ok(last)
    }
}

fn query(filter: &Filter) -> DcbQuery {
    let item = DcbQueryItem::new().tags(filter.tags.clone());
    let item = match filter.kind {
        Some(kind) => item.types([format!("kind-{kind}")]),
        None => item,
    };
    DcbQuery::new().item(item)
}

impl Store for Umadb {
    fn append(&self, events: &[Event]) -> Result<()> {
        self.append_with(events, None).map(drop)
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.read_query(None, 0, each).map(drop)
    }

    fn events(&self) -> Option<&dyn EventStore> {
        Some(self)
    }
}

impl EventStore for Umadb {
    fn append_unless(&self, events: &[Event], filter: &Filter, after: u64) -> Result<bool> {
        let condition = DcbAppendCondition::new(query(filter));
        self.append_with(events, Some(condition.after((after > 0).then_some(after))))
    }

    fn read(&self, filter: &Filter, after: u64, each: &mut dyn FnMut(&[u8])) -> Result<u64> {
        self.read_query(Some(query(filter)), after, each)
    }

    fn head(&self) -> Result<u64> {
        Ok(self.database().head()?.unwrap_or(0))
    }
}

impl Drop for Umadb {
    fn drop(&mut self) {
        let _ = self.requests.blocking_send(WriterThreadRequest::Shutdown);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
