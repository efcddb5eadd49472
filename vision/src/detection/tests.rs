//! Letterboxes and decoding, by numbers that are worked out by hand.

use image::{Rgb, RgbImage};
use lenslog_events::BoundingBox;
use proptest::prelude::*;

use super::*;

fn shape(layout: Layout, width: u32, height: u32, classes: usize) -> ModelShape {
    let anchors: u32 = [8, 16, 32].iter().map(|stride| (width / stride) * (height / stride)).sum();
    ModelShape { layout, width, height, anchors: anchors as usize, classes }
}

fn pixel(canvas: &[u8], width: u32, x: u32, y: u32) -> [u8; 3] {
    let at = ((y * width + x) * 3) as usize;
    [canvas[at], canvas[at + 1], canvas[at + 2]]
}

#[test]
fn a_wide_picture_lies_at_the_top_for_yolox_and_in_the_middle_for_yolov8() {
    let picture = RgbImage::from_pixel(640, 320, Rgb([10, 20, 30]));
    let grey = [PADDING_LEVEL; 3];
    let yolox = shape(Layout::Yolox, 416, 416, 1);
    let canvas = Letterbox::of((640, 320), &yolox).draw(&picture);
    let rows = [0, 207, 208, 415].map(|y| pixel(&canvas, 416, 200, y));
    assert_eq!(rows, [[10, 20, 30], [10, 20, 30], grey, grey]);

    let yolov8 = shape(Layout::Yolov8, 416, 416, 1);
    let canvas = Letterbox::of((640, 320), &yolov8).draw(&picture);
    let rows = [0, 103, 104, 311, 312, 415].map(|y| pixel(&canvas, 416, 0, y));
    assert_eq!(rows, [grey, grey, [10, 20, 30], [10, 20, 30], grey, grey]);
}

#[test]
fn a_tall_picture_leaves_the_sides_free() {
    let picture = RgbImage::from_pixel(100, 400, Rgb([200; 3]));
    let yolov8 = shape(Layout::Yolov8, 64, 64, 1);
    let canvas = Letterbox::of((100, 400), &yolov8).draw(&picture);
    let columns = [0, 23, 24, 39, 40, 63].map(|x| pixel(&canvas, 64, x, 32)[0]);
    assert_eq!(columns, [114, 114, 200, 200, 114, 114]);
}

#[test]
fn between_two_pixels_their_share_counts_and_a_smaller_picture_is_the_mean() {
    let yolox = shape(Layout::Yolox, 32, 32, 1);
    // 16 columns of black and white in turns, on 32: a quarter and three quarters of the way.
    let stripes = RgbImage::from_fn(16, 16, |x, _| Rgb([if x % 2 == 0 { 0 } else { 200 }; 3]));
    let canvas = Letterbox::of((16, 16), &yolox).draw(&stripes);
    let row: Vec<u8> = (0..5).map(|x| pixel(&canvas, 32, x, 10)[0]).collect();
    assert_eq!(row, [0, 50, 150, 150, 50]);
    // 320 columns of black and white in turns, on 32: each is the mean of ten.
    let stripes = RgbImage::from_fn(320, 320, |x, _| Rgb([if x % 2 == 0 { 0 } else { 200 }; 3]));
    let canvas = Letterbox::of((320, 320), &yolox).draw(&stripes);
    assert!(canvas.iter().all(|value| *value == 100));
}

#[test]
fn what_lies_on_the_canvas_is_found_again_in_the_picture() {
    for layout in Layout::ALL {
        let letterbox = Letterbox::of((1920, 1080), &shape(layout, 640, 640, 1));
        let top = if layout == Layout::Yolov8 { 140.0 } else { 0.0 };
        let candidate = Candidate {
            class: 0,
            confidence: 0.9,
            x: 100.0,
            y: top + 50.0,
            width: 20.0,
            height: 40.0,
        };
        let expected = BoundingBox { x: 300.0, y: 150.0, width: 60.0, height: 120.0 };
        assert_eq!(letterbox.in_picture(&candidate), Some(expected), "{layout}");
        // Cut at the edges of the picture; beside it there is nothing.
        let over = Candidate { x: -10.0, y: top - 10.0, ..candidate };
        let cut = BoundingBox { x: 0.0, y: 0.0, width: 30.0, height: 90.0 };
        assert_eq!(letterbox.in_picture(&over), Some(cut), "{layout}");
        assert_eq!(letterbox.in_picture(&Candidate { y: top + 361.0, ..candidate }), None);
    }
}

#[test]
fn yolox_numbers_are_relative_to_the_cells_of_three_grids() {
    let shape = shape(Layout::Yolox, 64, 32, 3);
    assert_eq!(shape.anchors, 8 * 4 + 4 * 2 + 2);
    let mut output = vec![0.0; shape.output_numbers()];
    let mut set = |anchor: usize, numbers: [f32; 8]| {
        output[anchor * 8..anchor * 8 + 8].copy_from_slice(&numbers);
    };
    // The cell in column 3 and row 2 of the finest grid; column 1, row 1 of the next; the second of the coarsest.
    set(2 * 8 + 3, [0.5, 0.25, 0.0, 2.0_f32.ln(), 0.9, 0.1, 0.8, 0.2]);
    set(32 + 4 + 1, [0.0, 0.0, 2.0_f32.ln(), 0.0, 1.0, 0.5, 0.2, 0.1]);
    set(32 + 8 + 1, [0.5, 0.5, -1.0, -1.0, 0.4, 0.9, 0.9, 0.1]);
    let found = decode(&shape, &output, 0.1);
    let check = |index: usize, class: usize, expected: [f64; 5]| {
        let Candidate { class: seen, confidence, x, y, width, height } = found[index];
        assert_eq!(seen, class);
        for (found, expected) in [confidence, x, y, width, height].into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{:?}", &found);
        }
    };
    assert_eq!(found.len(), 3);
    check(0, 1, [0.72, 28.0 - 4.0, 18.0 - 8.0, 8.0, 16.0]);
    check(1, 0, [0.5, 16.0 - 16.0, 16.0 - 8.0, 32.0, 16.0]);
    // Of equal scores the first.
    let side = 32.0 * (-1.0_f64).exp();
    check(2, 0, [0.36, 48.0 - side / 2.0, 16.0 - side / 2.0, side, side]);
    assert_eq!(decode(&shape, &output, 0.71).len(), 1);
}

#[test]
fn yolov8_numbers_are_pixels_and_stand_in_columns() {
    let shape = shape(Layout::Yolov8, 32, 32, 2);
    assert_eq!(shape.anchors, 16 + 4 + 1);
    let mut output = vec![0.0; shape.output_numbers()];
    let mut set = |anchor: usize, numbers: [f32; 6]| {
        for (row, number) in numbers.into_iter().enumerate() {
            output[row * 21 + anchor] = number;
        }
    };
    set(5, [16.0, 10.0, 8.0, 4.0, 0.2, 0.75]);
    set(20, [3.0, 4.0, 2.0, 2.0, 0.5, 0.25]);
    let candidate = |class, confidence, x, y, width, height| Candidate {
        class,
        confidence,
        x,
        y,
        width,
        height,
    };
    let expected = [candidate(1, 0.75, 12.0, 8.0, 8.0, 4.0), candidate(0, 0.5, 2.0, 3.0, 2.0, 2.0)];
    assert_eq!(decode(&shape, &output, 0.1), expected);
}

proptest! {
    #[test]
    fn any_numbers_are_decoded_to_sound_boxes_or_none(
        numbers in prop::collection::vec(prop_oneof![any::<f32>(), 0.0..1.0f32], 0..400),
        yolox: bool,
        (width, height) in (1u32..5000, 1u32..5000),
    ) {
        let layout = if yolox { Layout::Yolox } else { Layout::Yolov8 };
        let shape = shape(layout, 64, 32, 3);
        let letterbox = Letterbox::of((width, height), &shape);
        for candidate in keep_best(decode(&shape, &numbers, 0.1)) {
            prop_assert!(candidate.class < 3 && (0.1..=1.0).contains(&candidate.confidence));
            if let Some(bbox) = letterbox.in_picture(&candidate) {
                prop_assert!(bbox.x >= 0.0 && bbox.x + bbox.width <= f64::from(width) + 0.01);
                prop_assert!(bbox.y >= 0.0 && bbox.y + bbox.height <= f64::from(height) + 0.01);
                prop_assert!(bbox.width > 0.0 && bbox.height > 0.0);
            }
        }
    }

    #[test]
    fn pictures_of_any_size_fill_the_canvas(width in 0u32..400, height in 0u32..400, yolox: bool) {
        let layout = if yolox { Layout::Yolox } else { Layout::Yolov8 };
        let shape = shape(layout, 96, 64, 1);
        let picture = RgbImage::from_pixel(width, height, Rgb([255; 3]));
        let canvas = Letterbox::of((width, height), &shape).draw(&picture);
        prop_assert_eq!(canvas.len(), shape.picture_bytes());
        prop_assert!(canvas.iter().all(|value| *value == 255 || *value == PADDING_LEVEL));
    }
}
