//! [`Opened`]: where a delivery begins or continues: at its cursor, after a pruning, in a restored copy, or without a cursor.

use std::collections::VecDeque;
use std::path::Path;

use lenslog_journal::storage::Storage;
use lenslog_journal::{Error, JournalView, Position, Reader, ReaderOptions, Resume, Seq, SeqRange};

use super::cursor::{DeliveryCursor, SenderError};
use super::{Begin, DeliveryGap, DeliveryNotice, DeliverySpec, GapCause};

/// Where a delivery begins or continues, and what there is to say about it.
pub(super) struct Opened {
    pub(super) cursor: DeliveryCursor,
    pub(super) reader: Reader,
    pub(super) head: Seq,
    pub(super) gaps: VecDeque<DeliveryGap>,
    pub(super) notices: VecDeque<DeliveryNotice>,
}

impl Opened {
    pub(super) fn find(
        spec: &DeliverySpec,
        view: &JournalView,
        storage: &dyn Storage,
        path: &Path,
    ) -> Result<Self, SenderError> {
        let options = ReaderOptions::default().query(spec.query.clone());
        let (mut gaps, mut notices) = (VecDeque::new(), VecDeque::new());
        let head = view.head()?;
        let known = DeliveryCursor::read(storage, path)?;
        let Some(mut cursor) = known.filter(|cursor| cursor.journal == view.journal_id()) else {
            let from = begin(view, spec.begin)?;
            notices.push_back(DeliveryNotice::Begun { from });
            let cursor = DeliveryCursor::at(view, Position { next: from, last: None });
            return Ok(Self { cursor, reader: view.reader(from, options)?, head, gaps, notices });
        };
        let is_copy = cursor.incarnation != view.incarnation();
        cursor.incarnation = view.incarnation();
        let mut differs = is_copy.then_some(cursor.position.next);
        let reader = match view.resume(&cursor.position, options.clone())? {
            Resume::At(reader) | Resume::Pruned(reader) => {
                let pruned = SeqRange::new(cursor.position.next, reader.next_seq());
                gaps.extend(DeliveryGap::of(pruned, GapCause::Pruned));
                reader
            }
            _ => {
                let from = match cursor.common(view)? {
                    Some(seq) => seq.next(),
                    None => begin(view, spec.begin)?,
                };
                differs = Some(from);
                view.reader(from.max(view.floor()?), options)?
            }
        };
        notices.extend(differs.map(|from| DeliveryNotice::Restored { from }));
        if reader.next_seq() != cursor.position.next {
            cursor.position = Position { next: reader.next_seq(), last: None };
        }
        Ok(Self { cursor, reader, head, gaps, notices })
    }
}

fn begin(view: &JournalView, begin: Begin) -> Result<Seq, Error> {
    match begin {
        Begin::Head => view.head(),
        Begin::Floor => view.floor(),
    }
}
