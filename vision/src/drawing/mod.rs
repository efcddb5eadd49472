//! Pictures of events: boxes, labels, camera and time drawn onto a copy of the frame, privacy masks, and JPEG.
//! Pure: bytes come out, and writing them durably is the caller's.

mod annotate;
mod canvas;
mod encode;
mod exif;
mod privacy;
mod text;

pub use annotate::{Annotation, CAPTION_CHARS_MAX, OBJECTS_MAX, annotate};
pub use encode::{JPEG_SIDE_MAX, PictureError, Quality, encode_jpeg, encode_taken};
pub use exif::Taken;
pub use privacy::paint_over;
