//! [`Checkpoint`]: how far a projection is, of which journal, by which logic. Written as text, for people too.

use std::fmt::Write as _;

use lenslog_journal::{FrameHint, LastRecord, Position, SegmentName, Seq};

use crate::Spec;

const FIRST_LINE: &str = "lenslog checkpoint 1";

/// Events set aside by one projection that its checkpoint names; beyond it they are only counted.
pub const PARKED_MAX: usize = 256;

/// Longest reason kept with a parked event, in characters.
pub const PARKED_REASON_CHARS_MAX: usize = 300;

/// How far a projection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The journal it was made from.
    pub journal: [u8; 16],
    /// Where in it the projection stands.
    pub position: Position,
    /// Version of the projection's logic.
    pub logic: u32,
    /// The options that change its output.
    pub options: String,
    /// Version of the decoding ([`Vocabulary::VERSION`](crate::Vocabulary::VERSION)); 0 where it is not known.
    pub codec: u32,
    /// Events that could not be applied, oldest first.
    pub parked: Vec<Parked>,
    /// How many there were in all.
    pub parked_count: u64,
}

/// An event that a projection could not apply and will not be able to: it was set aside and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The event.
    pub seq: Seq,
    /// Why.
    pub reason: String,
    /// Its payload could not be decoded; else the projection refused it.
    pub is_undecodable: bool,
}

impl Checkpoint {
    /// The checkpoint of a projection that has seen nothing.
    #[must_use]
    pub fn at_start(journal: [u8; 16], spec: &Spec) -> Self {
        Self {
            journal,
            position: Position::START,
            logic: spec.logic,
            options: spec.options.clone(),
            codec: 0,
            parked: Vec::new(),
            parked_count: 0,
        }
    }

    /// Why this checkpoint is not one of this journal and this logic; `None` where it is.
    #[must_use]
    pub fn mismatch(&self, journal: [u8; 16], spec: &Spec) -> Option<String> {
        if self.journal != journal {
            return Some("it was made from another journal".to_owned());
        }
        if self.logic != spec.logic {
            return Some(format!("its logic is version {}, not {}", self.logic, spec.logic));
        }
        if self.options != spec.options {
            return Some(format!("it was made with '{}', not '{}'", self.options, spec.options));
        }
        None
    }

    /// Notes an event that could not be applied.
    pub(crate) fn park(&mut self, seq: Seq, reason: &str, is_undecodable: bool) {
        self.parked_count += 1;
        if self.parked.len() < PARKED_MAX {
            let reason = reason.chars().take(PARKED_REASON_CHARS_MAX).collect();
            self.parked.push(Parked { seq, reason, is_undecodable });
        }
    }

    /// The checkpoint as lines of text. Lines of the projection's own may follow.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "journal {}", hex(&self.journal));
        let _ = writeln!(text, "next {}", self.position.next);
        if let Some(last) = &self.position.last {
            let (digest, segment) = (hex(&last.digest), last.hint.segment.file_name());
            let _ = writeln!(text, "last {} {digest} {segment} {}", last.seq, last.hint.offset);
        }
        let _ = writeln!(text, "logic {}", self.logic);
        let _ = writeln!(text, "options {}", one_line(&self.options));
        let _ = writeln!(text, "codec {}", self.codec);
        let _ = writeln!(text, "parked_count {}", self.parked_count);
        for parked in &self.parked {
            let name = if parked.is_undecodable { "undecodable" } else { "parked" };
            let _ = writeln!(text, "{name} {} {}", parked.seq, one_line(&parked.reason));
        }
        text
    }

    /// Reads what [`Checkpoint::to_text`] wrote; lines that are not the checkpoint's are passed over. `None` where
    /// it is not a checkpoint.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let (mut journal, mut next, mut last) = (None, None, None);
        let (mut logic, mut options) = (None, None);
        let (mut codec, mut parked, mut parked_count) = (0, Vec::new(), 0);
        for line in lines {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            match name {
                "journal" => journal = Some(from_hex(value)?),
                "next" => next = Some(Seq(value.parse().ok()?)),
                "last" => last = Some(last_from_text(value)?),
                "logic" => logic = Some(value.parse().ok()?),
                "options" => options = Some(value.to_owned()),
                "codec" => codec = value.parse().ok()?,
                "parked_count" => parked_count = value.parse().ok()?,
                "parked" | "undecodable" if parked.len() < PARKED_MAX => {
                    let (seq, reason) = value.split_once(' ').unwrap_or((value, ""));
                    let (seq, reason) = (Seq(seq.parse().ok()?), reason.to_owned());
                    parked.push(Parked { seq, reason, is_undecodable: name == "undecodable" });
                }
                _ => {}
            }
        }
        Some(Self {
            journal: journal?,
            position: Position { next: next?, last },
            logic: logic?,
            options: options?,
            codec,
            parked,
            parked_count,
        })
    }
}

fn last_from_text(value: &str) -> Option<LastRecord> {
    let mut words = value.split(' ');
    let seq = Seq(words.next()?.parse().ok()?);
    let digest = from_hex(words.next()?)?;
    let segment = SegmentName::parse(words.next()?)?;
    let offset = words.next()?.parse().ok()?;
    Some(LastRecord { seq, digest, hint: FrameHint { segment, offset } })
}

/// A value cannot forge a line.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (text.len() == 32).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let segment = SegmentName { base: Seq(1), day: "2026-11-23".parse().unwrap() };
        let hint = FrameHint { segment, offset: 8192 };
        Checkpoint {
            journal: [0xab; 16],
            position: Position {
                next: Seq(42),
                last: Some(LastRecord { seq: Seq(41), digest: [1; 16], hint }),
            },
            logic: 3,
            options: "metadata=true".to_owned(),
            codec: 2,
            parked: vec![
                Parked { seq: Seq(7), reason: "no such day".to_owned(), is_undecodable: false },
                Parked { seq: Seq(9), reason: "too short".to_owned(), is_undecodable: true },
            ],
            parked_count: 9,
        }
    }

    #[test]
    fn a_checkpoint_round_trips_and_lines_of_others_are_passed_over() {
        let text = sample().to_text() + "file 2026-11-23 512\n";
        assert_eq!(Checkpoint::from_text(&text), Some(sample()));
        let spec = Spec { name: "x", logic: 3, kinds: None, options: String::new() };
        let start = Checkpoint::at_start([0; 16], &spec);
        assert_eq!(Checkpoint::from_text(&start.to_text()), Some(start));
    }

    #[test]
    fn text_that_is_no_checkpoint_is_refused() {
        let text = sample().to_text();
        for broken in ["", "lenslog checkpoint 2\n", &text.replace("next 42", "next x")] {
            assert_eq!(Checkpoint::from_text(broken), None, "{broken}");
        }
        for line in ["journal", "next", "logic", "options"] {
            let without: String =
                text.lines().filter(|l| !l.starts_with(line)).map(|l| format!("{l}\n")).collect();
            assert_eq!(Checkpoint::from_text(&without), None, "without {line}");
        }
    }

    #[test]
    fn a_reason_cannot_forge_a_line() {
        let mut checkpoint = sample();
        checkpoint.park(Seq(10), "bad\nnext 1", false);
        let read = Checkpoint::from_text(&checkpoint.to_text()).unwrap();
        assert_eq!(read.position.next, Seq(42));
        assert_eq!(read.parked[2].reason, "bad next 1");
    }

    #[test]
    fn what_another_journal_or_logic_made_is_told_apart() {
        let spec = Spec { name: "x", logic: 3, kinds: None, options: "metadata=true".to_owned() };
        assert_eq!(sample().mismatch([0xab; 16], &spec), None);
        assert!(sample().mismatch([0; 16], &spec).unwrap().contains("another journal"));
        let newer = Spec { logic: 4, ..spec.clone() };
        assert!(sample().mismatch([0xab; 16], &newer).unwrap().contains("version 3, not 4"));
        let other = Spec { options: String::new(), ..spec };
        assert!(sample().mismatch([0xab; 16], &other).is_some());
    }
}
