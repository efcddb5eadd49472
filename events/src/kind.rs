//! The numbers of the kinds: one stable kind and one current version for every sort of event.
//!
//! A number is never given to another event, not even after its event has gone: journals live longer than
//! programs. Kinds from [`RESERVED_FROM`] on belong to the journal itself.

/// The first kind that belongs to the journal (`Recovered`, `Gap`, `PrunedThrough`, `ClockStepped`).
pub const RESERVED_FROM: u16 = lenslog_journal::Kind::RESERVED.0;

/// Kind of [`EventDetected`](crate::EventDetected).
pub const EVENT_DETECTED: u16 = 1;
/// Kind of [`EventEnded`](crate::EventEnded).
pub const EVENT_ENDED: u16 = 2;
/// Kind of [`CameraMinute`](crate::CameraMinute).
pub const CAMERA_MINUTE: u16 = 3;
/// Kind of [`CameraLost`](crate::CameraLost).
pub const CAMERA_LOST: u16 = 4;
/// Kind of [`CameraFound`](crate::CameraFound).
pub const CAMERA_FOUND: u16 = 5;
/// Kind of [`DetectorFailed`](crate::DetectorFailed).
pub const DETECTOR_FAILED: u16 = 6;
/// Kind of [`DescriptionAdded`](crate::DescriptionAdded).
pub const DESCRIPTION_ADDED: u16 = 7;
/// Kind of [`DescriptionDeferred`](crate::DescriptionDeferred).
pub const DESCRIPTION_DEFERRED: u16 = 8;
/// Kind of [`DescriptionFailed`](crate::DescriptionFailed).
pub const DESCRIPTION_FAILED: u16 = 9;
/// Kind of [`ImagePurged`](crate::ImagePurged).
pub const IMAGE_PURGED: u16 = 10;
/// Kind of [`RecorderStarted`](crate::RecorderStarted).
pub const RECORDER_STARTED: u16 = 11;
/// Kind of [`RecorderStopped`](crate::RecorderStopped).
pub const RECORDER_STOPPED: u16 = 12;
/// Kind of [`StorageWarning`](crate::StorageWarning).
pub const STORAGE_WARNING: u16 = 13;
/// Kind of [`DeliveryFailed`](crate::DeliveryFailed).
pub const DELIVERY_FAILED: u16 = 14;

/// One row of the table of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindInfo {
    /// Its number in the journal.
    pub number: u16,
    /// The version that this program writes; it reads this one and every earlier one down to 1.
    pub version: u16,
    /// Its name, as `replay cat` prints it.
    pub name: &'static str,
}

/// Every kind this program knows, in the order of the numbers.
pub const TABLE: &[KindInfo] = &[
    KindInfo { number: EVENT_DETECTED, version: 2, name: "EventDetected" },
    KindInfo { number: EVENT_ENDED, version: 1, name: "EventEnded" },
    KindInfo { number: CAMERA_MINUTE, version: 1, name: "CameraMinute" },
    KindInfo { number: CAMERA_LOST, version: 1, name: "CameraLost" },
    KindInfo { number: CAMERA_FOUND, version: 1, name: "CameraFound" },
    KindInfo { number: DETECTOR_FAILED, version: 1, name: "DetectorFailed" },
    KindInfo { number: DESCRIPTION_ADDED, version: 1, name: "DescriptionAdded" },
    KindInfo { number: DESCRIPTION_DEFERRED, version: 1, name: "DescriptionDeferred" },
    KindInfo { number: DESCRIPTION_FAILED, version: 1, name: "DescriptionFailed" },
    KindInfo { number: IMAGE_PURGED, version: 1, name: "ImagePurged" },
    KindInfo { number: RECORDER_STARTED, version: 1, name: "RecorderStarted" },
    KindInfo { number: RECORDER_STOPPED, version: 1, name: "RecorderStopped" },
    KindInfo { number: STORAGE_WARNING, version: 1, name: "StorageWarning" },
    KindInfo { number: DELIVERY_FAILED, version: 1, name: "DeliveryFailed" },
];

// The table is dense, so that a look-up is an index, and stays out of the journal's range.
const _: () = {
    let mut index = 0;
    while index < TABLE.len() {
        assert!(TABLE[index].number as usize == index + 1);
        assert!(TABLE[index].number < RESERVED_FROM);
        assert!(TABLE[index].version >= 1);
        index += 1;
    }
};

/// The row of `number`; `None` for a kind that this program does not know.
///
/// ```
/// use lenslog_events::kind;
///
/// assert_eq!(kind::find(kind::EVENT_DETECTED).map(|kind| kind.name), Some("EventDetected"));
/// assert_eq!(kind::find(kind::RESERVED_FROM), None);
/// ```
#[must_use]
pub fn find(number: u16) -> Option<&'static KindInfo> {
    usize::from(number).checked_sub(1).and_then(|index| TABLE.get(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_number_and_nothing_else_is() {
        for row in TABLE {
            assert_eq!(find(row.number), Some(row));
        }
        let known = (0..=u16::MAX).filter(|number| find(*number).is_some()).count();
        assert_eq!(known, TABLE.len());
    }

    #[test]
    fn no_two_kinds_share_a_name() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..index].iter().all(|other| other.name != row.name), "{}", row.name);
        }
    }
}
