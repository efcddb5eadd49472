//! Asks a camera what it offers.

use std::io;

use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::{Device, FourCC, Fraction};

use super::super::size::PictureSize;
use super::V4l2Options;
use super::mode::{Offer, nearest_step};
use super::pixels::Pixels;

/// Layouts and sizes of one camera that are looked at.
const OFFERS_MAX: usize = 512;

/// Everything a camera offers that can be read, sizes that come in steps at the one nearest to what is wanted.
pub(super) fn of(device: &Device, options: &V4l2Options) -> io::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    for format in Capture::enum_formats(device)? {
        let Some(pixels) = Pixels::of(format.fourcc.repr) else { continue };
        for size in sizes(device, format.fourcc, options.size)? {
            let rates = rates(device, format.fourcc, size, options.fps.fps());
            offers.push(Offer { pixels, code: format.fourcc.repr, size, rates });
            if offers.len() == OFFERS_MAX {
                return Ok(offers);
            }
        }
    }
    Ok(offers)
}

/// What a camera offers, for a message where none of it can be read.
pub(super) fn describe(device: &Device) -> String {
    let formats = Capture::enum_formats(device).unwrap_or_default();
    let codes: Vec<String> = formats.iter().map(|format| format.fourcc.to_string()).collect();
    format!("it offers {}; expected YUYV, UYVY, NV12, GREY or MJPG", codes.join(", "))
}

fn sizes(device: &Device, code: FourCC, wanted: PictureSize) -> io::Result<Vec<PictureSize>> {
    let Ok(listed) = Capture::enum_framesizes(device, code) else {
        // An old driver lists no sizes and takes the nearest to what it is asked for.
        let format = Capture::format(device)?;
        return Ok(vec![PictureSize { width: format.width, height: format.height }]);
    };
    let size = |size| match size {
        FrameSizeEnum::Discrete(size) => PictureSize { width: size.width, height: size.height },
        FrameSizeEnum::Stepwise(steps) => PictureSize {
            width: nearest_step(wanted.width, steps.min_width, steps.max_width, steps.step_width),
            height: nearest_step(
                wanted.height,
                steps.min_height,
                steps.max_height,
                steps.step_height,
            ),
        },
    };
    Ok(listed.into_iter().map(|listed| size(listed.size)).collect())
}

/// Rates at a size; none where the driver does not say.
fn rates(device: &Device, code: FourCC, size: PictureSize, fps: f64) -> Vec<f64> {
    let intervals = Capture::enum_frameintervals(device, code, size.width, size.height);
    let mut rates = Vec::new();
    for listed in intervals.unwrap_or_default() {
        match listed.interval {
            FrameIntervalEnum::Discrete(interval) => rates.extend(per_second(interval)),
            FrameIntervalEnum::Stepwise(steps) => {
                // The longest interval is the lowest rate.
                if let (Some(low), Some(high)) = (per_second(steps.max), per_second(steps.min)) {
                    rates.push(fps.clamp(low.min(high), high.max(low)));
                }
            }
        }
    }
    rates
}

fn per_second(interval: Fraction) -> Option<f64> {
    let rate = f64::from(interval.denominator) / f64::from(interval.numerator);
    (rate.is_finite() && rate > 0.0).then_some(rate)
}
