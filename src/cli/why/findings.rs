//! [`Findings`]: the journal's records about the requested minutes, read once, with as much before and after
//! them as is needed to know whether the recorder ran and the cameras were there.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use lenslog_engine::{Fact, Recorded};
use lenslog_events::{CameraMinute, Event, EventDetected, RecorderCodec, camera_tag, kind};
use lenslog_journal::{
    Entry, JournalView, Kind, Query, ReaderOptions, SegmentInfo, Seq, Timestamp,
};
use lenslog_tools::complain;

use super::spans::{Outage, Span};

/// The journal's records about a time.
#[derive(Default)]
pub(super) struct Findings {
    /// The minutes of cameras, by time and camera.
    pub(super) minutes: Vec<CameraMinute>,
    /// The events, in the order of the journal.
    pub(super) events: Vec<(Seq, EventDetected)>,
    /// When cameras were lost, by camera.
    pub(super) lost: BTreeMap<String, Vec<Outage>>,
    /// When the recorder did not run, between two runs or after the last one.
    pub(super) stopped: Vec<Outage>,
    /// When the detector failed, and why.
    pub(super) detector_failures: Vec<(Timestamp, String)>,
    /// When the recorder was started first, of what is left in the journal.
    pub(super) first_start: Option<Timestamp>,
    /// Older records were deleted.
    pub(super) was_pruned: bool,
    /// Every camera that was heard of.
    pub(super) cameras: BTreeSet<String>,
    /// The newest time that a running recorder left.
    last_sign: Option<Timestamp>,
    is_running: bool,
}

/// What is wanted of the records.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    span: Span,
    camera: Option<&'a str>,
}

impl Wanted<'_> {
    fn camera(&self, id: &str) -> bool {
        self.camera.is_none_or(|camera| camera == id)
    }
}

impl Findings {
    /// Reads what is needed of the journal.
    pub(super) fn read(view: &JournalView, span: Span, camera: Option<&str>) -> Result<Self> {
        let wanted = Wanted { span, camera };
        let (segments, floor) = (view.segments()?, view.floor()?);
        let was_pruned = view.pruned_through()?.is_some();
        let mut findings = Self { was_pruned, ..Self::default() };
        let bounds: Vec<(Seq, Seq)> = segments
            .iter()
            .enumerate()
            .map(|(index, segment)| {
                let end = segments.get(index + 1).map_or(Seq(u64::MAX), |next| next.name.base);
                (segment.name.base.max(floor), end)
            })
            .collect();
        findings.first_start = first_start(view)?;
        let query = camera.map(query_of);
        let begin = begin(view, &segments, &bounds, span)?;
        for (segment, bounds) in segments.iter().zip(&bounds).skip(begin) {
            if is_behind(segment, span) && findings.knows_the_end(span) {
                break;
            }
            each(view, *bounds, query.clone(), &mut |entry| {
                match entry {
                    Entry::Record(record) => {
                        let recorded = Recorded::decode::<RecorderCodec>(&record);
                        let is_start =
                            matches!(recorded.fact, Fact::Event(Event::RecorderStarted(_)));
                        if camera.is_some() && is_start && findings.is_running {
                            findings.sign_before(view, record.seq)?;
                        }
                        findings.take(recorded, wanted);
                    }
                    Entry::Lost(lost) => complain!("lenslog: WARNING: {lost}"),
                }
                Ok(())
            })?;
        }
        if camera.is_some() && findings.is_running {
            findings.sign_before(view, Seq(u64::MAX))?;
        }
        findings.add_minutes([]);
        Ok(findings)
    }

    /// Puts in minutes that are not in the journal yet.
    pub(super) fn add_minutes(&mut self, minutes: impl IntoIterator<Item = CameraMinute>) {
        self.minutes.extend(minutes);
        self.minutes.sort_by(|one, other| {
            (one.minute.utc_micros, &one.camera_id)
                .cmp(&(other.minute.utc_micros, &other.camera_id))
        });
    }

    /// Events of a camera in these minutes.
    pub(super) fn events_of(
        &self,
        camera: &str,
        span: Span,
    ) -> impl Iterator<Item = &(Seq, EventDetected)> {
        self.events
            .iter()
            .filter(move |(_, event)| event.camera_id == camera && span.contains(event.timestamp))
    }

    /// Whether the last that is heard of the recorder lies before these minutes.
    pub(super) fn last_sign_before(&self, span: Span) -> bool {
        self.is_running && self.last_sign.is_some_and(|last| last.utc_micros < span.from)
    }

    fn take(&mut self, recorded: Recorded<Event>, wanted: Wanted<'_>) {
        let Fact::Event(event) = recorded.fact else { return };
        match event {
            Event::CameraMinute(minute) => {
                self.sign(minute.minute);
                self.cameras.insert(minute.camera_id.clone());
                if wanted.camera(&minute.camera_id) && wanted.span.contains(minute.minute) {
                    self.minutes.push(minute);
                }
            }
            Event::Detected(event) => {
                self.cameras.insert(event.camera_id.clone());
                if wanted.camera(&event.camera_id) && wanted.span.contains(event.timestamp) {
                    self.events.push((recorded.seq, event));
                }
            }
            Event::CameraLost(lost) => {
                self.sign(lost.at);
                let outage = Outage { from: lost.at, to: None, reason: lost.reason };
                self.lost.entry(lost.camera_id).or_default().push(outage);
            }
            Event::CameraFound(found) => {
                self.sign(found.at);
                self.end_loss(&found.camera_id, found.at);
            }
            Event::DetectorFailed(failed) if wanted.span.contains(failed.at) => {
                self.detector_failures.push((failed.at, failed.reason));
            }
            Event::RecorderStarted(started) => self.started(started.at, started.cameras),
            Event::RecorderStopped(stopped) => {
                self.stop(stopped.at, format!("it ended in order ({})", stopped.reason));
            }
            _ => {}
        }
    }

    /// The newest sign of life before a seq, which may be of another camera.
    fn sign_before(&mut self, view: &JournalView, seq: Seq) -> Result<()> {
        let options = ReaderOptions::default().query(kinds(&SIGNS)).until(seq).limit(1);
        if let Some(Entry::Record(record)) = view.reader_backward(Seq::FIRST, options)?.next()? {
            match Recorded::decode::<RecorderCodec>(&record).fact {
                Fact::Event(Event::CameraMinute(minute)) => self.sign(minute.minute),
                Fact::Event(Event::CameraLost(lost)) => self.sign(lost.at),
                Fact::Event(Event::CameraFound(found)) => self.sign(found.at),
                _ => {}
            }
        }
        Ok(())
    }

    /// The recorder was alive at that time.
    fn sign(&mut self, at: Timestamp) {
        let is_newer = self.last_sign.is_none_or(|last| at.utc_micros > last.utc_micros);
        if is_newer {
            self.last_sign = Some(at);
        }
    }

    fn started(&mut self, at: Timestamp, cameras: Vec<String>) {
        if self.is_running {
            let last = self.last_sign.unwrap_or(at);
            self.stop(last, "it was killed, or the power went".to_owned());
        }
        if let Some(outage) = self.stopped.last_mut()
            && outage.to.is_none()
        {
            outage.to = Some(at);
        }
        self.cameras.extend(cameras);
        self.is_running = true;
        self.last_sign = Some(at);
    }

    fn stop(&mut self, at: Timestamp, reason: String) {
        self.is_running = false;
        self.stopped.push(Outage { from: at, to: None, reason });
        // The next start opens every camera again.
        let cameras: Vec<String> = self.lost.keys().cloned().collect();
        cameras.iter().for_each(|camera| self.end_loss(camera, at));
    }

    fn end_loss(&mut self, camera: &str, at: Timestamp) {
        let last = self.lost.get_mut(camera).and_then(|lost| lost.last_mut());
        if let Some(outage) = last
            && outage.to.is_none()
        {
            outage.to = Some(at);
        }
    }

    /// Whether it is known how everything that reaches out of the minutes ends.
    fn knows_the_end(&self, span: Span) -> bool {
        let is_open = |outage: &&Outage| outage.to.is_none() && outage.touches(span);
        let mut all = self.lost.values().flatten().chain(&self.stopped);
        all.find(is_open).is_none()
    }
}

/// Where to begin to read: at the last start of the recorder before the minutes, since every lost camera is
/// reported again after it.
fn begin(
    view: &JournalView,
    segments: &[SegmentInfo],
    bounds: &[(Seq, Seq)],
    span: Span,
) -> Result<usize> {
    for (index, (segment, bounds)) in segments.iter().zip(bounds).enumerate().rev() {
        if is_behind(segment, span) {
            continue;
        }
        let mut has_start = false;
        each(view, *bounds, Some(kinds(&[kind::RECORDER_STARTED])), &mut |entry| {
            if let Some(at) = start_of(&entry) {
                has_start |= at.utc_micros <= span.from;
            }
            Ok(())
        })?;
        if has_start {
            return Ok(index);
        }
    }
    Ok(0)
}

/// Whether everything in a segment belongs to days after the minutes.
fn is_behind(segment: &SegmentInfo, span: Span) -> bool {
    let last = Timestamp { utc_micros: span.to, offset_minutes: 0 }.day().next();
    segment.sealed.and_then(|sealed| sealed.days).is_some_and(|(first, _)| first > last)
}

/// The first start that the journal knows; where the oldest segments have none, a later one is it.
fn first_start(view: &JournalView) -> Result<Option<Timestamp>> {
    let options = ReaderOptions::default().query(kinds(&[kind::RECORDER_STARTED]));
    let mut reader = view.reader(Seq::FIRST, options)?;
    while let Some(entry) = reader.next()? {
        if let Some(at) = start_of(&entry) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Records that a running recorder leaves.
const SIGNS: [u16; 3] = [kind::CAMERA_MINUTE, kind::CAMERA_LOST, kind::CAMERA_FOUND];

fn kinds(numbers: &[u16]) -> Query {
    Query::kinds(numbers.iter().map(|number| Kind(*number)))
}

/// The records of a camera, and those that concern all of them.
fn query_of(camera: &str) -> Query {
    let of_all = [kind::RECORDER_STARTED, kind::RECORDER_STOPPED, kind::DETECTOR_FAILED];
    Query::tag(camera_tag(camera)).or(kinds(&of_all))
}

/// When the recorder was started, if the entry says so.
fn start_of(entry: &Entry) -> Option<Timestamp> {
    let Entry::Record(record) = entry else { return None };
    match Recorded::decode::<RecorderCodec>(record).fact {
        Fact::Event(Event::RecorderStarted(started)) => Some(started.at),
        _ => None,
    }
}

fn each(
    view: &JournalView,
    (from, end): (Seq, Seq),
    query: Option<Query>,
    take: &mut dyn FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let options = ReaderOptions::default().until(end);
    let options = match query {
        Some(query) => options.query(query),
        None => options,
    };
    let mut reader = view.reader(from, options)?;
    while let Some(entry) = reader.next()? {
        take(entry)?;
    }
    Ok(())
}
