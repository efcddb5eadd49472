//! Ingest: appends events from lines of JSON.
//!
//! A bad line is reported with its number and stops no other. An event whose id a retained segment knows already is
//! refused as a duplicate and acknowledged with the seq of the first.

mod lines;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;

use lenslog_control::{IngestOutcome, Totals};
use lenslog_engine::Encoded;
use lenslog_events::limits::LINE_BYTES_MAX;
use lenslog_events::{Event, RecorderCodec, parse_line};
use lenslog_journal::{Appended, Clock, Error, Journal, Timestamp};

use crate::metrics::{MetricsCollector, label_of};
use crate::storage::Admission;

use lines::{Line, LineReader};

/// Lines that share one sync at most.
const BATCH_LINES_MAX: usize = 1000;
/// Bytes of events that share one sync at most.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Names of unknown fields that are reported; further ones are kept silently.
const UNKNOWN_NAMES_MAX: usize = 100;

/// Makes events of lines.
pub struct Ingestor<'a> {
    journal: Journal,
    clock: Arc<dyn Clock>,
    admission: &'a dyn Admission,
    metrics: Option<Arc<MetricsCollector>>,
    reported_names: HashSet<String>,
    totals: Totals,
}

/// An event on its way into the journal.
struct Pending {
    line: u64,
    event_id: String,
    camera_id: String,
    label: String,
    encoded: Encoded,
}

impl<'a> Ingestor<'a> {
    /// Ingests into `journal`, as long as there is room.
    #[must_use]
    pub fn new(journal: Journal, clock: Arc<dyn Clock>, admission: &'a dyn Admission) -> Self {
        Self {
            journal,
            clock,
            admission,
            metrics: None,
            reported_names: HashSet::new(),
            totals: Totals::default(),
        }
    }

    /// Has every event counted there.
    #[must_use]
    pub fn counted_by(mut self, metrics: Arc<MetricsCollector>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Reads `input` to its end. `report` gets the outcome of every line; its failure ends the ingest.
    ///
    /// # Errors
    ///
    /// Those of reading `input` and of `report`. Every event reported as accepted is durable.
    pub fn run(
        mut self,
        input: impl Read,
        report: &mut dyn FnMut(Vec<IngestOutcome>) -> io::Result<()>,
    ) -> io::Result<Totals> {
        let mut reader = LineReader::new(input, LINE_BYTES_MAX);
        let mut line = Vec::new();
        let mut batch: Vec<Pending> = Vec::new();
        let mut bytes = 0;
        loop {
            let read = reader.next(&mut line)?;
            let mut outcomes = Vec::new();
            match read {
                Some(Line::Whole) if line.trim_ascii().is_empty() => {}
                Some(Line::Whole) => {
                    let now = self.clock.read().wall;
                    match self.parse(&line, reader.number(), now, &mut outcomes) {
                        Ok(pending) => {
                            bytes += pending.encoded.payload.len();
                            batch.push(pending);
                        }
                        Err(outcome) => outcomes.push(outcome),
                    }
                }
                Some(Line::TooLong) => outcomes.push(IngestOutcome::Refused {
                    line: reader.number(),
                    reason: format!("it is longer than {LINE_BYTES_MAX} bytes"),
                    storage_full: false,
                }),
                None => {}
            }
            let full = batch.len() >= BATCH_LINES_MAX || bytes >= BATCH_BYTES_MAX;
            // A sender that waits for an acknowledgement after one line is not kept waiting for a second.
            if full || read.is_none() || !reader.has_line() {
                self.append(&mut batch, &mut outcomes);
                bytes = 0;
            }
            self.count(&outcomes);
            if !outcomes.is_empty() {
                report(outcomes)?;
            }
            if read.is_none() {
                return Ok(self.totals);
            }
        }
    }

    fn parse(
        &mut self,
        line: &[u8],
        number: u64,
        now: Timestamp,
        outcomes: &mut Vec<IngestOutcome>,
    ) -> Result<Pending, IngestOutcome> {
        let parsed = parse_line(line, now).map_err(|error| IngestOutcome::Refused {
            line: number,
            reason: error.to_string(),
            storage_full: false,
        })?;
        for name in parsed.unknown_fields() {
            if self.reported_names.len() < UNKNOWN_NAMES_MAX
                && self.reported_names.insert(name.clone())
            {
                outcomes.push(IngestOutcome::UnknownField { line: number, name: name.clone() });
            }
        }
        let event = parsed.into_event(|| format!("evt_{}", uuid::Uuid::now_v7()));
        let event_id = event.event_id.clone();
        let (camera_id, label) = (event.camera_id.clone(), label_of(&event).to_owned());
        let encoded = RecorderCodec::encode(&Event::Detected(event));
        Ok(Pending { line: number, event_id, camera_id, label, encoded })
    }

    /// Appends a batch; every line's outcome is settled then.
    fn append(&self, batch: &mut Vec<Pending>, outcomes: &mut Vec<IngestOutcome>) {
        if batch.is_empty() {
            return;
        }
        if !self.admission.admit() {
            let refused = batch.drain(..).map(|pending| IngestOutcome::Refused {
                line: pending.line,
                reason: "the storage limit is exceeded, and nothing may be deleted".to_owned(),
                storage_full: true,
            });
            outcomes.extend(refused);
            return;
        }
        let appended = self.append_or_make_room(batch);
        self.admission.note(self.journal.next_seq());
        for (pending, result) in batch.drain(..).zip(appended) {
            self.measure(&pending, &result);
            let Pending { line, event_id, .. } = pending;
            outcomes.push(match result {
                Ok(appended) => IngestOutcome::Accepted {
                    line,
                    event_id,
                    seq: appended.seq().0,
                    duplicate: matches!(appended, Appended::Duplicate { .. }),
                },
                Err(error) => IngestOutcome::Refused {
                    line,
                    reason: error.to_string(),
                    storage_full: error.is_storage_full(),
                },
            });
        }
    }

    fn measure(&self, pending: &Pending, result: &Result<Appended, Error>) {
        let Some(metrics) = &self.metrics else { return };
        match result {
            Ok(Appended::New(seq)) => {
                metrics.event_ingested(&pending.camera_id, &pending.label, *seq);
            }
            Ok(_) => metrics.event_duplicate(),
            Err(_) => metrics.journal_error(),
        }
    }

    /// Appends; what finds no room is tried once more when some was made.
    fn append_or_make_room(&self, batch: &[Pending]) -> Vec<Result<Appended, Error>> {
        let records: Vec<_> = batch.iter().map(|pending| pending.encoded.as_record()).collect();
        let mut appended = self.journal.append_each(&records);
        let is_refused =
            |result: &Result<Appended, Error>| result.as_ref().is_err_and(found_no_room);
        if appended.iter().any(is_refused) && self.admission.make_room() {
            for (result, record) in appended.iter_mut().zip(&records) {
                if is_refused(result) {
                    *result = self.journal.append(&[*record]);
                }
            }
        }
        appended
    }

    fn count(&mut self, outcomes: &[IngestOutcome]) {
        let totals = &mut self.totals;
        for outcome in outcomes {
            match outcome {
                IngestOutcome::Accepted { duplicate: false, .. } => totals.accepted += 1,
                IngestOutcome::Accepted { duplicate: true, .. } => totals.duplicates += 1,
                IngestOutcome::Refused { storage_full, .. } => {
                    totals.refused += 1;
                    totals.storage_full += u64::from(*storage_full);
                }
                IngestOutcome::UnknownField { .. } => {}
            }
        }
    }
}

/// Whether a record was not taken for want of room. After a failed sync the journal keeps it, whatever made that fail: sent
/// once more it would be reported as a duplicate of itself.
fn found_no_room(error: &Error) -> bool {
    error.is_storage_full() && !matches!(error, Error::Sync { .. })
}
