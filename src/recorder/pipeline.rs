//! [`Pipeline`]: one camera's way from a frame to the journal: motion, detector, policy, picture, event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use image::RgbImage;
use lenslog_events::{
    CameraFound, CameraLost, CameraMinute, Event, EventDetected, EventEnded, EventRef, Metadata,
};
use lenslog_journal::{Seq, Timestamp};
use serde_json::{Value, json};

use super::images::{EventPicture, ImageWriter};
use super::writer::EventWriter;
use crate::detector::Detection;
use crate::metrics::{CameraMetrics, MetricsCollector};
use lenslog_vision::drawing::paint_over;
use lenslog_vision::frame::Frame;
use lenslog_vision::geometry::Polygon;
use lenslog_vision::motion::{
    MotionConfig, MotionDetector, MotionOutcome, Tamper, TamperChange, TamperConfig, TamperDetector,
};
use lenslog_vision::policy::{
    EventBegin, EventEnd, EventKey, Input, Observation, PolicyConfig, PolicyDecision, PolicyState,
    decide,
};

/// What concerns one camera.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraSettings {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// When a change is motion.
    pub motion: MotionConfig,
    /// When the camera shows nothing.
    pub tamper_detector: TamperConfig,
    /// When a sighting is an event.
    pub policy: PolicyConfig,
    /// Parts that are painted over before anything else.
    pub privacy: Vec<Polygon>,
    /// What the model is called, where there is one.
    pub model: Option<String>,
    /// Whether a sentence is asked for about its events.
    pub is_described: bool,
}

/// A frame in which motion was looked for.
#[derive(Debug)]
pub struct Watched {
    frame: Frame,
    outcome: Option<MotionOutcome>,
}

impl Watched {
    /// The picture, with private parts painted over.
    #[must_use]
    pub const fn picture(&self) -> &RgbImage {
        &self.frame.picture
    }

    /// Whether it is worth looking for objects: something moves, or it was taken because something happened.
    #[must_use]
    pub const fn is_candidate(&self) -> bool {
        matches!(self.outcome, None | Some(MotionOutcome::Motion(_)))
    }
}

/// One camera's way from a frame to the journal.
#[derive(Debug)]
pub struct Pipeline {
    settings: CameraSettings,
    detector: MotionDetector,
    tamper_detector: TamperDetector,
    state: PolicyState,
    /// Events that have begun, by what the policy calls them.
    open: HashMap<EventKey, EventRef>,
    writer: Arc<EventWriter>,
    images: ImageWriter,
    /// Whether a failure to write pictures was logged, and none was written since.
    images_failed_reported: bool,
    metrics: Arc<MetricsCollector>,
    camera: Arc<CameraMetrics>,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    #[must_use]
    pub fn new(
        settings: CameraSettings,
        writer: Arc<EventWriter>,
        images: ImageWriter,
        metrics: Arc<MetricsCollector>,
    ) -> Self {
        Self {
            camera: metrics.camera(&settings.id),
            detector: MotionDetector::new(settings.motion.clone()),
            tamper_detector: TamperDetector::default(),
            state: PolicyState::new(&settings.id),
            open: HashMap::new(),
            settings,
            writer,
            images,
            images_failed_reported: false,
            metrics,
        }
    }

    /// Paints over private parts and looks for motion. `is_candidate`: the frame was taken because something
    /// happened, so motion is not asked for.
    pub fn watch(&mut self, mut frame: Frame, is_candidate: bool) -> Watched {
        if !is_candidate {
            self.detect_tampering(&frame);
        }
        paint_over(&mut frame.picture, &self.settings.privacy);
        let outcome = (!is_candidate).then(|| match self.tamper_detector.is_doubtful() {
            true => MotionOutcome::Blind,
            false => self.detector.look(&frame.picture),
        });
        if let Some(outcome) = &outcome {
            self.camera.motion(matches!(outcome, MotionOutcome::Motion(_)));
        }
        Watched { frame, outcome }
    }

    /// The camera was away: what it shows is judged afresh.
    pub fn reset_tamper_detection(&mut self) {
        self.tamper_detector = TamperDetector::default();
    }

    /// Resets the pipeline to its initial state.
    pub fn forget(&mut self) {
        self.reset_tamper_detection();
        self.detector = MotionDetector::new(self.settings.motion.clone());
        self.state = PolicyState::new(&self.settings.id);
        self.open.clear();
    }

    /// A camera that shows nothing is as good as lost.
    fn detect_tampering(&mut self, frame: &Frame) {
        let camera_id = self.settings.id.clone();
        match self.tamper_detector.look(&self.settings.tamper_detector, &frame.picture, frame.time)
        {
            None => {}
            Some(TamperChange::Began(tamper)) => {
                let reason = tamper.to_string();
                tracing::error!(camera = camera_id, reason, "the camera is blind");
                let lost = CameraLost { camera_id, at: frame.time, reason };
                self.writer.write(&Event::CameraLost(lost));
                // A light in the dark must be seen.
                self.detector.forget();
            }
            Some(TamperChange::Ended(tamper)) => {
                // What was learned of a cover is of no use; what is seen in the dark may be a person.
                if tamper == Tamper::Covered {
                    self.detector.forget();
                }
                tracing::info!(camera = camera_id, "the camera sees again");
                let found = CameraFound { camera_id, at: frame.time };
                self.writer.write(&Event::CameraFound(found));
            }
        }
    }

    /// Decides what becomes of a frame that was taken at `taken`, with what a detector saw in it, where one looked.
    pub fn judge(&mut self, watched: &Watched, detection: Option<Detection>, taken: Instant) {
        let frame = &watched.frame;
        let observation = Observation {
            time: frame.time,
            size: frame.picture.dimensions(),
            dropped_before: frame.dropped_before,
            motion: watched.outcome.as_ref(),
            objects: detection.as_ref().map(|detection| detection.objects.as_slice()),
        };
        let input = Input::Frame(observation);
        for decision in decide(&mut self.state, &self.settings.policy, input) {
            match decision {
                PolicyDecision::Begin(begin) => {
                    self.begin(begin, watched, detection.as_ref(), taken)
                }
                other => self.carry_out(other),
            }
        }
    }

    /// Time passed without a frame.
    pub fn elapsed(&mut self, now: Timestamp) {
        self.without_frame(Input::Elapsed { now });
    }

    /// The camera or the recorder stops: what is open ends.
    pub fn stop(&mut self) {
        self.without_frame(Input::Stop);
    }

    /// The minute that is not over yet.
    #[must_use]
    pub fn minute_so_far(&self) -> Option<CameraMinute> {
        self.state.minute_so_far()
    }

    fn without_frame(&mut self, input: Input<'_>) {
        for decision in decide(&mut self.state, &self.settings.policy, input) {
            self.carry_out(decision);
        }
    }

    fn carry_out(&mut self, decision: PolicyDecision) {
        match decision {
            PolicyDecision::Minute(minute) => {
                self.writer.write(&Event::CameraMinute(minute));
            }
            PolicyDecision::End(end) => self.end(end),
            PolicyDecision::Suppress(reason) => self.camera.suppressed(reason.name()),
            // Only a frame begins an event.
            PolicyDecision::Begin(_) => {}
        }
    }

    fn begin(
        &mut self,
        begin: EventBegin,
        watched: &Watched,
        detection: Option<&Detection>,
        taken: Instant,
    ) {
        let frame = &watched.frame;
        let event_id = format!("evt_{}", uuid::Uuid::now_v7());
        let picture = EventPicture {
            event_id: &event_id,
            time: begin.time,
            camera_name: self.settings.name.as_deref().unwrap_or(&self.settings.id),
            objects: &begin.objects,
        };
        let image_path = match self.images.write(&frame.picture, &picture) {
            Ok(path) => {
                self.images_failed_reported = false;
                path
            }
            Err(error) => {
                self.metrics.image_error();
                if !std::mem::replace(&mut self.images_failed_reported, true) {
                    let camera = &self.settings.id;
                    tracing::error!(camera, %error, "events are journaled without their pictures");
                }
                None
            }
        };
        let event = EventDetected {
            event_id,
            timestamp: begin.time,
            camera_id: self.settings.id.clone(),
            camera_name: self.settings.name.clone(),
            motion_confidence: begin.motion_confidence,
            detected_objects: begin.objects,
            // There is nothing to describe without a picture.
            description_expected: self.settings.is_described && image_path.is_some(),
            image_path,
            llm_description: None,
            metadata: self.metadata(watched, detection),
        };
        let seq = self.writer.write(&Event::Detected(event.clone()));
        if seq.is_some() {
            self.metrics.frame_latency(taken.elapsed());
        }
        tracing::info!(
            camera = self.settings.id,
            event = event.event_id,
            seq = seq.map_or(0, |seq| seq.0),
            "event"
        );
        if let Some(event_seq) = seq {
            self.remember(begin.key, event_seq, &event);
        }
    }

    fn remember(&mut self, key: EventKey, event_seq: Seq, event: &EventDetected) {
        let event_day = event.timestamp.day();
        let event_id = event.event_id.clone();
        self.open.insert(key, EventRef { event_seq, event_day, event_id });
    }

    fn end(&mut self, end: EventEnd) {
        // An event whose seq is not known has no end either.
        let Some(event) = self.open.remove(&end.key) else { return };
        let EventEnd { last_seen, sightings, .. } = end;
        self.writer.write(&Event::Ended(EventEnded { event, last_seen, sightings }));
    }

    fn metadata(&self, watched: &Watched, detection: Option<&Detection>) -> Metadata {
        let frame = &watched.frame;
        let mut metadata = Metadata::new();
        metadata.insert("frame_number".to_owned(), json!(frame.number));
        let (width, height) = frame.picture.dimensions();
        metadata.insert("frame_size".to_owned(), json!([width, height]));
        if let Some(MotionOutcome::Motion(motion)) = &watched.outcome {
            let rounded = (motion.changed_percent * 1000.0).round() / 1000.0;
            metadata.insert("changed_percent".to_owned(), json!(rounded));
            let threshold = self.settings.motion.threshold_percent;
            metadata.insert("threshold_percent".to_owned(), json!(threshold));
        }
        if let Some(detection) = detection {
            let milliseconds = (detection.inference.as_secs_f64() * 1e5).round() / 100.0;
            metadata.insert("inference_ms".to_owned(), json!(milliseconds));
            metadata.insert("model".to_owned(), json!(self.settings.model));
            let confidence = self.settings.policy.min_object_confidence;
            metadata.insert("min_object_confidence".to_owned(), json!(confidence));
        }
        if let Some(origin) = &frame.origin {
            let name = origin.file_name().unwrap_or_default().to_string_lossy().into_owned();
            metadata.insert("file".to_owned(), Value::String(name));
        }
        if let Some(claimed) = &frame.claimed {
            metadata.insert("claimed_time".to_owned(), json!(claimed.to_string()));
        }
        metadata
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use lenslog_journal::storage::Fault;

    use super::*;
    use crate::config::{Images, KeepImages};
    use crate::recorder::testing::TestEnv;
    use lenslog_vision::motion::Quiet;

    fn settings() -> CameraSettings {
        CameraSettings {
            id: "door".to_owned(),
            name: None,
            motion: MotionConfig { learning_frames: 2, ..MotionConfig::default() },
            tamper_detector: TamperConfig::default(),
            policy: PolicyConfig::default(),
            privacy: Vec::new(),
            model: None,
            is_described: true,
        }
    }

    fn frame(second: i64) -> Frame {
        Frame {
            number: 0,
            time: Timestamp { utc_micros: second * 1_000_000, offset_minutes: 0 },
            picture: RgbImage::new(64, 64),
            dropped_before: 0,
            origin: Some(PathBuf::from("upload.jpg")),
            claimed: None,
        }
    }

    /// A picture that was taken because something happened.
    fn upload(pipeline: &mut Pipeline, second: i64) {
        let watched = pipeline.watch(frame(second), true);
        pipeline.judge(&watched, None, Instant::now());
    }

    fn watch(pipeline: &mut Pipeline, second: i64) -> Option<MotionOutcome> {
        pipeline.watch(frame(second), false).outcome
    }

    #[test]
    fn only_events_that_have_not_ended_are_kept_in_mind() {
        let env = TestEnv::new();
        let mut pipeline = env.pipeline(settings(), Images::default());
        for number in 0..20 {
            upload(&mut pipeline, number * 60);
            assert_eq!(pipeline.open.len(), 1);
        }
        pipeline.elapsed(frame(20 * 60).time);
        assert_eq!(pipeline.open.len(), 0);
        upload(&mut pipeline, 21 * 60);
        pipeline.stop();
        assert_eq!(pipeline.open.len(), 0);
        let reported = env.reported();
        let ends = reported.iter().filter(|reported| *reported == "EventEnded").count();
        assert_eq!((reported.len(), ends), (42, 21), "{reported:?}");
    }

    #[test]
    fn what_began_before_everything_was_forgotten_does_not_get_the_end_of_another_event() {
        let env = TestEnv::new();
        let mut pipeline = env.pipeline(settings(), Images::default());
        upload(&mut pipeline, 0);
        pipeline.forget();
        env.disk.inject(Fault::AllSyncsFail);
        upload(&mut pipeline, 1);
        env.disk.heal();
        pipeline.stop();
        assert_eq!(env.reported(), ["EventDetected", "EventDetected"], "its seq was never known");
    }

    #[test]
    fn a_sentence_is_expected_where_somebody_describes_and_there_is_a_picture() {
        let none = Images { keep: KeepImages::None, ..Images::default() };
        for (is_described, images, is_written, expected) in [
            (true, Images::default(), true, true),
            (true, Images::default(), false, false),
            (true, none, true, false),
            (false, Images::default(), true, false),
        ] {
            let env = TestEnv::new();
            let settings = CameraSettings { is_described, ..settings() };
            let mut pipeline = env.pipeline(settings, images);
            if !is_written {
                env.disk.inject(Fault::SyncFails { nth: 0 });
            }
            upload(&mut pipeline, 0);
            let [Event::Detected(event)] = &env.events()[..] else {
                panic!("{:?}", env.reported())
            };
            assert_eq!(event.description_expected, expected, "{event:?}");
        }
    }

    #[test]
    fn what_a_camera_showed_before_it_was_away_does_not_make_it_blind() {
        let env = TestEnv::new();
        let mut pipeline = env.pipeline(settings(), Images::default());
        for second in [0, 9] {
            assert_eq!(watch(&mut pipeline, second), Some(MotionOutcome::Blind));
        }
        pipeline.reset_tamper_detection();
        for second in [500, 509] {
            watch(&mut pipeline, second);
        }
        assert_eq!(env.reported(), Vec::<String>::new());
        watch(&mut pipeline, 510);
        let reported = env.reported();
        assert!(
            reported.len() == 1 && reported[0].contains("the picture is black"),
            "{reported:?}"
        );
    }

    /// A picture with something in it, or of one grey.
    fn shown(pipeline: &mut Pipeline, second: i64, level: Option<u8>) -> MotionOutcome {
        let shade = |x, y| image::Rgb([level.unwrap_or(((x + y) * 2) as u8); 3]);
        let frame = Frame { picture: RgbImage::from_fn(64, 64, shade), ..frame(second) };
        pipeline.watch(frame, false).outcome.unwrap()
    }

    /// A pipeline that knows what its camera shows.
    fn learned(env: &TestEnv) -> Pipeline {
        let mut pipeline = env.pipeline(settings(), Images::default());
        for pictures_left in [1, 0] {
            assert_eq!(shown(&mut pipeline, 0, None), MotionOutcome::Learning { pictures_left });
        }
        let still = MotionOutcome::Quiet { changed_percent: 0.0, reason: Quiet::Still };
        assert_eq!(shown(&mut pipeline, 0, None), still);
        pipeline
    }

    const LEARNS: MotionOutcome = MotionOutcome::Learning { pictures_left: 1 };

    #[test]
    fn a_pipeline_that_forgets_learns_what_the_camera_shows_anew() {
        let env = TestEnv::new();
        let mut pipeline = learned(&env);
        pipeline.forget();
        assert_eq!(shown(&mut pipeline, 0, None), LEARNS);
    }

    #[test]
    fn the_dark_is_learned_so_that_a_light_in_it_is_seen_and_a_cover_is_forgotten() {
        for (level, is_forgotten) in [(0, false), (100, true)] {
            let env = TestEnv::new();
            let mut pipeline = learned(&env);
            assert_eq!(shown(&mut pipeline, 1, Some(level)), MotionOutcome::Blind);
            assert_eq!(shown(&mut pipeline, 11, Some(level)), LEARNS, "it is believed now");
            shown(&mut pipeline, 12, Some(level));
            let first = shown(&mut pipeline, 13, None);
            assert_eq!(first == LEARNS, is_forgotten, "{first:?}");
            assert_eq!(env.reported().len(), 2, "lost and found: {:?}", env.reported());
        }
    }

    #[test]
    fn that_pictures_cannot_be_written_is_told_each_time_it_begins() {
        let env = TestEnv::new();
        let mut pipeline = env.pipeline(settings(), Images::default());
        for (second, is_written) in [(0, false), (60, true), (120, false)] {
            if !is_written {
                env.disk.inject(Fault::AllSyncsFail);
            }
            upload(&mut pipeline, second);
            env.disk.heal();
            assert_eq!(pipeline.images_failed_reported, !is_written);
        }
    }
}
