//! Histories of frames, and the events they make.

use image::RgbImage;
use lenslog_events::{BoundingBox, Suppressed};
use proptest::prelude::*;

use super::*;
use crate::detection::OBJECTS_MAX;
use crate::motion::{Motion, MotionConfig, MotionDetector, MovingPixels};
use crate::scene::{Scene, SceneRenderer};
use crate::testing::{CLIP_FPS, clip};

const SIZE: (u32, u32) = (640, 480);

fn at(seconds: f64) -> Timestamp {
    Timestamp { utc_micros: (seconds * 1e6) as i64, offset_minutes: 60 }
}

fn bbox(x: f64, y: f64, side: f64) -> BoundingBox {
    BoundingBox { x, y, width: side, height: side }
}

/// Motion of so many things side by side, which fill the left half of the picture.
fn motion(things: usize) -> MotionOutcome {
    let regions: Vec<_> = (0..things).map(|index| bbox(index as f64 * 20.0, 100.0, 15.0)).collect();
    let left = BoundingBox { x: 0.0, y: 0.0, width: 320.0, height: 480.0 };
    MotionOutcome::Motion(Motion {
        changed_percent: 4.0,
        confidence: 0.75,
        area: left,
        regions,
        moving: MovingPixels::inside(SIZE.0, SIZE.1, &[left]),
    })
}

fn quiet(reason: Quiet) -> MotionOutcome {
    MotionOutcome::Quiet { changed_percent: 1.0, reason }
}

fn object(label: &str, confidence: f64) -> DetectedObject {
    DetectedObject { label: label.into(), confidence, bbox: bbox(10.0, 10.0, 100.0) }
}

/// A camera and what was decided for it.
struct Camera {
    state: PolicyState,
    config: PolicyConfig,
}

impl Camera {
    fn new(config: PolicyConfig) -> Self {
        Self { state: PolicyState::new("camera_1"), config }
    }

    fn frame(
        &mut self,
        time: Timestamp,
        motion: &MotionOutcome,
        objects: Option<&[DetectedObject]>,
    ) -> Vec<PolicyDecision> {
        let observation =
            Observation { time, size: SIZE, dropped_before: 0, motion: Some(motion), objects };
        decide(&mut self.state, &self.config, Input::Frame(observation))
    }

    /// A frame in which something moves.
    fn moves(&mut self, seconds: f64) -> Vec<PolicyDecision> {
        self.frame(at(seconds), &motion(1), None)
    }

    /// A frame in which a detector recognised these labels, each with a confidence of 0.9.
    fn sees(&mut self, seconds: f64, labels: &[&str]) -> Vec<PolicyDecision> {
        let objects: Vec<_> = labels.iter().map(|label| object(label, 0.9)).collect();
        self.frame(at(seconds), &motion(1), Some(&objects))
    }

    fn elapsed(&mut self, seconds: f64) -> Vec<PolicyDecision> {
        decide(&mut self.state, &self.config, Input::Elapsed { now: at(seconds) })
    }

    fn stop(&mut self) -> Vec<PolicyDecision> {
        decide(&mut self.state, &self.config, Input::Stop)
    }
}

impl Default for Camera {
    fn default() -> Self {
        Self::new(PolicyConfig::default())
    }
}

/// Decisions in short: `begin 1 motion`, `end 1 at 10 after 3`, `deduplicated`; minutes are left out.
fn outline(decisions: &[PolicyDecision]) -> Vec<String> {
    let line = |decision: &PolicyDecision| match decision {
        PolicyDecision::Minute(_) => None,
        PolicyDecision::Begin(begin) => {
            let labels: Vec<_> = begin.objects.iter().map(|object| object.label.as_str()).collect();
            Some(format!("begin {} {}", begin.key.0, labels.join(" ")))
        }
        PolicyDecision::End(end) => {
            let seconds = end.last_seen.utc_micros as f64 / 1e6;
            let EventEnd { key, sightings, .. } = end;
            Some(format!("end {} at {seconds} after {sightings}", key.0))
        }
        PolicyDecision::Suppress(reason) => Some(reason.name().into()),
    };
    decisions.iter().filter_map(line).collect()
}

fn minutes(decisions: Vec<PolicyDecision>) -> Vec<CameraMinute> {
    let minute = |decision| match decision {
        PolicyDecision::Minute(minute) => Some(minute),
        _ => None,
    };
    decisions.into_iter().filter_map(minute).collect()
}

#[test]
fn every_sighting_begins_the_window_anew() {
    let mut camera = Camera::default();
    assert_eq!(outline(&camera.moves(0.0)), ["begin 1 motion"]);
    for seconds in [29.9, 59.8, 89.7] {
        assert_eq!(outline(&camera.moves(seconds)), ["deduplicated"]);
    }
    assert_eq!(outline(&camera.moves(119.7)), ["end 1 at 89.7 after 4", "begin 2 motion"]);
}

#[test]
fn an_event_ends_when_the_window_has_passed_without_a_sighting() {
    let mut camera = Camera::default();
    camera.moves(0.0);
    camera.moves(5.0);
    assert_eq!(outline(&camera.frame(at(34.9), &quiet(Quiet::Still), None)), [""; 0]);
    let end = ["end 1 at 5 after 2"];
    assert_eq!(outline(&camera.frame(at(35.0), &quiet(Quiet::Still), None)), end);
    assert_eq!(camera.state.open_events(), 0);

    let mut camera = Camera::default();
    camera.moves(0.0);
    camera.moves(5.0);
    assert_eq!(outline(&camera.elapsed(34.9)), [""; 0]);
    assert_eq!(outline(&camera.elapsed(35.0)), end, "without frames too");
    assert_eq!(outline(&camera.elapsed(99.0)), [""; 0]);
}

#[test]
fn an_event_that_lasts_too_long_ends_and_the_next_sighting_is_a_new_one() {
    let max_event = Duration::from_secs(60);
    let mut camera = Camera::new(PolicyConfig { max_event, ..PolicyConfig::default() });
    camera.moves(0.0);
    (1..6).for_each(|ten| drop(camera.moves(f64::from(ten) * 10.0)));
    assert_eq!(outline(&camera.moves(60.0)), ["end 1 at 50 after 6", "begin 2 motion"]);
    assert_eq!(outline(&camera.elapsed(89.0)), [""; 0]);
}

#[test]
fn stopping_ends_what_is_open() {
    let mut camera = Camera::default();
    camera.moves(0.0);
    assert_eq!(outline(&camera.stop()), ["end 1 at 0 after 1"]);
    assert_eq!(camera.stop(), []);
    assert_eq!(outline(&camera.moves(1.0)), ["begin 2 motion"], "it can go on");
}

#[test]
fn motion_without_a_detector_is_one_object_of_the_changed_area() {
    let decisions = Camera::default().frame(at(3.0), &motion(3), None);
    let [PolicyDecision::Begin(begin)] = decisions.as_slice() else { panic!("{decisions:?}") };
    let area = BoundingBox { x: 0.0, y: 0.0, width: 320.0, height: 480.0 };
    let expected = DetectedObject { label: "motion".into(), confidence: 0.75, bbox: area };
    assert_eq!(begin.objects, [expected]);
    assert_eq!((begin.time, begin.motion_confidence), (at(3.0), Some(0.75)));
}

#[test]
fn a_picture_without_a_motion_stage_is_a_candidate_by_itself() {
    let mut camera = Camera::default();
    let observation =
        Observation { time: at(0.0), size: SIZE, dropped_before: 0, motion: None, objects: None };
    let decisions = decide(&mut camera.state, &camera.config, Input::Frame(observation));
    let [PolicyDecision::Begin(begin)] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert_eq!(begin.motion_confidence, None);
    assert_eq!(begin.objects[0].bbox, BoundingBox { x: 0.0, y: 0.0, width: 640.0, height: 480.0 });
    let outside = [DetectedObject { bbox: bbox(600.0, 400.0, 30.0), ..object("cat", 0.9) }];
    let detected = Observation { objects: Some(&outside), ..observation };
    let decisions = decide(&mut camera.state, &camera.config, Input::Frame(detected));
    assert_eq!(outline(&decisions), ["begin 2 cat"], "there is no motion that it could miss");
}

#[test]
fn labels_have_windows_of_their_own() {
    let mut camera = Camera::default();
    assert_eq!(outline(&camera.sees(0.0, &["person", "dog"])), ["begin 1 person dog"]);
    assert_eq!(outline(&camera.sees(20.0, &["person"])), ["deduplicated"]);
    assert_eq!(outline(&camera.sees(25.0, &["person", "cat"])), ["begin 2 cat"]);
    assert_eq!(outline(&camera.sees(31.0, &["dog"])), ["begin 3 dog"], "its window has passed");
    let ends = ["end 1 at 25 after 3", "end 2 at 25 after 1"];
    assert_eq!(outline(&camera.elapsed(55.0)), ends);
    assert_eq!(outline(&camera.elapsed(61.0)), ["end 3 at 31 after 1"]);
}

#[test]
fn a_frame_that_shows_several_labels_of_an_event_is_one_sighting() {
    let mut camera = Camera::default();
    camera.sees(0.0, &["person", "dog", "person"]);
    camera.sees(1.0, &["dog", "person"]);
    assert_eq!(outline(&camera.stop()), ["end 1 at 1 after 2"]);
}

#[test]
fn who_joins_begins_an_event_of_their_own() {
    let mut camera = Camera::default();
    for frame in 0..50 {
        camera.frame(at(f64::from(frame) / 5.0), &motion(1), None);
    }
    let joined: Vec<_> = (50..100)
        .flat_map(|frame| outline(&camera.frame(at(f64::from(frame) / 5.0), &motion(2), None)))
        .filter(|line| line != "deduplicated")
        .collect();
    assert_eq!(joined, ["end 1 at 10.8 after 55", "begin 2 motion"]);

    let config = PolicyConfig { split_on_new_object: false, ..PolicyConfig::default() };
    let mut camera = Camera::new(config);
    camera.frame(at(0.0), &motion(1), None);
    for frame in 1..200 {
        let decisions =
            camera.frame(at(f64::from(frame) / 5.0), &motion(1 + frame as usize / 50), None);
        assert_eq!(outline(&decisions), ["deduplicated"]);
    }
}

#[test]
fn small_regions_are_no_things_of_their_own() {
    let mut camera = Camera::default();
    let MotionOutcome::Motion(mut one) = motion(1) else { unreachable!() };
    for frame in 0..200 {
        if frame == 50 {
            one.regions.extend([bbox(300.0, 50.0, 7.0), bbox(200.0, 50.0, 6.0)]);
        }
        let decisions =
            camera.frame(at(f64::from(frame) / 5.0), &MotionOutcome::Motion(one.clone()), None);
        assert!(frame == 0 || outline(&decisions) == ["deduplicated"], "{frame}: {decisions:?}");
    }
}

#[test]
fn every_reason_for_no_event_has_its_name() {
    let check = |outcome: &MotionOutcome, objects: Option<&[DetectedObject]>, expected: &[&str]| {
        let ignore = vec!["plant".into()];
        let config = PolicyConfig { ignore, ..PolicyConfig::default() };
        assert_eq!(outline(&Camera::new(config).frame(at(0.0), outcome, objects)), expected);
    };
    let learning = MotionOutcome::Learning { pictures_left: 3 };
    check(&learning, None, &["learning"]);
    check(&MotionOutcome::LightChanged { changed_percent: 90.0 }, None, &["light_change"]);
    check(&quiet(Quiet::BelowThreshold), None, &["below_threshold"]);
    check(&quiet(Quiet::Masked), None, &["masked"]);
    check(&quiet(Quiet::OutsideZones), None, &["outside_zones"]);
    check(&quiet(Quiet::Still), None, &[]);

    let moving = motion(1);
    let still = DetectedObject { bbox: bbox(500.0, 10.0, 50.0), ..object("person", 0.9) };
    let nowhere = DetectedObject { bbox: bbox(f64::NAN, 10.0, 50.0), ..object("person", 0.9) };
    check(&moving, Some(&[]), &["no_object"]);
    check(&moving, Some(&[object("plant", 0.9)]), &["blacklisted"]);
    check(&moving, Some(&[object("toaster", 0.9)]), &["not_tracked"]);
    check(&moving, Some(&[object("person", 0.4)]), &["low_confidence"]);
    check(&moving, Some(&[object("person", f64::NAN)]), &["low_confidence"]);
    check(&moving, Some(std::slice::from_ref(&still)), &["not_moving"]);
    check(&moving, Some(&[nowhere]), &["not_moving"]);
    check(&moving, Some(&[object("plant", 0.5), still, object("toaster", 0.2)]), &["not_moving"]);
    check(&learning, Some(&[object("person", 0.9)]), &["learning"]);
}

#[test]
fn a_parked_car_does_not_drive_because_somebody_passes_it() {
    let rectangle = |x, y, width, height| BoundingBox { x, y, width, height };
    // A person walks before the left end of a car, and moves in all of their box.
    let walker = rectangle(100.0, 100.0, 40.0, 120.0);
    let passing = |moving: &[BoundingBox]| {
        let MotionOutcome::Motion(motion) = motion(1) else { unreachable!() };
        let moving = MovingPixels::inside(SIZE.0, SIZE.1, moving);
        MotionOutcome::Motion(Motion { moving, ..motion })
    };
    let at_box = |label, bbox| DetectedObject { bbox, ..object(label, 0.9) };
    let person = at_box("person", walker);
    let car = at_box("car", rectangle(90.0, 120.0, 200.0, 100.0));
    let both = [car.clone(), person.clone()];
    let outline_of = |outcome: &MotionOutcome, objects: &[DetectedObject]| {
        outline(&Camera::default().frame(at(0.0), outcome, Some(objects)))
    };
    assert_eq!(outline_of(&passing(&[walker]), &both), ["begin 1 person"]);
    // Where the car moves too, both count; where the walker is not recognised, no one knows.
    assert_eq!(outline_of(&passing(&[walker, car.bbox]), &both), ["begin 1 car person"]);
    assert_eq!(outline_of(&passing(&[walker]), &both[..1]), ["begin 1 car"]);
    // A person unsure explains nothing.
    let unsure = DetectedObject { confidence: 0.3, ..person };
    assert_eq!(outline_of(&passing(&[walker]), &[car.clone(), unsure]), ["begin 1 car"]);
    // At its edge only: the head of a person who walks below it.
    let edge = rectangle(100.0, 215.0, 20.0, 60.0);
    assert_eq!(outline_of(&passing(&[edge]), &[car]), ["not_moving"]);
}

#[test]
fn an_empty_list_tracks_every_label_and_motion_can_be_blacklisted() {
    let config = PolicyConfig { track: Vec::new(), ..PolicyConfig::default() };
    assert_eq!(outline(&Camera::new(config).sees(0.0, &["toaster"])), ["begin 1 toaster"]);
    let ignore = vec![MOTION_LABEL.into()];
    let config = PolicyConfig { ignore, ..PolicyConfig::default() };
    assert_eq!(outline(&Camera::new(config).moves(0.0)), ["blacklisted"]);
}

#[test]
fn a_minute_is_handed_out_when_a_frame_belongs_to_a_later_one() {
    let mut camera = Camera::default();
    camera.frame(at(61.0), &MotionOutcome::Learning { pictures_left: 1 }, None);
    camera.frame(at(62.0), &quiet(Quiet::BelowThreshold), None);
    camera.frame(at(63.0), &motion(1), Some(&[object("person", 0.6), object("toaster", 0.8)]));
    camera.frame(at(64.0), &motion(1), Some(&[object("person", 0.7)]));
    let slow = Observation {
        time: at(119.9),
        size: SIZE,
        dropped_before: 7,
        motion: Some(&quiet(Quiet::Still)),
        objects: None,
    };
    let decisions = decide(&mut camera.state, &camera.config, Input::Frame(slow));
    assert_eq!(minutes(decisions), []);
    let so_far = camera.state.minute_so_far().unwrap();
    let over = minutes(camera.frame(at(120.0), &quiet(Quiet::Still), None));
    let count = |reason: &str| Suppressed { reason: reason.into(), count: 1 };
    assert_eq!(
        over,
        [CameraMinute {
            camera_id: "camera_1".into(),
            minute: at(60.0),
            frames: 5,
            dropped: 7,
            max_motion: 4.0,
            best_label: Some("toaster".into()),
            best_confidence: Some(0.8),
            suppressed: vec![count("below_threshold"), count("deduplicated"), count("learning")],
        }]
    );
    assert_eq!(over, [so_far]);
    let last = minutes(camera.stop());
    assert_eq!((last[0].minute, last[0].frames), (at(120.0), 1));
    assert_eq!(camera.state.minute_so_far(), None);
}

#[test]
fn a_minute_is_over_when_time_passes_without_frames() {
    let mut camera = Camera::default();
    camera.moves(10.0);
    assert_eq!(minutes(camera.elapsed(69.9)), []);
    assert_eq!(minutes(camera.elapsed(70.0)).len(), 1);
    assert_eq!(minutes(camera.elapsed(600.0)), [], "a minute without frames is none");
}

#[test]
fn a_frame_that_waited_for_the_detector_belongs_to_the_minute_that_it_was_taken_in() {
    let mut camera = Camera::default();
    camera.moves(59.0);
    assert_eq!(minutes(camera.elapsed(60.5)), []);
    assert_eq!(minutes(camera.moves(59.8)), []);
    let over = minutes(camera.moves(60.1));
    assert_eq!((over.len(), over[0].frames), (1, 2), "one record of a minute, and all its frames");
}

#[test]
fn a_clock_that_is_set_back_a_little_counts_as_no_time() {
    let mut camera = Camera::default();
    camera.moves(120.0);
    let decisions = camera.moves(119.0);
    assert_eq!(outline(&decisions), ["deduplicated"]);
    assert_eq!(minutes(decisions), []);
    assert_eq!(outline(&camera.elapsed(149.9)), [""; 0]);
    assert_eq!(outline(&camera.elapsed(150.0)), ["end 1 at 120 after 2"]);
}

#[test]
fn a_clock_that_is_set_back_far_ends_what_is_open() {
    let mut camera = Camera::default();
    camera.moves(10_000.0);
    let decisions = camera.moves(100.0);
    assert_eq!(outline(&decisions), ["end 1 at 10000 after 1", "begin 2 motion"]);
    assert_eq!(minutes(decisions)[0].minute, at(9_960.0));
    assert_eq!(outline(&camera.moves(110.0)), ["deduplicated"]);
    assert_eq!(outline(&camera.elapsed(20.0)), ["end 2 at 110 after 2"]);
}

#[test]
fn a_clock_that_jumps_years_ahead_and_back_costs_an_event_each_time() {
    let mut camera = Camera::default();
    camera.moves(0.0);
    let years = 10.0 * 365.0 * 86_400.0;
    let ahead = camera.moves(years);
    assert_eq!(outline(&ahead), ["end 1 at 0 after 1", "begin 2 motion"]);
    assert_eq!(minutes(ahead).len(), 1, "and not one for each minute of ten years");
    let back = camera.moves(1.0);
    assert_eq!(outline(&back), ["end 2 at 315360000 after 1", "begin 3 motion"]);
}

#[test]
fn too_many_labels_end_the_oldest_events() {
    let config = PolicyConfig {
        track: Vec::new(),
        deduplication_window: Duration::from_secs(100_000),
        max_event: Duration::from_secs(1_000_000),
        ..PolicyConfig::default()
    };
    let mut camera = Camera::new(config);
    for index in 0..500 {
        let decisions = camera.sees(f64::from(index), &[&format!("label {index}")]);
        let expected = if index < OPEN_LABELS_MAX as i32 { 1 } else { 2 };
        assert_eq!(outline(&decisions).len(), expected);
        assert!(camera.state.open_events() <= OPEN_LABELS_MAX);
    }
    let many: Vec<_> = (0..OBJECTS_MAX + 50).map(|index| format!("other {index}")).collect();
    let labels: Vec<_> = many.iter().map(String::as_str).collect();
    camera.sees(600.0, &labels);
    assert_eq!(camera.state.open_events(), 1);
}

/// In which pictures events begin, at [`CLIP_FPS`], with motion detected and all settings as they are by default.
fn events_of(pictures: impl IntoIterator<Item = RgbImage>) -> Vec<u64> {
    let mut detector = MotionDetector::new(MotionConfig::default());
    let mut camera = Camera::default();
    let mut begins = Vec::new();
    for (number, picture) in (0u64..).zip(pictures) {
        let outcome = detector.look(&picture);
        let decisions = camera.frame(at(number as f64 / CLIP_FPS as f64), &outcome, None);
        if decisions.iter().any(|decision| matches!(decision, PolicyDecision::Begin(_))) {
            begins.push(number);
        }
    }
    begins
}

#[test]
fn the_synthetic_scene_makes_an_event_within_ten_seconds_and_one_for_each_walk() {
    let renderer = SceneRenderer::new(Scene::default());
    let begins = events_of((0..5 * 60).map(|number| renderer.render(number)));
    assert!(matches!(begins[..], [30..50, 230..250]), "{begins:?}");
}

#[test]
fn the_recorded_clip_makes_a_few_events() {
    let Some(frames) = clip() else { return };
    let begins = events_of(frames.iter().cloned());
    assert!((2..=8).contains(&begins.len()), "{begins:?}");
    assert_eq!(begins, events_of(frames), "the same in every run");
}

/// A frame of a random history: how far its time lies from the one before, which outcome it has, and labels with
/// their confidences.
type Step = (i64, u8, Vec<(u8, f64)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let jump = prop_oneof![
        20 => 0..3_000_000i64,
        3 => 0..100_000_000i64,
        2 => -5_000_000..0i64,
        1 => any::<i64>(),
    ];
    let objects = prop::collection::vec((0..6u8, -0.5..1.5f64), 0..4);
    prop::collection::vec((jump, 0..9u8, objects), 0..120)
}

fn outcome_of(kind: u8) -> MotionOutcome {
    match kind {
        0 => MotionOutcome::Learning { pictures_left: 1 },
        1 => MotionOutcome::LightChanged { changed_percent: 70.0 },
        2 => quiet(Quiet::BelowThreshold),
        3 => quiet(Quiet::Still),
        kind => motion(usize::from(kind) - 3),
    }
}

proptest! {
    #[test]
    fn every_event_ends_once_and_every_frame_is_counted_whatever_the_clock_does(
        steps in steps(), split_on_new_object: bool, start: i64,
    ) {
        let config = PolicyConfig {
            max_event: Duration::from_secs(20),
            deduplication_window: Duration::from_secs(5),
            split_on_new_object,
            track: ["a", "b", "c", "d"].map(String::from).to_vec(),
            ignore: vec!["e".into()],
            ..PolicyConfig::default()
        };
        let mut camera = Camera::new(config);
        let (mut decisions, mut time, mut still) = (Vec::new(), start, 0);
        for (jump, kind, objects) in &steps {
            time = time.saturating_add(*jump);
            let outcome = outcome_of(*kind);
            let objects: Vec<_> = objects
                .iter()
                .map(|(label, confidence)| object(&((b'a' + label) as char).to_string(), *confidence))
                .collect();
            let detected = (kind % 2 == 0).then_some(objects.as_slice());
            let now = Timestamp { utc_micros: time, offset_minutes: 0 };
            still += u64::from(*kind == 3);
            decisions.extend(camera.frame(now, &outcome, detected));
            prop_assert!(camera.state.open_events() <= OPEN_LABELS_MAX);
        }
        decisions.extend(camera.stop());
        let (mut open, mut begun, mut suppressed) = (Vec::new(), 0u64, 0u64);
        for decision in &decisions {
            match decision {
                PolicyDecision::Begin(begin) => {
                    begun += 1;
                    prop_assert_eq!(begin.key, EventKey(begun), "keys count up");
                    prop_assert!(!begin.objects.is_empty());
                    open.push(begin.key);
                }
                PolicyDecision::End(end) => {
                    let index = open.iter().position(|key| *key == end.key);
                    prop_assert!(index.is_some(), "{:?} is not open", end.key);
                    open.remove(index.unwrap());
                    prop_assert!(end.sightings >= 1);
                }
                PolicyDecision::Suppress(_) => suppressed += 1,
                PolicyDecision::Minute(_) => {}
            }
        }
        prop_assert_eq!(open, []);
        let frames = steps.len() as u64;
        prop_assert_eq!(begun + suppressed + still, frames, "each frame becomes one thing");
        let minutes = minutes(decisions);
        prop_assert_eq!(minutes.iter().map(|minute| minute.frames).sum::<u64>(), frames);
        let counted = minutes.iter().flat_map(|minute| &minute.suppressed);
        prop_assert_eq!(counted.map(|suppressed| suppressed.count).sum::<u64>(), suppressed);
    }

    #[test]
    fn without_splitting_no_label_begins_within_the_window_of_its_last_sighting(
        gaps in prop::collection::vec((0..12_000_000i64, 0..3u8), 1..150),
    ) {
        let (window, max_event) = (Duration::from_secs(5), Duration::from_secs(20));
        let mut camera = Camera::new(PolicyConfig {
            deduplication_window: window,
            max_event,
            split_on_new_object: false,
            track: Vec::new(),
            ..PolicyConfig::default()
        });
        let (mut time, mut seen, mut began) = (0, [None; 3], [0; 3]);
        for (gap, label) in gaps {
            time += gap;
            let name = ["a", "b", "c"][usize::from(label)];
            let now = Timestamp { utc_micros: time, offset_minutes: 0 };
            let decisions = camera.frame(now, &motion(1), Some(&[object(name, 0.9)]));
            let begins = decisions.iter().any(|decision| matches!(decision, PolicyDecision::Begin(_)));
            let last: &mut Option<i64> = &mut seen[usize::from(label)];
            let began = &mut began[usize::from(label)];
            let passed = last.is_none_or(|last| time - last >= window.as_micros() as i64);
            let too_long = time - *began >= max_event.as_micros() as i64;
            prop_assert_eq!(begins, passed || too_long);
            *last = Some(time);
            if begins {
                *began = time;
            }
        }
    }
}

#[test]
fn an_object_counts_from_the_very_confidence_that_is_configured() {
    let mut camera = Camera::default();
    let least = camera.config.min_object_confidence;
    for (confidence, expected) in [(least - 1e-6, "low_confidence"), (least, "begin 1 person")] {
        let objects = [object("person", confidence)];
        let decisions = camera.frame(at(1.0), &motion(1), Some(&objects));
        assert_eq!(outline(&decisions), [expected]);
    }
}

#[test]
fn what_was_away_for_more_than_a_moment_has_to_last_anew() {
    let min_duration = Duration::from_secs(2);
    let mut camera = Camera::new(PolicyConfig { min_duration, ..PolicyConfig::default() });
    for seconds in [0.0, 1.0, 2.5, 3.5] {
        assert_eq!(outline(&camera.moves(seconds)), ["too_short"], "at {seconds}");
    }
    assert_eq!(outline(&camera.moves(4.5)), ["begin 1 motion"]);
}
