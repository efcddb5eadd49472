//! [`Scans`], how the compressed data of a JPEG picture is laid out: what a decoder would get wrong without a word. Pure.

use std::borrow::Cow;
use std::ops::Range;

const MARKER: u8 = 0xFF;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_SCAN: u8 = 0xDA;
const RESTARTS: std::ops::RangeInclusive<u8> = 0xD0..=0xD7;
/// Frame headers of sequential pictures with Huffman codes: baseline and extended.
const SEQUENTIAL: [u8; 2] = [0xC0, 0xC1];
/// The frame header of a progressive picture with Huffman codes.
const PROGRESSIVE: u8 = 0xC2;
/// Most components of a picture.
const COMPONENTS_MAX: usize = 4;
/// Segments and scans that are looked through; a picture has a few dozen.
const SEGMENTS_MAX: usize = 10_000;

/// How the compressed data of a picture is laid out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scans {
    /// Whether it is sequential: each scan has all there is of its components.
    pub(super) is_sequential: bool,
    /// Number of scans.
    pub(super) count: usize,
    /// Whether the restart markers of each scan count from 0 to 7 and begin again. Where one is missing, so is data, and
    /// all that follows moves up.
    pub(super) restarts_in_order: bool,
    /// Where the picture ends: behind its end marker, if it has one.
    pub(super) end: Option<usize>,
    /// Bytes between two segments that belong to none: some cameras fill a segment up.
    gaps: Vec<Range<usize>>,
    /// Components of the picture, each with its coefficients that have all their bits, one a bit.
    components: Vec<(u8, u64)>,
}

impl Scans {
    /// Looks through a picture, as far as it is one.
    pub(super) fn of(jpeg: &[u8]) -> Self {
        let mut scans = Self { restarts_in_order: true, ..Self::default() };
        // Behind the start marker.
        let mut position = 2;
        for _ in 0..SEGMENTS_MAX {
            let behind = position;
            let Some(marker) = next_marker(jpeg, &mut position) else { return scans };
            let gap = behind..position - 2;
            if jpeg.get(gap.clone()).is_some_and(|gap| gap.iter().any(|byte| *byte != MARKER)) {
                scans.gaps.push(gap);
            }
            if marker == END_OF_IMAGE {
                scans.end = Some(position);
                return scans;
            }
            let Some(&[high, low]) = jpeg.get(position..position + 2) else { return scans };
            let length = usize::from(u16::from_be_bytes([high, low]));
            let payload = jpeg.get(position + 2..position + length).unwrap_or_default();
            position += length;
            if marker == PROGRESSIVE || SEQUENTIAL.contains(&marker) {
                let ids = payload.iter().skip(6).step_by(3).take(COMPONENTS_MAX);
                scans.components = ids.map(|id| (*id, 0)).collect();
            }
            scans.is_sequential |= SEQUENTIAL.contains(&marker);
            if marker == START_OF_SCAN {
                scans.count += 1;
                scans.note(payload);
                scans.restarts_in_order &= restarts_in_order(jpeg, &mut position);
            }
        }
        scans
    }

    /// Notes what a scan of that header brings.
    fn note(&mut self, header: &[u8]) {
        let count = header.first().copied().map_or(0, usize::from);
        let ids = header.get(1..).unwrap_or_default().iter().step_by(2).take(count);
        let Some(&[first, last, precision]) = header.get(1 + 2 * count..4 + 2 * count) else {
            return;
        };
        let coefficients = match precision & 0x0F {
            _ if self.is_sequential => u64::MAX,
            0 => (first..=last.min(63)).fold(0, |bits, index| bits | 1 << index),
            // A later scan brings the last bits.
            _ => return,
        };
        for id in ids {
            for (_, bits) in self.components.iter_mut().filter(|(known, _)| known == id) {
                *bits |= coefficients;
            }
        }
    }

    /// Whether there are all the scans that the picture needs.
    pub(super) fn is_complete(&self) -> bool {
        self.components.iter().all(|(_, bits)| *bits == u64::MAX)
    }

    /// The picture alone: without what is between its segments, and after its end.
    pub(super) fn alone<'a>(&self, jpeg: &'a [u8]) -> Cow<'a, [u8]> {
        let end = self.end.unwrap_or(jpeg.len());
        let Some(picture) = jpeg.get(..end).filter(|_| !self.gaps.is_empty()) else {
            return Cow::Borrowed(jpeg.get(..end).unwrap_or(jpeg));
        };
        let (mut alone, mut position) = (Vec::with_capacity(end), 0);
        for gap in &self.gaps {
            alone.extend_from_slice(picture.get(position..gap.start).unwrap_or_default());
            position = gap.end;
        }
        alone.extend_from_slice(picture.get(position..).unwrap_or_default());
        Cow::Owned(alone)
    }
}

/// The next marker of a segment; `position` is behind it then.
fn next_marker(jpeg: &[u8], position: &mut usize) -> Option<u8> {
    loop {
        let rest = jpeg.get(*position..)?;
        let at = rest.iter().position(|byte| *byte == MARKER)?;
        *position += at + 1;
        let marker = *jpeg.get(*position)?;
        // A filling byte is followed by the marker; what is no marker is padding.
        if marker != MARKER && marker != 0 && !RESTARTS.contains(&marker) {
            *position += 1;
            return Some(marker);
        }
    }
}

/// Whether the restart markers of a scan are in order; `position` is at the marker that ends it then.
fn restarts_in_order(jpeg: &[u8], position: &mut usize) -> bool {
    let (mut expected, mut in_order) = (*RESTARTS.start(), true);
    while let Some(at) =
        jpeg.get(*position..).and_then(|rest| rest.iter().position(|byte| *byte == MARKER))
    {
        *position += at;
        match jpeg.get(*position + 1) {
            Some(marker) if RESTARTS.contains(marker) => {
                in_order &= *marker == expected;
                expected = if *marker == *RESTARTS.end() { *RESTARTS.start() } else { marker + 1 };
                *position += 2;
            }
            // A value of the data, or a filling byte before a marker.
            Some(0) => *position += 2,
            Some(&MARKER) => *position += 1,
            _ => return in_order,
        }
    }
    *position = jpeg.len();
    in_order
}

#[cfg(test)]
mod tests {
    use super::super::samples::jpeg;
    use super::*;

    #[test]
    fn a_picture_has_a_scan_and_ends_at_its_end() {
        let whole = jpeg(40, 30, 1);
        let expected = Scans {
            is_sequential: true,
            count: 1,
            restarts_in_order: true,
            end: Some(whole.len()),
            gaps: Vec::new(),
            components: vec![(1, u64::MAX), (2, u64::MAX), (3, u64::MAX)],
        };
        assert_eq!(Scans::of(&whole), expected);
        let more = [&whole[..], b"--boundary", &jpeg(40, 30, 2)].concat();
        assert_eq!(Scans::of(&more), expected);
        assert_eq!(Scans::of(&whole[..whole.len() - 2]), Scans { end: None, ..expected.clone() });
        for cut in 0..whole.len() {
            let _ = Scans::of(&whole[..cut]);
        }
    }

    #[test]
    fn bytes_between_segments_are_left_out() {
        let whole = jpeg(40, 30, 1);
        let behind = 4 + usize::from(whole[5]);
        let gapped = [&whole[..behind], &[0; 608], &whole[behind..], b"\r\n"].concat();
        let scans = Scans::of(&gapped);
        assert_eq!(scans.gaps.len(), 1);
        assert_eq!(scans.gaps.first(), Some(&(behind..behind + 608)));
        assert!(scans.alone(&gapped) == whole);
        assert!(matches!(Scans::of(&whole).alone(&whole), Cow::Borrowed(_)));
    }

    #[test]
    fn restart_markers_count() {
        let scan = |data: &[u8]| {
            let head = [0xFF, 0xD8, 0xFF, START_OF_SCAN, 0, 3, 9];
            Scans::of(&[&head[..], data, &[0xFF, END_OF_IMAGE]].concat())
        };
        let through = |markers: &[u8]| {
            let data: Vec<u8> =
                markers.iter().flat_map(|number| [7, 0xFF, 0, 0xFF, 0xD0 + number]).collect();
            let scans = scan(&data);
            assert!(scans.end.is_some() && scans.count == 1);
            scans.restarts_in_order
        };
        assert!(through(&[]) && through(&[0, 1, 2, 3, 4, 5, 6, 7, 0, 1]));
        assert!(!through(&[1]) && !through(&[0, 2]) && !through(&[0, 5, 2]) && !through(&[0, 0]));
    }
}
