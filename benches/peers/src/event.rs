//! The events that every store gets.

/// Bytes of an event: its number, and a pattern.
pub const PAYLOAD_BYTES: usize = 256;

/// An event with two tags: one of 10,000, and one of its own. Every hundredth is of kind 2.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its kind.
    pub kind: u16,
    /// Its tags.
    pub tags: [String; 2],
    /// Its payload.
    pub payload: [u8; PAYLOAD_BYTES],
}

/// Events of a kind, if there is one, with all of the tags.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The kind.
    pub kind: Option<u16>,
    /// The tags.
    pub tags: Vec<String>,
}

impl Event {
    /// The event with a number.
    pub fn new(number: u64) -> Self {
        let account = format!("account:{}", mixed(number) % 10_000);
        Self::of(number, account)
    }

    /// The event with a number and this first tag.
    pub fn of(number: u64, tag: String) -> Self {
        let mut payload = [7; PAYLOAD_BYTES];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        Self { kind: 1 + u16::from(number % 100 == 0), tags: [tag, own_tag(number)], payload }
    }

    /// Events with these numbers.
    pub fn range(first: u64, count: u64) -> Vec<Self> {
        (first..first + count).map(Self::new).collect()
    }

    /// The number in a payload; `None` if it is not that of any event.
    pub fn number_of(payload: &[u8]) -> Option<u64> {
        let (number, rest) = payload.split_first_chunk()?;
        let whole = rest.len() == PAYLOAD_BYTES - 8 && rest.iter().all(|byte| *byte == 7);
        whole.then(|| u64::from_le_bytes(*number))
    }
}

impl Filter {
    /// Events with this tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self { kind: None, tags: vec![tag.into()] }
    }

    /// Events of this kind.
    pub fn kind(kind: u16) -> Self {
        Self { kind: Some(kind), tags: Vec::new() }
    }
}

/// The tag that only this event has.
pub fn own_tag(number: u64) -> String {
    format!("id:{:016x}{number:016x}", mixed(number))
}

const fn mixed(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7
}
