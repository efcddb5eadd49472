//! Opening for writing: locks and claims the directory, recovers the journal and starts the writer.
//!
//! After a clean shutdown the last segment is continued. After any other end it stays as it is, and a new segment is begun
//! whose header says where the old one ends. Frames that were written but not proven synced are written to it again, with
//! their seqs and with control records of what was found. One rename makes all of it visible.

use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::directory::Directory;
use crate::error::Context;
use crate::format::{CLAIM_OFFSET, Claim, FRAMES_OFFSET, WriterId};
use crate::id_source::IdSource;
use crate::index::{ActiveIndex, TermHasher};
use crate::newest::{Newest, find_newest};
use crate::options::{Options, Sizes, padded};
use crate::plan::{Opening, Start};
use crate::recovery::make_plan;
use crate::storage::{Access, EntryKind, LockError, Storage, StorageFile};
use crate::writer::{
    Failure, JournalStats, Pending, PendingSegment, Settings, State, Suspended, Tail, Writer,
};

/// Opens the journal below `root` for writing; creates one if there is none.
pub(crate) fn open(root: &Path, options: &Options) -> Result<(Writer, Opening), Error> {
    let mut directory = Directory::new(Arc::clone(&options.storage), root);
    let storage = Arc::clone(&directory.storage);
    prepare(&*storage, root)?;
    let lock = storage.lock(root).map_err(|error| match error {
        LockError::Held { holder } => Error::Locked { path: root.to_owned(), holder },
        LockError::Io(source) => {
            Error::Io { operation: "lock", path: root.to_owned(), source: Arc::new(source) }
        }
    })?;
    directory.check_layout()?;
    let is_mount = prepare_journal(&directory)?;
    let journal = storage.stat(&directory.journal).context("use", &directory.journal)?;
    directory.anchor = Some(journal.identity);
    let ids = IdSource::new(options.seed);
    let lock_is_sound = storage.lock_is_sound(&directory.journal);
    if !lock_is_sound {
        tracing::warn!(
            path = %directory.journal.display(),
            "lock: this file system does not exclude writers on other hosts or mounts; a second writer is detected only if \
             both see the same cache; keep the journal on a local file system"
        );
    }
    // First the claim, then the newest segment: another writer acknowledges nothing after the claim.
    let claimed = claim(&directory, options, ids.bytes()?);
    if !lock_is_sound {
        directory.use_own_spare(claimed.claim.writer);
    }
    let newest = find_newest(&directory, Access::Write)?;
    report_left_out(&directory, &newest);
    let can_continue = claimed.file.is_some() && claimed.before_was_released;
    let generation = directory.read_marker().map_or(0, |marker| marker.generation);
    if newest.segment.is_none() {
        sync_names_above(&directory);
    }
    let mut plan = make_plan(&directory, options, &newest, can_continue, &ids)?;
    if options.new_incarnation || newest.is_copy() {
        plan.incarnation = ids.bytes()?;
    } else if let Some(known) = newest.incarnation() {
        plan.incarnation = known;
    }
    let settings = Settings {
        journal: plan.journal,
        incarnation: plan.incarnation,
        writer: claimed.claim.writer,
        claim: claimed.claim,
        lock_is_sound,
        is_mount,
        ids,
        sizes: Sizes::of(options, root),
    };
    let (tail, next) = match plan.start {
        Start::Continue(active) => (Tail::Active(active), None),
        Start::Begin(next) => {
            // Until the first attempt, below, the journal is suspended with nothing to write.
            let empty = PendingSegment {
                last: next.last,
                ..PendingSegment::empty(next.previous, next.base)
            };
            let not_begun = std::io::Error::other("the first segment of this opening is not begun");
            let failure = Failure::new(directory.journal.clone(), not_begun);
            (Tail::Suspended(Box::new(Suspended { next: empty, failure })), Some(*next))
        }
    };
    let pending_start = match &tail {
        Tail::Active(active) => padded(active.synced.offset),
        Tail::Suspended(_) => 0,
    };
    let unread_to = match &tail {
        Tail::Active(active) if active.synced.offset > FRAMES_OFFSET => Some(active.synced),
        _ => None,
    };
    let hasher = TermHasher::new(settings.journal, options.hash_bits());
    let state = State {
        tail,
        suspension_reported: false,
        next_seq: plan.next_seq,
        pending: Pending::at(pending_start),
        busy: false,
        pruned_and_gaps: plan.pruned_and_gaps,
        tombstones: plan.tombstones,
        keys: plan.keys,
        tags: ActiveIndex::new(hasher, unread_to),
        clock: None,
        marker: claimed.file,
        marker_generation: generation,
        marker_clean: next.is_none(),
        unnamed: false,
        fenced: None,
        spare_ready: false,
        closed: false,
        stats: JournalStats::default(),
    };
    let writer = Writer::new(directory, options, settings, lock, state);
    {
        let mut state = writer.lock();
        if let Some(next) = next {
            writer.begin_or_suspend(&mut state, next, None);
            if let (Some(suspended), Opening::Created) = (state.suspended(), &plan.opening) {
                return Err(suspended.failure.refused(&writer.directory.journal));
            }
            // Into both slots: another writer that has not seen the claim may write one more.
            writer.publish(&mut state);
        } else {
            writer.name_in_identity(&mut state);
        }
        state.ensure_open(&writer.directory.root)?;
    }
    if let Err(error) = writer.unlink_pruned() {
        tracing::warn!(%error, "pruning: pruned segments are not removed yet; the next opening tries again");
    }
    Ok((writer, plan.opening))
}

/// The claim of this opening, and the state of the claim before it.
struct Claimed {
    claim: Claim,
    /// The marker, open for writing; `None` if it cannot be written.
    file: Option<Arc<dyn StorageFile>>,
    /// The previous opening ended with a clean shutdown.
    before_was_released: bool,
}

/// Writes the claim, durably: from then on another writer, which the lock may not exclude, stops before it acknowledges
/// anything.
fn claim(directory: &Directory, options: &Options, writer: WriterId) -> Claimed {
    let before = directory.read_claim();
    let (process, host) = match options.seed {
        // The same bytes in every run.
        Some(_) => (0, "simulation".to_owned()),
        None => {
            let names = rustix::system::uname();
            (std::process::id(), names.nodename().to_string_lossy().into_owned())
        }
    };
    let claim = Claim { writer, released: false, process, host };
    let opened = directory.open_marker();
    let written = opened.as_ref().map_err(Clone::clone).and_then(|file| {
        let path = directory.marker();
        file.write_at(&claim.encode(), CLAIM_OFFSET).context("write", &path)?;
        file.sync().context("sync", &path)
    });
    if let Err(error) = &written {
        tracing::warn!(%error, "durability marker: a write failed; other processes see new records late");
    }
    let before_was_released = before.is_some_and(|before| before.released);
    Claimed { claim, file: opened.ok(), before_was_released }
}

/// Logs the files that the opening leaves out.
fn report_left_out(directory: &Directory, newest: &Newest) {
    for name in &newest.left_out {
        tracing::warn!(
            path = %directory.segment(*name).display(),
            "journal: a file in journal/ does not belong to it and is never read, changed or deleted; run `replay verify` for \
             the reason"
        );
    }
}

/// Creates the directories for a copy of a journal, durably.
pub(crate) fn make_directories(directory: &Directory) -> Result<(), Error> {
    prepare(&*directory.storage, &directory.root)?;
    prepare_journal(directory)?;
    sync_names_above(directory);
    Ok(())
}

/// Creates `root` if it does not exist, durably.
fn prepare(storage: &dyn Storage, root: &Path) -> Result<(), Error> {
    match storage.stat(root) {
        Ok(stat) if stat.kind == EntryKind::File => Err(Error::Unexpected {
            path: root.to_owned(),
            found: "a file".to_owned(),
            expected: "a directory for the data; name another one",
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_missing = |path: &&Path| {
                let stat = storage.stat(path);
                stat.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
            };
            let created: Vec<_> = root
                .ancestors()
                .filter(|path| !path.as_os_str().is_empty())
                .take_while(is_missing)
                .collect();
            storage.create_directory(root).context("create", root)?;
            for parent in created.iter().rev().filter_map(|path| path.parent()) {
                storage.sync_directory(parent).context("sync", parent)?;
            }
            Ok(())
        }
        Err(error) => Err(error).context("use", root),
    }
}

/// Creates `journal/` if it does not exist. Returns whether it is the root of a file system of its own.
fn prepare_journal(directory: &Directory) -> Result<bool, Error> {
    let (storage, journal) = (&*directory.storage, &directory.journal);
    match storage.stat(journal) {
        // A symbolic link may lead to the directory, such as on another disk.
        Ok(stat) if stat.kind != EntryKind::File => {}
        Ok(_) => {
            return Err(Error::Unexpected {
                path: journal.clone(),
                found: "a file".to_owned(),
                expected: "the directory of the journal; move the file away",
            });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            directory.check_mounted(false)?;
            storage.create_directory(journal).context("create", journal)?;
            storage.disable_copy_on_write(journal);
            storage.sync_directory(&directory.root).context("sync", &directory.root)?;
        }
        Err(error) => return Err(error).context("use", journal),
    }
    let is_mount = directory.is_mount().context("use", journal)?;
    directory.check_mounted(is_mount)?;
    Ok(is_mount)
}

/// Syncs the directories above before the first record, whichever process created them.
fn sync_names_above(directory: &Directory) {
    for path in directory.root.ancestors().take(2) {
        if let Err(error) = directory.storage.sync_directory(path) {
            tracing::debug!(path = %path.display(), %error, "directory: a sync failed; its name may not survive a power cut");
        }
    }
}
