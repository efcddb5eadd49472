//! Synthetic scenes, and how many events each of them is to make: everything between a picture and an event but the
//! detector, with all settings as they are by default.

use image::{Rgb, RgbImage};

use super::*;
use crate::geometry::Polygon;
use crate::motion::{
    MotionConfig, MotionDetector, Tamper, TamperChange, TamperConfig, TamperDetector,
};
use crate::scene::{LightStep, Scene, SceneRenderer, Walk};

/// Frames a second.
const FPS: u64 = 5;

/// What became of a scene.
#[derive(Debug, Default)]
struct Story {
    /// Numbers of the frames with which events begin.
    begins: Vec<u64>,
    ends: Vec<EventEnd>,
    /// Numbers of the frames with which the camera's sight is lost or found.
    tamper_detector: Vec<(u64, TamperChange)>,
    suppressed: std::collections::BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, Default)]
struct Settings {
    motion: MotionConfig,
    policy: PolicyConfig,
}

fn time_of(number: u64) -> Timestamp {
    Timestamp::default().plus_micros((number * 1_000_000 / FPS) as i64)
}

/// Plays `frames` frames of what `picture` draws.
fn play(settings: &Settings, frames: u64, picture: impl Fn(u64) -> RgbImage) -> Story {
    let mut motion = MotionDetector::new(settings.motion.clone());
    let (mut tamper_detector, tamper_config) = (TamperDetector::default(), TamperConfig::default());
    let mut state = PolicyState::new("camera_1");
    let mut story = Story::default();
    for number in 0..frames {
        let (picture, time) = (picture(number), time_of(number));
        let change = tamper_detector.look(&tamper_config, &picture, time);
        story.tamper_detector.extend(change.map(|change| (number, change)));
        if let Some(TamperChange::Began(_) | TamperChange::Ended(Tamper::Covered)) = change {
            motion.forget();
        }
        let outcome = if tamper_detector.is_doubtful() {
            MotionOutcome::Blind
        } else {
            motion.look(&picture)
        };
        let observation = Observation {
            time,
            size: picture.dimensions(),
            dropped_before: 0,
            motion: Some(&outcome),
            objects: None,
        };
        let decisions = decide(&mut state, &settings.policy, Input::Frame(observation));
        story.note(number, decisions);
    }
    story.note(frames, decide(&mut state, &settings.policy, Input::Stop));
    story
}

impl Story {
    fn note(&mut self, number: u64, decisions: Vec<PolicyDecision>) {
        for decision in decisions {
            match decision {
                PolicyDecision::Begin(_) => self.begins.push(number),
                PolicyDecision::End(end) => self.ends.push(end),
                PolicyDecision::Suppress(reason) => {
                    *self.suppressed.entry(reason.name()).or_default() += 1;
                }
                PolicyDecision::Minute(_) => {}
            }
        }
    }
}

fn still() -> Scene {
    Scene { size: (320, 240), walk: None, ..Scene::default() }
}

fn scene(scene: Scene) -> impl Fn(u64) -> RgbImage {
    let renderer = SceneRenderer::new(scene);
    move |number| renderer.render(number)
}

/// A scene with a box on it from some frame on, where `place` puts it.
fn with_box(place: impl Fn(u64) -> Option<(u32, u32)>) -> impl Fn(u64) -> RgbImage {
    let renderer = SceneRenderer::new(still());
    move |number| {
        let mut picture = renderer.render(number);
        if let Some((left, top)) = place(number) {
            paint(&mut picture, (left, top, 60, 40), [200, 190, 40]);
        }
        picture
    }
}

fn paint(picture: &mut RgbImage, (left, top, width, height): (u32, u32, u32, u32), color: [u8; 3]) {
    for y in top..(top + height).min(picture.height()) {
        for x in left..(left + width).min(picture.width()) {
            picture.put_pixel(x, y, Rgb(color));
        }
    }
}

/// Plays a scene and compares how many events it makes.
#[track_caller]
fn expect(
    settings: &Settings,
    frames: u64,
    events: usize,
    picture: impl Fn(u64) -> RgbImage,
) -> Story {
    let story = play(settings, frames, picture);
    assert_eq!(story.begins.len(), events, "{story:?}");
    assert_eq!(story.ends.len(), events, "every event ends: {story:?}");
    story
}

#[test]
fn somebody_who_walks_for_ten_seconds_is_one_event_and_its_end() {
    let walk = Walk { first_frame: 30, every_frames: 10_000, crossing_frames: 50, pause_frames: 0 };
    let walking = Scene { walk: Some(walk), ..still() };
    let story = expect(&Settings::default(), 400, 1, scene(walking));
    let EventEnd { last_seen, sightings, .. } = story.ends[0];
    assert!((30..36).contains(&story.begins[0]), "{story:?}");
    let last_seen = last_seen.utc_micros as f64 / 1e6;
    assert!((14.0..16.2).contains(&last_seen), "gone after 16 s: {last_seen}");
    assert!((40..=50).contains(&sightings), "{story:?}");
}

#[test]
fn a_lamp_that_is_switched_on_is_no_event() {
    let light = Some(LightStep { frame: 60, gain: 1.4, offset_levels: 10.0 });
    let story = expect(&Settings::default(), 300, 0, scene(Scene { light, ..still() }));
    assert_eq!(story.suppressed["light_change"], 2);
}

#[test]
fn a_camera_that_switches_to_its_night_filter_and_back_is_no_event() {
    let renderer = SceneRenderer::new(still());
    let night = |number| {
        let mut picture = renderer.render(number);
        if (100..300).contains(&number) {
            // Infrared light: grass is bright, a wall is not, nothing has a colour.
            picture.pixels_mut().for_each(|pixel| {
                let [red, green, _] = pixel.0.map(u16::from);
                *pixel = Rgb([((green * 3 + 255 - red) / 4) as u8; 3]);
            });
        }
        picture
    };
    let story = expect(&Settings::default(), 500, 0, night);
    assert_eq!(story.tamper_detector, []);
}

#[test]
fn noise_is_no_event() {
    expect(&Settings::default(), 300, 0, scene(Scene { noise_levels: 12, ..still() }));
}

#[test]
fn slow_drift_of_light_is_no_event() {
    expect(&Settings::default(), 600, 0, scene(Scene { drift_levels: 0.3, ..still() }));
}

#[test]
fn a_swaying_tree_is_no_event_when_it_sways_from_the_start_or_is_masked() {
    let swaying = || scene(Scene { sway_pixels: 6, ..still() });
    expect(&Settings::default(), 500, 0, swaying());
    // From some moment on: a mask keeps it out.
    let calm = SceneRenderer::new(still());
    let wind = SceneRenderer::new(Scene { sway_pixels: 12, ..still() });
    let gust = |number| if number < 60 { calm.render(number) } else { wind.render(number) };
    let corners = vec![(0.7, 0.0), (1.0, 0.0), (1.0, 0.5), (0.7, 0.5)];
    let mut settings = Settings::default();
    settings.motion.masks = vec![Polygon::new(corners).unwrap()];
    settings.motion.threshold_percent = 1.0;
    let story = expect(&settings, 300, 0, gust);
    assert!(story.suppressed["masked"] > 0, "{story:?}");
}

#[test]
fn rain_is_too_small_to_be_an_event() {
    let renderer = SceneRenderer::new(still());
    let rain = |number: u64| {
        let mut picture = renderer.render(number);
        if number >= 40 {
            // Drops here and there, elsewhere in each frame: more than the threshold all together.
            for drop in 0..160u64 {
                let place = (number * 7919 + drop * 104_729) % 76_800;
                let (x, y) = ((place % 320) as u32, (place / 320) as u32);
                paint(&mut picture, (x, y, 3, 9), [235, 235, 240]);
            }
        }
        picture
    };
    let story = expect(&Settings::default(), 200, 0, rain);
    assert!(story.suppressed.get("too_small").is_some_and(|count| *count > 20), "{story:?}");
    let mut settings = Settings::default();
    settings.motion.min_area_percent = 0.0;
    assert!(!play(&settings, 200, rain).begins.is_empty(), "the limit keeps it out");
}

#[test]
fn headlights_that_sweep_by_are_too_short_to_be_an_event() {
    let renderer = SceneRenderer::new(still());
    let sweep = |number: u64| {
        let mut picture = renderer.render(number);
        if let Some(step @ 0..4) = number.checked_sub(60) {
            paint(&mut picture, (step as u32 * 80, 60, 80, 100), [250, 250, 235]);
        }
        picture
    };
    let mut settings = Settings::default();
    settings.policy.min_duration = Duration::from_secs(1);
    let story = expect(&settings, 300, 0, sweep);
    assert!(story.suppressed["too_short"] >= 3, "{story:?}");
    expect(&Settings::default(), 300, 1, sweep);
}

#[test]
fn what_lasts_begins_its_event_when_it_has_lasted() {
    let mut settings = Settings::default();
    settings.policy.min_duration = Duration::from_secs(1);
    let story = expect(&settings, 200, 1, scene(Scene { walk: Some(Walk::default()), ..still() }));
    let early =
        play(&Settings::default(), 200, scene(Scene { walk: Some(Walk::default()), ..still() }));
    assert_eq!(story.begins[0], early.begins[0] + FPS);
}

#[test]
fn a_box_that_drives_in_and_stays_is_one_event_until_it_belongs_to_the_place() {
    let drives_in = |number: u64| {
        let since = u32::try_from(number.checked_sub(40)?).ok()?;
        Some(((since * 8).min(160), 120))
    };
    let story = expect(&Settings::default(), 1_200, 1, with_box(drives_in));
    let last_seen = story.ends[0].last_seen.utc_micros / 1_000_000;
    assert!((30..50).contains(&last_seen), "30 s after it stopped: {story:?}");
    // And driving away it is another one.
    let drives_away = |number: u64| match number {
        0..40 => None,
        40..900 => drives_in(number),
        _ => {
            Some((160 + u32::try_from(number - 900).ok()? * 8, 120)).filter(|(left, _)| *left < 320)
        }
    };
    expect(&Settings::default(), 1_200, 2, with_box(drives_away));
}

#[test]
fn a_frozen_picture_is_a_blind_camera_and_no_event() {
    let renderer = SceneRenderer::new(still());
    let frozen =
        |number: u64| renderer.render(if (50..2_000).contains(&number) { 50 } else { number });
    let story = expect(&Settings::default(), 2_010, 0, frozen);
    let expected = [
        (50 + 300 * FPS, TamperChange::Began(Tamper::Frozen)),
        (2_000, TamperChange::Ended(Tamper::Frozen)),
    ];
    assert_eq!(story.tamper_detector, expected);
}

#[test]
fn a_covered_lens_is_a_blind_camera_and_no_event() {
    for (level, tamper) in [(3, Tamper::Black), (90, Tamper::Covered)] {
        let renderer = SceneRenderer::new(still());
        let noise = SceneRenderer::new(Scene { noise_levels: 3, ..still() });
        let covered = |number: u64| match number {
            60..160 => {
                // What a sensor sees through a cloth: hardly anything, and its own noise.
                let mut picture = noise.render(number);
                picture.iter_mut().for_each(|value| *value = level + *value % 4);
                picture
            }
            _ => renderer.render(number),
        };
        let story = expect(&Settings::default(), 260, 0, covered);
        let expected =
            [(60 + 10 * FPS, TamperChange::Began(tamper)), (160, TamperChange::Ended(tamper))];
        assert_eq!(story.tamper_detector, expected);
    }
}

#[test]
fn a_camera_that_sees_is_never_held_to_be_blind() {
    let light = LightStep { frame: 0, gain: 0.15, offset_levels: 0.0 };
    for seen in [still(), Scene { light: Some(light), ..still() }] {
        let (mut tamper_detector, renderer) = (TamperDetector::default(), SceneRenderer::new(seen));
        // A picture a second.
        for number in 0..400 {
            let (picture, time) = (renderer.render(number), time_of(number * FPS));
            assert_eq!(tamper_detector.look(&TamperConfig::default(), &picture, time), None);
        }
    }
}
