//! [`Checkpoint`]: the position of a projection in a journal, and the versions that made it. Kept as JSON.

use lenslog_journal::{Position, Seq};
use serde::{Deserialize, Serialize};

use crate::Spec;
use crate::sealed;

/// Parked events that a checkpoint names; beyond them they are only counted.
pub const PARKED_MAX: usize = 256;

/// Longest reason kept with a parked event, in characters.
pub const PARKED_REASON_CHARS_MAX: usize = 300;

/// The position of a projection in a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The journal it was made from.
    #[serde(with = "sealed::id")]
    pub journal: [u8; 16],
    /// How far in it the projection is.
    #[serde(with = "sealed::position")]
    pub position: Position,
    /// Version of the projection.
    pub version: u32,
    /// The options that change its output.
    pub options: String,
    /// Version of the decoding ([`EventCodec::VERSION`](crate::EventCodec::VERSION)); 0 where it is not known.
    pub codec: u32,
    /// Events that could not be applied, oldest first.
    pub parked: Vec<Parked>,
    /// How many there were in all.
    pub parked_count: u64,
}

/// An event that a projection cannot apply, now or later: it is reported and passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The event.
    #[serde(with = "sealed::seq")]
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
            version: spec.version,
            options: spec.options.clone(),
            codec: 0,
            parked: Vec::new(),
            parked_count: 0,
        }
    }

    /// Why this checkpoint is not one of this journal and this version; `None` where it is.
    #[must_use]
    pub fn mismatch(&self, journal: [u8; 16], spec: &Spec) -> Option<String> {
        if self.journal != journal {
            return Some("it was made from another journal".to_owned());
        }
        if self.version != spec.version {
            let (found, expected) = (self.version, spec.version);
            return Some(format!(
                "it was made by version {found} of the projection, not {expected}"
            ));
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
}

#[cfg(test)]
mod tests {
    use lenslog_journal::{FrameHint, LastRecord, SegmentName};

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
            version: 3,
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
    fn a_checkpoint_round_trips() {
        let spec = Spec::new("x", 3);
        let mut parked = sample();
        parked.park(Seq(10), "bad\n---\nnext 1", false);
        for checkpoint in [sample(), parked, Checkpoint::at_start([0; 16], &spec)] {
            let text = sealed::seal_json(&checkpoint).unwrap();
            assert_eq!(sealed::unseal_json(text.into_bytes()), Ok(checkpoint));
        }
    }

    #[test]
    fn json_that_is_no_checkpoint_is_damaged() {
        let text = serde_json::to_string(&sample()).unwrap();
        for (good, bad) in [("\"next\":42", "\"next\":\"x\""), ("abab", "xyxy"), ("codec", "kodak")]
        {
            assert!(text.contains(good), "{good} in {text}");
            let read = serde_json::from_str::<Checkpoint>(&text.replace(good, bad));
            assert!(read.is_err(), "{bad}");
        }
    }

    #[test]
    fn what_another_journal_or_logic_made_is_told_apart() {
        let spec = Spec { name: "x", version: 3, kinds: None, options: "metadata=true".to_owned() };
        assert_eq!(sample().mismatch([0xab; 16], &spec), None);
        assert!(sample().mismatch([0; 16], &spec).unwrap().contains("another journal"));
        let newer = Spec { version: 4, ..spec.clone() };
        assert!(
            sample()
                .mismatch([0xab; 16], &newer)
                .unwrap()
                .contains("version 3 of the projection, not 4")
        );
        let other = Spec { options: String::new(), ..spec };
        assert!(sample().mismatch([0xab; 16], &other).is_some());
    }
}
