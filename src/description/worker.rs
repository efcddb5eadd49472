//! [`Worker`]: takes one event after another from the queue, asks for a sentence about it, and has the answer journaled.
//!
//! It never holds up detection. A server that is away is tried less and less often; an event that it does not answer
//! about is dropped after a few attempts, so that one picture cannot stop the others.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lenslog_engine::{Fact, Recorded};
use lenslog_events::{
    DescriptionAdded, DescriptionFailed, Event, EventDetected, RecorderCodec, parse_image_path,
};
use lenslog_journal::{Clock, Day, Error as JournalError, JournalView, Seq};
use lenslog_projections::{DescriptionQueue, Waiting};
use parking_lot::Mutex;
use rustix::fs::OFlags;

use super::client::{Client, DescribeError};
use crate::util::CancellationToken;

/// Attempts at one event before it stays without a sentence, given that the server answers about others.
pub const ATTEMPTS_MAX: u32 = 5;
/// The same where it answers about no other.
pub const LONE_ATTEMPTS_MAX: u32 = 20;
/// Failures in a row, whatever they are about, from which on it is the server that is left alone for a while.
const FAILURES_IN_A_ROW: u32 = 3;
/// Largest picture that is sent.
pub const PICTURE_BYTES_MAX: u64 = 16 << 20;
/// The first pause after a failure; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How often an idle worker looks whether something came.
const IDLE: Duration = Duration::from_millis(250);
/// Events whose attempts are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The parts of a recorder, or of a command, that describing works with.
pub struct DescriberContext {
    /// The journal.
    pub view: JournalView,
    /// The data directory, for the pictures.
    pub data: PathBuf,
    /// The events that wait.
    pub queue: DescriptionQueue,
    /// The clock of the day's budget.
    pub clock: Arc<dyn Clock>,
    /// Journals an event.
    pub write: Arc<dyn Fn(Event) + Send + Sync>,
    /// Notes how long a sentence took.
    pub measure: Arc<dyn Fn(Duration) + Send + Sync>,
}

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// An event has its sentence, or never will.
    Settled,
    /// Nothing waits.
    Idle,
    /// The budget of the day is used up.
    Spent,
    /// It did not work out; the next attempt is worth it after this time.
    Pause(Duration),
}

/// What became of a backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkedOff {
    /// Events that have a sentence now.
    pub described: u64,
    /// Events that will have none.
    pub dropped: u64,
    /// Events that still wait.
    pub left: u64,
    /// Why some were left.
    pub stopped: Option<String>,
}

/// Works off the queue.
pub(super) struct Worker {
    client: Client,
    context: DescriberContext,
    daily_budget: u32,
    attempts: HashMap<Seq, Attempts>,
    /// Failures in a row.
    failures: u32,
    /// Sentences so far.
    sentences: u64,
    /// Events dropped so far.
    dropped: u64,
    /// Requests of the day.
    made: Option<(Day, u64)>,
    problem: Problem,
}

/// Attempts at an event that failed.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    count: u32,
    /// When the next one is due.
    due: Instant,
    /// Sentences about others before the first one.
    sentences: u64,
}

/// Why nothing is described at present, for the status.
#[derive(Debug, Clone, Default)]
pub(super) struct Problem(Arc<Mutex<Option<String>>>);

impl Problem {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, problem: Option<String>) {
        *self.0.lock() = problem;
    }
}

impl Worker {
    pub(super) fn new(
        client: Client,
        context: DescriberContext,
        daily_budget: u32,
        problem: Problem,
    ) -> Self {
        Self {
            client,
            context,
            daily_budget,
            attempts: HashMap::new(),
            failures: 0,
            sentences: 0,
            dropped: 0,
            made: None,
            problem,
        }
    }

    /// Works until `cancel` is thrown.
    pub(super) fn run(mut self, cancel: &CancellationToken) {
        let mut was_spent = false;
        while !cancel.is_cancelled() {
            let step = self.step(cancel);
            let is_spent = step == Step::Spent;
            if is_spent && !was_spent {
                let budget = self.daily_budget;
                tracing::warn!(
                    budget,
                    "the day's budget for descriptions is used up; they go on tomorrow"
                );
            }
            was_spent = is_spent;
            let pause = match step {
                Step::Settled => continue,
                Step::Idle | Step::Spent => IDLE,
                Step::Pause(pause) => pause,
            };
            if cancel.wait_until(Instant::now().checked_add(pause)) {
                return;
            }
        }
    }

    /// Works until nothing waits any more, the budget is used up, or the server does not answer.
    pub(super) fn work_off(mut self, cancel: &CancellationToken) -> WorkedOff {
        let mut stopped = None;
        while !self.context.queue.is_empty() {
            let pause = match self.step(cancel) {
                Step::Settled => Duration::ZERO,
                Step::Spent => {
                    stopped = Some("the day's budget for descriptions is used up".to_owned());
                    break;
                }
                Step::Pause(_) if self.failures >= FAILURES_IN_A_ROW => {
                    stopped = self.problem.get();
                    break;
                }
                Step::Idle => IDLE,
                Step::Pause(pause) => pause,
            };
            cancel.wait_until(Instant::now().checked_add(pause));
        }
        let left = self.context.queue.len() as u64;
        WorkedOff { described: self.sentences, dropped: self.dropped, left, stopped }
    }

    /// Takes the newest event that is due and asks for its sentence.
    pub(super) fn step(&mut self, cancel: &CancellationToken) -> Step {
        let now = Instant::now();
        let is_not_due = |seq| self.attempts.get(&seq).is_some_and(|attempts| attempts.due > now);
        let Some(waiting) = self.context.queue.newest(is_not_due) else { return Step::Idle };
        if self.is_spent() {
            return Step::Spent;
        }
        let jpeg = match self.picture(&waiting) {
            Ok(jpeg) => jpeg,
            Err(NoPicture::Never(reason)) => return self.drop_event(&waiting, reason),
            Err(NoPicture::Unreadable(reason)) => return self.try_later(&waiting, reason, now),
            Err(NoPicture::NotNow(reason)) => return self.leave_alone(&reason, None),
        };
        if let Some((_, made)) = &mut self.made {
            *made += 1;
        }
        let asked = Instant::now();
        match self.client.describe(&jpeg) {
            Ok(sentence) => self.describe(&waiting, sentence, asked.elapsed()),
            // An answer that was cut off says nothing about the server or the picture.
            Err(_) if cancel.is_cancelled() => Step::Idle,
            Err(DescribeError::Picture(reason)) => self.drop_event(&waiting, reason),
            Err(DescribeError::Server { reason, pause }) => self.leave_alone(&reason, pause),
            Err(DescribeError::Answer(reason)) => self.try_later(&waiting, reason, now),
        }
    }

    /// The server does not answer about anything.
    fn leave_alone(&mut self, reason: &str, pause: Option<Duration>) -> Step {
        self.failures = self.failures.saturating_add(1);
        if self.problem.get().is_none() {
            tracing::warn!(reason, "events are not described at present; it is tried again");
        }
        self.problem.set(Some(format!("no descriptions: {reason}")));
        Step::Pause(pause.unwrap_or_default().max(doubled(self.failures)).min(PAUSE_MAX))
    }

    /// It does not answer about this event. Others are tried meanwhile, unless it answers about none.
    fn try_later(&mut self, waiting: &Waiting, reason: String, now: Instant) -> Step {
        let seq = waiting.event.event_seq;
        let first = Attempts { count: 0, due: now, sentences: self.sentences };
        let mut attempts = self.attempts.get(&seq).copied().unwrap_or(first);
        attempts.count += 1;
        attempts.due = now + doubled(attempts.count);
        let answers_others = self.sentences > attempts.sentences;
        let most = if answers_others { ATTEMPTS_MAX } else { LONE_ATTEMPTS_MAX };
        if attempts.count >= most {
            return self.drop_event(waiting, reason);
        }
        if self.attempts.len() >= REMEMBERED_MAX {
            self.attempts.clear();
        }
        self.attempts.insert(seq, attempts);
        if self.failures + 1 >= FAILURES_IN_A_ROW {
            return self.leave_alone(&reason, None);
        }
        self.failures += 1;
        let event = &waiting.event.event_id;
        tracing::warn!(event, reason, attempts = attempts.count, "no sentence about an event yet");
        Step::Settled
    }

    fn describe(&mut self, waiting: &Waiting, llm_description: String, took: Duration) -> Step {
        self.failures = 0;
        self.sentences += 1;
        if self.problem.get().is_some() {
            tracing::info!("events are described again");
            self.problem.set(None);
        }
        (self.context.measure)(took);
        self.settle(
            waiting,
            Event::DescriptionAdded(DescriptionAdded {
                event: waiting.event.clone(),
                llm_description,
                model: self.client.model().to_owned(),
                duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            }),
        )
    }

    fn drop_event(&mut self, waiting: &Waiting, reason: String) -> Step {
        tracing::warn!(event = waiting.event.event_id, reason, "an event stays without a sentence");
        self.dropped += 1;
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let event = waiting.event.clone();
        self.settle(waiting, Event::DescriptionFailed(DescriptionFailed { event, reason }))
    }

    fn settle(&mut self, waiting: &Waiting, event: Event) -> Step {
        let seq = waiting.event.event_seq;
        self.attempts.remove(&seq);
        // Before it is journaled: the projection that keeps the queue may be slower than the next step.
        self.context.queue.take(seq);
        (self.context.write)(event);
        Step::Settled
    }

    fn today(&self) -> Day {
        self.context.clock.read().wall.day()
    }

    /// Whether as many requests were made today as may be. Those before this start that led to something count.
    fn is_spent(&mut self) -> bool {
        let today = self.today();
        if self.made.is_none_or(|(day, _)| day != today) {
            let before = self.context.queue.settled_on(today);
            self.made = Some((today, before));
        }
        let made = self.made.map_or(0, |(_, made)| made);
        self.daily_budget > 0 && made >= u64::from(self.daily_budget)
    }

    /// The picture of an event.
    fn picture(&self, waiting: &Waiting) -> Result<Vec<u8>, NoPicture> {
        let never = NoPicture::Never;
        let event = read_event(&self.context.view, waiting.event.event_seq)
            .map_err(NoPicture::NotNow)?
            .ok_or_else(|| never("the event is not in the journal any more".to_owned()))?;
        let image = event.image_path.ok_or_else(|| never("the event has no picture".to_owned()))?;
        for path in candidates(&self.context.data, &image) {
            if let Some(jpeg) = read_picture(&path)? {
                return Ok(jpeg);
            }
        }
        // With the whole directory away, no picture is there, and all of them come back.
        let data = &self.context.data;
        match data.join("journal").try_exists() {
            Ok(true) => Err(never(format!("its picture {image} is gone"))),
            _ => Err(NoPicture::NotNow(format!("{} is gone", data.display()))),
        }
    }
}

/// Why there is no picture to send.
enum NoPicture {
    /// It is gone for good.
    Never(String),
    /// This one cannot be read.
    Unreadable(String),
    /// None can be read at present.
    NotNow(String),
}

/// The bytes of a picture; `None` where there is no such file. Anything else at its path is not sent: a link may
/// lead to a file that is none of ours, and a pipe has no end.
fn read_picture(path: &Path) -> Result<Option<Vec<u8>>, NoPicture> {
    match open_picture(path) {
        Ok(None) => {
            Err(NoPicture::Never(format!("{} is no file of ours; it is not sent", path.display())))
        }
        Ok(Some((_, length))) if length > PICTURE_BYTES_MAX => Err(NoPicture::Never(format!(
            "its picture has {length} bytes; at most {PICTURE_BYTES_MAX} are sent"
        ))),
        Ok(Some((file, _))) => {
            let mut jpeg = Vec::new();
            match file.take(PICTURE_BYTES_MAX).read_to_end(&mut jpeg) {
                Ok(_) => Ok(Some(jpeg)),
                Err(error) => Err(unreadable(path, &error)),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// The file of a picture and its length; `None` where it, or the directory of its day, is something else.
pub(crate) fn open_picture(path: &Path) -> io::Result<Option<(File, u64)>> {
    let day = path.parent().map(fs::symlink_metadata).transpose()?;
    if !day.is_some_and(|day| day.is_dir()) || !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    // It may have been replaced since.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata.len())))
}

fn unreadable(path: &Path, error: &io::Error) -> NoPicture {
    NoPicture::Unreadable(format!("{} cannot be read: {error}", path.display()))
}

/// Longest reason that is journaled.
const REASON_CHARS_MAX: usize = 300;

fn doubled(times: u32) -> Duration {
    PAUSE_MIN.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(PAUSE_MAX)
}

/// An event of the journal by its seq; `None` where it is not there, or was pruned or lost.
fn read_event(view: &JournalView, seq: Seq) -> Result<Option<EventDetected>, String> {
    let read = || -> Result<Option<EventDetected>, lenslog_journal::Error> {
        let found = match view.get(seq) {
            Err(JournalError::Pruned { .. } | JournalError::Lost(_)) => None,
            found => found?,
        };
        let decoded = found.map(|record| Recorded::decode::<RecorderCodec>(&record.as_record()));
        Ok(match decoded.map(|decoded| decoded.fact) {
            Some(Fact::Event(Event::Detected(event))) => Some(event),
            _ => None,
        })
    };
    read().map_err(|error| format!("the journal cannot be read: {error}"))
}

/// The files in which a picture may be: the one without boxes drawn into it, where both are kept, comes first.
fn candidates(data: &Path, image_path: &str) -> Vec<PathBuf> {
    let Some((day, file)) = parse_image_path(image_path) else { return Vec::new() };
    let directory = data.join("events").join(day.to_string());
    let clean = file.rsplit_once('.').map(|(stem, ending)| format!("{stem}_clean.{ending}"));
    clean.iter().map(String::as_str).chain([file]).map(|name| directory.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use lenslog_events::{EventRef, Metadata};
    use lenslog_journal::{Journal, Options, SimulatedClock, Timestamp};

    use super::*;
    use crate::config::Description;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A worker of events that wait, at a server that is not there, with that budget.
    fn worker(data: &Path, clock: &Arc<SimulatedClock>, events: u64, daily_budget: u32) -> Worker {
        let journal = Journal::open(data, &Options::default()).unwrap();
        let time = clock.read().wall;
        let mut waiting = Vec::new();
        for number in 0..events {
            let event_id = format!("evt_{number}");
            let image_path = format!("data/events/{}/{event_id}.jpg", time.day());
            let directory = data.join("events").join(time.day().to_string());
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(format!("{event_id}.jpg")), b"x").unwrap();
            let record = RecorderCodec::encode(&Event::Detected(EventDetected {
                event_id: event_id.clone(),
                timestamp: time,
                camera_id: "door".to_owned(),
                camera_name: None,
                motion_confidence: None,
                detected_objects: Vec::new(),
                image_path: Some(image_path),
                llm_description: None,
                description_expected: true,
                metadata: Metadata::new(),
            }));
            let event_seq = journal.append(&[record.as_record()]).unwrap().seq();
            let event = EventRef { event_seq, event_day: time.day(), event_id };
            waiting.push(Waiting { event, appended: time, deferred: true });
        }
        let config =
            Description { endpoint: "http://127.0.0.1:1".to_owned(), ..Description::default() };
        let context = DescriberContext {
            view: journal.view(),
            data: data.to_owned(),
            queue: DescriptionQueue::default().beside(waiting),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            write: Arc::new(|_| ()),
            measure: Arc::new(|_| ()),
        };
        let client = Client::new(&config, &CancellationToken::new()).unwrap();
        Worker::new(client, context, daily_budget, Problem::default())
    }

    #[test]
    fn a_budget_that_is_used_up_is_there_again_after_midnight() {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let mut worker = worker(data.path(), &clock, 2, 3);
        let cancel = CancellationToken::new();
        for _ in 0..2 {
            for _ in 0..3 {
                assert!(matches!(worker.step(&cancel), Step::Pause(_)));
            }
            assert_eq!(worker.step(&cancel), Step::Spent);
            clock.advance(DAY);
        }
    }

    #[test]
    fn a_directory_that_is_away_costs_no_event_its_sentence() {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
        let mut worker = worker(data.path(), &clock, 1, 0);
        std::fs::rename(data.path().join("journal"), data.path().join("away")).unwrap();
        assert!(matches!(worker.step(&CancellationToken::new()), Step::Pause(_)));
        std::fs::rename(data.path().join("events"), data.path().join("pictures")).unwrap();
        assert!(matches!(worker.step(&CancellationToken::new()), Step::Pause(_)));
        assert_eq!(worker.dropped, 0);
        std::fs::rename(data.path().join("away"), data.path().join("journal")).unwrap();
        assert_eq!(
            worker.step(&CancellationToken::new()),
            Step::Settled,
            "the pictures alone are gone"
        );
        assert_eq!(worker.dropped, 1);
    }

    #[test]
    fn what_stands_in_the_place_of_a_picture_is_neither_waited_for_nor_sent() {
        for what in ["link", "pipe", "directory", "link to its day"] {
            let data = tempfile::tempdir().unwrap();
            let clock = Arc::new(SimulatedClock::new(Timestamp::default()));
            let mut worker = worker(data.path(), &clock, 1, 0);
            let day = data.path().join("events").join(Timestamp::default().day().to_string());
            let picture = day.join("evt_0.jpg");
            match what {
                "link to its day" => {
                    fs::rename(&day, data.path().join("elsewhere")).unwrap();
                    std::os::unix::fs::symlink(data.path().join("elsewhere"), &day).unwrap();
                }
                other => {
                    fs::rename(&picture, data.path().join("secret")).unwrap();
                    match other {
                        "link" => {
                            std::os::unix::fs::symlink(data.path().join("secret"), &picture)
                                .unwrap();
                        }
                        "pipe" => {
                            let made = std::process::Command::new("mkfifo").arg(&picture).status();
                            assert!(made.unwrap().success());
                        }
                        _ => fs::create_dir(&picture).unwrap(),
                    }
                }
            }
            assert_eq!(worker.step(&CancellationToken::new()), Step::Settled, "{what}");
            assert_eq!(worker.dropped, 1, "{what}");
        }
    }
}
