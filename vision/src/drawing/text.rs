//! Text in an 8 by 8 bitmap font, enlarged in whole steps.

use font8x8::{
    BASIC_FONTS, BLOCK_FONTS, BOX_FONTS, GREEK_FONTS, HIRAGANA_FONTS, LATIN_FONTS, UnicodeFonts,
};
use image::Rgb;

use super::canvas::{Area, Canvas};

/// Side of a glyph, in pixels of scale 1.
const GLYPH: i64 = 8;

/// Stands for characters that the font has not.
const UNKNOWN: char = '?';

/// Width of a text of `chars` characters, in pixels.
pub(super) fn width(chars: usize, scale: i64) -> i64 {
    i64::try_from(chars).unwrap_or(i64::MAX / GLYPH / scale.max(1)) * GLYPH * scale
}

/// Height of a line of text, in pixels.
pub(super) const fn height(scale: i64) -> i64 {
    GLYPH * scale
}

/// How many characters fit into so many pixels.
pub(super) fn chars_in(pixels: i64, scale: i64) -> usize {
    usize::try_from(pixels / (GLYPH * scale.max(1))).unwrap_or_default()
}

/// Draws `text` with its upper left corner there.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    text: impl Iterator<Item = char>,
    (left, top): (i64, i64),
    scale: i64,
    color: Rgb<u8>,
) {
    for (index, character) in text.enumerate() {
        let left = left + width(index, scale);
        for (row, bits) in (0..).zip(glyph(character)) {
            for column in (0..GLYPH).filter(|column| bits >> column & 1 == 1) {
                let (x, y) = (left + column * scale, top + row * scale);
                canvas.fill(Area::at(x, y, scale, scale), color);
            }
        }
    }
}

/// The rows of a character's glyph, from the top; the lowest bit is the leftmost pixel.
fn glyph(character: char) -> [u8; 8] {
    let known = |character| {
        BASIC_FONTS
            .get(character)
            .or_else(|| LATIN_FONTS.get(character))
            .or_else(|| GREEK_FONTS.get(character))
            .or_else(|| HIRAGANA_FONTS.get(character))
            .or_else(|| BOX_FONTS.get(character))
            .or_else(|| BLOCK_FONTS.get(character))
    };
    let printable = !character.is_control();
    printable.then(|| known(character)).flatten().or_else(|| known(UNKNOWN)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    const WHITE: Rgb<u8> = Rgb([255; 3]);

    fn drawn(text: &str, scale: i64) -> RgbImage {
        let size = |pixels| u32::try_from(pixels).unwrap();
        let mut picture =
            RgbImage::new(size(width(text.chars().count(), scale)), size(height(scale)));
        draw(&mut Canvas::new(&mut picture), text.chars(), (0, 0), scale, WHITE);
        picture
    }

    #[test]
    fn a_letter_is_drawn_upright_and_not_mirrored() {
        let picture = drawn("L", 1);
        let column = |x| (0..8).filter(|y| picture[(x, *y)] == WHITE).count();
        assert!((0..4).map(column).sum::<usize>() > (4..8).map(column).sum::<usize>());
        let row = |y| (0..8).filter(|x| picture[(*x, y)] == WHITE).count();
        assert!(row(6) > row(1), "its foot is below");
    }

    #[test]
    fn every_pixel_of_a_glyph_grows_with_the_scale() {
        let count = |picture: &RgbImage| picture.pixels().filter(|pixel| **pixel == WHITE).count();
        assert_eq!(count(&drawn("Rg", 3)), 9 * count(&drawn("Rg", 1)));
    }

    #[test]
    fn letters_with_accents_have_glyphs_and_others_a_question_mark() {
        assert_ne!(drawn("ü", 1), drawn("?", 1));
        for unknown in ["漢", "\u{1F600}", "\n", "\u{7}"] {
            assert_eq!(drawn(unknown, 1), drawn("?", 1), "{unknown:?}");
        }
    }
}
