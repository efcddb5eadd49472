//! Golden files: one payload for every version of every kind that a program ever wrote, kept for ever.
//!
//! `README.md` in this directory explains how to add one. None is ever written again.

mod mirror;
mod values;

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use lenslog_events::testing::strategies;
use lenslog_events::{Event, decode, encode, kind, testing};
use proptest::prelude::*;

use crate::golden::mirror::Mirror;

/// Set to 1, the files that are missing are written, and the run fails so that they are reviewed.
const ADD: &str = "LENSLOG_GOLDEN_ADD";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn stem(kind: u16, version: u16) -> String {
    format!("{}-v{version}", kind::find(kind).unwrap().name)
}

/// What a golden file holds.
fn golden(kind: u16, version: u16) -> Vec<u8> {
    let path = directory().join(stem(kind, version) + ".bin");
    fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; see README.md in its directory", path.display())
    })
}

/// Writes the pair of files for a payload where there is none, and returns whether it did.
fn add_where_missing(kind: u16, version: u16, payload: &[u8]) -> bool {
    let path = directory().join(stem(kind, version));
    let text = readable(&Mirror::read(kind, version, payload).unwrap());
    let pair = [(".bin", payload), (".json", text.as_bytes())];
    pair.map(|(ending, bytes)| {
        // Only ever a new file: what is there is a promise.
        let mut name = path.clone().into_os_string();
        name.push(ending);
        match fs::File::create_new(name) {
            Ok(mut file) => {
                file.write_all(bytes).unwrap();
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                false
            }
        }
    })
    .contains(&true)
}

fn readable(mirror: &Mirror) -> String {
    serde_json::to_string_pretty(mirror).unwrap() + "\n"
}

/// Every golden value by its kind and version, and the bytes its file was made of.
fn every_golden() -> Vec<(u16, u16, Vec<u8>)> {
    let current = values::current().into_iter().map(|event| {
        let encoded = encode(&event);
        (encoded.kind, encoded.version, encoded.payload)
    });
    let past = values::past().into_iter().map(|(kind, version, mirror)| {
        let written = mirror.write();
        (kind, version, written)
    });
    current.chain(past).collect()
}

#[test]
fn the_encoder_writes_the_bytes_of_the_golden_files() {
    for event in values::current() {
        let encoded = encode(&event);
        let bytes = golden(encoded.kind, encoded.version);
        assert!(
            bytes == encoded.payload,
            "{} is written differently: that is a new version",
            stem(encoded.kind, encoded.version)
        );
    }
}

#[test]
fn todays_reader_reads_every_golden_file_as_the_value_it_was_made_of() {
    for event in values::current() {
        let encoded = encode(&event);
        let bytes = golden(encoded.kind, encoded.version);
        assert_eq!(decode(encoded.kind, encoded.version, &bytes), Ok(Some(event)));
    }
    for (kind, version, mirror) in values::past() {
        let bytes = golden(kind, version);
        assert_eq!(decode(kind, version, &bytes), Ok(Some(mirror.into_event())));
    }
}

#[test]
fn bincode_reads_every_golden_file_as_the_same_value_and_writes_the_same_bytes() {
    for (kind, version, _) in every_golden() {
        let bytes = golden(kind, version);
        let mirror = Mirror::read(kind, version, &bytes).unwrap();
        assert!(mirror.write() == bytes, "{}", stem(kind, version));
        let decoded = decode(kind, version, &bytes).unwrap();
        assert_eq!(decoded, Some(mirror.into_event()), "{}", stem(kind, version));
    }
}

#[test]
fn the_text_beside_every_golden_file_says_what_it_holds() {
    for (kind, version, _) in every_golden() {
        let bytes = golden(kind, version);
        let text = fs::read_to_string(directory().join(stem(kind, version) + ".json")).unwrap();
        let mirror = Mirror::read(kind, version, &bytes).unwrap();
        assert_eq!(readable(&mirror), text, "{}", stem(kind, version));
    }
}

#[test]
fn every_version_of_every_kind_has_a_golden_file_and_no_file_is_left_over() {
    if std::env::var_os(ADD).is_some_and(|value| value == "1") {
        let values = every_golden().into_iter();
        let added =
            values.filter(|(kind, version, value)| add_where_missing(*kind, *version, value));
        assert_eq!(added.count(), 0, "files were added: look at them and commit them");
    }
    let expected = kind::TABLE.iter().flat_map(|row| {
        (1..=row.version).flat_map(|version| {
            ["bin", "json"].map(|ending| format!("{}.{ending}", stem(row.number, version)))
        })
    });
    let found = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".bin") || name.ends_with(".json"));
    assert_eq!(found.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
}

#[test]
fn version_1_of_event_detected_knows_no_camera_name_and_expects_no_description() {
    let bytes = fs::read(directory().join("EventDetected-v1.bin")).unwrap();
    let Ok(Some(Event::Detected(event))) = decode(kind::EVENT_DETECTED, 1, &bytes) else {
        panic!("version 1 is not read");
    };
    assert_eq!(event.event_id, "evt_0192f0c1-2d3e-7abc-8def-0123456789ab");
    assert_eq!(event.camera_name, None);
    assert!(!event.description_expected);
    assert_eq!(event.detected_objects[0].label, "person");
    assert_eq!(event.metadata["frame"], 1234);
}

proptest! {
    #![proptest_config(testing::config(512))]

    #[test]
    fn bincode_reads_and_writes_any_event_as_wincode_does(event in strategies::event()) {
        let encoded = encode(&event);
        let mirror = Mirror::read(encoded.kind, encoded.version, &encoded.payload).unwrap();
        prop_assert_eq!(mirror.write(), encoded.payload);
        prop_assert_eq!(mirror.into_event(), event);
    }
}
