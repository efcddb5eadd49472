//! Hostile bytes in a checkpoint or in the files: nothing panics, and a rebuild repairs them.

use std::fs;

use lenslog_engine::sealed::seal;
use lenslog_events::testing::config;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::day_files::common::{BOTH, Real};

/// What may be written in the place of a value.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        (0..40_u64).prop_map(Value::from),
        Just(Value::from(u64::MAX)),
        Just(Value::from(-1)),
        Just(Value::Null),
        Just(Value::from(true)),
        Just(json!([])),
        Just(json!({})),
        prop::sample::select(vec!["2026-11-24", "9999-12-31", "old", "lost", ""])
            .prop_map(Value::from),
        "\\PC{0,9}".prop_map(Value::from),
    ]
}

#[derive(Debug, Clone)]
enum Change {
    Replace(prop::sample::Index, Value),
    Append(prop::sample::Index, Value),
    Remove(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), value()).prop_map(|(at, value)| Change::Replace(at, value)),
        1 => (index(), value()).prop_map(|(at, value)| Change::Append(at, value)),
        1 => index().prop_map(Change::Remove),
    ]
}

/// Every value in a JSON document, as the path to it.
fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                paths(value, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                paths(value, &format!("{path}/{name}"), found);
            }
        }
        _ => {}
    }
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut document: Value = serde_json::from_str(text).unwrap();
    for change in changes {
        let mut found = Vec::new();
        paths(&document, "", &mut found);
        let (Change::Replace(at, _) | Change::Append(at, _) | Change::Remove(at)) = change;
        let target = document.pointer_mut(&found[at.index(found.len())]).unwrap();
        match (change, target) {
            (Change::Replace(_, value), target) => *target = value.clone(),
            (Change::Append(_, value), Value::Array(values)) => values.push(value.clone()),
            (Change::Remove(_), Value::Array(values)) => drop(values.pop()),
            (Change::Remove(_), Value::Object(fields)) => {
                let name = fields.keys().next().cloned();
                name.map(|name| fields.remove(&name));
            }
            _ => {}
        }
    }
    format!("{document}\n")
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn no_checkpoint_makes_anything_panic_and_a_rebuild_mends_it(
        changes in prop::collection::vec(change(), 1..4),
        sealed in prop::bool::weighted(0.9),
    ) {
        for kept in BOTH {
            let mut real = Real::with_events(kept);
            real.machine.detect(1, true).unwrap();
            real.machine.prune(0).unwrap();
            real.settle();
            let checkpoint = fs::read_to_string(real.checkpoint()).unwrap();
            let (_, text) = checkpoint.split_once('\n').unwrap();
            let text = changed(text, &changes);
            fs::write(real.checkpoint(), if sealed { seal(&text) } else { text }).unwrap();
            let _ = real.projection().verifier().map(|_| real.differences());
            // What it claims may be wrong in any way; following it must not panic.
            let _ = real.follower().settle();
            real.machine.detect(2, false).unwrap();
            real.machine.describe(real.machine.events[3].clone(), 0).unwrap();
            let _ = real.follower().settle();
            fs::remove_file(real.checkpoint()).unwrap();
            real.settle();
            for (name, _) in real.files() {
                if name.to_string_lossy().contains(".old-") {
                    fs::remove_file(real.data.path().join("events").join(name)).unwrap();
                }
            }
            real.assert_whole();
        }
    }

    #[test]
    fn no_bytes_in_a_file_make_anything_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        keep in any::<prop::sample::Index>(),
        damaged in prop::option::of(0..12_usize),
    ) {
        for kept in BOTH {
            let real = Real::with_events(kept);
            let whole = fs::read(real.events(1)).unwrap();
            let kept_bytes = &whole[..keep.index(whole.len() + 1)];
            fs::write(real.events(1), [kept_bytes, &bytes].concat()).unwrap();
            if let Some(number) = damaged {
                real.machine.damage(real.machine.events[number].event_seq);
            }
            real.differences();
            let _ = real.follower().settle();
            real.differences();
        }
    }
}
