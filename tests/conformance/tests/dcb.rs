//! The rules of dynamic consistency boundaries, from outside: `cargo test --ignore-rust-version -- --show-output`.

use std::sync::Mutex;

use happenstance_testkit::{Capability, Fixture};
use lenslog_conformance::LenslogStore;
use lenslog_journal::{Journal, Options};

/// A journal on a real file system.
struct Directory {
    path: tempfile::TempDir,
    store: Mutex<Option<LenslogStore>>,
}

impl Directory {
    fn new() -> Self {
        Self { path: tempfile::tempdir().expect("a directory"), store: Mutex::default() }
    }

    fn open(&self) -> LenslogStore {
        let journal = Journal::open(self.path.path(), &Options::default()).expect("a journal");
        LenslogStore::new(journal).expect("a store")
    }
}

impl Fixture for Directory {
    type Store = LenslogStore;

    const SECOND_HANDLE: Capability = Capability::SUPPORTED;
    const REOPEN: Capability = Capability::SUPPORTED;
    const MID_BATCH_FAULT: Capability = Capability::declined(
        "a batch is one frame with one checksum, and a write that fails moves it to a new segment: no fault makes a part \
         of a batch visible; journal/tests/it/failures.rs fails every write, sync and allocation in turn",
    );
    const READ_FAULT: Capability = Capability::declined(
        "a block that cannot be read is no failed read: the records in it are returned as lost, by seq; \
         journal/tests/it/damage.rs and hostile_bytes.rs hold that",
    );
    const HELD_ABOVE_FRONTIER: Capability = Capability::declined(
        "a record is returned to its caller and shown to readers at the same moment, once its sync has returned: the \
         journal commits nothing that readers do not see",
    );
    const MAX_TAGS_PER_EVENT: Option<usize> = Some(lenslog_journal::limits::RECORD_TAGS_MAX);
    const MAX_EVENTS_PER_BATCH: Option<usize> = Some(lenslog_journal::limits::BATCH_RECORDS_MAX);

    async fn connect(&self) -> LenslogStore {
        let mut store = self.store.lock().expect("no test panics here");
        store.get_or_insert_with(|| self.open()).clone()
    }

    async fn reopen(&self) {
        // The last handle of the fixture closes the journal once the rule has dropped its own.
        self.store.lock().expect("no test panics here").take();
    }
}

happenstance_testkit::event_store_conformance!(
    mod_name = rules,
    emit = happenstance_testkit::emit_blocking,
    fixture = Directory::new()
);

happenstance_testkit::event_store_model_conformance!(
    mod_name = model,
    emit = happenstance_testkit::emit_model_blocking,
    fixture = Directory::new()
);

happenstance_testkit::event_store_concurrency_conformance!(
    mod_name = concurrency,
    emit = happenstance_testkit::emit_concurrency_blocking,
    fixture = Directory::new()
);
