//! What the splitter passes over in a JPEG picture: zeros between segments, and the text after a picture that has no end
//! marker. Pure.

use std::ops::Range;

/// Most zeros between two segments that are passed over: cameras fill blocks up with them.
const ZEROS_MAX: usize = 4096;
/// Least zeros that are padding where another picture may begin in the segment before them: fewer are there by chance.
const ZEROS_DOUBTFUL: usize = 4;
/// Longest text after a picture that is looked for: a boundary and the head of the next part.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// Payloads of segments that may carry a thumbnail begin with one of these.
const THUMBNAIL_CARRIERS: [&[u8]; 2] = [b"Exif\0", b"JFXX\0"];

/// Whether a segment with this payload may carry a thumbnail.
pub(super) fn may_hold_thumbnail(payload: &[u8]) -> bool {
    THUMBNAIL_CARRIERS.iter().any(|carrier| payload.starts_with(carrier))
}

/// What zeros are in the place of a marker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Zeros {
    /// More bytes are needed to know.
    NeedMore,
    /// So many, and a marker follows.
    Padding(usize),
    /// Damage.
    Damage,
}

/// What the zeros are that `rest` begins with. `is_doubtful`: another picture may begin in the segment before them.
pub(super) fn zeros(rest: &[u8], is_doubtful: bool) -> Zeros {
    let least = if is_doubtful { ZEROS_DOUBTFUL } else { 1 };
    let length = rest.iter().take_while(|byte| **byte == 0).count();
    match rest.get(length) {
        None if length <= ZEROS_MAX => Zeros::NeedMore,
        Some(0xFF) if (least..=ZEROS_MAX).contains(&length) => Zeros::Padding(length),
        _ => Zeros::Damage,
    }
}

/// The bytes of `picture` in `buffer` without those of `paddings`.
pub(super) fn without(buffer: &[u8], picture: Range<usize>, paddings: &[Range<usize>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(picture.len());
    let mut from = picture.start;
    for padding in paddings {
        bytes.extend_from_slice(&buffer[from..padding.start]);
        from = padding.end;
    }
    bytes.extend_from_slice(&buffer[from..picture.end]);
    bytes
}

/// Length of `picture` without the boundary and the head of the next part at its end. Where there is no boundary, all of
/// it.
pub(super) fn length_without_text(picture: &[u8]) -> usize {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
    let text = picture.iter().rev().take(TEXT_BYTES_MAX).take_while(|byte| is_text(byte)).count();
    let text_start = picture.len() - text;
    let text = picture.get(text_start..).unwrap_or_default();
    let Some(boundary) = text.windows(2).position(|pair| pair == b"--") else {
        return picture.len();
    };
    // A boundary ends its line.
    if !text.get(boundary..).is_some_and(|rest| rest.contains(&b'\n')) {
        return picture.len();
    }
    let line_end = text.get(..boundary).unwrap_or_default();
    let line_end = line_end.iter().rev().take_while(|byte| b"\r\n".contains(byte)).count();
    text_start + boundary - line_end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_the_next_part_is_no_part_of_a_picture() {
        const DATA: &[u8] = b"\xFF\xDA\x90\xA0--ab";
        for text in ["\r\n--x\r\nContent-Type: image/jpeg\r\n\r\n", "--x\r\n\r\n", "\n--x--\n"] {
            let data = [DATA.strip_suffix(b"--ab").unwrap(), text.as_bytes()].concat();
            assert_eq!(data.get(..length_without_text(&data)).unwrap(), b"\xFF\xDA\x90\xA0");
        }
        for whole in [DATA, b"\xFF\xDA\x90\r\n", b"\xFF\xDA", b""] {
            assert_eq!(length_without_text(whole), whole.len());
        }
    }
}
