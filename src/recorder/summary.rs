//! What a session leaves behind, in words.

use std::fmt::Write as _;
use std::path::Path;

use lenslog_tools::counted as plural;

use super::{Lost, Session};
use crate::config::Config;

/// The summary of a session, for the end of its output.
#[must_use]
pub fn summary(config: &Config, session: &Session) -> String {
    let Session { counted, last_event, reason, .. } = session;
    let uptime_s = session.uptime.as_secs().max(1);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\nRecorded for {uptime_s} s, ended by {reason}.");
    let _ = writeln!(
        text,
        "  {} looked at, {} dropped, {} could not be decoded",
        plural(counted.frames, "frame"),
        counted.frames_dropped,
        plural(counted.pictures_lost, "picture")
    );
    let suppressed: u64 = counted.suppressed.values().sum();
    let (events, sightings) = (plural(counted.events, "event"), plural(suppressed, "sighting"));
    let _ = writeln!(text, "  {events}, {sightings} that made none");
    for (reason, count) in &counted.suppressed {
        let _ = writeln!(text, "    {count:>8} {}", reason.replace('_', " "));
    }
    if counted.journal_errors + counted.image_errors > 0 {
        let _ = writeln!(
            text,
            "  {} had to wait for the journal, {} could not be written",
            plural(counted.journal_errors, "event"),
            plural(counted.image_errors, "picture")
        );
    }
    lost(&mut text, &session.lost);
    let data = &config.storage.data_dir;
    let day = last_event
        .as_ref()
        .map_or_else(|| "DAY".to_owned(), |event| event.timestamp.day().to_string());
    let days = data.join("events").join(day);
    let _ = writeln!(text, "\nWhat there is to look at:");
    for (name, path) in [
        ("events.db", config.storage.db_path.clone()),
        ("events.json", days.join("events.json")),
        ("events.log", days.join("events.log")),
    ] {
        let _ = writeln!(text, "  {name:<12} {}", shown(&path));
    }
    let program = program();
    let flag = data_flag(data);
    match last_event {
        Some(event) => {
            let block = lenslog_projections::plaintext_block(event);
            let _ = writeln!(text, "\nThe last event:\n\n{}", block.trim_end());
            let _ = writeln!(text, "\nNext: {program} events{flag} --limit 5");
        }
        None => {
            let _ = writeln!(text, "\nThere was no event. Next: {program} why{flag} --at now");
        }
    }
    text
}

/// What did not get into the journal, by number and as far as possible by name.
fn lost(text: &mut String, lost: &Lost) {
    if !lost.is_any() {
        return;
    }
    let Lost { events, records, named } = lost;
    let lost = format!("{} and {}", plural(*events, "event"), plural(*records, "other record"));
    let _ = writeln!(text, "  LOST: {lost}, which the journal could not take");
    for event in named {
        let _ =
            writeln!(text, "    {} of {} at {}", event.event_id, event.camera_id, event.timestamp);
    }
    let more = events.saturating_sub(named.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "    and {more} more");
    }
}

/// A path as it can be pasted into a shell.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn data_flag(data: &Path) -> String {
    if data == Path::new("data") { String::new() } else { format!(" --data {}", data.display()) }
}

/// How this program was called, so that what is printed can be typed.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_else(|| "lenslog".to_owned());
    let path = Path::new(&called);
    match path.strip_prefix(std::env::current_dir().unwrap_or_default()) {
        Ok(relative) => format!("./{}", relative.display()),
        Err(_) => called,
    }
}
