//! [`Pixels`], the layouts of pictures that are read from cameras, and how the raw ones become RGB. Pure.

use image::RgbImage;

use super::super::problem::PictureFault;

/// How a camera lays out its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pixels {
    /// Two pixels in four bytes, colour shared: Y U Y V.
    Yuyv,
    /// The same in another order: U Y V Y.
    Uyvy,
    /// A plane of brightness, then one of colour at half the size.
    Nv12,
    /// Brightness alone.
    Grey,
    /// A JPEG picture each.
    Jpeg,
}

impl Pixels {
    /// The layout of a four-character code; `None` where it is not read.
    pub(super) fn of(code: [u8; 4]) -> Option<Self> {
        match &code {
            b"YUYV" => Some(Self::Yuyv),
            b"UYVY" => Some(Self::Uyvy),
            b"NV12" => Some(Self::Nv12),
            b"GREY" => Some(Self::Grey),
            b"MJPG" | b"JPEG" => Some(Self::Jpeg),
            _ => None,
        }
    }

    /// Rank where a camera offers several at the same size and rate: raw colour costs the least to read, JPEG has
    /// to be decoded, grey has no colour.
    pub(super) const fn rank(self) -> u8 {
        match self {
            Self::Yuyv => 0,
            Self::Uyvy => 1,
            Self::Nv12 => 2,
            Self::Jpeg => 3,
            Self::Grey => 4,
        }
    }

    /// Fewest bytes of a row.
    const fn row_bytes(self, width: usize) -> usize {
        match self {
            Self::Yuyv | Self::Uyvy => width.div_ceil(2) * 4,
            Self::Nv12 => width.div_ceil(2) * 2,
            Self::Grey | Self::Jpeg => width,
        }
    }

    /// A raw picture in RGB. `stride` is the distance from row to row in bytes, 0 where the camera does not say.
    ///
    /// # Errors
    ///
    /// [`PictureFault::Truncated`] where there are fewer bytes than pixels, [`PictureFault::TooManyPixels`].
    pub(super) fn to_rgb(
        self,
        bytes: &[u8],
        (width, height): (u32, u32),
        stride: u32,
    ) -> Result<RgbImage, PictureFault> {
        if u64::from(width) * u64::from(height) > super::super::PICTURE_PIXELS_MAX {
            let pixels_max = super::super::PICTURE_PIXELS_MAX;
            return Err(PictureFault::TooManyPixels { width, height, pixels_max });
        }
        let (columns, rows) = (width as usize, height as usize);
        let stride = (stride as usize).max(self.row_bytes(columns));
        let planes = match self {
            Self::Nv12 => stride * (rows + rows.div_ceil(2)),
            _ => stride * rows,
        };
        // The last row may lack its padding.
        if bytes.len() < planes.saturating_sub(stride - self.row_bytes(columns)) {
            return Err(PictureFault::Truncated { bytes: bytes.len() as u64 });
        }
        let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
        let mut rgb = Vec::with_capacity(columns * rows * 3);
        for row in 0..rows {
            let start = row * stride;
            for column in 0..columns {
                let pair = start + column / 2 * 4;
                let pixel = match self {
                    Self::Yuyv => yuv(at(pair + column % 2 * 2), at(pair + 1), at(pair + 3)),
                    Self::Uyvy => yuv(at(pair + column % 2 * 2 + 1), at(pair), at(pair + 2)),
                    Self::Nv12 => {
                        let colour = stride * rows + row / 2 * stride + column / 2 * 2;
                        yuv(at(start + column), at(colour), at(colour + 1))
                    }
                    Self::Grey | Self::Jpeg => [at(start + column); 3],
                };
                rgb.extend_from_slice(&pixel);
            }
        }
        RgbImage::from_raw(width, height, rgb)
            .ok_or(PictureFault::Truncated { bytes: bytes.len() as u64 })
    }
}

/// ITU-R BT.601 with limited range, which is what cameras send unless they say otherwise.
fn yuv(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (i32::from(y) - 16, i32::from(u) - 128, i32::from(v) - 128);
    // In 1/256: 255/219, and the weights of the standard times 255/224.
    let y = 298 * y + 128;
    let channel = |value: i32| (value >> 8).clamp(0, 255) as u8;
    [channel(y + 409 * v), channel(y - 100 * u - 208 * v), channel(y + 516 * u)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Colours of the standard's test bars: Y U V, R G B.
    const BARS: [([u8; 3], [u8; 3]); 5] = [
        ([235, 128, 128], [255, 255, 255]),
        ([16, 128, 128], [0, 0, 0]),
        ([81, 90, 240], [255, 0, 0]),
        ([145, 54, 34], [0, 255, 0]),
        ([41, 240, 110], [0, 0, 255]),
    ];

    fn near(found: [u8; 3], expected: [u8; 3]) -> bool {
        found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 2)
    }

    #[test]
    fn the_standards_colours_come_out_of_every_layout() {
        for ([y, u, v], expected) in BARS {
            for (pixels, bytes) in [
                (Pixels::Yuyv, [y, u, y, v].repeat(2)),
                (Pixels::Uyvy, [u, y, v, y].repeat(2)),
                (Pixels::Nv12, [vec![y; 4], vec![u, v]].concat()),
            ] {
                let picture = pixels.to_rgb(&bytes, (2, 2), 0).unwrap();
                for pixel in picture.pixels() {
                    assert!(near(pixel.0, expected), "{pixels:?} {pixel:?} {expected:?}");
                }
            }
        }
        let grey = Pixels::Grey.to_rgb(&[0, 100, 200, 255], (2, 2), 0).unwrap();
        assert_eq!(grey.into_raw(), [0, 0, 0, 100, 100, 100, 200, 200, 200, 255, 255, 255]);
    }

    #[test]
    fn rows_begin_where_the_stride_says() {
        let bytes = [1, 2, 0, 0, 3, 4];
        let picture = Pixels::Grey.to_rgb(&bytes, (2, 2), 4).unwrap();
        let brightness: Vec<u8> = picture.pixels().map(|pixel| pixel.0[0]).collect();
        assert_eq!(brightness, [1, 2, 3, 4], "padding is left out, and may be missing at the end");
    }

    #[test]
    fn odd_sizes_and_short_pictures_are_no_panic() {
        for pixels in [Pixels::Yuyv, Pixels::Uyvy, Pixels::Nv12, Pixels::Grey] {
            for (width, height) in [(1, 1), (3, 3), (5, 2), (640, 480)] {
                for length in [0, 1, 2, 11, 100, 1_000_000] {
                    match pixels.to_rgb(&vec![77; length], (width, height), 0) {
                        Ok(picture) => assert_eq!(picture.dimensions(), (width, height)),
                        Err(fault) => {
                            assert_eq!(fault, PictureFault::Truncated { bytes: length as u64 });
                        }
                    }
                }
            }
        }
        let huge = Pixels::Grey.to_rgb(&[], (u32::MAX, u32::MAX), u32::MAX);
        assert!(matches!(huge, Err(PictureFault::TooManyPixels { .. })));
    }
}
