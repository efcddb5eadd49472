//! Which events of the journal could still be described: read once, for `lenslog describe`.

use std::collections::BTreeMap;

use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, EventRef, RecorderCodec, kind};
use lenslog_journal::{
    ControlRecord, Entry, Error, JournalView, Kind, Query, ReaderOptions, Seq, Timestamp,
};
use lenslog_projections::Waiting;
use lenslog_projections::descriptions::WAITING_MAX;

/// The events since `since` that have a picture and no sentence; those of which it was journaled that there will be
/// none only where `failed`. With more than [`WAITING_MAX`], the newest.
///
/// # Errors
///
/// Those of reading the journal.
pub fn backlog(view: &JournalView, since: Timestamp, failed: bool) -> Result<Vec<Waiting>, Error> {
    let mut found: BTreeMap<Seq, Waiting> = BTreeMap::new();
    let kinds = [kind::EVENT_DETECTED, kind::DESCRIPTION_ADDED, kind::DESCRIPTION_FAILED];
    let kinds = kinds.map(Kind).into_iter().chain([ControlRecord::PRUNED_THROUGH]);
    let query = Query::kinds(kinds);
    let mut reader = view.reader(view.floor()?, ReaderOptions::default().query(query))?;
    while let Some(entry) = reader.next()? {
        let Entry::Record(record) = entry else { continue };
        let record = Recorded::decode::<RecorderCodec>(&record);
        match record.fact {
            Fact::Event(Event::Detected(event)) => {
                let is_wanted = event.timestamp.utc_micros >= since.utc_micros
                    && event.image_path.is_some()
                    && event.llm_description.is_none();
                if is_wanted {
                    let event_day = event.timestamp.day();
                    let (event_seq, event_id) = (record.seq, event.event_id);
                    let event = EventRef { event_seq, event_day, event_id };
                    // The files have written it long ago.
                    let waiting = Waiting { event, appended: record.time, deferred: true };
                    found.insert(event_seq, waiting);
                    if found.len() > WAITING_MAX {
                        found.pop_first();
                    }
                }
            }
            Fact::Event(Event::DescriptionAdded(added)) => {
                found.remove(&added.event.event_seq);
            }
            Fact::Event(Event::DescriptionFailed(gone)) if !failed => {
                found.remove(&gone.event.event_seq);
            }
            Fact::Journal(ControlRecord::PrunedThrough(pruned)) => {
                found.retain(|_, waiting| !pruned.days().contains(waiting.event.event_day));
            }
            _ => {}
        }
    }
    Ok(found.into_values().collect())
}
