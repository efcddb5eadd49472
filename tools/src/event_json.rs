//! Any event as a JSON value, for `replay cat`.

use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, EventRef, Suppressed, kind};
use lenslog_journal::{ControlRecord, Gap, PrunedThrough, Recovered, Timestamp};
use serde_json::{Map, Value, json};

/// A record as one JSON object: its place, its kind by name, and what it says.
#[must_use]
pub fn record_json(record: &Recorded<Event>, lines: &mut Vec<u8>) -> Value {
    let (name, what) = match &record.fact {
        Fact::Event(event) => (event.kind().name.to_owned(), event_json(event, record, lines)),
        Fact::Journal(system) => system_json(system),
        Fact::Undecodable(error) => (kind_name(record), json!({ "error": error })),
        _ => (kind_name(record), Value::Null),
    };
    json!({
        "seq": record.seq.0,
        "time": record.time.to_string(),
        "day": record.day.to_string(),
        "kind": name,
        "version": record.version,
        "record": what,
    })
}

fn kind_name(record: &Recorded<Event>) -> String {
    kind::find(record.kind.0)
        .map_or_else(|| format!("{:#06x}", record.kind.0), |info| info.name.to_owned())
}

fn event_json(event: &Event, record: &Recorded<Event>, line: &mut Vec<u8>) -> Value {
    let time = |time: &Timestamp| Value::String(time.to_string());
    match event {
        Event::Detected(detected) => {
            line.clear();
            lenslog_events::render_event_in_full(line, detected, record.seq, "");
            let mut value: Value = serde_json::from_slice(line).unwrap_or_default();
            if let Some(fields) = value.as_object_mut() {
                fields.remove("json_log_path");
                fields.remove("seq");
                fields.insert("description_expected".into(), detected.description_expected.into());
            }
            value
        }
        Event::Ended(ended) => with_event(
            &ended.event,
            json!({ "last_seen": time(&ended.last_seen), "sightings": ended.sightings }),
        ),
        Event::CameraMinute(minute) => {
            let count =
                |suppressed: &Suppressed| (suppressed.reason.clone(), suppressed.count.into());
            let suppressed: Map<String, Value> = minute.suppressed.iter().map(count).collect();
            json!({
                "camera_id": minute.camera_id,
                "minute": time(&minute.minute),
                "frames": minute.frames,
                "dropped": minute.dropped,
                "max_motion": minute.max_motion,
                "best_label": minute.best_label,
                "best_confidence": minute.best_confidence,
                "suppressed": suppressed,
            })
        }
        Event::CameraLost(lost) => {
            json!({ "camera_id": lost.camera_id, "at": time(&lost.at), "reason": lost.reason })
        }
        Event::CameraFound(found) => {
            json!({ "camera_id": found.camera_id, "at": time(&found.at) })
        }
        Event::DeliveryFailed(failed) => {
            json!({ "delivery": failed.delivery, "at": time(&failed.at), "reason": failed.reason })
        }
        Event::DetectorFailed(failed) => {
            json!({ "camera_id": failed.camera_id, "at": time(&failed.at), "reason": failed.reason })
        }
        Event::DescriptionAdded(added) => with_event(
            &added.event,
            json!({
                "llm_description": added.llm_description,
                "model": added.model,
                "duration_ms": added.duration_ms,
            }),
        ),
        Event::DescriptionDeferred(deferred) => with_event(&deferred.event, json!({})),
        Event::DescriptionFailed(failed) => {
            with_event(&failed.event, json!({ "reason": failed.reason }))
        }
        Event::ImagePurged(purged) => {
            with_event(&purged.event, json!({ "image_path": purged.image_path }))
        }
        Event::RecorderStarted(started) => json!({
            "at": time(&started.at),
            "version": started.version,
            "time_zone": started.time_zone,
            "cameras": started.cameras,
        }),
        Event::RecorderStopped(stopped) => json!({
            "at": time(&stopped.at),
            "reason": stopped.reason,
            "uptime_s": stopped.uptime_s,
            "events": stopped.events,
        }),
        Event::StorageWarning(warning) => json!({
            "at": time(&warning.at),
            "level": format!("{:?}", warning.level).to_lowercase(),
            "used_bytes": warning.used_bytes,
            "limit_bytes": warning.limit_bytes,
        }),
        _ => Value::Null,
    }
}

fn with_event(event: &EventRef, mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.insert("event_id".into(), event.event_id.clone().into());
        fields.insert("event_seq".into(), event.event_seq.0.into());
        fields.insert("event_day".into(), event.event_day.to_string().into());
    }
    value
}

fn system_json(system: &ControlRecord) -> (String, Value) {
    let (name, value) = match system {
        ControlRecord::Recovered(Recovered {
            kept_to,
            bytes,
            records_salvaged,
            proof_missing,
            damaged,
        }) => (
            "Recovered",
            json!({
                "kept_to": kept_to.0,
                "bytes": bytes,
                "records_carried": records_salvaged,
                "proof_missing": proof_missing,
                "damaged": damaged,
            }),
        ),
        ControlRecord::Gap(Gap { range, segment, offset, upper_bound_unknown }) => (
            "Gap",
            json!({
                "from": range.from.0,
                "to": range.to.0,
                "segment": lenslog_journal::SegmentName { base: segment.0, day: segment.1 }.file_name(),
                "offset": offset,
                "upper_bound_unknown": upper_bound_unknown,
            }),
        ),
        ControlRecord::PrunedThrough(PrunedThrough { day, wrong_from, segments }) => (
            "PrunedThrough",
            json!({
                "day": day.to_string(),
                "wrong_from": wrong_from.map(|from| from.to_string()),
                "segments": segments.iter().map(|s| [s.range.from.0, s.range.to.0]).collect::<Vec<_>>(),
            }),
        ),
        ControlRecord::ClockStepped(stepped) => (
            "ClockStepped",
            json!({ "expected": stepped.expected.to_string(), "found": stepped.found.to_string() }),
        ),
        _ => ("Unknown", Value::Null),
    };
    (name.to_owned(), value)
}
