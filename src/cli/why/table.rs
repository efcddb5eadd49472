//! The minutes around a moment in columns: a line a minute and camera, with what happened between them. Pure.

use std::collections::BTreeSet;

use lenslog_journal::Timestamp;

use super::spans::{MINUTE_MICROS, Span};
use super::words::{Answer, line, minute, plain, second, until};

const HEAD: [&str; COLUMNS] =
    ["TIME", "CAMERA", "FRAMES", "DROPPED", "CHANGED", "BEST", "EVENTS", "NO EVENT BECAUSE"];
const COLUMNS: usize = 8;

/// A minute of a camera.
type Row = [String; COLUMNS];

/// The table, and the times in which a camera or the recorder was not there.
pub(super) fn table(answer: &Answer<'_>) -> String {
    let rows = rows(answer);
    let mut text = String::new();
    if rows.is_empty() {
        line(&mut text, "No frame was looked at in these minutes.");
    } else {
        let head = HEAD.map(ToOwned::to_owned);
        let all: Vec<&Row> = [&head].into_iter().chain(&rows).collect();
        let widths = std::array::from_fn(|column| {
            let cells = all.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        });
        all.iter().for_each(|row| line(&mut text, &in_columns(row, widths)));
    }
    for (camera, outages) in &answer.findings.lost {
        let is_wanted = answer.camera.is_none_or(|wanted| wanted == camera);
        for outage in outages.iter().filter(|outage| is_wanted && outage.touches(answer.span)) {
            let until = until(outage, "and it is not back");
            let (camera, from) = (plain(camera), second(outage.from));
            line(
                &mut text,
                &format!("{camera} was away from {from} {until}: {}", plain(&outage.reason)),
            );
        }
    }
    if let Some(camera) = answer.camera.filter(|camera| answer.is_unknown(camera)) {
        line(&mut text, &format!("There is no camera {}.", plain(camera)));
    }
    if let Some(outside) = answer.outside() {
        line(&mut text, &outside.replace("\n  ", "\n"));
    }
    text
}

/// A row for each minute in which a camera delivered or made an event.
fn rows(answer: &Answer<'_>) -> Vec<Row> {
    let findings = answer.findings;
    let start = |time: Timestamp| {
        let utc_micros = time.utc_micros.div_euclid(MINUTE_MICROS).saturating_mul(MINUTE_MICROS);
        Timestamp { utc_micros, ..time }
    };
    let of_minutes = findings.minutes.iter().map(|found| (found.minute, &found.camera_id));
    let of_events =
        findings.events.iter().map(|(_, event)| (start(event.timestamp), &event.camera_id));
    let mut starts: Vec<(Timestamp, &String)> = of_minutes.chain(of_events).collect();
    starts.sort_by_key(|(start, camera)| (start.utc_micros, *camera));
    starts.dedup_by_key(|(start, camera)| (start.utc_micros, *camera));
    starts.into_iter().map(|(start, camera)| row(answer, start, camera)).collect()
}

fn row(answer: &Answer<'_>, start: Timestamp, camera: &str) -> Row {
    let findings = answer.findings;
    let found = findings
        .minutes
        .iter()
        .find(|found| found.minute.utc_micros == start.utc_micros && found.camera_id == camera);
    let number =
        |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let best = found.and_then(|found| Some((found.best_label.as_ref()?, found.best_confidence?)));
    let best = best.map_or_else(
        || "-".to_owned(),
        |(label, confidence)| format!("{} {:.0} %", plain(label), confidence * 100.0),
    );
    let events = findings.events_of(camera, Span::minute(start)).count();
    let suppressed: BTreeSet<String> = found
        .into_iter()
        .flat_map(|found| &found.suppressed)
        .map(|suppressed| format!("{} {}", plain(&suppressed.reason), suppressed.count))
        .collect();
    [
        minute(start),
        plain(camera),
        number(found.map(|found| found.frames)),
        number(found.map(|found| found.dropped)),
        found.map_or_else(|| "-".to_owned(), |found| format!("{:.2} %", found.max_motion)),
        best,
        events.to_string(),
        suppressed.into_iter().collect::<Vec<_>>().join(", "),
    ]
}

fn in_columns(row: &Row, widths: [usize; COLUMNS]) -> String {
    let mut text = String::new();
    for (cell, width) in row.iter().zip(widths) {
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
    }
    text.trim_end().to_owned()
}
