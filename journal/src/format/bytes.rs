//! Writes and reads little-endian fields in order.

/// Writes fields one after another into a buffer that was made large enough.
pub(crate) struct Put<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> Put<'a> {
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.at + bytes.len();
        debug_assert!(end <= self.buffer.len(), "a field lies outside of its structure");
        if let Some(target) = self.buffer.get_mut(self.at..end) {
            target.copy_from_slice(bytes);
        }
        self.at = end;
        self
    }

    pub(crate) const fn skip(&mut self, count: usize) -> &mut Self {
        self.at += count;
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i16(&mut self, value: i16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Bytes written and skipped so far.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }
}

/// Reads fields one after another; beyond the end every field is zero and [`Take::is_short`] is set.
///
/// Callers check lengths and CRCs first, so a short read is impossible in practice; it is still not a panic.
pub(crate) struct Take<'a> {
    bytes: &'a [u8],
    short: bool,
}

impl<'a> Take<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, short: false }
    }

    pub(crate) fn slice(&mut self, count: usize) -> &'a [u8] {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                taken
            }
            None => {
                self.short = true;
                self.bytes = &[];
                &[]
            }
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        self.slice(N).try_into().unwrap_or([0; N])
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.slice(count);
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn i16(&mut self) -> i16 {
        i16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn i32(&mut self) -> i32 {
        i32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }

    /// Whether more was asked for than there was.
    pub(crate) const fn is_short(&self) -> bool {
        self.short
    }

    /// Bytes not taken yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}
