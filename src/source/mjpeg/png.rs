//! [`chunk`], the structure of PNG: a signature, and chunks up to the one called `IEND`. Pure.

/// What a chunk has beside its data: length, name and checksum.
const FRAME_BYTES: usize = 12;

/// A chunk at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// More bytes are needed to know.
    NeedMore,
    /// So many bytes; another one follows.
    Inner(usize),
    /// So many bytes, with which the picture ends.
    Last(usize),
    /// No chunk.
    Damage,
}

/// The chunk that `bytes` begin with, whether it is all there or not.
pub(super) fn chunk(bytes: &[u8]) -> Chunk {
    let Some(&[a, b, c, d, ref name @ ..]) = bytes.first_chunk::<8>() else {
        return Chunk::NeedMore;
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let length = length.saturating_add(FRAME_BYTES);
    match name {
        b"IEND" => Chunk::Last(length),
        name if name.iter().all(u8::is_ascii_alphabetic) => Chunk::Inner(length),
        _ => Chunk::Damage,
    }
}
