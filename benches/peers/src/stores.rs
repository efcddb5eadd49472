//! The stores, each with the call that makes an append durable.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use lenslog_journal::{AppendCondition, Journal, NewRecord, Options, ReaderOptions, Seq, Tags};

use crate::{PAYLOAD, tags_of};

/// A store that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This one.
    Lenslog,
    /// Segments and an index, one writer thread.
    Tephra,
    /// B+trees, one writer thread.
    Umadb,
    /// Two tables, WAL, synchronous=FULL.
    Sqlite,
}

impl Kind {
    /// The order in the tables.
    pub const ALL: [Self; 4] = [Self::Lenslog, Self::Tephra, Self::Umadb, Self::Sqlite];

    /// Its name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lenslog => "Lenslog",
            Self::Tephra => "tephra 0.4",
            Self::Umadb => "umadb-core 0.7",
            Self::Sqlite => "SQLite",
        }
    }
}

/// What is asked of a store. Every append returns once it is durable.
pub trait Store: Sync {
    /// Appends events with the tags of these numbers; under a condition that concerns only what is new.
    fn append(&self, first: u64, count: u64, conditional: bool) -> Result<()>;
    /// Appends an event unless one has its own tag.
    fn append_unique(&self, number: u64) -> Result<()>;
    /// Reads the events with this tag.
    fn entity(&self, tag: &str) -> Result<u64>;
}

/// Opens or creates a store.
pub fn open(kind: Kind, directory: &Path) -> Result<Box<dyn Store>> {
    Ok(match kind {
        Kind::Lenslog => Box::new(Lenslog(Journal::open(directory, &Options::default())?)),
        Kind::Tephra => Box::new(Tephra::open(directory)?),
        Kind::Umadb => Box::new(Umadb::open(directory)?),
        Kind::Sqlite => Box::new(Sqlite::open(directory)?),
    })
}

struct Lenslog(Journal);

impl Lenslog {
    fn append_with(&self, first: u64, count: u64, conditions: &[AppendCondition]) -> Result<()> {
        let tags: Vec<Tags> = (first..first + count)
            .map(|number| Tags::new(tags_of(number)))
            .collect::<Result<_, _>>()?;
        let kind = lenslog_journal::Kind(1);
        let records: Vec<_> =
            tags.iter().map(|tags| NewRecord::new(kind, 1, &PAYLOAD).tags(tags.list())).collect();
        let _ = match conditions {
            [] => self.0.append(&records)?,
            conditions => self.0.append_if(&records, conditions)?,
        };
        Ok(())
    }
}

impl Store for Lenslog {
    fn append(&self, first: u64, count: u64, conditional: bool) -> Result<()> {
        if !conditional {
            return self.append_with(first, count, &[]);
        }
        let head = self.0.view().head()?;
        let condition = AppendCondition::new(lenslog_journal::Query::tag(&tags_of(first)[1]));
        self.append_with(first, count, &[condition.after(Seq(head.0 - 1))])
    }

    fn append_unique(&self, number: u64) -> Result<()> {
        let query = lenslog_journal::Query::tag(&tags_of(number)[1]);
        self.append_with(number, 1, &[AppendCondition::new(query)])
    }

    fn entity(&self, tag: &str) -> Result<u64> {
        let options = ReaderOptions::default().query(lenslog_journal::Query::tag(tag));
        let mut reader = self.0.view().reader(Seq::FIRST, options)?;
        let mut count = 0;
        while reader.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

struct Tephra {
    coordinator: Option<tephra::WriteCoordinator>,
    handle: tephra::WriteHandle,
    kind: tephra::EventType,
}

impl Tephra {
    fn open(directory: &Path) -> Result<Self> {
        let set = tephra::SegmentSet::open(directory, tephra::SegmentConfig::new(256 << 20))?;
        let (coordinator, handle) =
            tephra::WriteCoordinator::start(set, tephra::WriterConfig::default())?;
        Ok(Self { coordinator: Some(coordinator), handle, kind: tephra::EventType::new("Paid")? })
    }

    fn query(tag: &str) -> Result<tephra::Query> {
        let tags = tephra::Tags::new([tephra::Tag::new(tag)?])?;
        Ok(tephra::Query::item(tephra::QueryItem::with_tags(tags)))
    }

    fn append_with(
        &self,
        first: u64,
        count: u64,
        guard: Option<tephra::AppendCondition>,
    ) -> Result<()> {
        let event = |number| -> Result<tephra::Event> {
            let [one, other] = tags_of(number);
            let tags = tephra::Tags::new([tephra::Tag::new(one)?, tephra::Tag::new(other)?])?;
            Ok(tephra::Event::new(&self.kind, &tags, &PAYLOAD)?)
        };
        let events = (first..first + count).map(event).collect::<Result<Vec<_>>>()?;
        self.handle.append(events, guard)?;
        Ok(())
    }
}

impl Store for Tephra {
    fn append(&self, first: u64, count: u64, conditional: bool) -> Result<()> {
        let guard = match conditional {
            true => {
                let condition = tephra::AppendCondition::new(Self::query(&tags_of(first)[1])?);
                Some(condition.after(self.handle.head()))
            }
            false => None,
        };
        self.append_with(first, count, guard)
    }

    fn append_unique(&self, number: u64) -> Result<()> {
        let condition = tephra::AppendCondition::new(Self::query(&tags_of(number)[1])?);
        self.append_with(number, 1, Some(condition))
    }

    fn entity(&self, tag: &str) -> Result<u64> {
        let mut reads = self.handle.read(&Self::query(tag)?, tephra::Position::ZERO, None);
        let mut count = 0;
        while let Some(item) = reads.next() {
            item?;
            count += 1;
        }
        Ok(count)
    }
}

impl Drop for Tephra {
    fn drop(&mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.shutdown();
        }
    }
}

/// Through its writer thread: two threads that write by themselves corrupt it.
struct Umadb {
    mvcc: Arc<umadb_core::mvcc::Mvcc>,
    requests: tokio::sync::mpsc::Sender<umadb_core::writer_thread_request::WriterThreadRequest>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Umadb {
    fn open(directory: &Path) -> Result<Self> {
        let options = umadb_core::mvcc::StorageOptions::default().db_path(directory);
        let mvcc = Arc::new(umadb_core::mvcc::Mvcc::new(false, options)?);
        let (requests, receiver) = tokio::sync::mpsc::channel(1024);
        let (head, _) = tokio::sync::watch::channel(None);
        let shared = Arc::clone(&mvcc);
        let thread = std::thread::spawn(move || {
            umadb_core::writer_thread_blocking::writer_thread_blocking(
                shared, receiver, head, 2000,
            );
        });
        Ok(Self { mvcc, requests, thread: Some(thread) })
    }

    fn query(tag: &str) -> umadb_dcb::DcbQuery {
        umadb_dcb::DcbQuery::new().item(umadb_dcb::DcbQueryItem::new().tags([tag]))
    }

    fn append_with(
        &self,
        first: u64,
        count: u64,
        condition: Option<umadb_dcb::DcbAppendCondition>,
    ) -> Result<()> {
        let event = |number| {
            umadb_dcb::DcbEvent::new().event_type("Paid").tags(tags_of(number)).data(PAYLOAD)
        };
        let (response_tx, response) = tokio::sync::oneshot::channel();
        let events = (first..first + count).map(event).collect();
        let request = umadb_core::writer_thread_request::WriterThreadRequest::Append {
            events,
            condition,
            tracking_info: None,
            response_tx,
            cancel: None,
        };
        self.requests.blocking_send(request).ok().context("the writer thread has ended")?;
        response.blocking_recv()??;
        Ok(())
    }
}

impl Store for Umadb {
    fn append(&self, first: u64, count: u64, conditional: bool) -> Result<()> {
        use umadb_dcb::DcbEventStoreSync;
        let condition = match conditional {
            true => {
                let head = umadb_core::db::UmaDb::from_arc(Arc::clone(&self.mvcc)).head()?;
                let condition = umadb_dcb::DcbAppendCondition::new(Self::query(&tags_of(first)[1]));
                Some(condition.after(head))
            }
            false => None,
        };
        self.append_with(first, count, condition)
    }

    fn append_unique(&self, number: u64) -> Result<()> {
        let condition = umadb_dcb::DcbAppendCondition::new(Self::query(&tags_of(number)[1]));
        self.append_with(number, 1, Some(condition))
    }

    fn entity(&self, tag: &str) -> Result<u64> {
        use umadb_dcb::DcbEventStoreSync;
        let store = umadb_core::db::UmaDb::from_arc(Arc::clone(&self.mvcc));
        Ok(store.read(Some(Self::query(tag)), None, false, None)?.count() as u64)
    }
}

impl Drop for Umadb {
    fn drop(&mut self) {
        let request = umadb_core::writer_thread_request::WriterThreadRequest::Shutdown;
        let _ = self.requests.blocking_send(request);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Sqlite(Mutex<rusqlite::Connection>);

impl Sqlite {
    fn open(directory: &Path) -> Result<Self> {
        let connection = rusqlite::Connection::open(directory.join("events.db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, kind INTEGER, data BLOB);
             CREATE TABLE IF NOT EXISTS tags (tag TEXT, seq INTEGER, PRIMARY KEY (tag, seq)) WITHOUT ROWID;",
        )?;
        Ok(Self(Mutex::new(connection)))
    }

    fn append_with(&self, first: u64, count: u64, unless: Option<(String, i64)>) -> Result<()> {
        let mut connection = self.0.lock().expect("no panic");
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if let Some((tag, after)) = unless {
            let mut query = transaction
                .prepare_cached("SELECT 1 FROM tags WHERE tag = ? AND seq > ? LIMIT 1")?;
            anyhow::ensure!(!query.exists((tag, after))?, "the tag is taken");
        }
        for number in first..first + count {
            transaction
                .prepare_cached("INSERT INTO events (kind, data) VALUES (1, ?)")?
                .execute([&PAYLOAD[..]])?;
            let seq = transaction.last_insert_rowid();
            for tag in tags_of(number) {
                transaction
                    .prepare_cached("INSERT INTO tags VALUES (?, ?)")?
                    .execute((tag, seq))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Store for Sqlite {
    fn append(&self, first: u64, count: u64, conditional: bool) -> Result<()> {
        let unless = match conditional {
            true => {
                let connection = self.0.lock().expect("no panic");
                let head = connection
                    .prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?
                    .query_row([], |row| row.get(0))?;
                Some((tags_of(first)[1].clone(), head))
            }
            false => None,
        };
        self.append_with(first, count, unless)
    }

    fn append_unique(&self, number: u64) -> Result<()> {
        self.append_with(number, 1, Some((tags_of(number)[1].clone(), 0)))
    }

    fn entity(&self, tag: &str) -> Result<u64> {
        let connection = self.0.lock().expect("no panic");
        let mut query = connection.prepare_cached(
            "SELECT events.seq, kind, data FROM tags JOIN events USING (seq) WHERE tag = ? ORDER BY seq",
        )?;
        let mut rows = query.query([tag])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let _: Vec<u8> = row.get(2)?;
            count += 1;
        }
        Ok(count)
    }
}
