//! Logs and key-value stores: they append, and find no event by its tags. A batch is one entry or one transaction.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use ::okaywal::{Entry, EntryId, LogManager, ReadChunkResult, SegmentReader, WriteAheadLog};
use ::redb::{ReadableDatabase, ReadableTable, TableDefinition};
use anyhow::{Context, Result};
use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};
use raft_engine::{Config, Engine, LogBatch};

use super::Store;
use crate::event::{Event, PAYLOAD_BYTES};

/// Shares an fsync between all that commit at once.
pub struct Okaywal {
    log: Option<WriteAheadLog>,
    /// What was recovered at opening, and checkpointed since.
    read: Arc<Mutex<Vec<Vec<u8>>>>,
}

#[derive(Debug)]
struct Recovered(Arc<Mutex<Vec<Vec<u8>>>>);

impl LogManager for Recovered {
    fn recover(&mut self, entry: &mut Entry<'_>) -> std::io::Result<()> {
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            let data = chunk.read_all()?;
            if !chunk.check_crc()? {
                return Err(std::io::Error::other("a chunk is damaged"));
            }
            if let Ok(mut read) = self.0.lock() {
                read.push(data);
            }
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _log: &WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

impl Okaywal {
    pub fn open(directory: &Path) -> Result<Self> {
        let read = Arc::default();
        let log = WriteAheadLog::recover(directory, Recovered(Arc::clone(&read)))?;
        Ok(Self { log: Some(log), read })
    }
}

impl Store for Okaywal {
    fn append(&self, events: &[Event]) -> Result<()> {
        let log = self.log.as_ref().context("closed")?;
        let mut entry = log.begin_entry()?;
        for event in events {
            entry.write_chunk(&event.payload)?;
        }
        entry.commit()?;
        Ok(())
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let read = self.read.lock().ok().context("another thread panicked")?;
        read.iter().for_each(|payload| each(payload));
        Ok(())
    }
}

impl Drop for Okaywal {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            let _ = log.shutdown();
        }
    }
}

/// Shares an fdatasync between all that write at once; every value is indexed in memory.
pub struct RaftEngine(Engine);

impl RaftEngine {
    pub fn open(directory: &Path, small: bool) -> Result<Self> {
        let mut config =
            Config { dir: directory.join("raft").display().to_string(), ..Config::default() };
        if small {
            config.target_file_size = raft_engine::ReadableSize::mb(4);
        }
        Ok(Self(Engine::open(config)?))
    }
}

impl Store for RaftEngine {
    fn append(&self, events: &[Event]) -> Result<()> {
        let mut batch = LogBatch::default();
        for event in events {
            batch.put(1, key(event).to_vec(), event.payload.to_vec())?;
        }
        self.0.write(&mut batch, true)?;
        Ok(())
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.0.scan_raw_messages(1, None, None, false, |_, payload| {
            each(payload);
            true
        })?;
        Ok(())
    }
}

/// One writer; `flush` syncs.
pub struct Commitlog(Mutex<CommitLog>);

impl Commitlog {
    pub fn open(directory: &Path) -> Result<Self> {
        let mut options = LogOptions::new(directory.join("log"));
        options.message_max_bytes(1 << 20);
        Ok(Self(Mutex::new(CommitLog::new(options)?)))
    }
}

impl Store for Commitlog {
    fn append(&self, events: &[Event]) -> Result<()> {
        let mut batch = MessageBuf::default();
        for event in events {
            batch.push(event.payload).ok().context("the batch is too large")?;
        }
        let mut log = self.0.lock().ok().context("another thread panicked")?;
        log.append(&mut batch)?;
        log.flush()?;
        Ok(())
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let log = self.0.lock().ok().context("another thread panicked")?;
        let mut next = 0;
        loop {
            let messages = log.read(next, ReadLimit::max_bytes(1 << 20))?;
            let mut last = None;
            for message in messages.iter() {
                each(message.payload());
                last = Some(message.offset());
            }
            match last {
                Some(last) => next = last + 1,
                None => return Ok(()),
            }
        }
    }
}

/// A batch with `PersistMode::SyncData`.
pub struct Fjall {
    database: Database,
    events: Keyspace,
}

impl Fjall {
    pub fn open(directory: &Path) -> Result<Self> {
        let database = Database::builder(directory.join("fjall")).open()?;
        let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
        Ok(Self { database, events })
    }
}

impl Store for Fjall {
    fn append(&self, events: &[Event]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for event in events {
            batch.insert(&self.events, key(event), event.payload);
        }
        batch.commit()?;
        Ok(())
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        for item in self.events.iter() {
            each(&item.value()?);
        }
        Ok(())
    }
}

const EVENTS: TableDefinition<'_, [u8; 8], [u8; PAYLOAD_BYTES]> = TableDefinition::new("events");

/// A transaction of its own for each batch, one at a time.
pub struct Redb(::redb::Database);

impl Redb {
    pub fn open(directory: &Path) -> Result<Self> {
        Ok(Self(::redb::Database::create(directory.join("events.redb"))?))
    }
}

impl Store for Redb {
    fn append(&self, events: &[Event]) -> Result<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(EVENTS)?;
            for event in events {
                table.insert(key(event), event.payload)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let transaction = self.0.begin_read()?;
        for entry in transaction.open_table(EVENTS)?.iter()? {
            each(&entry?.1.value());
        }
        Ok(())
    }
}

fn key(event: &Event) -> [u8; 8] {
    let number = event.payload.first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(number).to_be_bytes()
}
