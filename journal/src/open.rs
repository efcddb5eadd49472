//! Opening for writing: finds out how the last run ended and where to go on.
//!
//! After a clean end the last segment is continued. After any other it is left as it is, and a new one is begun
//! whose header says where the old one ends; frames that were written but not proven synced are written again
//! into it, with their seqs, together with a record of what was found. All of it becomes visible with one rename.

use std::path::Path;
use std::sync::Arc;

use crate::carried::Carried;
use crate::chain::Link;
use crate::digest::SegmentDigest;
use crate::directory::{Directory, OpenSegment};
use crate::entropy::Entropy;
use crate::error::Context;
use crate::examine::{Examination, examine};
use crate::format::{
    CLAIM_OFFSET, Claim, DurabilityMarker, FRAMES_OFFSET, Gap, NewRecord, PreviousEnd,
    PrunedSegment, RECORD_BYTES_MIN, Recovered, Salt, SegmentHeader, SegmentName, SystemRecord,
    WriterId,
};
use crate::keys::KeyIndex;
use crate::ledger::Ledger;
use crate::limits::{
    BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_SHARE, UNSYNCED_RECORDS_MAX,
};
use crate::lost::{all_lost, missing, unreadable, vanished};
use crate::newest::{LostSegment, Newest, find_newest};
use crate::notable::system_records;
use crate::options::Options;
use crate::sizes::Sizes;
use crate::stats::JournalStats;
use crate::storage::{Access, EntryKind, LockError, Storage, StorageFile, read_full};
use crate::writer::{ActiveSegment, Pending, Settings, State, Succession, Synced, Writer};
use crate::{Error, Seq, SeqRange};

/// How an opening found the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opening {
    /// There was none: a new one was made.
    Created,
    /// It had been closed in an orderly way.
    Clean,
    /// It had not: a power cut, a crash, or damage.
    Recovered {
        /// What was found and kept.
        recovered: Recovered,
        /// The acknowledged records that are gone.
        gaps: Vec<Gap>,
    },
}

/// What to do about the last segment.
pub(crate) struct Plan {
    pub(crate) opening: Opening,
    pub(crate) journal: [u8; 16],
    pub(crate) incarnation: [u8; 16],
    pub(crate) ledger: Ledger,
    /// The segments that tombstones in the newest segment name.
    pub(crate) tombstones: Vec<PrunedSegment>,
    pub(crate) keys: KeyIndex,
    pub(crate) next_seq: Seq,
    pub(crate) start: Start,
}

pub(crate) enum Start {
    Continue(Box<ActiveSegment>),
    Begin(Box<Succession>),
}

/// Opens the journal below `root` for writing, making it where there is none.
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
    let entropy = Entropy::new(options.seed);
    let lock_is_sound = storage.lock_is_sound(&directory.journal);
    if !lock_is_sound {
        tracing::warn!(
            path = %directory.journal.display(),
            "a lock on this file system does not exclude writers on other hosts or mounts; a second writer is detected \
             where both see the same cache, which is not guaranteed: keep the journal on a local file system"
        );
    }
    // First the claim, then a look at the newest segment: what another writer acknowledges after that, it does not.
    let claimed = claim(&directory, options, entropy.bytes());
    if !lock_is_sound {
        directory.use_own_spare(claimed.claim.writer);
    }
    let newest = find_newest(&directory, Access::Write)?;
    report_left_out(&directory, &newest);
    let can_continue = claimed.file.is_some() && claimed.before_was_released;
    let generation = directory.read_marker().map_or(0, |marker| marker.generation);
    let mut plan = make_plan(&directory, options, &newest, can_continue, &entropy)?;
    if options.new_incarnation {
        plan.incarnation = entropy.bytes();
    }
    let settings = Settings {
        journal: plan.journal,
        incarnation: plan.incarnation,
        writer: claimed.claim.writer,
        claim: claimed.claim,
        lock_is_sound,
        is_mount,
        entropy,
        sizes: sizes(&*storage, root, options),
    };
    let (active, succession) = match plan.start {
        Start::Continue(active) => (Some(*active), None),
        Start::Begin(succession) => (None, Some(*succession)),
    };
    let pending_start = active.as_ref().map_or(0, |active| active.synced.offset);
    let state = State {
        active,
        suspended: None,
        told_suspended: false,
        next_seq: plan.next_seq,
        pending: Pending::at(settings.sizes.padded(pending_start)),
        busy: false,
        ledger: plan.ledger,
        tombstones: plan.tombstones,
        keys: plan.keys,
        clock: None,
        marker: claimed.file,
        marker_generation: generation,
        marker_clean: succession.is_none(),
        unnamed: false,
        fenced: None,
        spare_ready: false,
        closed: false,
        stats: JournalStats::default(),
    };
    let writer = Writer::new(directory, options, settings, lock, state);
    {
        let mut state = writer.lock();
        if let Some(succession) = succession {
            writer.begin_or_suspend(&mut state, succession, None);
            if let (Some((_, failure)), Opening::Created) = (&state.suspended, &plan.opening) {
                return Err(failure.refused(&writer.directory.journal));
            }
            // Into both slots: one write of another writer that does not know of this one yet may follow.
            writer.publish(&mut state);
        } else {
            writer.name_in_identity(&mut state);
        }
        state.ensure_open(&writer.directory.root)?;
    }
    if let Err(error) = writer.unlink_pruned() {
        tracing::warn!(%error, "pruned segments are not removed yet");
    }
    Ok((writer, plan.opening))
}

/// The claim of this opening, and what it found.
struct Claimed {
    claim: Claim,
    /// The marker, open for writing; `None` where it cannot be written.
    file: Option<Arc<dyn StorageFile>>,
    /// The one who opened the journal before closed it in an orderly way.
    before_was_released: bool,
}

/// Writes the claim, durably: from then on another writer, whose lock may not meet this one's, stops before it
/// acknowledges anything.
fn claim(directory: &Directory, options: &Options, writer: WriterId) -> Claimed {
    let before = directory.read_claim();
    let (process, host) = match options.seed {
        // The same bytes every time.
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
        tracing::warn!(%error, "the durability marker cannot be written");
    }
    let before_was_released = before.is_some_and(|before| before.released);
    Claimed { claim, file: opened.ok(), before_was_released }
}

/// Files that an opening comes upon and leaves alone.
fn report_left_out(directory: &Directory, newest: &Newest) {
    for name in &newest.left_out {
        tracing::warn!(
            path = %directory.segment(*name).display(),
            "a file in journal/ is no part of this journal; it is left alone; run `replay verify` to learn what it is"
        );
    }
}

/// Makes the directories of a journal that is about to be copied to them; their names survive a power cut.
pub(crate) fn make_directories(directory: &Directory) -> Result<(), Error> {
    prepare(&*directory.storage, &directory.root)?;
    prepare_journal(directory)?;
    sync_names_above(directory);
    Ok(())
}

/// Makes sure that `root` is a directory.
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
            let made: Vec<_> = root
                .ancestors()
                .filter(|path| !path.as_os_str().is_empty())
                .take_while(is_missing)
                .collect();
            storage.create_directory(root).context("create", root)?;
            for parent in made.iter().rev().filter_map(|path| path.parent()) {
                storage.sync_directory(parent).context("sync", parent)?;
            }
            Ok(())
        }
        Err(error) => Err(error).context("use", root),
    }
}

/// Makes sure that `journal/` is a directory. Returns whether it is the root of a file system of its own.
fn prepare_journal(directory: &Directory) -> Result<bool, Error> {
    let (storage, journal) = (&*directory.storage, &directory.journal);
    match storage.stat(journal) {
        // A link leads to the directory, such as on another disk.
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

fn sizes(storage: &dyn Storage, root: &Path, options: &Options) -> Sizes {
    let segment_max = options.segment_bytes_max.unwrap_or_else(|| {
        let file_system = storage.space(root).map_or(u64::MAX, |space| space.total_bytes);
        let room = file_system.min(options.storage_limit_bytes.unwrap_or(u64::MAX));
        (room / SEGMENT_SHARE).max(SEGMENT_BYTES_MIN)
    });
    Sizes::new(segment_max, options.pad_bytes())
}

fn make_plan(
    directory: &Directory,
    options: &Options,
    newest: &Newest,
    can_continue: bool,
    entropy: &Entropy,
) -> Result<Plan, Error> {
    let marker = newest.marker.as_ref();
    let Some(segment) = &newest.segment else {
        sync_names_above(directory);
        // The identity is written once a segment has its name: where it stands, there were records.
        return Ok(match (newest.lost_from(Seq(0)), newest.identity) {
            (Some(lost), _) => all_lost(directory, options, newest, &lost, entropy),
            (None, Some(identity)) => vanished(directory, options, &identity, entropy),
            (None, None) => create(entropy),
        });
    };
    let Ok(read) = &segment.header else {
        return unreadable(directory, options, segment, newest, entropy);
    };
    let header = read.header.clone();
    let footer = segment.footer(header.salt)?;
    match clean_end(newest, segment, &header).filter(|_| can_continue) {
        Some(marker) if footer.is_none() => resume_clean(segment, header, marker),
        _ => {
            let sealed_to = footer.map_or(Seq(0), |footer| footer.end_seq);
            let limit = newest.limit();
            let mut examination = examine(segment, &header, marker, (sealed_to, limit))?;
            let lost = newest.lost_from(examination.valid_seq);
            if let Some(lost) = lost.filter(|lost| lost.name.base > examination.proven) {
                // Where a later segment is known, everything before that one was proven.
                let proven = (sealed_to.max(lost.name.base), limit);
                examination = examine(segment, &header, marker, proven)?;
            }
            let lost = lost.or_else(|| {
                let end = examination.valid_seq;
                let name = SegmentName { base: end, day: header.name.day };
                footer.map(|_| LostSegment::after(name))
            });
            Ok(recover(options, segment, &header, examination, lost))
        }
    }
}

/// The marker, where it says that the journal was closed in an orderly way at the end of this very segment.
pub(crate) fn clean_end<'a>(
    newest: &'a Newest,
    segment: &OpenSegment,
    header: &SegmentHeader,
) -> Option<&'a DurabilityMarker> {
    newest.marker.as_ref().filter(|marker| {
        marker.clean
            && newest.lost_from(marker.seq).is_none()
            && (marker.journal, marker.salt, marker.name)
                == (header.journal, header.salt, header.name)
            && marker.offset >= FRAMES_OFFSET
            && marker.offset <= segment.len
            && marker.offset >= header.born_offset
            && marker.seq >= header.born_seq
            // A mark older than the segment, such as a copy beside the writer may have taken, is none.
            && segment.is_blank_behind(marker.offset)
    })
}

/// Before the first record: whoever made the directories, their names survive a power cut from here on.
fn sync_names_above(directory: &Directory) {
    for path in directory.root.ancestors().take(2) {
        if let Err(error) = directory.storage.sync_directory(path) {
            tracing::debug!(path = %path.display(), %error, "a directory cannot be synced");
        }
    }
}

fn create(entropy: &Entropy) -> Plan {
    Plan {
        opening: Opening::Created,
        journal: entropy.bytes(),
        incarnation: entropy.bytes(),
        ledger: Ledger::default(),
        tombstones: Vec::new(),
        keys: KeyIndex::default(),
        next_seq: Seq::FIRST,
        start: Start::Begin(Box::new(Succession::empty(None, Seq::FIRST))),
    }
}

fn resume_clean(
    segment: &OpenSegment,
    header: SegmentHeader,
    marker: &DurabilityMarker,
) -> Result<Plan, Error> {
    let mut ledger = Ledger::of_header(&header);
    let mut tombstones = Vec::new();
    if marker.notable {
        for (_, record) in system_records(segment, header.salt, marker.offset, marker.seq)? {
            ledger.apply(&record);
            tombstones.extend(record.pruned_segments());
        }
    }
    let keys = if marker.counts.keyed > 0 {
        KeyIndex::with_unread_active(marker.offset)
    } else {
        KeyIndex::default()
    };
    let active = ActiveSegment {
        path: segment.path.clone(),
        file: Arc::clone(&segment.file),
        identity: segment.identity,
        // What a copy goes on with must not look like what the original goes on with.
        ends_here: segment.links > 1 || marker.inode != segment.identity.1,
        // What lies before the end is never zeroed, however long the file is.
        allocated: (segment.len / BLOCK_BYTES * BLOCK_BYTES).max(marker.offset),
        synced: Synced { offset: marker.offset, seq: marker.seq },
        digest: resume_digest(segment, marker)?,
        counts: marker.counts,
        notable: marker.notable,
        day: (marker.counts.records > 0).then(|| header.created.day()),
        header: header.clone(),
    };
    Ok(Plan {
        opening: Opening::Clean,
        journal: header.journal,
        incarnation: header.incarnation,
        ledger,
        tombstones,
        keys,
        next_seq: marker.seq,
        start: Start::Continue(Box::new(active)),
    })
}

fn resume_digest(segment: &OpenSegment, marker: &DurabilityMarker) -> Result<SegmentDigest, Error> {
    let start = SegmentDigest::block_start(marker.offset);
    let mut digest = SegmentDigest::resume(marker.digest, start);
    let mut bytes = vec![0; (marker.offset - start) as usize];
    // Bytes that cannot be read leave a digest that will not agree: a later check finds both.
    let filled = read_full(&*segment.file, &mut bytes, start).unwrap_or(0);
    digest.absorb(start, bytes.get(..filled).unwrap_or_default());
    Ok(digest)
}

/// The plan after an abnormal end, and after the loss of a later segment.
fn recover(
    options: &Options,
    segment: &OpenSegment,
    header: &SegmentHeader,
    examination: Examination,
    lost: Option<LostSegment>,
) -> Plan {
    let mut ledger = Ledger::of_header(header);
    let mut tombstones = Vec::new();
    for (_, record) in &examination.notable {
        ledger.apply(record);
        tombstones.extend(record.pruned_segments());
    }
    let mut gaps: Vec<Gap> = examination
        .lost
        .iter()
        .map(|&(range, offset)| Gap {
            range,
            segment: (header.name.base, header.name.day),
            offset,
            upper_bound_unknown: false,
        })
        .collect();
    let kept_to = examination.valid_seq;
    let lost_bytes = segment.len.saturating_sub(examination.first_invalid);
    // Those of unsynced records may not even be counted in the file's length any more.
    let skipped = lost_bytes / RECORD_BYTES_MIN + UNSYNCED_RECORDS_MAX;
    let mut next = examination.seen.max(kept_to).plus(skipped + 1);
    let mut lost_successor = None;
    if let Some(LostSegment { name, salt, seq: known_to, .. }) = lost {
        next = next.max(known_to).plus(SEGMENT_BYTES_MAX / RECORD_BYTES_MIN);
        let range = SeqRange::new(kept_to, known_to.max(kept_to.next()));
        // One that began before what is kept ends was a copy's: its name proves nothing.
        let (name, salt) = match name.base < kept_to {
            true => (SegmentName { base: kept_to, day: name.day }, Salt(0)),
            false => (name, salt),
        };
        let segment = (name.base, name.day);
        gaps.push(Gap { range, segment, offset: 0, upper_bound_unknown: true });
        lost_successor = Some((name, salt, range.to));
    }
    let recovered = Recovered {
        kept_to,
        bytes: examination.torn_bytes,
        records_carried: examination.carried.counts.records,
        proof_missing: !examination.markered,
        damaged: !gaps.is_empty(),
    };
    // What is lost with the successor has to be missing before the new segment too, or readers pass over it as if it
    // had never been; frames that are carried stand in its place.
    let lost_successor = lost_successor.filter(|_| examination.carried.counts.frames == 0);
    let (previous, expected) = match lost_successor {
        Some((name, salt, end)) => (missing(name, salt, end), end),
        None => {
            let previous = PreviousEnd {
                name: header.name,
                salt: header.salt,
                offset: examination.kept_offset,
                seq: examination.proven,
                digest: examination.digest.finish(examination.kept_offset),
                unreadable: false,
            };
            (previous, kept_to)
        }
    };
    for gap in &gaps {
        ledger.add_gap(gap.range);
    }
    let succession = begin_with_notices(
        options,
        Some(previous),
        examination.carried,
        (expected, next),
        &recovered,
        &gaps,
    );
    // A segment of which nothing is proven is replaced by the one that carries its frames: both would have the
    // same name.
    let replaces = succession.base == header.name.base;
    let succession = Succession {
        name: replaces.then_some(header.name),
        replaces: if replaces { header.salt } else { Salt(0) },
        ancestors: match (replaces, lost_successor) {
            (true, _) => header.ancestors.clone(),
            (false, None) => header.ancestors_of_next(),
            // Others may be missing between the two, which the flag of the previous one says.
            (false, Some(_)) => Link::of_header(header).and_before(),
        },
        previous: if replaces { header.previous } else { succession.previous },
        rest: Some((header.name, header.salt, examination.kept_offset)),
        ..succession
    };
    Plan {
        opening: Opening::Recovered { recovered, gaps },
        journal: header.journal,
        incarnation: header.incarnation,
        ledger,
        tombstones,
        keys: KeyIndex::with_active(examination.keys),
        next_seq: succession.end,
        start: Start::Begin(Box::new(succession)),
    }
}

/// A succession that carries `carried`, then the records that tell of the loss, at seq `next` instead of `expected`.
pub(crate) fn begin_with_notices(
    options: &Options,
    previous: Option<PreviousEnd>,
    mut carried: Carried,
    (expected, next): (Seq, Seq),
    recovered: &Recovered,
    gaps: &[Gap],
) -> Succession {
    let records: Vec<SystemRecord> = gaps
        .iter()
        .map(|gap| SystemRecord::Gap(*gap))
        .chain([SystemRecord::Recovered(*recovered)])
        .collect();
    let payloads: Vec<Vec<u8>> = records.iter().map(SystemRecord::encode).collect();
    let new_records: Vec<NewRecord<'_>> = records
        .iter()
        .zip(&payloads)
        .map(|(record, payload)| NewRecord {
            kind: record.kind(),
            version: SystemRecord::VERSION,
            day: None,
            key: None,
            payload,
        })
        .collect();
    let time = options.clock.read().wall;
    let skipped = u32::try_from(next.0.saturating_sub(expected.0)).unwrap_or(u32::MAX);
    let first = expected.plus(u64::from(skipped));
    carried.push_records(&new_records, time, first, skipped);
    Succession {
        previous,
        name: None,
        replaces: Salt(0),
        ancestors: Vec::new(),
        base: carried.first_seq().unwrap_or(first),
        carried,
        end: first.plus(records.len() as u64),
        notable: gaps.iter().map(|gap| SystemRecord::Gap(*gap)).collect(),
        rest: None,
    }
}
