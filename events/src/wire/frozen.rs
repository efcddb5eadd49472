//! The wire structs whose fields are those of their event, each with both conversions from one list of fields.
//!
//! A list here is frozen once a release has written it. A domain type that changes no longer compiles against its list:
//! its event then needs a struct of the next version, and an upcast from this one.

use lenslog_journal::{Day, Seq, Timestamp};
use wincode::{SchemaRead, SchemaWrite};

use super::Sequence;
use crate::{
    BoundingBox, CameraFound, CameraLost, CameraMinute, DeliveryFailed, DescriptionAdded,
    DescriptionDeferred, DescriptionFailed, DetectedObject, DetectorFailed, EventEnded, EventRef,
    ImagePurged, RecorderStarted, RecorderStopped, StorageLevel, StorageWarning, Suppressed,
};

/// The form of a domain type on the wire. It borrows texts from the event, or from the payload.
pub(crate) trait Wire<'a, Domain> {
    fn of(domain: &'a Domain) -> Self;
    fn into_domain(self) -> Domain;
}

/// Defines wire structs: both conversions name every field of the domain type, and no other.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident $(<$borrow:lifetime>)? for $domain:ident {
        $($field:ident: $type:ty,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, SchemaWrite, SchemaRead)]
        pub(crate) struct $name $(<$borrow>)? {
            $($field: $type,)*
        }

        impl<'a> Wire<'a, $domain> for wire!(@type $name $($borrow)?) {
            fn of($domain { $($field,)* }: &'a $domain) -> Self {
                Self { $($field: Wire::of($field),)* }
            }

            fn into_domain(self) -> $domain {
                $domain { $($field: Wire::into_domain(self.$field),)* }
            }
        }
    )*};
    (@type $name:ident) => { $name };
    (@type $name:ident $borrow:lifetime) => { $name<$borrow> };
}

wire! {
    /// A [`Timestamp`].
    Time for Timestamp {
        utc_micros: i64,
        offset_minutes: i16,
    }

    /// An [`EventRef`].
    ReferenceV1<'a> for EventRef {
        event_seq: u64,
        event_day: i32,
        event_id: &'a str,
    }

    /// A [`DetectedObject`], as versions 1 and 2 of `EventDetected` have it.
    ObjectV1<'a> for DetectedObject {
        label: &'a str,
        confidence: f64,
        bbox: BoxV1,
    }

    /// A [`BoundingBox`].
    BoxV1 for BoundingBox {
        x: f64,
        y: f64,
        width: f64,
        height: f64,
    }

    /// `EventEnded`, version 1.
    EventEndedV1<'a> for EventEnded {
        event: ReferenceV1<'a>,
        last_seen: Time,
        sightings: u64,
    }

    /// `CameraMinute`, version 1.
    CameraMinuteV1<'a> for CameraMinute {
        camera_id: &'a str,
        minute: Time,
        frames: u64,
        dropped: u64,
        max_motion: f64,
        best_label: Option<&'a str>,
        best_confidence: Option<f64>,
        suppressed: Sequence<SuppressedV1<'a>>,
    }

    /// A [`Suppressed`].
    SuppressedV1<'a> for Suppressed {
        reason: &'a str,
        count: u64,
    }

    /// `CameraLost`, version 1.
    CameraLostV1<'a> for CameraLost {
        camera_id: &'a str,
        at: Time,
        reason: &'a str,
    }

    /// `CameraFound`, version 1.
    CameraFoundV1<'a> for CameraFound {
        camera_id: &'a str,
        at: Time,
    }

    /// `DetectorFailed`, version 1.
    DetectorFailedV1<'a> for DetectorFailed {
        camera_id: Option<&'a str>,
        at: Time,
        reason: &'a str,
    }

    /// `DescriptionAdded`, version 1.
    DescriptionAddedV1<'a> for DescriptionAdded {
        event: ReferenceV1<'a>,
        llm_description: &'a str,
        model: &'a str,
        duration_ms: u64,
    }

    /// `DescriptionDeferred`, version 1.
    DescriptionDeferredV1<'a> for DescriptionDeferred {
        event: ReferenceV1<'a>,
    }

    /// `DescriptionFailed`, version 1.
    DescriptionFailedV1<'a> for DescriptionFailed {
        event: ReferenceV1<'a>,
        reason: &'a str,
    }

    /// `ImagePurged`, version 1.
    ImagePurgedV1<'a> for ImagePurged {
        event: ReferenceV1<'a>,
        image_path: &'a str,
    }

    /// `RecorderStarted`, version 1.
    RecorderStartedV1<'a> for RecorderStarted {
        at: Time,
        version: &'a str,
        time_zone: &'a str,
        cameras: Sequence<&'a str>,
    }

    /// `RecorderStopped`, version 1.
    RecorderStoppedV1<'a> for RecorderStopped {
        at: Time,
        reason: &'a str,
        uptime_s: u64,
        events: u64,
    }

    /// `StorageWarning`, version 1.
    StorageWarningV1 for StorageWarning {
        at: Time,
        level: LevelV1,
        used_bytes: u64,
        limit_bytes: u64,
    }

    /// `DeliveryFailed`, version 1.
    DeliveryFailedV1<'a> for DeliveryFailed {
        delivery: &'a str,
        at: Time,
        reason: Option<&'a str>,
    }
}

/// A [`StorageLevel`], numbered in this order. A new level needs a new version of `StorageWarning`.
#[derive(Debug, Clone, Copy, SchemaWrite, SchemaRead)]
enum LevelV1 {
    Normal,
    Approaching,
    Rotating,
    Exceeded,
}

impl<'a> Wire<'a, StorageLevel> for LevelV1 {
    fn of(level: &'a StorageLevel) -> Self {
        match level {
            StorageLevel::Normal => Self::Normal,
            StorageLevel::Approaching => Self::Approaching,
            StorageLevel::Rotating => Self::Rotating,
            StorageLevel::Exceeded => Self::Exceeded,
        }
    }

    fn into_domain(self) -> StorageLevel {
        match self {
            Self::Normal => StorageLevel::Normal,
            Self::Approaching => StorageLevel::Approaching,
            Self::Rotating => StorageLevel::Rotating,
            Self::Exceeded => StorageLevel::Exceeded,
        }
    }
}

/// Types that are the same on the wire, and those that hold one.
macro_rules! wire_value {
    ($($wire:ty => $domain:ty: $of:expr, $into:expr;)*) => {$(
        impl<'a> Wire<'a, $domain> for $wire {
            fn of(domain: &'a $domain) -> Self {
                let of: fn(&'a $domain) -> Self = $of;
                of(domain)
            }

            fn into_domain(self) -> $domain {
                let into: fn(Self) -> $domain = $into;
                into(self)
            }
        }
    )*};
}

wire_value! {
    bool => bool: |value| *value, |wire| wire;
    i16 => i16: |value| *value, |wire| wire;
    i64 => i64: |value| *value, |wire| wire;
    u64 => u64: |value| *value, |wire| wire;
    f64 => f64: |value| *value, |wire| wire;
    u64 => Seq: |seq| seq.0, Seq;
    i32 => Day: |day| day.0, Day;
    &'a str => String: String::as_str, str::to_owned;
}

impl<'a, W: Wire<'a, D>, D: 'a> Wire<'a, Option<D>> for Option<W> {
    fn of(domain: &'a Option<D>) -> Self {
        domain.as_ref().map(W::of)
    }

    fn into_domain(self) -> Option<D> {
        self.map(W::into_domain)
    }
}

impl<'a, W: Wire<'a, D>, D: 'a> Wire<'a, Vec<D>> for Sequence<W> {
    fn of(domain: &'a Vec<D>) -> Self {
        domain.iter().map(W::of).collect()
    }

    fn into_domain(self) -> Vec<D> {
        self.into_iter().map(W::into_domain).collect()
    }
}
