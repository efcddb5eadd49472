//! [`Details`]: events as the lines of events.json, whole: what the database has no column for (the local offset, the
//! camera's name, the metadata) comes from the journal.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Local;
use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, EventDetected, Metadata, RecorderCodec, event_tag, render_event};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Entry, Error, JournalView, Query, Reader, ReaderOptions, Seq, Timestamp};
use lenslog_projections::StoredEvent;
use lenslog_tools::complain;

/// How long a row may be ahead of the journal's published end.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Finds events in the journal. Where that cannot be read a line has what the database has.
#[derive(Debug)]
pub(super) struct Details {
    data: PathBuf,
    view: Option<JournalView>,
    /// The segment in which the reader began, and the reader.
    reader: Option<(Seq, Reader)>,
    /// Whether the failure to read the journal was reported.
    has_warned: bool,
}

impl Details {
    /// Of the journal in this data directory.
    pub(super) fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), view: None, reader: None, has_warned: false }
    }

    pub(super) fn print(&mut self, out: &mut impl Write, events: &[StoredEvent]) -> io::Result<()> {
        let mut seqs: Vec<Seq> = events.iter().map(|event| event.seq).collect();
        // The journal is read forwards, each segment once.
        seqs.sort_unstable();
        let mut found = self.find(&seqs);
        let mut line = Vec::new();
        for event in events {
            let place = seqs.binary_search(&event.seq).ok();
            let detected = place.and_then(|place| found[place].take());
            line.clear();
            let path = event.json_log_path.as_deref().unwrap_or_default();
            render_event(&mut line, &whole(event, detected), event.seq, path);
            line.push(b'\n');
            out.write_all(&line)?;
        }
        Ok(())
    }

    fn find(&mut self, seqs: &[Seq]) -> Vec<Option<EventDetected>> {
        let mut found = vec![None; seqs.len()];
        if seqs.is_empty() {
            return found;
        }
        if let Err(error) = self.read(seqs, &mut found) {
            (self.view, self.reader) = (None, None);
            if !std::mem::replace(&mut self.has_warned, true) {
                complain!(
                    "lenslog: WARNING: {error}; the lines lack names of cameras and metadata, and have this \
                     machine's time zone"
                );
            }
        }
        found
    }

    fn read(&mut self, seqs: &[Seq], found: &mut [Option<EventDetected>]) -> Result<(), Error> {
        let view = match &self.view {
            Some(view) => view.clone(),
            None => self.view.insert(JournalView::open(&self.data, Arc::new(RealStorage))?).clone(),
        };
        let bases: Vec<Seq> = view.segments()?.iter().map(|segment| segment.name.base).collect();
        for (seq, found) in seqs.iter().zip(found) {
            let Some(base) = bases.iter().rev().find(|base| *base <= seq) else { continue };
            let current = self.reader.take().filter(|(begun, reader)| {
                // Within a segment reading on is cheaper than finding the place again.
                reader.next_seq() <= *seq && (begun == base || reader.next_seq() >= *base)
            });
            let (_, reader) = match current {
                Some(current) => self.reader.insert(current),
                None => {
                    let from = (*base).max(view.floor()?);
                    self.reader.insert((*base, view.reader(from, ReaderOptions::default())?))
                }
            };
            *found = event_at(reader, *seq)?;
        }
        Ok(())
    }
}

/// The event with this `seq` in the journal.
fn event_at(reader: &mut Reader, seq: Seq) -> Result<Option<EventDetected>, Error> {
    let begun = Instant::now();
    while reader.next_seq() <= seq {
        match reader.next()? {
            Some(Entry::Record(record)) if record.seq == seq => {
                let recorded = Recorded::decode::<RecorderCodec>(&record);
                return Ok(match recorded.fact {
                    Fact::Event(Event::Detected(detected)) => Some(detected),
                    _ => None,
                });
            }
            Some(_) => {}
            None if begun.elapsed() < TIMEOUT => reader.wait(TIMEOUT),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The event of this name, from the journal, with what later records changed of it.
pub(super) fn event_by_id(data: &Path, event_id: &str) -> Result<Option<StoredEvent>, Error> {
    let view = JournalView::open(data, Arc::new(RealStorage))?;
    let options = ReaderOptions::default().query(Query::tag(event_tag(event_id)));
    let mut reader = view.reader(Seq::FIRST, options)?;
    let mut found: Option<StoredEvent> = None;
    while let Some(entry) = reader.next()? {
        let record = match entry {
            Entry::Record(record) => Recorded::decode::<RecorderCodec>(&record),
            Entry::Lost(lost) => {
                complain!("lenslog: WARNING: {lost}");
                continue;
            }
        };
        match (record.fact, &mut found) {
            (Fact::Event(Event::Detected(event)), _) => {
                found = Some(StoredEvent::from_journal(record.seq, record.time, event));
            }
            (Fact::Event(Event::DescriptionAdded(added)), Some(found)) => {
                found.llm_description = Some(added.llm_description);
            }
            (Fact::Event(Event::ImagePurged(_)), Some(found)) => found.image_path = None,
            _ => {}
        }
    }
    Ok(found)
}

/// What the journal said, with what later records changed of it.
fn whole(event: &StoredEvent, detected: Option<EventDetected>) -> EventDetected {
    let detected = detected.filter(|detected| detected.event_id == event.event_id);
    let base = detected.unwrap_or_else(|| EventDetected {
        event_id: event.event_id.clone(),
        timestamp: Timestamp::from_local(event.timestamp.with_timezone(&Local).fixed_offset()),
        camera_id: event.camera_id.clone(),
        camera_name: None,
        motion_confidence: event.motion_confidence,
        detected_objects: event.detected_objects.clone(),
        image_path: None,
        llm_description: None,
        description_expected: false,
        metadata: Metadata::new(),
    });
    EventDetected {
        image_path: event.image_path.clone(),
        llm_description: event.llm_description.clone(),
        ..base
    }
}
