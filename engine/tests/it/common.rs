//! A codec without cameras, a ledger of amounts, and what the engine's tests do with it.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lenslog_engine::{
    CodecError, Encoded, EventCodec, Fact, ProjectionState, ProjectionStatus, Recorded, Reducer,
    Runner, Snapshot,
};
use lenslog_journal::storage::{FaultyStorage, RealStorage, Storage, read_file};
use lenslog_journal::{Journal, Kind, Options, Seq, SimulatedClock, Tags, Timestamp};

#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    Paid { account: u8, cents: i64 },
    Closed { account: u8 },
}

#[derive(Debug)]
pub struct Ledger;

impl EventCodec for Ledger {
    type Event = Entry;

    fn encode(entry: &Entry) -> Result<Encoded, CodecError> {
        let (kind, account, payload) = match entry {
            Entry::Paid { account, cents } => {
                (1, account, [&[*account][..], &cents.to_le_bytes()].concat())
            }
            Entry::Closed { account } => (2, account, vec![*account]),
        };
        let tags = Tags::new([format!("account:{account}")])?;
        Ok(Encoded::new(Kind(kind), 1, payload).tags(tags))
    }

    fn decode(kind: Kind, _version: u16, payload: &[u8]) -> Result<Option<Entry>, CodecError> {
        let (account, rest) = payload.split_first().ok_or("no account")?;
        match kind.0 {
            1 => {
                let cents = i64::from_le_bytes(rest.try_into()?);
                Ok(Some(Entry::Paid { account: *account, cents }))
            }
            2 => Ok(Some(Entry::Closed { account: *account })),
            _ => Ok(None),
        }
    }
}

pub fn encode(entry: &Entry) -> Encoded {
    Ledger::encode(entry).unwrap()
}

/// Balance of every open account.
#[derive(Debug, Default, PartialEq)]
pub struct Balances<const VERSION: u32 = 1>(pub BTreeMap<u8, i64>);

impl<const VERSION: u32> Reducer<Ledger> for Balances<VERSION> {
    const NAME: &'static str = "balances";
    const VERSION: u32 = VERSION;

    fn add(&mut self, record: &Recorded<Entry>) {
        match &record.fact {
            Fact::Event(Entry::Paid { account, cents }) => {
                let balance = self.0.entry(*account).or_default();
                *balance = balance.wrapping_add(*cents);
            }
            Fact::Event(Entry::Closed { account }) => {
                self.0.remove(account);
            }
            _ => {}
        }
    }

    fn to_text(&self) -> String {
        self.0.iter().map(|(account, cents)| format!("{account} {cents}\n")).collect()
    }

    fn from_text(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let (account, cents) = line.split_once(' ')?;
            Some((account.parse().ok()?, cents.parse().ok()?))
        };
        text.lines().map(line).collect::<Option<_>>().map(Self)
    }
}

/// Number of records of any kind, under another name.
#[derive(Debug, Default, PartialEq)]
pub struct Count(pub u64);

impl Reducer<Ledger> for Count {
    const NAME: &'static str = "count";
    const VERSION: u32 = 1;

    fn add(&mut self, record: &Recorded<Entry>) {
        self.0 += u64::from(matches!(record.fact, Fact::Event(_)));
    }

    fn to_text(&self) -> String {
        self.0.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

pub fn balances(directory: &Path) -> Snapshot<Balances> {
    Snapshot::new(Arc::new(RealStorage), directory.join("balances"))
}

pub fn count(directory: &Path) -> Snapshot<Count> {
    Snapshot::new(Arc::new(RealStorage), directory.join("count"))
}

/// The value's text in a snapshot's file.
pub fn value(storage: &dyn Storage, path: &Path) -> String {
    let bytes = read_file(storage, path, usize::MAX).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap();
    text.split_once("---\n").map(|(_, value)| value.to_owned()).unwrap_or_default()
}

/// Waits, without end but for the test's own, until a runner's only projection is in a state.
pub fn wait_for_state(runner: &Runner, state: ProjectionState) -> ProjectionStatus {
    let begun = Instant::now();
    loop {
        let status = runner.status().remove(0);
        if status.state == state {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{status:?}");
        std::thread::yield_now();
    }
}

/// A journal on a simulated disk.
pub struct Setting {
    pub storage: FaultyStorage,
    pub journal: Journal,
}

impl Setting {
    pub fn new() -> Self {
        Self::with_seed(3)
    }

    pub fn with_seed(seed: u64) -> Self {
        Self::open(FaultyStorage::new(), seed)
    }

    pub fn open(storage: FaultyStorage, seed: u64) -> Self {
        let start = Timestamp { utc_micros: 1_795_424_400_000_000, offset_minutes: 60 };
        let options = Options {
            storage: Arc::new(storage.clone()),
            clock: Arc::new(SimulatedClock::new(start)),
            seed: Some(seed),
            ..Options::default()
        };
        let journal = Journal::open("/ledger", &options).unwrap();
        Self { storage, journal }
    }

    /// Everything of the journal goes but its identity, and it is opened again.
    pub fn without_segments(self) -> Self {
        self.journal.close().unwrap();
        let storage = self.storage.snapshot();
        for path in storage.files().iter().filter(|path| path.starts_with("/ledger/journal")) {
            storage.remove(path).unwrap();
        }
        Self::open(storage, 5)
    }

    pub fn pay(&self, account: u8, cents: i64) -> Seq {
        self.append(&Entry::Paid { account, cents })
    }

    pub fn append(&self, entry: &Entry) -> Seq {
        self.journal.append(&[encode(entry).as_record()]).unwrap().seq()
    }

    /// Flips a byte in the frame of a record of the first segment.
    pub fn damage(&self, seq: u64) {
        let path =
            self.storage.files().into_iter().find(|path| path.to_string_lossy().ends_with(".seg"));
        let path = path.unwrap();
        let bytes = read_file(&self.storage, &path, usize::MAX).unwrap();
        let frame = (8192..bytes.len()).step_by(8).find(|at| {
            bytes[*at..].starts_with(b"LFRM") && bytes[at + 8..at + 16] == seq.to_le_bytes()
        });
        self.storage.rot(&path, frame.unwrap() as u64 + 60, 1);
    }
}
