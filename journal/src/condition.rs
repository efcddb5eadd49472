//! Appending under a condition: evaluates queries over what is durable, then over what is pending, under one lock.
//!
//! The long part reads files and holds no lock. The short part is in memory, under the lock that assigns seqs: it finds
//! every record that was appended meanwhile. A record that is found there is made durable and evaluated like any other, so
//! that a caller never fails on a record that a power cut could still remove.

use std::sync::Arc;

use crate::format::{ControlRecord, NewRecord};
use crate::limits::CONDITIONS_MAX;
use crate::view::JournalView;
use crate::writer::{Appended, Taken, Writer};
use crate::{AppendCondition, Entry, Error, Query, ReaderOptions, Seq};

/// Appends a batch unless a record matches one of the conditions.
pub(crate) fn append_if(
    writer: &Arc<Writer>,
    batch: &[NewRecord<'_>],
    conditions: &[AppendCondition],
) -> Result<Appended, Error> {
    if conditions.len() > CONDITIONS_MAX {
        let (found, limit) = (conditions.len() as u64, CONDITIONS_MAX as u64);
        return Err(Error::TooLarge { what: "number of conditions", found, limit });
    }
    conditions.iter().try_for_each(|condition| condition.fail_if.check())?;
    let view = JournalView::of_writer(writer);
    // A repeated call never fails on its own records.
    if let Some(duplicate) = writer.find_known(batch)? {
        return Ok(duplicate);
    }
    let next_seq = writer.lock().next_seq;
    for (index, condition) in conditions.iter().enumerate() {
        check_after(writer, index, condition, next_seq)?;
    }
    let mut evaluated_to = Seq(0);
    loop {
        let head = view.head()?;
        for (index, condition) in conditions.iter().enumerate() {
            evaluate(writer, index, condition, evaluated_to, head)?;
        }
        evaluated_to = head;
        match writer.append_unless(batch, conditions, evaluated_to)? {
            Taken::Appended(appended) => return Ok(appended),
            Taken::Pending(seq) => writer.commit_pending(seq)?,
        }
    }
}

/// Checks that the seq `after` was reached, is retained, and is a record that the condition accepts.
fn check_after(
    writer: &Arc<Writer>,
    index: usize,
    condition: &AppendCondition,
    next_seq: Seq,
) -> Result<(), Error> {
    let Some(after) = condition.after else { return Ok(()) };
    if after >= next_seq {
        return Err(Error::Ahead { condition: index, after });
    }
    if !condition.after_matches {
        return Ok(());
    }
    let view = JournalView::of_writer(writer);
    if after >= view.head()? {
        // It is pending: only what is durable can be read, and expected.
        writer.commit_pending(after)?;
    }
    let options = ReaderOptions::default().query(condition.fail_if.clone()).until(after.next());
    match view.reader(after, options)?.next()? {
        Some(Entry::Record(_)) => Ok(()),
        Some(Entry::Lost(lost)) if !condition.accept_lost => {
            Err(Error::Undecidable { condition: index, range: lost.range })
        }
        Some(Entry::Lost(_)) => Ok(()),
        None => Err(Error::Ahead { condition: index, after }),
    }
}

/// Fails if a record from `from` on and before `until` matches the condition, or if that cannot be decided.
fn evaluate(
    writer: &Arc<Writer>,
    index: usize,
    condition: &AppendCondition,
    from: Seq,
    until: Seq,
) -> Result<(), Error> {
    let view = JournalView::of_writer(writer);
    let first = condition.after.map_or(Seq::FIRST, Seq::next);
    let from = from.max(first);
    if from >= until || writer.lock().may_match(condition, from).is_none() {
        return Ok(());
    }
    let options = ReaderOptions::default().query(condition.fail_if.clone()).until(until);
    let mut reader = view.reader(from, options)?;
    while let Some(entry) = reader.next()? {
        match entry {
            Entry::Record(record) => {
                return Err(Error::Conflict { condition: index, seq: record.seq });
            }
            Entry::Lost(_) if condition.accept_lost => {}
            Entry::Lost(lost) => {
                return Err(Error::Undecidable { condition: index, range: lost.range });
            }
        }
    }
    // The reader skips what was pruned before it began; who expects nothing after a seq has to hear of it.
    let pruned = view.source().pruned_and_gaps()?.pruned;
    let of_pruned = pruned.ranges().iter().find(|range| range.to > from);
    if let (Some(range), true) = (of_pruned, first > Seq::FIRST) {
        if pruned.floor() > first {
            return Err(Error::Pruned { floor: pruned.floor() });
        }
        let seq = tombstone_of(&view, range.from)?.unwrap_or(range.from);
        return Err(Error::Conflict { condition: index, seq });
    }
    Ok(())
}

/// The seq of the tombstone that names the segment of the record `seq`; `None` if it was pruned itself.
fn tombstone_of(view: &JournalView, seq: Seq) -> Result<Option<Seq>, Error> {
    let options = ReaderOptions::default().query(Query::kinds([ControlRecord::PRUNED_THROUGH]));
    let mut reader = view.reader(Seq::FIRST, options)?;
    while let Some(entry) = reader.next()? {
        if let Entry::Record(record) = entry
            && let Some(ControlRecord::PrunedThrough(pruned)) = ControlRecord::of(&record)
            && pruned.segments.iter().any(|segment| segment.range.contains(seq))
        {
            return Ok(Some(record.seq));
        }
    }
    Ok(None)
}
