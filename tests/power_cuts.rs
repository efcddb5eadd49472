//! Real file systems lose power under the built program. `tests/power_cut.sh` does it; this runs it, a little.
//!
//! Needs root, xfsprogs and loop devices. Where they are lacking it says so and passes, and with `LENSLOG_TEST_ALL=1` it
//! fails.

use std::path::Path;
use std::process::Command;

/// Cuts of the power; more with `LENSLOG_CUTS=1000`.
const CUTS: &str = "20";
/// What the script ends with where the machine lacks something.
const LACKING: i32 = 77;

#[test]
fn what_was_acknowledged_survives_a_power_cut_on_a_real_file_system() {
    let cuts = std::env::var("LENSLOG_CUTS").unwrap_or_else(|_| CUTS.to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_cut.sh");
    let output =
        Command::new(script).args([env!("CARGO_BIN_EXE_lenslog"), cuts.as_str()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(LACKING) {
        assert!(std::env::var_os("LENSLOG_TEST_ALL").is_none(), "{said}");
        eprintln!("skipped: {said}");
        return;
    }
    assert!(output.status.success(), "{said}{errors}");
    println!("{said}");
}
