//! `replay export`: prints every event as a line of JSON that `lenslog ingest` takes.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, EventDetected, RecorderCodec};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Day, Entry, JournalView, PrunedDays, Reader, ReaderOptions, Seq};

use crate::args::GlobalArgs;
use crate::{EXIT_DAMAGED, EXIT_OK, reader_options};

/// Print every event as a line of JSON that `lenslog ingest` takes.
#[derive(Debug, Args)]
pub struct Export {
    /// Print only days from this one on
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// Print only days up to this one
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// Map sealed segments into memory: faster, but a bad sector ends the program (SIGBUS)
    #[arg(long)]
    map: bool,
}

/// The journal, and how it is read.
struct Source {
    view: JournalView,
    options: ReaderOptions,
}

/// Facts of later records about earlier events.
#[derive(Default)]
struct Later {
    /// The record that describes an event last.
    descriptions: HashMap<Seq, Seq>,
    /// Prunings: the days and the seq of the tombstone.
    pruned: Vec<(PrunedDays, Seq)>,
    lost: bool,
}

impl Export {
    pub(crate) fn run(&self, args: &GlobalArgs) -> Result<u8> {
        let layout = args.existing()?;
        let view = JournalView::open(&layout.data, Arc::new(RealStorage))?;
        let end = view.head()?;
        let source = Source { view, options: reader_options(self.map) };
        let later = read_ahead(&source, end)?;
        let mut out = crate::standard_output();
        let mut line = Vec::new();
        each_event(&source, end, |recorded, mut event| {
            let wanted = self.from.is_none_or(|from| from <= recorded.day)
                && self.to.is_none_or(|to| recorded.day <= to);
            if !wanted || later.is_pruned(&recorded) {
                return Ok(());
            }
            if let Some(&described) = later.descriptions.get(&recorded.seq) {
                event.llm_description = description_at(&source, described)?;
            }
            line.clear();
            let path = format!("data/events/{}/events.json", recorded.day);
            lenslog_events::render_event_in_full(&mut line, &event, recorded.seq, &path);
            line.push(b'\n');
            Ok(out.write_all(&line)?)
        })?;
        out.flush()?;
        Ok(if later.lost { EXIT_DAMAGED } else { EXIT_OK })
    }
}

impl Later {
    fn is_pruned(&self, recorded: &Recorded<Event>) -> bool {
        let is_taken = |(days, tombstone): &(PrunedDays, Seq)| {
            days.contains(recorded.day) && recorded.seq < *tombstone
        };
        self.pruned.iter().any(is_taken)
    }
}

impl Source {
    fn reader(&self, from: Seq) -> Result<Reader> {
        Ok(self.view.reader(from, self.options.clone())?)
    }
}

/// Reads ahead for descriptions and prunings. Holds sixteen bytes a described event.
fn read_ahead(source: &Source, end: Seq) -> Result<Later> {
    let mut later = Later::default();
    let mut reader = source.reader(Seq::FIRST)?;
    while reader.next_seq() < end {
        let record = match reader.next()? {
            Some(Entry::Record(record)) => record,
            Some(Entry::Lost(lost)) => {
                complain!("replay: {lost}");
                later.lost = true;
                continue;
            }
            None => break,
        };
        let recorded = Recorded::decode::<RecorderCodec>(&record);
        match recorded.fact {
            Fact::Event(Event::DescriptionAdded(added)) => {
                later.descriptions.insert(added.event.event_seq, recorded.seq);
            }
            Fact::Journal(lenslog_journal::ControlRecord::PrunedThrough(pruned)) => {
                later.pruned.push((pruned.days(), recorded.seq));
            }
            _ => {}
        }
    }
    Ok(later)
}

fn each_event(
    source: &Source,
    end: Seq,
    mut each: impl FnMut(Recorded<Event>, EventDetected) -> Result<()>,
) -> Result<()> {
    let mut reader = source.reader(Seq::FIRST)?;
    while reader.next_seq() < end {
        let Some(entry) = reader.next()? else { break };
        let Entry::Record(record) = entry else { continue };
        let recorded = Recorded::decode::<RecorderCodec>(&record);
        if let Fact::Event(Event::Detected(detected)) = &recorded.fact {
            let detected = detected.clone();
            each(recorded, detected)?;
        }
    }
    Ok(())
}

fn description_at(source: &Source, seq: Seq) -> Result<Option<String>> {
    let Some(record) = source.view.get(seq)? else { return Ok(None) };
    match Recorded::decode::<RecorderCodec>(&record.as_record()).fact {
        Fact::Event(Event::DescriptionAdded(added)) => Ok(Some(added.llm_description)),
        _ => Ok(None),
    }
}
