//! Whatever stands in a checkpoint or in the files: nothing panics, and everything comes right again.

use std::fs;

use lenslog_events::testing::config;
use proptest::prelude::*;

use crate::common::{BOTH, Real};

/// A text with the seal that a checkpoint has.
fn seal(text: &str) -> String {
    format!("{text}crc32 {:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// What may be written in the place of a word.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u64>().prop_map(|number| number.to_string()),
        (0..40_u64).prop_map(|number| number.to_string()),
        Just("18446744073709551615".to_owned()),
        Just("-1".to_owned()),
        Just("2026-11-24".to_owned()),
        Just("9999-12-31".to_owned()),
        Just("events.json".to_owned()),
        Just("0:0".to_owned()),
        Just("keep".to_owned()),
        Just(String::new()),
        "\\PC{0,9}",
    ]
}

/// Lines that a checkpoint may have.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "file", "held", "doomed", "pruned", "keep_old", "next", "last", "logic", "parked",
        "journal",
    ]);
    (name, prop::collection::vec(word(), 0..6))
        .prop_map(|(name, words)| format!("{name} {}", words.join(" ")))
}

#[derive(Debug, Clone)]
enum Change {
    Word(prop::sample::Index, prop::sample::Index, String),
    Insert(prop::sample::Index, String),
    Remove(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), index(), word()).prop_map(|(line, at, word)| Change::Word(line, at, word)),
        2 => (index(), line()).prop_map(|(at, line)| Change::Insert(at, line)),
        1 => index().prop_map(Change::Remove),
    ]
}

fn changed(text: &str, changes: &[Change]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for change in changes {
        match change {
            _ if lines.is_empty() => {}
            Change::Word(line, at, word) => {
                let line = line.index(lines.len());
                let mut words: Vec<_> = lines[line].split(' ').map(str::to_owned).collect();
                let at = at.index(words.len());
                words[at].clone_from(word);
                lines[line] = words.join(" ");
            }
            Change::Insert(at, line) => lines.insert(at.index(lines.len()), line.clone()),
            Change::Remove(at) => {
                lines.remove(at.index(lines.len()));
            }
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
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
            let text = &checkpoint[..checkpoint.rfind("crc32 ").unwrap()];
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
