//! What the splitter makes of whole, cut, damaged and foreign streams.

use std::io::ErrorKind;

use proptest::prelude::*;

use super::splitter::READ_BYTES;
use super::*;
use crate::source::samples::{jpeg, with_segment};

const LIMIT: usize = 1 << 20;

/// Reads at most `chunk` bytes at a time.
struct Chunked<'a> {
    bytes: &'a [u8],
    chunk: usize,
}

impl Read for Chunked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.chunk.min(buffer.len()).min(self.bytes.len());
        self.bytes.read(&mut buffer[..chunk])
    }
}

/// Pieces without their bytes, to be compared and printed.
fn outline(pieces: &[Piece]) -> Vec<String> {
    let line = |piece: &Piece| match piece {
        Piece::Picture { offset, bytes } => format!("picture {offset}+{}", bytes.len()),
        Piece::Unended { offset, bytes } => format!("unended {offset}+{}", bytes.len()),
        Piece::Fault { offset, fault } => format!("fault {offset}: {fault}"),
    };
    pieces.iter().map(line).collect()
}

fn split_with(bytes: &[u8], chunk: usize, limit: usize) -> Vec<Piece> {
    let mut reader = MjpegReader::new(Chunked { bytes, chunk }, limit);
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next_piece().unwrap() {
        pieces.push(piece);
        let buffered = reader.splitter.buffer.capacity();
        assert!(buffered <= 4 * (limit + 2 * READ_BYTES), "{buffered} bytes buffered");
    }
    assert_eq!(reader.bytes_read(), bytes.len() as u64);
    assert_eq!(reader.next_piece().unwrap(), None, "the end stays the end");
    pieces
}

/// Splits in chunks of several sizes, which must not matter.
fn split(bytes: &[u8]) -> Vec<Piece> {
    let pieces = split_with(bytes, usize::MAX, LIMIT);
    for chunk in [1, 2, 3, 1000] {
        let chunked = split_with(bytes, chunk, LIMIT);
        assert_eq!(outline(&chunked), outline(&pieces), "in chunks of {chunk}");
        assert!(chunked == pieces, "in chunks of {chunk}");
    }
    pieces
}

fn whole(offset: usize, bytes: &[u8]) -> Piece {
    Piece::Picture { offset: offset as u64, bytes: bytes.to_vec() }
}

fn pictures(pieces: &[Piece]) -> Vec<&[u8]> {
    let pieces = pieces.iter();
    pieces
        .filter_map(|piece| match piece {
            Piece::Picture { bytes, .. } => Some(bytes.as_slice()),
            Piece::Unended { .. } | Piece::Fault { .. } => None,
        })
        .collect()
}

fn faults(pieces: &[Piece]) -> Vec<&PictureFault> {
    let pieces = pieces.iter();
    pieces
        .filter_map(|piece| match piece {
            Piece::Fault { fault, .. } => Some(fault),
            Piece::Picture { .. } | Piece::Unended { .. } => None,
        })
        .collect()
}

#[test]
fn concatenated_pictures_come_back_as_they_were() {
    let (first, second) = (jpeg(40, 30, 1), jpeg(8, 8, 2));
    let stream = [&first[..], &second, &first].concat();
    assert_eq!(
        split(&stream),
        [whole(0, &first), whole(first.len(), &second), whole(first.len() + second.len(), &first)]
    );
    assert_eq!(split(b""), []);
}

#[test]
fn a_picture_is_handed_out_before_the_next_one_is_read() {
    let first = jpeg(40, 30, 1);
    let stream = [&first[..], &first].concat();
    let mut reader = MjpegReader::new(Chunked { bytes: &stream, chunk: 1 }, LIMIT);
    assert_eq!(reader.next_piece().unwrap(), Some(whole(0, &first)));
    assert_eq!(reader.bytes_read(), first.len() as u64);
}

#[test]
fn a_thumbnail_inside_a_picture_is_not_a_picture() {
    let thumbnail = jpeg(8, 8, 3);
    let picture = with_segment(&jpeg(40, 30, 1), 0xE1, &[b"Exif\0\0", &thumbnail[..]].concat());
    let stream = [&picture[..], &picture].concat();
    assert_eq!(split(&stream), [whole(0, &picture), whole(picture.len(), &picture)]);
}

#[test]
fn a_picture_cut_anywhere_costs_only_itself() {
    let thumbnail = jpeg(8, 8, 3);
    let picture = with_segment(&jpeg(16, 16, 1), 0xE1, &[b"Exif\0\0", &thumbnail[..]].concat());
    // Longer than the segment with the thumbnail, as pictures are.
    let next = jpeg(64, 48, 2);
    for cut in 1..picture.len() {
        let stream = [&picture[..cut], &next, &next].concat();
        let pieces = split_with(&stream, usize::MAX, LIMIT);
        // By chance a cut segment ends where the first segment of the next picture begins; the pictures
        // then read as one, which is the next one.
        let survived = pictures(&pieces).iter().filter(|found| found.ends_with(&next[2..])).count();
        assert_eq!(survived, 2, "cut at {cut}: {:?}", outline(&pieces));
        assert!(pieces.len() <= 3, "cut at {cut}: {:?}", outline(&pieces));
        let last = [&next[..], &picture[..cut]].concat();
        let pieces = split_with(&last, usize::MAX, LIMIT);
        assert!(pictures(&pieces) == [&next[..]], "end cut at {cut}: {:?}", outline(&pieces));
        assert!(cut < 3 || pieces.len() == 2, "end cut at {cut}: {:?}", outline(&pieces));
    }
}

#[test]
fn garbage_is_skipped_and_long_garbage_is_reported() {
    let picture = jpeg(16, 16, 1);
    let boundary = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n";
    let stream = [boundary, &picture[..], boundary, &picture].concat();
    assert_eq!(
        split(&stream),
        [whole(boundary.len(), &picture), whole(2 * boundary.len() + picture.len(), &picture)]
    );
    let noise = vec![0x5A; 5000];
    let pieces = split(&[&picture[..], &noise, &picture, &noise].concat());
    assert_eq!(pictures(&pieces).len(), 2);
    let garbage = PictureFault::Garbage { bytes: 5000 };
    assert_eq!(faults(&pieces), [&garbage, &garbage]);
}

#[test]
fn a_start_marker_by_accident_hides_no_picture() {
    let picture = jpeg(64, 48, 1);
    for accident in [&[0xFF, 0xD8, 0xFF, 0xE2, 0xFF, 0xFF][..], &[0xFF, 0xD8, 0xFF, 0xDB, 0x02]] {
        let pieces = split(&[accident, &picture, &picture].concat());
        assert!(
            pictures(&pieces) == [&picture[..], &picture],
            "{accident:?}: {:?}",
            outline(&pieces)
        );
        let pieces = split(&[&picture[..], accident].concat());
        assert!(pictures(&pieces) == [&picture[..]], "{accident:?}: {:?}", outline(&pieces));
    }
}

#[test]
fn markers_without_length_and_fill_bytes_are_part_of_a_picture() {
    let plain = jpeg(16, 16, 1);
    let filled = [&plain[..2], &[0xFF, 0xFF, 0xFF, 0x01, 0xFF], &plain[2..]].concat();
    assert_eq!(split(&filled), [whole(0, &filled)]);
}

#[test]
fn a_picture_without_its_end_marker_is_handed_out_with_one() {
    let (first, second) = (jpeg(40, 30, 1), jpeg(16, 16, 2));
    let unended = &first[..first.len() - 2];
    let head = b"\r\n--x\r\nContent-Type: image/jpeg\r\n\r\n";
    for between in [&b""[..], head] {
        let stream = [unended, between, &second].concat();
        let added = Piece::Unended { offset: 0, bytes: first.clone() };
        let expected = [added, whole(unended.len() + between.len(), &second)];
        assert!(split(&stream) == expected, "{:?}", outline(&split(&stream)));
    }
    for end in [&b""[..], b"\xFF", b"\r\n--x--\r\n"] {
        let pieces = split(&[unended, end].concat());
        let [Piece::Unended { bytes, .. }] = &pieces[..] else { panic!("{:?}", outline(&pieces)) };
        assert!(bytes.starts_with(unended) && bytes.ends_with(&[0xFF, 0xD9]), "{end:?}");
    }
}

#[test]
fn zeros_between_segments_are_left_out() {
    let picture = jpeg(40, 30, 1);
    for zeros in [1, 4, 608, 4096] {
        let padded = [&picture[..20], &vec![0; zeros], &picture[20..]].concat();
        let stream = [&padded[..], &padded].concat();
        let expected = [whole(0, &picture), whole(padded.len(), &picture)];
        assert!(split(&stream) == expected, "{zeros}: {:?}", outline(&split(&stream)));
    }
    let endless = [&picture[..20], &vec![0; 5000], &picture[20..], &picture].concat();
    assert_eq!(pictures(&split(&endless)), [&picture[..]]);
}

#[test]
fn png_pictures_come_back_as_they_were() {
    let mut png = std::io::Cursor::new(Vec::new());
    let drawn = crate::source::samples::picture(40, 30, 1);
    drawn.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let (png, jpeg) = (png.into_inner(), jpeg(16, 16, 1));
    let stream = [&png[..], b"\r\n--x\r\n\x89PNG\r", &jpeg, &png].concat();
    let pieces = split(&stream);
    assert!(pictures(&pieces) == [&png[..], &jpeg, &png], "{:?}", outline(&pieces));
    assert_eq!(faults(&split(&png[..png.len() - 5])).len(), 1);
    assert_eq!(pictures(&split(&[&png[..60], &png].concat())), [&png[..]]);
}

#[test]
fn a_picture_of_another_format_is_named_once_a_gap() {
    const HEAD: &[u8] = b"\r\n--x\r\nContent-Type: image/jpeg\r\n\r\n";
    let jpeg = jpeg(16, 16, 1);
    let other = [&b"RIFF\x24\x01\0\0WEBPVP8 "[..], &[0x5A; 3000]].concat();
    let gap = [HEAD, &other].concat().repeat(3);
    let pieces = split(&[&gap[..], HEAD, &jpeg, &gap].concat());
    let fault = PictureFault::OtherFormat { format: "WebP" };
    assert_eq!(faults(&pieces), [&fault, &fault], "{:?}", outline(&pieces));
    assert_eq!(pictures(&pieces), [&jpeg[..]]);
    // In what is left of a damaged picture it may be anything, such as EXIF.
    let damaged = [&jpeg[..2], &[0xFF, 0xE1, 0, 20, 0, 0], b"II*\0\x08\0\0\0", &[9; 900]].concat();
    let faults_of = |bytes: &[u8]| faults(&split(bytes)).into_iter().cloned().collect::<Vec<_>>();
    let malformed = faults_of(&damaged);
    assert!(matches!(malformed[..], [PictureFault::Malformed { .. }]), "{malformed:?}");
}

#[test]
fn a_picture_without_a_scan_is_refused() {
    let stream = [&[0xFF, 0xD8, 0xFF, 0xD9][..], &jpeg(16, 16, 1)].concat();
    let pieces = split(&stream);
    assert_eq!(faults(&pieces), [&PictureFault::Malformed { bytes: 2 }]);
    assert_eq!(pictures(&pieces).len(), 1);
}

#[test]
fn a_picture_over_the_limit_is_skipped_without_holding_it() {
    let small = jpeg(16, 16, 1);
    let scan = vec![0x11; 300_000];
    let end = small.len() - 2;
    let huge = [&small[..end], &scan, &small[end..]].concat();
    let pieces = split_with(&[&huge[..], &small].concat(), 1000, 100_000);
    assert_eq!(faults(&pieces), [&PictureFault::TooManyBytes]);
    assert_eq!(pictures(&pieces), [&small[..]]);
    assert_eq!(split_with(&huge, usize::MAX, huge.len()).len(), 1);
}

#[test]
fn an_interrupted_read_is_repeated_and_a_failed_one_reported() {
    struct Flaky(Vec<io::Result<Vec<u8>>>);
    impl Read for Flaky {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.pop() {
                Some(outcome) => outcome.map(|bytes| {
                    buffer[..bytes.len()].copy_from_slice(&bytes);
                    bytes.len()
                }),
                None => Ok(0),
            }
        }
    }
    let picture = jpeg(16, 16, 1);
    let (head, tail) = picture.split_at(100);
    let flaky = Flaky(vec![
        Ok(tail.to_vec()),
        Err(io::Error::other("medium")),
        Ok(head.to_vec()),
        Err(ErrorKind::Interrupted.into()),
    ]);
    let mut reader = MjpegReader::new(flaky, LIMIT);
    assert!(reader.next_piece().is_err());
    assert_eq!(reader.next_piece().unwrap(), Some(whole(0, &picture)));
}

proptest! {
    #[test]
    fn pictures_come_back_from_any_chunks_and_gaps(
        sizes in prop::collection::vec((1u32..40, 1u32..40, any::<u8>()), 1..6),
        gaps in prop::collection::vec(prop::collection::vec(0u8..0xFF, 0..50), 6),
        chunk in 1usize..5000,
    ) {
        let originals: Vec<_> = sizes.iter().map(|&(w, h, seed)| jpeg(w, h, seed)).collect();
        let mut stream = Vec::new();
        for (picture, gap) in originals.iter().zip(&gaps) {
            stream.extend(gap);
            stream.extend(picture);
        }
        let pieces = split_with(&stream, chunk, LIMIT);
        prop_assert!(pictures(&pieces) == originals, "{:?}", outline(&pieces));
    }

    #[test]
    fn damaged_streams_neither_panic_nor_depend_on_chunks(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        chunk in 1usize..500,
        limit in prop::sample::select(vec![10usize, 700, LIMIT]),
    ) {
        let mut stream: Vec<u8> = (0..6).flat_map(|seed| jpeg(24, 16, seed)).collect();
        for (index, byte) in damage {
            let length = stream.len();
            stream[index.index(length)] = byte;
        }
        let pieces = split_with(&stream, chunk, limit);
        let unchunked = split_with(&stream, usize::MAX, limit);
        prop_assert_eq!(outline(&pieces), outline(&unchunked));
        prop_assert!(pieces == unchunked);
        let held: usize = pictures(&pieces).iter().map(|bytes| bytes.len()).sum();
        prop_assert!(held <= stream.len());
    }

    #[test]
    fn bytes_of_any_kind_are_split_without_a_panic(
        bytes in prop::collection::vec(prop::sample::select(
            vec![0xFFu8, 0xD8, 0xD9, 0xDA, 0xE1, 0xC4, 0x00, 0x01, 0x02, 0x08, 0x45]), 0..400),
        chunk in 1usize..50,
    ) {
        prop_assert_eq!(split_with(&bytes, chunk, 64), split_with(&bytes, usize::MAX, 64));
    }
}
