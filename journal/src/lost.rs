//! What is begun where segments are gone: the last one's header, every segment, or everything but the identity.
//!
//! Recording goes on as the same journal, far behind what may have been given out, with a record of what is lost.

use crate::carried::Carried;
use crate::chain::forks_off;
use crate::directory::{Directory, Identity, OpenSegment};
use crate::entropy::Entropy;
use crate::format::{
    Gap, PreviousEnd, RECORD_BYTES_MIN, Recovered, Salt, SegmentHeader, SegmentName,
};
use crate::keys::KeyIndex;
use crate::ledger::Ledger;
use crate::limits::{SEGMENT_BYTES_MAX, SEQ_AFTER_VANISHING_MAX, SEQ_AFTER_VANISHING_MIN};
use crate::newest::{LostSegment, Newest};
use crate::notable::system_records;
use crate::open::{Opening, Plan, Start, begin_with_notices};
use crate::options::Options;
use crate::storage::Access;
use crate::{Error, Seq, SeqRange};

/// The plan where the header of the newest segment cannot be read: all of it is lost.
pub(crate) fn unreadable(
    directory: &Directory,
    options: &Options,
    segment: &OpenSegment,
    newest: &Newest,
    entropy: &Entropy,
) -> Result<Plan, Error> {
    let marker = newest.marker.as_ref();
    let journal = marker.map(|marker| marker.journal);
    let journal = journal.or(newest.identity.map(|identity| identity.journal));
    let of_marker = marker.filter(|marker| marker.name == segment.name);
    let salt = of_marker.map_or(Salt(0), |marker| marker.salt);
    let mut ledger = Ledger::default();
    let mut tombstones = Vec::new();
    let mut incarnation = None;
    let before = newest_readable_before(directory, newest, segment, journal)?;
    if let Some((before, header)) = &before {
        incarnation = Some(header.incarnation);
        ledger = Ledger::of_header(header);
        for (_, record) in system_records(before, header.salt, before.len, segment.name.base)? {
            ledger.apply(&record);
            tombstones.extend(record.pruned_segments());
        }
    }
    let base = segment.name.base;
    let known_to = of_marker.map_or(base, |marker| marker.seq.max(base));
    // A later segment may be gone too.
    let lost = newest.lost_from(base);
    let known_to = lost.map_or(known_to, |lost| lost.seq.max(known_to));
    let next = known_to.plus(segment.len.max(SEGMENT_BYTES_MAX) / RECORD_BYTES_MIN);
    let gaps = vec![Gap {
        range: SeqRange::new(base, known_to.max(base.next())),
        segment: (base, segment.name.day),
        offset: 0,
        upper_bound_unknown: true,
    }];
    let (name, salt) = lost.map_or((segment.name, salt), |lost| (lost.name, lost.salt));
    let previous = missing(name, salt, known_to);
    let journal = journal.or(before.map(|(_, header)| header.journal));
    let plan = lost_plan(
        options,
        entropy,
        ledger,
        (journal, incarnation),
        Some(previous),
        (known_to, next),
        gaps,
    );
    Ok(Plan { tombstones, ..plan })
}

/// The newest segment before `segment` whose header can be read.
fn newest_readable_before(
    directory: &Directory,
    newest: &Newest,
    segment: &OpenSegment,
    journal: Option<[u8; 16]>,
) -> Result<Option<(OpenSegment, SegmentHeader)>, Error> {
    let before = newest.names.iter().rev().filter(|name| name.base < segment.name.base);
    for &name in before {
        let Some(found) = directory.open_segment(name, Access::Read)? else { continue };
        if let Ok(read) = &found.header
            && journal.is_none_or(|journal| journal == read.header.journal)
            && !forks_off(directory, &read.header)?
        {
            let header = read.header.clone();
            return Ok(Some((found, header)));
        }
    }
    Ok(None)
}

/// The plan where no segment is left, though the marker or the identity names one.
///
/// It stays the same journal, so that what was made of the lost records is not taken for another one's.
pub(crate) fn all_lost(
    directory: &Directory,
    options: &Options,
    newest: &Newest,
    lost: &LostSegment,
    entropy: &Entropy,
) -> Plan {
    report_all_lost(directory);
    let known_to = lost.seq.max(Seq::FIRST.next());
    let mut next = known_to.plus(SEGMENT_BYTES_MAX / RECORD_BYTES_MIN);
    let mut end = known_to;
    if !lost.is_exact {
        // How far it came is not known: everything before the next record is taken for lost.
        next = next.max(after_vanishing(options));
        end = next;
    }
    let gaps = vec![Gap {
        range: SeqRange::new(Seq::FIRST, end),
        segment: (lost.name.base, lost.name.day),
        offset: 0,
        upper_bound_unknown: true,
    }];
    // Numbering goes on far behind what is known: the header says where that ended.
    let previous = missing(lost.name, lost.salt, end);
    let marker = newest.marker.as_ref().map(|marker| (marker.journal, marker.incarnation));
    let identity = newest.identity.map(|identity| (identity.journal, identity.incarnation));
    let (journal, incarnation) = marker.or(identity).unzip();
    let (ids, seqs) = ((journal, incarnation), (end, next));
    lost_plan(options, entropy, Ledger::default(), ids, Some(previous), seqs, gaps)
}

/// The plan where the identity names the journal and no segment of it.
pub(crate) fn vanished(
    directory: &Directory,
    options: &Options,
    identity: &Identity,
    entropy: &Entropy,
) -> Plan {
    report_all_lost(directory);
    let next = after_vanishing(options);
    let gaps = vec![Gap {
        range: SeqRange::new(Seq::FIRST, next),
        segment: (Seq::FIRST, options.clock.read().wall.day()),
        offset: 0,
        upper_bound_unknown: true,
    }];
    let ids = (Some(identity.journal), Some(identity.incarnation));
    lost_plan(options, entropy, Ledger::default(), ids, None, (next, next), gaps)
}

/// The seq with which a journal goes on where nothing says how far it came: the microseconds since 1970.
fn after_vanishing(options: &Options) -> Seq {
    let micros = u64::try_from(options.clock.read().wall.utc_micros).unwrap_or_default();
    Seq(micros.clamp(SEQ_AFTER_VANISHING_MIN, SEQ_AFTER_VANISHING_MAX))
}

fn report_all_lost(directory: &Directory) {
    tracing::error!(
        root = %directory.root.display(),
        "IDENTITY or WITNESS name a journal, but none of its segments is there: every record is lost, and recording goes \
         on after them; put journal/ back from a backup, or move the whole directory away to begin a new journal"
    );
}

/// What a header says of a previous segment of which nothing can be read.
pub(crate) const fn missing(name: SegmentName, salt: Salt, seq: Seq) -> PreviousEnd {
    PreviousEnd { name, salt, offset: 0, seq, digest: [0; 32], unreadable: true }
}

fn lost_plan(
    options: &Options,
    entropy: &Entropy,
    mut ledger: Ledger,
    (journal, incarnation): (Option<[u8; 16]>, Option<[u8; 16]>),
    previous: Option<PreviousEnd>,
    (expected, next): (Seq, Seq),
    gaps: Vec<Gap>,
) -> Plan {
    for gap in &gaps {
        ledger.add_gap(gap.range);
    }
    let recovered = Recovered {
        kept_to: expected,
        bytes: 0,
        records_carried: 0,
        proof_missing: true,
        damaged: true,
    };
    let carried = Carried::default();
    let succession =
        begin_with_notices(options, previous, carried, (expected, next), &recovered, &gaps);
    Plan {
        opening: Opening::Recovered { recovered, gaps },
        journal: journal.unwrap_or_else(|| entropy.bytes()),
        incarnation: incarnation.unwrap_or_else(|| entropy.bytes()),
        ledger,
        tombstones: Vec::new(),
        keys: KeyIndex::default(),
        next_seq: succession.end,
        start: Start::Begin(Box::new(succession)),
    }
}
