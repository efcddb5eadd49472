//! [`Suppression`], why a frame in which something changed makes no event.

use std::fmt;

/// Why a frame in which something changed makes no event, in the order of the names.
///
/// The names are journaled and shown; they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suppression {
    /// The changed area is below the threshold.
    BelowThreshold,
    /// What was recognised is never to make an event.
    Blacklisted,
    /// The picture is black or covered.
    Blind,
    /// It belongs to an event that is still open.
    Deduplicated,
    /// The background is still being learned.
    Learning,
    /// The light changed.
    LightChange,
    /// The detector is not sure enough.
    LowConfidence,
    /// Only a masked part of the picture changed.
    Masked,
    /// The detector recognised nothing.
    NoObject,
    /// What was recognised does not move.
    NotMoving,
    /// What was recognised is not among the labels that count.
    NotTracked,
    /// Nothing in a zone changed.
    OutsideZones,
    /// It has not been there for long enough.
    TooShort,
    /// Everything that changed is too small.
    TooSmall,
}

impl Suppression {
    /// Every reason, in the order of the names.
    pub const ALL: [Self; 14] = [
        Self::BelowThreshold,
        Self::Blacklisted,
        Self::Blind,
        Self::Deduplicated,
        Self::Learning,
        Self::LightChange,
        Self::LowConfidence,
        Self::Masked,
        Self::NoObject,
        Self::NotMoving,
        Self::NotTracked,
        Self::OutsideZones,
        Self::TooShort,
        Self::TooSmall,
    ];

    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BelowThreshold => "below_threshold",
            Self::Blacklisted => "blacklisted",
            Self::Blind => "blind",
            Self::Deduplicated => "deduplicated",
            Self::Learning => "learning",
            Self::LightChange => "light_change",
            Self::LowConfidence => "low_confidence",
            Self::Masked => "masked",
            Self::NoObject => "no_object",
            Self::NotMoving => "not_moving",
            Self::NotTracked => "not_tracked",
            Self::OutsideZones => "outside_zones",
            Self::TooShort => "too_short",
            Self::TooSmall => "too_small",
        }
    }
}

impl fmt::Display for Suppression {
    /// The name.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_in_the_order_of_their_names() {
        let names = Suppression::ALL.map(Suppression::name);
        assert!(names.is_sorted());
        assert!(Suppression::ALL.is_sorted());
        // Each stands at its own place, so the list misses none.
        assert!((0..).zip(Suppression::ALL).all(|(index, reason)| reason as usize == index));
    }
}
