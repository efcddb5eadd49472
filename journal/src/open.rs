//! Opening for writing: finds out how the last run ended and where to go on.
//!
//! After a clean end the last segment is continued. After any other it is left as it is, and a new one is begun
//! whose header says where the old one ends; frames that were written but not proven synced are written again
//! into it, with their seqs, together with a record of what was found. All of it becomes visible with one rename.

use std::path::Path;
use std::sync::Arc;

use crate::carried::Carried;
use crate::digest::SegmentDigest;
use crate::directory::{Directory, OpenSegment};
use crate::entropy::Entropy;
use crate::error::Context;
use crate::examine::{Examination, examine};
use crate::format::{
    FRAMES_OFFSET, Gap, NewRecord, PreviousEnd, RECORD_BYTES_MIN, Recovered, SegmentHeader,
    SegmentName, SystemRecord, Witness,
};
use crate::keys::KeyIndex;
use crate::ledger::Ledger;
use crate::limits::{
    BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_SHARE, UNSYNCED_RECORDS_MAX,
};
use crate::lost::{all_lost, missing, unreadable, vanished};
use crate::notable::system_records;
use crate::options::Options;
use crate::sizes::Sizes;
use crate::stats::JournalStats;
use crate::storage::{Access, EntryKind, LockError, Storage, read_full};
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
    let directory = Directory::new(Arc::clone(&options.storage), root);
    let storage = &*directory.storage;
    prepare(storage, root)?;
    let lock = storage.lock(root).map_err(|error| match error {
        LockError::Held { holder } => Error::Locked { path: root.to_owned(), holder },
        LockError::Io(source) => {
            Error::Io { operation: "lock", path: root.to_owned(), source: Arc::new(source) }
        }
    })?;
    directory.check_layout()?;
    prepare_journal(&directory)?;
    let witness_file = directory.open_existing_witness();
    // A clean end that cannot be taken back must not be gone on from.
    let can_be_unmarked = witness_file.is_some();
    let witness = directory
        .read_witness()
        .map(|witness| Witness { clean: witness.clean && can_be_unmarked, ..witness });
    let entropy = Entropy::new(options.seed);
    let mut plan = make_plan(&directory, options, witness.as_ref(), &entropy)?;
    if options.new_incarnation {
        plan.incarnation = entropy.bytes();
    }
    let settings = Settings {
        journal: plan.journal,
        incarnation: plan.incarnation,
        entropy,
        sizes: sizes(storage, root, options),
    };
    let (active, succession) = match plan.start {
        Start::Continue(active) => (Some(*active), None),
        Start::Begin(succession) => (None, Some(*succession)),
    };
    let pending_start = active.as_ref().map_or(0, |active| active.synced.offset);
    let mut state = State {
        active,
        suspended: None,
        told_suspended: false,
        next_seq: plan.next_seq,
        pending: Pending::at(settings.sizes.padded(pending_start)),
        busy: false,
        ledger: plan.ledger,
        keys: plan.keys,
        clock: None,
        witness: None,
        witness_generation: witness.map_or(0, |witness| witness.generation),
        witness_clean: succession.is_none(),
        spare_ready: false,
        closed: false,
        stats: JournalStats::default(),
    };
    match directory.open_witness(witness_file) {
        Ok(file) => state.witness = Some(file),
        Err(error) => tracing::warn!(%error, "the journal's witness cannot be made"),
    }
    let writer = Writer::new(directory, options, settings, lock, state);
    if let Some(succession) = succession {
        let mut state = writer.lock();
        writer.begin_or_suspend(&mut state, succession, None);
        if let (Some((_, failure)), Opening::Created) = (&state.suspended, &plan.opening) {
            return Err(failure.refused(&writer.directory.journal));
        }
    }
    if let Err(error) = writer.directory.write_identity(plan.journal) {
        tracing::warn!(%error, "the data directory's identity cannot be written");
    }
    if let Err(error) = writer.unlink_pruned() {
        tracing::warn!(%error, "pruned segments are not removed yet");
    }
    Ok((writer, plan.opening))
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

fn prepare_journal(directory: &Directory) -> Result<(), Error> {
    let (storage, journal) = (&*directory.storage, &directory.journal);
    match storage.stat(journal) {
        Ok(stat) if stat.kind != EntryKind::File => Ok(()),
        Ok(_) => Err(Error::Unexpected {
            path: journal.clone(),
            found: "a file".to_owned(),
            expected: "the directory of the journal; move the file away",
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            storage.create_directory(journal).context("create", journal)?;
            storage.disable_copy_on_write(journal);
            storage.sync_directory(&directory.root).context("sync", &directory.root)
        }
        Err(error) => Err(error).context("use", journal),
    }
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
    witness: Option<&Witness>,
    entropy: &Entropy,
) -> Result<Plan, Error> {
    let names = directory.segments()?;
    let Some(&last) = names.last() else {
        sync_names_above(directory);
        // The identity is written once a segment has its name: where it stands, there were records.
        return Ok(match (witness, directory.read_identity()) {
            (None, None) => create(entropy),
            (Some(witness), _) => all_lost(options, witness, entropy),
            (None, Some(journal)) => vanished(directory, options, journal, entropy),
        });
    };
    let segment = directory
        .open_segment(last, Access::Write)?
        .ok_or_else(|| Error::NotFound { path: directory.segment(last) })?;
    let Some(read) = &segment.header else {
        let before = names.len().checked_sub(2).and_then(|index| names.get(index).copied());
        return unreadable(directory, options, &segment, before, witness, entropy);
    };
    let header = read.header.clone();
    let footer = segment.footer(header.salt)?;
    let clean = witness.filter(|witness| {
        witness.clean
            && (witness.journal, witness.salt, witness.name)
                == (header.journal, header.salt, header.name)
            && witness.offset >= FRAMES_OFFSET
            && witness.offset <= segment.len
            && witness.offset >= header.born_offset
            && witness.seq >= header.born_seq
            // A mark older than the segment, such as a copy beside the writer may have taken, is none.
            && segment.is_blank_behind(witness.offset)
    });
    match (clean, footer) {
        (Some(witness), None) => resume_clean(&segment, header, witness),
        (_, footer) => {
            let witness = witness.filter(|witness| witness.journal == header.journal);
            let successor_lost =
                footer.is_some() || witness.is_some_and(|witness| witness.name.base > last.base);
            // Where the witness tells of a later segment, everything before that one was proven.
            let later = witness.filter(|witness| witness.name.base > last.base);
            let sealed_to = footer.map_or(Seq(0), |footer| footer.end_seq);
            let sealed_to = sealed_to.max(later.map_or(Seq(0), |witness| witness.name.base));
            let examination = examine(&segment, &header, witness, sealed_to)?;
            Ok(recover(options, &segment, &header, examination, successor_lost, witness))
        }
    }
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
        keys: KeyIndex::default(),
        next_seq: Seq::FIRST,
        start: Start::Begin(Box::new(Succession::empty(None, Seq::FIRST))),
    }
}

fn resume_clean(
    segment: &OpenSegment,
    header: SegmentHeader,
    witness: &Witness,
) -> Result<Plan, Error> {
    let mut ledger = Ledger::of_header(&header);
    if witness.notable {
        for (_, record) in system_records(segment, header.salt, witness.offset, witness.seq)? {
            ledger.apply(&record);
        }
    }
    let keys = if witness.counts.keyed > 0 {
        KeyIndex::with_unread_active(witness.offset)
    } else {
        KeyIndex::default()
    };
    let active = ActiveSegment {
        path: segment.path.clone(),
        file: Arc::clone(&segment.file),
        // What lies before the end is never zeroed, however long the file is.
        allocated: (segment.len / BLOCK_BYTES * BLOCK_BYTES).max(witness.offset),
        synced: Synced { offset: witness.offset, seq: witness.seq },
        digest: resume_digest(segment, witness)?,
        counts: witness.counts,
        notable: witness.notable,
        day: (witness.counts.records > 0).then(|| header.created.day()),
        header: header.clone(),
    };
    Ok(Plan {
        opening: Opening::Clean,
        journal: header.journal,
        incarnation: header.incarnation,
        ledger,
        keys,
        next_seq: witness.seq,
        start: Start::Continue(Box::new(active)),
    })
}

fn resume_digest(segment: &OpenSegment, witness: &Witness) -> Result<SegmentDigest, Error> {
    let start = SegmentDigest::block_start(witness.offset);
    let mut digest = SegmentDigest::resume(witness.digest, start);
    let mut bytes = vec![0; (witness.offset - start) as usize];
    // Bytes that cannot be read leave a digest that will not agree: a later check finds both.
    let filled = read_full(&*segment.file, &mut bytes, start).unwrap_or(0);
    digest.absorb(start, bytes.get(..filled).unwrap_or_default());
    Ok(digest)
}

/// The plan after an abnormal end, and after the loss of the segment behind this one.
fn recover(
    options: &Options,
    segment: &OpenSegment,
    header: &SegmentHeader,
    examination: Examination,
    successor_lost: bool,
    witness: Option<&Witness>,
) -> Plan {
    let mut ledger = Ledger::of_header(header);
    for (_, record) in &examination.notable {
        ledger.apply(record);
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
    if successor_lost {
        let named = witness.filter(|witness| witness.name.base > header.name.base);
        let name = named
            .map_or((kept_to, header.name.day), |witness| (witness.name.base, witness.name.day));
        let known_to = named.map_or(kept_to, |witness| witness.seq);
        next = next.max(known_to).plus(SEGMENT_BYTES_MAX / RECORD_BYTES_MIN);
        let range = SeqRange::new(kept_to, known_to.max(kept_to.next()));
        gaps.push(Gap { range, segment: name, offset: 0, upper_bound_unknown: true });
        lost_successor = Some((name, range.to));
    }
    let recovered = Recovered {
        kept_to,
        bytes: examination.torn_bytes,
        records_carried: examination.carried.counts.records,
        proof_missing: !examination.witnessed,
        damaged: !gaps.is_empty(),
    };
    // What is lost with the successor has to be missing before the new segment too, or readers pass over it as if it
    // had never been; frames that are carried stand in its place.
    let lost_successor = lost_successor.filter(|_| examination.carried.counts.frames == 0);
    let (previous, expected) = match lost_successor {
        Some(((base, day), end)) => (missing(SegmentName { base, day }, end), end),
        None => {
            let previous = PreviousEnd {
                name: header.name,
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
        previous: if replaces { header.previous } else { succession.previous },
        rest: Some((header.name, header.salt, examination.kept_offset)),
        ..succession
    };
    Plan {
        opening: Opening::Recovered { recovered, gaps },
        journal: header.journal,
        incarnation: header.incarnation,
        ledger,
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
        base: carried.first_seq().unwrap_or(first),
        carried,
        end: first.plus(records.len() as u64),
        notable: gaps.iter().map(|gap| SystemRecord::Gap(*gap)).collect(),
        rest: None,
    }
}
