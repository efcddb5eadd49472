//! What motion detection says about whole scenes.

use image::{Rgb, RgbImage};
use lenslog_events::BoundingBox;

use super::*;
use crate::scene::{LightStep, Scene, SceneRenderer, Walk};
use crate::testing::clip;

/// A small scene in which no one walks.
fn empty() -> Scene {
    Scene { size: (320, 240), walk: None, ..Scene::default() }
}

fn walked() -> Scene {
    Scene { walk: Some(Walk::default()), ..empty() }
}

/// Everything the detector says about the first `count` frames of a scene.
fn watch(config: MotionConfig, scene: Scene, count: u64) -> Vec<MotionOutcome> {
    let mut detector = MotionDetector::new(config);
    let renderer = SceneRenderer::new(scene);
    (0..count).map(|number| detector.look(&renderer.render(number))).collect()
}

fn motions(outcomes: &[MotionOutcome]) -> Vec<(usize, &Motion)> {
    let numbered = outcomes.iter().enumerate();
    numbered
        .filter_map(|(number, outcome)| match outcome {
            MotionOutcome::Motion(motion) => Some((number, motion)),
            _ => None,
        })
        .collect()
}

/// The numbers of the frames with such an outcome.
fn numbers(outcomes: &[MotionOutcome], is: impl Fn(&MotionOutcome) -> bool) -> Vec<usize> {
    (0..outcomes.len()).filter(|number| is(&outcomes[*number])).collect()
}

fn is_light(outcome: &MotionOutcome) -> bool {
    matches!(outcome, MotionOutcome::LightChanged { .. })
}

fn quiet_for(reason: Quiet) -> impl Fn(&MotionOutcome) -> bool {
    move |outcome| matches!(outcome, MotionOutcome::Quiet { reason: found, .. } if *found == reason)
}

/// A detector that has learned the empty scene, and that scene's picture.
fn learned(config: MotionConfig) -> (MotionDetector, RgbImage) {
    let picture = SceneRenderer::new(Scene { noise_levels: 0, ..empty() }).render(0);
    let learning_frames = config.learning_frames;
    let mut detector = MotionDetector::new(config);
    for _ in 0..learning_frames {
        assert!(matches!(detector.look(&picture), MotionOutcome::Learning { .. }));
    }
    (detector, picture)
}

/// `picture` with a bright block on it.
fn with_block(picture: &RgbImage, (left, top, width, height): (u32, u32, u32, u32)) -> RgbImage {
    let mut picture = picture.clone();
    for y in top..top + height {
        for x in left..left + width {
            picture.put_pixel(x, y, Rgb([255; 3]));
        }
    }
    picture
}

fn polygon(left: f64, top: f64, right: f64, bottom: f64) -> Polygon {
    Polygon::new(vec![(left, top), (right, top), (right, bottom), (left, bottom)]).unwrap()
}

#[test]
fn somebody_who_walks_by_is_seen_where_they_are() {
    let outcomes = watch(MotionConfig::default(), walked(), 100);
    assert_eq!(
        numbers(&outcomes, |o| matches!(o, MotionOutcome::Learning { .. })),
        (0..25).collect::<Vec<_>>()
    );
    let motions = motions(&outcomes);
    let frames: Vec<_> = motions.iter().map(|(number, _)| *number).collect();
    assert!(
        frames.len() >= 34 && frames.iter().all(|number| (30..70).contains(number)),
        "{frames:?}"
    );
    for (number, motion) in motions {
        assert!(motion.confidence >= 0.5 && motion.confidence <= 1.0);
        assert_eq!(motion.regions.len(), 1, "frame {number}: {:?}", motion.regions);
        assert_eq!(motion.regions[0], motion.area);
        let stride = Walk::default().at(number as u64).unwrap();
        let middle = motion.area.x + motion.area.width / 2.0;
        let expected = stride.progress * 362.0 - 21.0;
        assert!((middle - expected).abs() < 22.0, "frame {number}: {middle}, not {expected}");
        assert!(motion.moving.overlaps(&motion.area));
    }
}

#[test]
fn a_noisy_sensor_makes_no_motion_and_hides_none() {
    let outcomes = watch(MotionConfig::default(), Scene { noise_levels: 12, ..walked() }, 200);
    let frames: Vec<_> = motions(&outcomes).iter().map(|(number, _)| *number).collect();
    assert!(
        frames.len() >= 30 && frames.iter().all(|number| (30..70).contains(number)),
        "{frames:?}"
    );
}

#[test]
fn a_sudden_change_of_light_is_no_motion_and_blinds_for_two_pictures_only() {
    for (gain, offset_levels) in [(1.5, 0.0), (0.5, 0.0), (1.0, 40.0), (1.0, -40.0), (0.7, 60.0)] {
        let light = Some(LightStep { frame: 40, gain, offset_levels });
        let outcomes = watch(MotionConfig::default(), Scene { light, ..empty() }, 80);
        assert_eq!(numbers(&outcomes, is_light), [40, 41], "gain {gain}, offset {offset_levels}");
        assert_eq!(motions(&outcomes), [], "gain {gain}, offset {offset_levels}");

        let outcomes = watch(MotionConfig::default(), Scene { light, ..walked() }, 80);
        let frames: Vec<_> = motions(&outcomes).iter().map(|(number, _)| *number).collect();
        assert!(frames.iter().all(|number| (30..=70).contains(number)), "{gain}: {frames:?}");
        let after = frames.iter().filter(|number| **number > 40).count();
        assert!(after >= 20, "who walks on after the change is still seen: {gain}: {frames:?}");
    }
}

#[test]
fn lights_out_is_learned_as_a_new_scene() {
    let (mut detector, picture) = learned(MotionConfig::default());
    let night = RgbImage::from_pixel(picture.width(), picture.height(), Rgb([4, 4, 4]));
    assert!(is_light(&detector.look(&night)));
    assert!(is_light(&detector.look(&night)));
    for _ in 0..25 {
        assert!(matches!(detector.look(&night), MotionOutcome::Learning { .. }));
    }
    assert!(quiet_for(Quiet::Still)(&detector.look(&night)));
    let MotionOutcome::Motion(_) = detector.look(&with_block(&night, (50, 50, 60, 100))) else {
        panic!("something moves in the dark");
    };
}

/// `picture` with all its levels changed.
fn in_light(picture: &RgbImage, gain: f64) -> RgbImage {
    let mut picture = picture.clone();
    picture.iter_mut().for_each(|level| *level = (f64::from(*level) * gain) as u8);
    picture
}

#[track_caller]
fn learns_anew_when_it_lasts(detector: &mut MotionDetector, other: &RgbImage) {
    assert!(is_light(&detector.look(other)));
    assert!(is_light(&detector.look(other)));
    assert_eq!(detector.look(other), MotionOutcome::Learning { pictures_left: 24 });
}

#[test]
fn another_scene_is_learned_when_it_is_there_in_two_pictures() {
    let (mut detector, picture) = learned(MotionConfig::default());
    let other = RgbImage::from_pixel(picture.width(), picture.height(), Rgb([250, 20, 20]));
    learns_anew_when_it_lasts(&mut detector, &other);
}

#[test]
fn an_object_that_comes_with_another_light_is_motion() {
    let (mut detector, picture) = learned(MotionConfig::default());
    let other = with_block(&in_light(&picture, 0.6), (200, 40, 60, 90));
    for _ in 0..20 {
        let MotionOutcome::Motion(motion) = detector.look(&other) else {
            panic!("a block stands there")
        };
        let BoundingBox { x, y, width, height } = motion.area;
        assert!(x >= 194.0 && y >= 34.0 && width <= 72.0 && height <= 102.0, "{:?}", motion.area);
    }
}

#[test]
fn light_that_wanders_without_end_is_no_motion_and_hides_none() {
    let (mut detector, picture) = learned(MotionConfig::default());
    let dark = in_light(&picture, 0.75);
    // A quarter of the picture after the other lies in the shade.
    let wandering = |number: u32| {
        let shade = number % 4 * 80..number % 4 * 80 + 80;
        RgbImage::from_fn(320, 240, |x, y| {
            *if shade.contains(&x) { dark.get_pixel(x, y) } else { picture.get_pixel(x, y) }
        })
    };
    for number in 0..40 {
        let outcome = detector.look(&wandering(number));
        assert!(is_light(&outcome), "{number}: {outcome:?}");
    }
    let visited = with_block(&wandering(40), (100, 60, 50, 90));
    assert!(matches!(detector.look(&visited), MotionOutcome::Motion(_)));
}

#[test]
fn a_single_picture_in_another_light_changes_nothing() {
    let flash = LightStep { frame: 0, gain: 1.6, offset_levels: 10.0 };
    let flash = SceneRenderer::new(Scene { light: Some(flash), ..walked() });
    let renderer = SceneRenderer::new(walked());
    let mut detector = MotionDetector::new(MotionConfig::default());
    let flashes = [40, 90];
    let mut look = |number| {
        let scene = if flashes.contains(&number) { &flash } else { &renderer };
        detector.look(&scene.render(number))
    };
    let outcomes: Vec<_> = (0..120).map(&mut look).collect();
    assert_eq!(numbers(&outcomes, is_light), flashes.map(|number| number as usize));
    let seen: Vec<_> = motions(&outcomes).iter().map(|(number, _)| *number).collect();
    assert!(seen.len() >= 34 && seen.iter().all(|number| (30..70).contains(number)), "{seen:?}");
    for black in [true, false] {
        let (mut detector, picture) = learned(MotionConfig::default());
        let level = if black { 0 } else { 255 };
        let other = RgbImage::from_pixel(picture.width(), picture.height(), Rgb([level; 3]));
        assert!(is_light(&detector.look(&other)));
        assert!(quiet_for(Quiet::Still)(&detector.look(&picture)));
    }
}

#[test]
fn a_large_object_is_no_change_of_light() {
    let (mut detector, picture) = learned(MotionConfig::default());
    let MotionOutcome::Motion(motion) = detector.look(&with_block(&picture, (0, 40, 240, 200)))
    else {
        panic!("something large moves");
    };
    assert!(motion.changed_percent > 50.0 && motion.confidence == 1.0);
}

#[test]
fn slow_drift_of_light_is_followed() {
    let scene = Scene { drift_levels: 0.3, ..empty() };
    let outcomes = watch(MotionConfig::default(), scene, 600);
    assert_eq!(numbers(&outcomes[25..], |outcome| !quiet_for(Quiet::Still)(outcome)), [0usize; 0]);
}

#[test]
fn leaves_that_sway_from_some_moment_on_are_forgotten_and_people_are_not() {
    let still = SceneRenderer::new(walked());
    let windy = SceneRenderer::new(Scene { sway_pixels: 12, ..walked() });
    let mut detector =
        MotionDetector::new(MotionConfig { threshold_percent: 1.0, ..MotionConfig::default() });
    let look = |number| match number {
        0..100 => still.render(number),
        _ => windy.render(number),
    };
    let outcomes: Vec<_> = (0..650).map(|number| detector.look(&look(number))).collect();
    let motions = motions(&outcomes);
    let seen = |from, to| motions.iter().filter(|(number, _)| (from..to).contains(number)).count();
    assert!(seen(100, 130) > 10, "the wind begins");
    assert_eq!(seen(330, 430), 0, "it is known");
    assert!(seen(430, 470) >= 34, "a person walks by in the wind");
    assert_eq!(seen(472, 630), 0);
}

#[test]
fn a_parked_thing_is_seen_for_a_while_and_then_belongs_to_the_place() {
    let (mut detector, picture) = learned(MotionConfig::default());
    let parked = with_block(&picture, (100, 80, 60, 60));
    let outcomes: Vec<_> = (0..200).map(|_| detector.look(&parked)).collect();
    let last = motions(&outcomes).last().map(|(number, _)| *number);
    assert_eq!(last, Some(149), "absorb_frames");
    assert!(matches!(detector.look(&picture), MotionOutcome::Motion(_)), "it drives away");
}

#[test]
fn what_is_masked_does_not_count() {
    let masks = vec![polygon(0.0, 0.0, 0.5, 1.0)];
    let (mut detector, picture) = learned(MotionConfig { masks, ..MotionConfig::default() });
    let left = with_block(&picture, (20, 80, 80, 80));
    assert!(quiet_for(Quiet::Masked)(&detector.look(&left)));
    let MotionOutcome::Motion(motion) = detector.look(&with_block(&left, (200, 80, 40, 80))) else {
        panic!("something moves on the right");
    };
    assert_eq!(motion.area.x, 200.0);
    let unmasked = 320.0 * 240.0 / 2.0;
    assert!((motion.changed_percent - 100.0 * 3200.0 / unmasked).abs() < 0.2);
    let left = BoundingBoxAt(20.0, 80.0).of(80.0);
    assert!(!motion.moving.overlaps(&left), "masked pixels do not move");
}

#[test]
fn a_picture_that_is_masked_whole_is_quiet() {
    let masks = vec![polygon(0.0, 0.0, 1.0, 1.0)];
    let (mut detector, picture) = learned(MotionConfig { masks, ..MotionConfig::default() });
    let outcome = detector.look(&with_block(&picture, (20, 80, 80, 80)));
    assert_eq!(outcome, MotionOutcome::Quiet { changed_percent: 0.0, reason: Quiet::Masked });
}

#[test]
fn with_zones_only_what_touches_one_counts() {
    let zones = vec![polygon(0.0, 0.5, 1.0, 1.0)];
    let (mut detector, picture) = learned(MotionConfig { zones, ..MotionConfig::default() });
    let above = with_block(&picture, (20, 20, 80, 40));
    let outcome = detector.look(&above);
    assert_eq!(outcome, MotionOutcome::Quiet { changed_percent: 0.0, reason: Quiet::OutsideZones });
    let MotionOutcome::Motion(motion) = detector.look(&with_block(&above, (200, 90, 40, 80)))
    else {
        panic!("something reaches into the zone");
    };
    assert_eq!(
        (motion.area.y, motion.area.height),
        (90.0, 80.0),
        "all of it counts, and nothing else"
    );
}

#[test]
fn a_small_change_is_below_the_threshold_and_a_speck_is_nothing() {
    let (mut detector, picture) = learned(MotionConfig::default());
    let small = detector.look(&with_block(&picture, (100, 100, 20, 20)));
    assert!(quiet_for(Quiet::BelowThreshold)(&small), "{small:?}");
    assert!(quiet_for(Quiet::Still)(&detector.look(&with_block(&picture, (100, 100, 2, 2)))));
}

#[test]
fn near_regions_are_one_and_far_ones_are_not() {
    let (mut detector, picture) = learned(MotionConfig::default());
    let near = with_block(&with_block(&picture, (100, 80, 30, 40)), (100, 124, 30, 30));
    let both = with_block(&near, (250, 80, 30, 60));
    let MotionOutcome::Motion(motion) = detector.look(&both) else { panic!("two things move") };
    assert_eq!(
        motion.regions,
        [
            BoundingBoxAt(100.0, 80.0).sized(30.0, 74.0),
            BoundingBoxAt(250.0, 80.0).sized(30.0, 60.0)
        ]
    );
    assert_eq!(motion.area, BoundingBoxAt(100.0, 80.0).sized(180.0, 74.0));
}

#[test]
fn many_regions_are_cut_to_the_largest() {
    let any_size = MotionConfig { min_area_percent: 0.0, ..MotionConfig::default() };
    let (mut detector, mut picture) = learned(any_size);
    for index in 0..48 {
        let size = 6 + index / 8;
        picture = with_block(&picture, (index % 8 * 40, index / 8 * 40, size, size));
    }
    let MotionOutcome::Motion(motion) = detector.look(&picture) else { panic!("many things move") };
    assert_eq!(motion.regions.len(), REGIONS_MAX);
    assert!(motion.regions.iter().all(|region| region.width >= 10.0), "{:?}", motion.regions);
    assert_eq!(motion.area.y, 0.0, "the area counts them all");
}

#[test]
fn a_picture_of_another_size_makes_it_learn_anew() {
    let (mut detector, _) = learned(MotionConfig::default());
    let other = RgbImage::new(200, 100);
    assert_eq!(detector.look(&other), MotionOutcome::Learning { pictures_left: 24 });
}

#[test]
fn pictures_and_settings_of_any_size_are_survived() {
    for (width, height) in [(0, 0), (0, 5), (5, 0), (1, 1), (1, 500), (500, 1), (321, 7), (2, 2)] {
        for (learning_frames, absorb_frames) in [(0, 0), (3, u32::MAX)] {
            let config = MotionConfig {
                threshold_percent: f64::NAN,
                learning_frames,
                absorb_frames,
                ..MotionConfig::default()
            };
            let mut detector = MotionDetector::new(config);
            for level in [0, 255, 0, 255, 80, 0, 255] {
                detector.look(&RgbImage::from_pixel(width, height, Rgb([level; 3])));
            }
        }
    }
}

#[test]
fn people_walk_through_most_of_the_recorded_clip() {
    let Some(frames) = clip() else { return };
    let mut detector = MotionDetector::new(MotionConfig::default());
    let outcomes: Vec<_> = frames.iter().map(|picture| detector.look(picture)).collect();
    assert_eq!(numbers(&outcomes, is_light), [0usize; 0]);
    let motions = motions(&outcomes);
    assert!((120..=175).contains(&motions.len()), "{} of 200", motions.len());
    // Where motion begins, as before changes of light were explained: later would lose the beginning of a recording.
    let numbers: Vec<_> = motions.iter().map(|(number, _)| *number).collect();
    let is_onset = |number: &usize| *number == 0 || !numbers.contains(&(number - 1));
    let onsets: Vec<_> = numbers.iter().copied().filter(is_onset).collect();
    assert_eq!(onsets, [25, 42, 58, 66, 107]);
    // Frame 100, by eye: people at these places, and no one on the lawn in front.
    let at = |x, y| BoundingBoxAt(x, y).of(8.0);
    let (_, motion) = motions.iter().find(|(number, _)| *number == 100).unwrap();
    for (x, y) in [(625.0, 315.0), (712.0, 300.0), (495.0, 180.0), (235.0, 225.0), (100.0, 185.0)] {
        assert!(motion.moving.overlaps(&at(x, y)), "a person is at {x}, {y}");
    }
    assert!(!motion.moving.overlaps(&BoundingBoxAt(0.0, 400.0).sized(420.0, 170.0)));
}

/// Where a box begins.
struct BoundingBoxAt(f64, f64);

impl BoundingBoxAt {
    fn sized(self, width: f64, height: f64) -> lenslog_events::BoundingBox {
        lenslog_events::BoundingBox { x: self.0, y: self.1, width, height }
    }

    fn of(self, side: f64) -> lenslog_events::BoundingBox {
        self.sized(side, side)
    }
}
