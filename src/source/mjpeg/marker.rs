//! [`read`], the markers of JPEG. Pure.

/// The longest header of a scan: that of four components.
const SCAN_HEADER_BYTES_MAX: usize = 14;

const START_OF_SCAN: u8 = 0xDA;

/// The first byte of every marker.
pub(super) const MARKER: u8 = 0xFF;
/// The second byte of the marker that ends a picture.
pub(super) const END_OF_IMAGE: u8 = 0xD9;

/// What bytes begin with where a marker has to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// More bytes are needed to know.
    NeedMore,
    /// A fill byte; any number of them may come before a marker.
    Fill,
    /// Another picture begins.
    Start,
    /// The picture ends.
    End,
    /// A marker without a segment: TEM or a restart marker.
    Alone,
    /// A marker with a segment.
    Segment {
        /// Its length, as the segment gives it.
        length: usize,
        /// Whether entropy-coded data follows it.
        is_scan: bool,
        /// Whether no segment has this length.
        is_damaged: bool,
    },
    /// Zero, which may be padding.
    Zero,
    /// No marker.
    Damage,
}

/// The marker that `bytes` begin with.
pub(super) fn read(bytes: &[u8]) -> Marker {
    match *bytes {
        [MARKER] | [] => Marker::NeedMore,
        [MARKER, MARKER, ..] => Marker::Fill,
        [MARKER, 0xD8, ..] => Marker::Start,
        [MARKER, END_OF_IMAGE, ..] => Marker::End,
        [MARKER, 0x01 | 0xD0..=0xD7, ..] => Marker::Alone,
        [MARKER, 0x00 | 0x02..=0xBF, ..] => Marker::Damage,
        [MARKER, marker, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let is_scan = marker == START_OF_SCAN;
            let is_too_long = is_scan && length > SCAN_HEADER_BYTES_MAX;
            Marker::Segment { length, is_scan, is_damaged: length < 2 || is_too_long }
        }
        [MARKER, ..] => Marker::NeedMore,
        [0, ..] => Marker::Zero,
        _ => Marker::Damage,
    }
}
