//! [`Sender`]: what a delivery sends next, given the receiver's answers and the time. It sleeps never and starts no thread.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lenslog_journal::storage::Storage;
use lenslog_journal::{
    Entry, Error, JournalView, OwnedRecord, Reader, ReaderOptions, Seq, SeqRange, Timestamp,
};

use super::cursor::{DeliveryCursor, OPEN_MAX, OpenMessage, PARKED_MESSAGES_MAX, SenderError};
use super::opened::Opened;
use super::{
    Delivery, DeliveryGap, DeliveryNotice, DeliveryOutcome, DeliverySpec, GapCause, Message,
    MessageId, Next, Now,
};
use crate::{EventCodec, Recorded};

/// The first pause while a receiver is down; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest pause that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// The cursor is made durable after so many messages, or after so long. What a crash takes back is sent again.
const UNSAVED_MAX: usize = 100;
const UNSAVED_TIME_MAX: Duration = Duration::from_secs(3);
/// The cursor is made durable after so many records that the delivery does not want.
const UNWANTED_MAX: u64 = 1000;
/// Moments that are remembered, for the age of messages that this process appended.
const HEADS_MAX: usize = 1000;

/// One delivery, its cursor and its place in the journal.
pub struct Sender<V: EventCodec> {
    delivery: Box<dyn Delivery<V>>,
    pub(super) spec: DeliverySpec,
    view: JournalView,
    storage: Arc<dyn Storage>,
    path: PathBuf,
    pub(super) cursor: DeliveryCursor,
    reader: Reader,
    /// What was read and not passed yet: the receiver was down, or has to hear of a gap first.
    current: Option<Pending>,
    /// Gaps that were found elsewhere than in the reader.
    gaps: VecDeque<DeliveryGap>,
    /// The first seq that the reader has not shown: what is pruned before it is seen is a gap from here.
    seen: Seq,
    pub(super) failing: Option<String>,
    pause: Duration,
    down_until: Duration,
    is_disabled: bool,
    unsaved: usize,
    saved_at: Duration,
    saved_next: Seq,
    heads: VecDeque<(Seq, Duration)>,
    /// The head when it was opened: what is before was appended by an earlier process, perhaps.
    opened_at: Seq,
    notices: VecDeque<DeliveryNotice>,
}

enum Pending {
    Record(OwnedRecord),
    Gap(DeliveryGap),
}

/// What became of a message.
enum Answer {
    Passed,
    Refused(String),
    Waits,
}

impl<V: EventCodec> Sender<V> {
    /// Opens the cursor at `path`, or begins where the delivery says.
    ///
    /// # Errors
    ///
    /// [`CursorError`](super::CursorError); the journal's errors.
    pub fn open(
        delivery: Box<dyn Delivery<V>>,
        view: &JournalView,
        storage: Arc<dyn Storage>,
        path: PathBuf,
    ) -> Result<Self, (Box<dyn Delivery<V>>, SenderError)> {
        let spec = delivery.spec();
        let opened = match Opened::find(&spec, view, &*storage, &path) {
            Ok(opened) => opened,
            Err(error) => return Err((delivery, error)),
        };
        let seen = opened.reader.next_seq();
        let mut sender = Self {
            delivery,
            spec,
            view: view.clone(),
            storage,
            path,
            cursor: opened.cursor,
            reader: opened.reader,
            current: None,
            gaps: opened.gaps,
            seen,
            failing: None,
            pause: PAUSE_MIN,
            down_until: Duration::ZERO,
            is_disabled: false,
            unsaved: 0,
            saved_at: Duration::ZERO,
            saved_next: seen,
            heads: VecDeque::new(),
            opened_at: opened.head,
            notices: opened.notices,
        };
        // From here on a crash does not skip what is appended.
        match sender.save() {
            Ok(()) => Ok(sender),
            Err(error) => Err((sender.delivery, error)),
        }
    }

    /// Sends at most one message, or finds out how long there is none to send.
    ///
    /// # Errors
    ///
    /// The journal's, and those of the cursor's file. Nothing is skipped: the step can be repeated.
    pub fn step(&mut self, now: Now) -> Result<Next, SenderError> {
        self.note_head(now)?;
        if self.is_disabled {
            self.save_if_due(now, true)?;
            return Ok(Next::Disabled);
        }
        if self.down_until > now.monotonic {
            self.save_if_due(now, true)?;
            return Ok(Next::At(self.down_until));
        }
        self.save_if_due(now, false)?;
        if let Some(gap) = self.gaps.front().cloned() {
            if self.report(&gap, now) {
                self.gaps.pop_front();
            }
            return Ok(Next::Again);
        }
        let due = self.cursor.open.iter().map(|open| open.due).min();
        if due.is_some_and(|due| due <= now.monotonic) {
            self.send_open(now)?;
            return Ok(Next::Again);
        }
        if self.cursor.parked.len() >= PARKED_MESSAGES_MAX {
            self.save_if_due(now, true)?;
            return Ok(due.map_or(Next::Full, Next::At));
        }
        if self.cursor.open.len() >= OPEN_MAX
            && let Some(due) = due
        {
            return Ok(Next::At(due));
        }
        if self.current.is_none() {
            self.current = self.read()?;
        }
        match self.current.take() {
            None => {
                self.pass_unwanted()?;
                let saves = (self.unsaved > 0).then_some(self.saved_at + UNSAVED_TIME_MAX);
                Ok(Next::Head([due, saves].into_iter().flatten().min()))
            }
            Some(Pending::Gap(gap)) => {
                match self.report(&gap, now) {
                    true => self.pass()?,
                    false => self.current = Some(Pending::Gap(gap)),
                }
                Ok(Next::Again)
            }
            Some(Pending::Record(record)) => {
                match self.send(&record, 0, now) {
                    Answer::Passed => self.pass()?,
                    Answer::Refused(reason) => {
                        let digest = record.as_record().digest();
                        self.refused(record.seq, digest, 1, reason, now);
                        self.pass()?;
                    }
                    Answer::Waits => self.current = Some(Pending::Record(record)),
                }
                Ok(Next::Again)
            }
        }
    }

    /// What there is to say since the last call.
    pub fn take_notices(&mut self) -> impl Iterator<Item = DeliveryNotice> + use<V> {
        std::mem::take(&mut self.notices).into_iter()
    }

    /// Sends parked messages of these seqs again, at once. Returns how many.
    ///
    /// # Errors
    ///
    /// Those of the cursor's file.
    pub fn replay(&mut self, range: SeqRange) -> Result<usize, SenderError> {
        let room = OPEN_MAX.saturating_sub(self.cursor.open.len());
        let parked = std::mem::take(&mut self.cursor.parked);
        let (mut replayed, mut kept) = (0, Vec::new());
        for parked in parked {
            if range.contains(parked.seq) && replayed < room {
                replayed += 1;
                let (seq, digest) = (parked.seq, parked.digest);
                let due = Duration::ZERO;
                self.cursor.open.push(OpenMessage { seq, digest, attempts: 0, due });
            } else {
                kept.push(parked);
            }
        }
        self.cursor.parked = kept;
        self.save()?;
        Ok(replayed)
    }

    /// Forgets parked messages of these seqs, which will never be sent. Returns how many.
    ///
    /// # Errors
    ///
    /// Those of the cursor's file.
    pub fn discard(&mut self, range: SeqRange) -> Result<usize, SenderError> {
        let before = self.cursor.parked.len();
        self.cursor.parked.retain(|parked| !range.contains(parked.seq));
        self.save()?;
        Ok(before - self.cursor.parked.len())
    }

    /// Makes the cursor durable.
    ///
    /// # Errors
    ///
    /// Those of the cursor's file.
    pub fn save(&mut self) -> Result<(), SenderError> {
        self.cursor.write(&*self.storage, &self.path)?;
        self.saved_next = self.cursor.position.next;
        self.unsaved = 0;
        Ok(())
    }

    /// How far the delivery is.
    #[must_use]
    pub const fn cursor(&self) -> &DeliveryCursor {
        &self.cursor
    }

    /// Waits until the journal has grown, for the timeout, or until a nudge.
    pub(super) fn wait(&mut self, timeout: Duration) {
        self.reader.wait(timeout);
    }

    fn save_if_due(&mut self, now: Now, waits: bool) -> Result<(), SenderError> {
        let is_due = self.unsaved >= UNSAVED_MAX
            || now.monotonic.saturating_sub(self.saved_at) >= UNSAVED_TIME_MAX;
        if self.unsaved > 0 && (is_due || waits) {
            self.saved_at = now.monotonic;
            self.save()?;
        }
        Ok(())
    }

    fn note_head(&mut self, now: Now) -> Result<(), SenderError> {
        let head = self.view.head()?;
        if self.heads.back().is_none_or(|(known, _)| *known < head) {
            self.heads.push_back((head, now.monotonic));
            if self.heads.len() > HEADS_MAX {
                // The older half in half as many steps.
                let older = self.heads.len() / 2;
                let mut index = 0;
                self.heads.retain(|_| {
                    index += 1;
                    index > older || index % 2 == 0
                });
            }
        }
        Ok(())
    }

    /// How long ago a record was appended: by the monotonic clock, or else by its time.
    fn age(&self, seq: Seq, time: Timestamp, now: Now) -> Option<Duration> {
        if seq >= self.opened_at {
            let seen = self.heads.iter().find(|(head, _)| *head > seq);
            return Some(seen.map_or(Duration::ZERO, |(_, at)| now.monotonic.saturating_sub(*at)));
        }
        let micros = now.wall?.utc_micros.saturating_sub(time.utc_micros);
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or_default()))
    }

    /// The next record or gap; `None` at the durable end.
    fn read(&mut self) -> Result<Option<Pending>, SenderError> {
        let found = match self.reader.next() {
            Ok(Some(Entry::Record(record))) => Some(Pending::Record(record.to_owned())),
            Ok(Some(Entry::Lost(lost))) => {
                DeliveryGap::of(lost.range, GapCause::Lost).map(Pending::Gap)
            }
            Ok(None) => None,
            Err(Error::Pruned { floor }) => {
                let options = ReaderOptions::default().query(self.spec.query.clone());
                self.reader = self.view.reader(floor, options)?;
                DeliveryGap::of(SeqRange::new(self.seen, floor), GapCause::Pruned).map(Pending::Gap)
            }
            Err(error) => return Err(error.into()),
        };
        self.seen = self.reader.next_seq();
        Ok(found)
    }

    /// The current message is delivered, open, parked or reported.
    fn pass(&mut self) -> Result<(), SenderError> {
        let position = self.reader.position()?;
        self.cursor.advance(position);
        self.unsaved += 1;
        Ok(())
    }

    /// Records that the query does not choose are passed, too: they are no gap when they are pruned. Written now and then.
    fn pass_unwanted(&mut self) -> Result<(), SenderError> {
        let next = self.reader.next_seq();
        if next > self.cursor.position.next {
            self.cursor.position = self.reader.position()?;
            self.unsaved += usize::from(next.0 - self.saved_next.0 >= UNWANTED_MAX);
        }
        Ok(())
    }

    fn send(&mut self, record: &OwnedRecord, attempts: u32, now: Now) -> Answer {
        let borrowed = record.as_record();
        let digest = borrowed.digest();
        let id = MessageId {
            journal: self.cursor.journal,
            incarnation: self.cursor.incarnation,
            seq: record.seq,
            digest: [digest[0], digest[1], digest[2], digest[3]],
        };
        let recorded = Recorded::decode::<V>(&borrowed);
        let age = self.age(record.seq, record.time, now);
        let message = Message::new(id, &recorded, attempts, age);
        let outcome = self.delivery.deliver(&message);
        self.answer(outcome, now)
    }

    fn answer(&mut self, outcome: DeliveryOutcome, now: Now) -> Answer {
        match outcome {
            DeliveryOutcome::Delivered => {
                self.recovered();
                Answer::Passed
            }
            DeliveryOutcome::Refused { reason } => {
                self.recovered();
                Answer::Refused(reason)
            }
            DeliveryOutcome::Down { reason, retry_after } => {
                let pause = retry_after.map_or(self.pause, |asked| asked.min(RETRY_AFTER_MAX));
                self.down_until = now.monotonic + pause.max(PAUSE_MIN);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.fail(reason);
                Answer::Waits
            }
            DeliveryOutcome::Disabled { reason } => {
                self.is_disabled = true;
                self.fail(reason);
                Answer::Waits
            }
        }
    }

    fn fail(&mut self, reason: String) {
        if self.failing.is_none() {
            self.notices.push_back(DeliveryNotice::Failing { reason: reason.clone() });
        }
        self.failing = Some(reason);
    }

    fn recovered(&mut self) {
        self.pause = PAUSE_MIN;
        if self.failing.take().is_some() {
            self.notices.push_back(DeliveryNotice::Recovered);
        }
    }

    /// Whether the gap was taken. A receiver that refuses to hear of it has heard of it.
    fn report(&mut self, gap: &DeliveryGap, now: Now) -> bool {
        let outcome = self.delivery.gap(gap);
        let is_taken = !matches!(self.answer(outcome, now), Answer::Waits);
        if is_taken {
            self.notices.push_back(DeliveryNotice::Gap(gap.clone()));
        }
        is_taken
    }

    fn refused(&mut self, seq: Seq, digest: [u8; 16], attempts: u32, reason: String, now: Now) {
        match self.spec.retries.get(attempts as usize - 1) {
            Some(pause) => {
                let due = now.monotonic + *pause;
                self.cursor.open.push(OpenMessage { seq, digest, attempts, due });
            }
            None => {
                self.cursor.park(seq, digest, attempts, &reason);
                self.notices.push_back(DeliveryNotice::Parked { seq, reason });
            }
        }
    }

    /// Sends the open message that is due first.
    fn send_open(&mut self, now: Now) -> Result<(), SenderError> {
        let first =
            self.cursor.open.iter().enumerate().min_by_key(|(_, open)| (open.due, open.seq));
        let Some((index, open)) = first.map(|(index, open)| (index, open.clone())) else {
            return Ok(());
        };
        let only = SeqRange::new(open.seq, open.seq.next());
        let lost = match self.view.get(open.seq) {
            Ok(Some(record)) if record.as_record().digest() == open.digest => {
                match self.send(&record, open.attempts, now) {
                    Answer::Waits => return Ok(()),
                    Answer::Passed => drop(self.cursor.open.remove(index)),
                    Answer::Refused(reason) => {
                        self.cursor.open.remove(index);
                        self.refused(open.seq, open.digest, open.attempts + 1, reason, now);
                    }
                }
                None
            }
            Ok(_) => Some(GapCause::Replaced),
            Err(Error::Pruned { .. }) => Some(GapCause::Pruned),
            Err(Error::Lost(_)) => Some(GapCause::Lost),
            Err(error) => return Err(error.into()),
        };
        if let Some(cause) = lost {
            self.cursor.open.remove(index);
            self.gaps.extend(DeliveryGap::of(only, cause));
        }
        self.save()
    }
}
