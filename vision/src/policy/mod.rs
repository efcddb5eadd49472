//! The event policy: which frames begin an event, which only continue one, and when an event is over.
//!
//! One pure function, [`decide`], and the [`PolicyState`] it keeps for each camera. It reads no clock (time is
//! the frames' own), and knows no journal: the caller makes records of the [`PolicyDecision`]s.

#[cfg(test)]
mod light_scenes;
mod minute;
mod object_count;
mod objects;
mod open;
mod pending;
#[cfg(test)]
mod scenes;
mod suppression;
#[cfg(test)]
mod tests;

use std::time::Duration;

use lenslog_events::{CameraMinute, DetectedObject};
use lenslog_journal::Timestamp;

use crate::motion::{MotionOutcome, Quiet};
use minute::Minute;
pub use objects::MOTION_LABEL;
use objects::Verdict;
use open::OpenEvents;
pub use open::{EventEnd, EventKey, OPEN_LABELS_MAX};
use pending::Pending;
pub use suppression::Suppression;

/// How far time may run backwards before the clock was set and what is open is ended. Smaller steps, as time
/// synchronisation makes them, count as no time at all.
pub const BACKWARD_MAX: Duration = Duration::from_secs(60);

/// How long after a minute frames of it may come: they wait for the detector. Then it is over without one of the next.
const LATE_MICROS: i64 = 10_000_000;

/// What makes an event.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyConfig {
    /// A label that was seen within this time is not a new event; each sighting begins the time again.
    pub deduplication_window: Duration,
    /// An event that lasts this long is ended; the next sighting is a new one.
    pub max_event: Duration,
    /// A label has to be seen for so long before it begins an event; what is uploaded as one picture begins it at once.
    pub min_duration: Duration,
    /// Whether more things of a label at once than an event has had so far are a new event: a person else came.
    /// See [`decide`].
    pub split_on_new_object: bool,
    /// Labels of a detector that count; none: all of them.
    pub track: Vec<String>,
    /// Labels that never count.
    pub ignore: Vec<String>,
    /// A detector's object counts from this confidence on, 0 to 1.
    pub min_object_confidence: f64,
}

impl Default for PolicyConfig {
    /// A window of 30 seconds, events of at most 10 minutes, split_on_new_object, and of a detector's objects people,
    /// vehicles and animals with a confidence of at least 0.5.
    fn default() -> Self {
        let track =
            ["person", "bicycle", "car", "motorcycle", "bus", "truck", "bird", "cat", "dog"];
        Self {
            deduplication_window: Duration::from_secs(30),
            max_event: Duration::from_secs(600),
            min_duration: Duration::ZERO,
            split_on_new_object: true,
            track: track.map(String::from).to_vec(),
            ignore: Vec::new(),
            min_object_confidence: 0.5,
        }
    }
}

/// What a frame showed.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// When the frame was taken.
    pub time: Timestamp,
    /// Width and height of its picture, in pixels.
    pub size: (u32, u32),
    /// Frames that were dropped before it.
    pub dropped_before: u64,
    /// What motion detection said; `None` where each picture is a candidate by itself, such as one that a
    /// camera uploaded because it saw something.
    pub motion: Option<&'a MotionOutcome>,
    /// What a detector recognised; `None` where none has looked. At most
    /// [`OBJECTS_MAX`](crate::detection::OBJECTS_MAX) are considered.
    pub objects: Option<&'a [DetectedObject]>,
}

/// What happened to a camera.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A frame came.
    Frame(Observation<'a>),
    /// Time passed, by the same clock that the frames' times come from.
    Elapsed {
        /// What time it is.
        now: Timestamp,
    },
    /// The camera or the recorder stops.
    Stop,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyDecision {
    /// A minute is over.
    Minute(CameraMinute),
    /// An event is over.
    End(EventEnd),
    /// An event begins with this frame.
    Begin(EventBegin),
    /// This frame makes no event, although something changed.
    Suppress(Suppression),
}

/// An event that begins.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBegin {
    /// Names the event until its end.
    pub key: EventKey,
    /// When it begins: the time of its frame.
    pub time: Timestamp,
    /// How sure motion is; `None` where no motion was looked for.
    pub motion_confidence: Option<f64>,
    /// What was seen and begins this event, in the detector's order. Without a detector one object, labelled
    /// [`MOTION_LABEL`], whose box is the changed area.
    pub objects: Vec<DetectedObject>,
}

/// What is known of a camera from one frame to the next. Its size is bounded by [`OPEN_LABELS_MAX`].
#[derive(Debug, Clone)]
pub struct PolicyState {
    camera_id: String,
    open: OpenEvents,
    pending: Pending,
    minute: Option<Minute>,
}

impl PolicyState {
    /// A camera that has not seen anything.
    #[must_use]
    pub fn new(camera_id: &str) -> Self {
        Self {
            camera_id: camera_id.into(),
            open: OpenEvents::default(),
            pending: Pending::default(),
            minute: None,
        }
    }

    /// The minute that is not over yet; `None` before the first frame.
    #[must_use]
    pub fn minute_so_far(&self) -> Option<CameraMinute> {
        self.minute.as_ref().map(|minute| minute.finish(&self.camera_id))
    }

    /// How many events are open.
    #[must_use]
    #[cfg(test)]
    fn open_events(&self) -> usize {
        self.open.len()
    }
}

/// Decides what becomes of an input.
///
/// An event belongs to the labels that began it. A further sighting of one of them only continues it, until
/// [`deduplication_window`](PolicyConfig::deduplication_window) has passed since the last one or the event has
/// lasted for [`max_event`](PolicyConfig::max_event); then it ends, and a sighting begins a new one. With
/// [`split_on_new_object`](PolicyConfig::split_on_new_object) it also ends, and a new one begins, when for a second more things of
/// the label are seen at once than the event has had since it was five seconds old: without this a busy place
/// would make one event of all its visitors.
///
/// A frame begins one event at most, and gives one reason at most. Decisions come in the order in which they
/// are to be journaled: the minute that is over, events that end, then the one that begins. Every event that
/// begins ends exactly once, with [`Input::Stop`] at the latest.
///
/// Time may jump. Backwards by more than [`BACKWARD_MAX`] it ends what is open and the minute; the same minute
/// can follow again. Forwards it ends what a wait of that length would have ended; minutes without frames are
/// left out.
///
/// ```
/// use lenslog_vision::policy::{PolicyState, PolicyDecision, Input, Observation, PolicyConfig, decide};
/// use lenslog_journal::Timestamp;
///
/// let (mut state, config) = (PolicyState::new("camera_1"), PolicyConfig::default());
/// let upload = |seconds: i64| Observation {
///     time: Timestamp { utc_micros: seconds * 1_000_000, offset_minutes: 0 },
///     size: (640, 480),
///     dropped_before: 0,
///     motion: None,
///     objects: None,
/// };
/// let first = decide(&mut state, &config, Input::Frame(upload(0)));
/// assert!(matches!(first[..], [PolicyDecision::Begin(_)]));
/// let second = decide(&mut state, &config, Input::Frame(upload(20)));
/// assert!(matches!(second[..], [PolicyDecision::Suppress(_)]), "the same event");
/// let last = decide(&mut state, &config, Input::Frame(upload(50)));
/// assert!(matches!(last[..], [PolicyDecision::End(_), PolicyDecision::Begin(_)]), "30 s later, a new one");
/// ```
#[must_use]
pub fn decide(
    state: &mut PolicyState,
    config: &PolicyConfig,
    input: Input<'_>,
) -> Vec<PolicyDecision> {
    let mut decisions = Vec::new();
    match input {
        Input::Frame(observation) => {
            state.turn_minute(observation.time, &mut decisions);
            state.expire(config, observation.time, &mut decisions);
            let outcome = judge(config, &observation);
            let reason = match outcome {
                Judgement::Nothing => None,
                Judgement::Suppressed(reason) => Some(reason),
                Judgement::Seen(objects) => {
                    state.sight(config, &observation, objects, &mut decisions)
                }
            };
            let minute = state.minute.get_or_insert_with(|| Minute::of(observation.time));
            minute.add(&observation, reason);
            decisions.extend(reason.map(PolicyDecision::Suppress));
        }
        Input::Elapsed { now } => {
            // A frame of the minute that is over may still be on its way.
            let before =
                Timestamp { utc_micros: now.utc_micros.saturating_sub(LATE_MICROS), ..now };
            if !state.minute.as_ref().is_some_and(|minute| minute.includes(before)) {
                state.turn_minute(now, &mut decisions);
            }
            state.expire(config, now, &mut decisions);
        }
        Input::Stop => {
            decisions.extend(state.minute_so_far().map(PolicyDecision::Minute));
            state.minute = None;
            decisions.extend(state.open.end_all().map(PolicyDecision::End));
        }
    }
    decisions
}

impl PolicyState {
    /// Hands out the minute if `now` does not belong to it.
    fn turn_minute(&mut self, now: Timestamp, decisions: &mut Vec<PolicyDecision>) {
        if self.minute.as_ref().is_some_and(|minute| !minute.includes(now)) {
            decisions.extend(self.minute_so_far().map(PolicyDecision::Minute));
            self.minute = None;
        }
    }

    fn expire(
        &mut self,
        config: &PolicyConfig,
        now: Timestamp,
        decisions: &mut Vec<PolicyDecision>,
    ) {
        decisions.extend(self.open.expire(config, now).map(PolicyDecision::End));
    }

    /// Continues the events of what was seen, and begins one for what is new. Returns why there is no new one.
    fn sight(
        &mut self,
        config: &PolicyConfig,
        observation: &Observation<'_>,
        mut objects: Vec<objects::Counted>,
        decisions: &mut Vec<PolicyDecision>,
    ) -> Option<Suppression> {
        if observation.motion.is_some() {
            let labels = objects.iter().map(|counted| counted.object.label.as_str());
            let fleeting = self.pending.fleeting(config, observation.time, labels, &self.open);
            objects.retain(|counted| !fleeting.contains(&counted.object.label));
        }
        if objects.is_empty() {
            return Some(Suppression::TooShort);
        }
        let sighting = self.open.sight(config, observation.time, &objects);
        decisions.extend(sighting.ended.into_iter().map(PolicyDecision::End));
        let Some(key) = sighting.begun else {
            return Some(Suppression::Deduplicated);
        };
        let is_new =
            |counted: &objects::Counted| sighting.new_labels.contains(&counted.object.label);
        decisions.push(PolicyDecision::Begin(EventBegin {
            key,
            time: observation.time,
            motion_confidence: match observation.motion {
                Some(MotionOutcome::Motion(motion)) => Some(motion.confidence),
                _ => None,
            },
            objects: objects.into_iter().filter(is_new).map(|counted| counted.object).collect(),
        }));
        None
    }
}

/// What a frame amounts to before it is known whether it is new.
enum Judgement {
    Nothing,
    Suppressed(Suppression),
    Seen(Vec<objects::Counted>),
}

fn judge(config: &PolicyConfig, observation: &Observation<'_>) -> Judgement {
    let suppressed = match observation.motion {
        None | Some(MotionOutcome::Motion(_)) => None,
        Some(MotionOutcome::Learning { .. }) => Some(Suppression::Learning),
        Some(MotionOutcome::LightChanged { .. }) => Some(Suppression::LightChange),
        Some(MotionOutcome::Blind) => Some(Suppression::Blind),
        Some(MotionOutcome::Quiet { reason, .. }) => match reason {
            Quiet::Still => return Judgement::Nothing,
            Quiet::BelowThreshold => Some(Suppression::BelowThreshold),
            Quiet::Masked => Some(Suppression::Masked),
            Quiet::OutsideZones => Some(Suppression::OutsideZones),
            Quiet::TooSmall => Some(Suppression::TooSmall),
        },
    };
    if let Some(reason) = suppressed {
        return Judgement::Suppressed(reason);
    }
    match objects::count(config, observation) {
        Verdict::Count(objects) => Judgement::Seen(objects),
        Verdict::None(reason) => Judgement::Suppressed(reason),
    }
}
