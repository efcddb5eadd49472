//! [`find`], the formats that cameras send and that are not read: messages name them. Pure.

/// Bytes that are needed to know a format.
pub(super) const SIGNATURE_BYTES: usize = 18;

/// Where the first signature of such a format begins in `bytes`.
pub(super) fn find(bytes: &[u8]) -> Option<(usize, &'static str)> {
    let mut windows = bytes.windows(SIGNATURE_BYTES).enumerate();
    windows.find_map(|(index, window)| Some((index, of(window)?)))
}

/// The format that `bytes` begin with.
pub(super) fn of(bytes: &[u8]) -> Option<&'static str> {
    let has = |at: usize, part: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(part));
    let name = match bytes.first()? {
        // Two letters are too few to know it by: reserved bytes and the length of the second header follow.
        b'B' if has(1, b"M") && has(6, &[0; 4]) && has(15, &[0; 3]) => "BMP",
        b'G' if has(0, b"GIF87a") || has(0, b"GIF89a") => "GIF",
        b'I' if has(0, b"II*\0") => "TIFF",
        b'M' if has(0, b"MM\0*") => "TIFF",
        b'R' if has(0, b"RIFF") && has(8, b"WEBP") => "WebP",
        0 if has(0, b"\0\0\0\x0CjP  ") => "JPEG 2000",
        0 if has(4, b"ftypavif") => "AVIF",
        0 if has(4, b"ftyphei") || has(4, b"ftypmif1") => "HEIC",
        0 if has(4, b"ftyp") => "MP4",
        _ => return None,
    };
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::samples::jpeg;

    #[test]
    fn formats_that_are_not_read_are_known_anywhere() {
        for (bytes, name) in [
            (b"BM\x36\x09\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "BMP"),
            (b"GIF89a\x20\0\x18\0\x80\0\0\0\0\0\xFF\xFF", "GIF"),
            (b"II*\0\x08\0\0\0\x0B\0\0\x01\x04\0\x01\0\0\0", "TIFF"),
            (b"RIFF\x24\x01\0\0WEBPVP8 \x18\x01", "WebP"),
            (b"\0\0\0\x0CjP  \r\n\x87\n\0\0\0\x14ft", "JPEG 2000"),
            (b"\0\0\0\x20ftypavif\0\0\0\0mi", "AVIF"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mi", "HEIC"),
            (b"\0\0\0\x20ftypisom\0\0\x02\0is", "MP4"),
        ] {
            assert_eq!(find(bytes), Some((0, name)));
            let part = [&b"--cut\r\nContent-Type: image/jpeg\r\n\r\n"[..], bytes].concat();
            assert_eq!(find(&part), Some((part.len() - bytes.len(), name)));
        }
        assert_eq!(find(&jpeg(32, 24, 1)), None);
        assert_eq!(find(b"BM is what this text begins with; more of it"), None);
    }
}
