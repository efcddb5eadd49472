//! What people do to the files of a journal: copies restored over it, segments renamed, hard links, two hosts at once. Each
//! acknowledged event stays readable, and files of others stay as they are.

use std::fs;
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;

use crate::disk::did;
use crate::harness::{Ran, TIMEOUT, TestEnv, is_installed, lacks, lines_of};
use crate::obstacles::{USER, as_user};

/// A test environment with small segments.
fn env() -> TestEnv {
    TestEnv::new().with("LENSLOG__STORAGE__MAX_STORAGE_GB", "0.02")
}

/// Lines for ingest; `text` makes those of different labs differ in length.
fn events(range: Range<usize>, text: &str) -> Vec<String> {
    let padding = "x".repeat(300);
    let line = |number: usize| {
        serde_json::json!({
            "timestamp": "2026-11-10T08:00:00Z",
            "camera_id": "door",
            "event_id": format!("e{number}"),
            "detected_objects": [{"label": "person", "confidence": 0.9}],
            "llm_description": format!("{padding}{text}"),
        })
        .to_string()
    };
    range.map(line).collect()
}

fn ids(range: Range<usize>) -> Vec<String> {
    range.map(|number| format!("e{number}")).collect()
}

/// Appends events; every one is acknowledged.
#[track_caller]
fn acknowledge(env: &TestEnv, range: Range<usize>) -> Ran {
    let count = range.len();
    let input = events(range, "").join("\n") + "\n";
    let ran = env.feed(&["ingest", "--ack"], input.as_bytes()).expect(0);
    assert_eq!(ran.out.lines().count(), count, "{}", ran.err);
    ran
}

/// The segments in a data directory, and what else has such a name.
fn segments(data: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data.join("journal")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// Gives a segment's path another day.
fn of_day(segment: &Path, day: &str) -> PathBuf {
    let name = segment.file_name().unwrap().to_str().unwrap();
    let (seq, _) = name.split_once('-').unwrap();
    segment.with_file_name(format!("{seq}-{day}.seg"))
}

/// Copies a segment to a name that nothing has.
fn put(from: &Path, to: PathBuf) -> PathBuf {
    assert!(!to.exists(), "{} is there", to.display());
    fs::copy(from, &to).unwrap();
    to
}

/// Checks a journal that holds the events `acknowledged`, in that order, beside a file that is no part of it.
#[track_caller]
fn check_beside(env: &TestEnv, stray: &Path, acknowledged: Range<usize>) {
    let bytes = fs::read(stray).unwrap();
    let mut expected = ids(acknowledged);
    assert_eq!(env.journaled_ids(), expected, "before anything is written");
    acknowledge(env, 40_001..40_051);
    expected.extend(ids(40_001..40_051));
    assert_eq!(env.journaled_ids(), expected, "after an append");
    assert_eq!(env.projected().row_ids(), expected);
    env.run(&["replay", "rebuild"]).expect(0);
    assert_eq!(env.projected().row_ids(), expected, "after a rebuild");
    assert!(!env.data.join("events.db.old-1").exists());
    let copy = TestEnv::new();
    env.run(&["replay", "backup", copy.data.to_str().unwrap()]).expect(0);
    assert_eq!(copy.journaled_ids(), expected, "in a backup");
    copy.verify();
    env.run(&["replay", "repair"]).expect(0);
    let ran = env.run(&["record", "--source", "test:", "--duration", "1s"]).expect(0);
    let name = stray.file_name().unwrap().to_str().unwrap();
    let warned = ran.err.lines().any(|line| line.contains("WARN") && line.contains(name));
    assert!(warned, "{}", ran.err);
    let after = env.journaled_ids();
    assert_eq!(after[..expected.len()], expected, "after a recording");
    assert_eq!(fs::read(stray).unwrap(), bytes, "a file of others is changed");
}

/// Checks that `status`, with a recorder and without one, and `verify` name a file that is no part of the journal, and how
/// `verify` ends.
#[track_caller]
fn check_named(env: &TestEnv, stray: &Path, standing: &str, code: i32) {
    let named = format!("{}: {standing}", stray.display());
    env.run(&["status"]).expect(1).says(&named);
    env.run(&["replay", "verify"]).expect(code).says(&named);
    fs::create_dir(env.path("pictures")).unwrap();
    let source = format!("dir:{}", env.path("pictures").display());
    let mut recording = env.record(&["--source", &source]);
    if !recording.said.contains(&named) {
        recording.wait_for(&named);
    }
    let line = recording.said.lines().find(|line| line.contains(&named)).unwrap();
    assert!(line.contains("WARN  health: journal"), "{line}");
    env.run(&["status"]).expect(1).says("running, process").says(&named);
    // What was moved away is not named any longer.
    fs::rename(stray, env.path("moved")).unwrap();
    let status = env.run(&["status"]);
    assert!(!status.out.contains(&named), "{}", status.out);
    fs::rename(env.path("moved"), stray).unwrap();
    recording.stop().expect(0);
    fs::remove_dir(env.path("pictures")).unwrap();
}

/// r01: the active segment is copied under the name of another day.
fn copy_under_another_day(day: &str) -> (TestEnv, PathBuf) {
    let env = env();
    env.ingest(&events(1..3001, "")).expect(0);
    let newest = segments(&env.data).pop().unwrap();
    let stray = put(&newest, of_day(&newest, day));
    (env, stray)
}

#[test]
fn a_copy_under_a_later_day_hides_no_event() {
    let (env, stray) = copy_under_another_day("2099-12-01");
    check_beside(&env, &stray, 1..3001);
}

#[test]
fn a_copy_under_an_earlier_day_hides_no_event() {
    let (env, stray) = copy_under_another_day("2026-11-01");
    check_beside(&env, &stray, 1..3001);
}

#[test]
fn a_copy_under_another_day_is_superseded() {
    for day in ["2099-12-01", "2026-11-01"] {
        let (env, stray) = copy_under_another_day(day);
        check_named(&env, &stray, "superseded", 1);
    }
}

/// r02: one segment of a restored copy that went its own way is copied into the journal.
fn segment_of_a_copy(number: usize) -> (TestEnv, PathBuf) {
    let env = env();
    env.ingest(&events(1..1501, "")).expect(0);
    let copy = self::env();
    env.run(&["replay", "backup", copy.data.to_str().unwrap()]).expect(0);
    copy.ingest(&events(30_001..31_701, "")).expect(0);
    env.ingest(&events(1501..3301, "")).expect(0);
    let from = segments(&copy.data).swap_remove(number - 1);
    let stray = put(&from, env.data.join("journal").join(from.file_name().unwrap()));
    (env, stray)
}

#[test]
fn the_third_segment_of_a_restored_copy_hides_no_event() {
    let (env, stray) = segment_of_a_copy(3);
    check_beside(&env, &stray, 1..3301);
}

#[test]
fn the_fourth_segment_of_a_restored_copy_hides_no_event() {
    let (env, stray) = segment_of_a_copy(4);
    check_beside(&env, &stray, 1..3301);
}

#[test]
fn a_segment_of_a_restored_copy_is_forked() {
    for number in [3, 4] {
        let (env, stray) = segment_of_a_copy(number);
        check_named(&env, &stray, "forked", 5);
    }
}

/// A segment of another journal is copied into this one, among its segments or after them.
fn segment_of_another_journal(events_there: usize) -> (TestEnv, PathBuf) {
    let (env, other) = (env(), env());
    env.ingest(&events(1..3001, "")).expect(0);
    other.ingest(&events(1..events_there, "longer than those of the other journal")).expect(0);
    let from = segments(&other.data).pop().unwrap();
    let stray = put(&from, env.data.join("journal").join(from.file_name().unwrap()));
    (env, stray)
}

#[test]
fn a_segment_of_another_journal_hides_no_event() {
    for events_there in [1801, 4001] {
        let (env, stray) = segment_of_another_journal(events_there);
        check_beside(&env, &stray, 1..3001);
    }
}

#[test]
fn a_segment_of_another_journal_is_foreign() {
    for events_there in [1801, 4001] {
        let (env, stray) = segment_of_another_journal(events_there);
        check_named(&env, &stray, "foreign", 1);
    }
}

/// Repairs a journal of 3,000 events, some of which count as lost until then.
#[track_caller]
fn check_repaired(env: &TestEnv, names: &[PathBuf]) {
    assert!(env.journaled_ids().len() < 3000, "nothing is missing");
    env.run(&["replay", "verify"]).expect(5);
    // Where the loss is journaled first, it is reported until its segments are pruned.
    let later = env.copy();
    env.run(&["replay", "repair"]).expect(0).says("renamed to");
    assert_eq!(segments(&env.data), names);
    assert_eq!(env.journaled_ids(), ids(1..3001));
    acknowledge(env, 3001..3011);
    assert_eq!(env.journaled_ids(), ids(1..3011));
    env.verify();
    check_repaired_late(&later);
}

/// Repairs a journal that was written and read meanwhile, so that the loss is in it.
#[track_caller]
fn check_repaired_late(env: &TestEnv) {
    acknowledge(env, 3001..3011);
    env.run(&["replay", "rebuild"]).expect(5);
    assert_eq!(env.projected().row_ids(), ids(1..3011), "a rebuild replaces nothing");
    env.run(&["replay", "repair"]).says("renamed to");
    assert_eq!(env.journaled_ids(), ids(1..3011));
    env.run(&["replay", "rebuild"]).expect(0);
    env.verify();
    assert_eq!(env.projected().row_ids(), ids(1..3011));
}

#[test]
fn repair_renames_a_misnamed_segment() {
    let env = env();
    env.ingest(&events(1..3001, "")).expect(0);
    let names = segments(&env.data);
    fs::rename(&names[1], names[1].with_file_name("00000000000000000077-2026-11-02.seg")).unwrap();
    check_repaired(&env, &names);
}

#[test]
fn repair_renames_two_segments_that_were_swapped() {
    let env = env();
    env.ingest(&events(1..3001, "")).expect(0);
    let names = segments(&env.data);
    let aside = env.path("aside");
    fs::rename(&names[0], &aside).unwrap();
    fs::rename(&names[1], &names[0]).unwrap();
    fs::rename(&aside, &names[1]).unwrap();
    check_repaired(&env, &names);
}

#[test]
fn a_misnamed_segment_is_named_with_its_remedy() {
    let env = env();
    env.ingest(&events(1..3001, "")).expect(0);
    let names = segments(&env.data);
    let misnamed = names[1].with_file_name("00000000000000000077-2026-11-02.seg");
    fs::rename(&names[1], &misnamed).unwrap();
    check_named(&env, &misnamed, "misnamed", 5);
}

/// `cp -al`: a copy of a directory whose files are the same.
fn link_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_tree(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            let linked = fs::hard_link(entry.path(), target).map_err(|error| error.kind());
            // A temporary file may be gone by now.
            assert!(matches!(linked, Ok(()) | Err(ErrorKind::NotFound)), "{entry:?}: {linked:?}");
        }
    }
}

const COMMANDS_THAT_WRITE: [&[&str]; 4] =
    [&["ingest"], &["replay", "repair"], &["replay", "rebuild"], &["rotate"]];

/// r06: a data directory of 6,000 events, and a hard-linked copy made after 1,000 of them.
fn linked() -> (TestEnv, TestEnv) {
    let (env, copy) = (env(), self::env());
    env.ingest(&events(1..1001, "")).expect(0);
    link_tree(&env.data, &copy.data);
    acknowledge(&env, 1001..6001);
    (env, copy)
}

#[test]
fn what_is_done_to_a_hard_linked_copy_leaves_the_original_whole() {
    for args in COMMANDS_THAT_WRITE {
        let (env, copy) = linked();
        copy.run(args);
        assert_eq!(env.journaled_ids(), ids(1..6001), "{args:?}");
        assert_eq!(copy.journaled_ids(), ids(1..1001), "{args:?}");
        env.run(&["replay", "verify"]).says("journal    ok");
        copy.run(&["replay", "verify"]).says("journal    ok");
    }
}

#[test]
fn a_hard_linked_copy_shares_no_projection_with_the_original() {
    for args in COMMANDS_THAT_WRITE {
        let (env, copy) = linked();
        copy.run(args).expect(0);
        env.verify();
        copy.ingest(&[]).expect(0);
        copy.verify();
        env.verify();
    }
}

/// An `ingest --ack` that runs.
struct Ingest {
    child: Child,
    stdin: Option<ChildStdin>,
    acknowledged: Receiver<String>,
    errors: Receiver<String>,
}

impl Ingest {
    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let acknowledged = lines_of(child.stdout.take().unwrap());
        let errors = lines_of(child.stderr.take().unwrap());
        Self { stdin: child.stdin.take(), child, acknowledged, errors }
    }

    fn of(env: &TestEnv) -> Self {
        Self::spawn(env.command(&["ingest", "--ack"]))
    }

    fn feed(&mut self, range: Range<usize>) {
        let input = events(range, "").join("\n") + "\n";
        self.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
    }

    /// The next ids that are acknowledged.
    fn take(&self, count: usize) -> Vec<String> {
        let next = || self.acknowledged.recv_timeout(TIMEOUT).unwrap();
        (0..count).map(|_| id(&next())).collect()
    }

    /// Ends the input. Returns the ids acknowledged since, the exit code and what was said.
    fn end(mut self) -> (Vec<String>, Option<i32>, String) {
        drop(self.stdin.take());
        let ids = self.acknowledged.iter().map(|line| id(&line)).collect();
        let said = self.errors.iter().collect::<Vec<_>>().join("\n");
        (ids, self.child.wait().unwrap().code(), said)
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn id(line: &str) -> String {
    line.split('\t').next().unwrap().to_owned()
}

#[test]
fn hard_linked_copies_under_load_leave_all_whole() {
    let env = env();
    let mut ingest = Ingest::of(&env);
    let mut copies = Vec::new();
    for round in 0..6 {
        ingest.feed(round * 500 + 1..(round + 1) * 500 + 1);
        ingest.take(250);
        let copy = self::env();
        // Half of a batch is written meanwhile.
        link_tree(&env.data, &copy.data);
        copies.push(copy);
        ingest.take(250);
    }
    let (_, code, said) = ingest.end();
    assert_eq!(code, Some(0), "{said}");
    for (round, copy) in copies.iter().enumerate() {
        // The database is one file with the original's, and may be ahead of the copy's journal.
        copy.run(&["replay", "rebuild", "--accept-loss"]).expect(0);
        let found = copy.journaled_ids();
        assert!(found.len() >= round * 500 + 250, "copy {round} has {} events", found.len());
        assert_eq!(found, ids(1..found.len() + 1), "copy {round}");
        copy.verify();
    }
    assert_eq!(env.journaled_ids(), ids(1..3001));
    env.run(&["replay", "verify"]).says("journal    ok");
}

/// A directory that is mounted with bindfs, as another host would see it: locks do not meet there.
pub struct OtherHost(PathBuf);

impl OtherHost {
    pub fn mount(root: &Path, point: PathBuf) -> Option<Self> {
        fs::create_dir(&point).unwrap();
        let is_there = is_installed("bindfs")
            && did("bindfs", &[root.to_str().unwrap(), point.to_str().unwrap()]);
        (!lacks("bindfs or FUSE", is_there)).then_some(Self(point))
    }
}

impl Drop for OtherHost {
    fn drop(&mut self) {
        did("fusermount3", &["-u", "-z", self.0.to_str().unwrap()]);
    }
}

#[test]
fn two_writers_whose_locks_do_not_meet_lose_no_acknowledged_event() {
    let mut env = env();
    let root = env.path("root");
    fs::create_dir(&root).unwrap();
    let Some(first) = OtherHost::mount(&root, env.path("first")) else { return };
    let Some(second) = OtherHost::mount(&root, env.path("second")) else { return };
    env.data = first.0.join("data");
    let mut ingest = Ingest::of(&env);
    ingest.feed(1..301);
    let mut acknowledged = ingest.take(300);
    env.data = second.0.join("data");
    acknowledge(&env, 1001..1301);
    acknowledged.extend(ids(1001..1301));
    ingest.feed(301..601);
    let (since, code, said) = ingest.end();
    acknowledged.extend(since);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("in use by"), "{said}");
    drop((first, second));
    env.data = root.join("data");
    env.ingest(&[]).expect(0);
    let found = env.journaled_ids();
    let missing: Vec<_> = acknowledged.iter().filter(|id| !found.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?} of {} acknowledged", acknowledged.len());
    // What both wrote is one journal.
    acknowledge(&env, 2001..2011);
    env.verify();
}

/// Gives a directory and all in it to the service.
fn give_to_service(path: &Path) {
    fs::create_dir(path).unwrap();
    chown(path, Some(USER), Some(USER)).unwrap();
}

/// The files below a directory that are not the service's.
fn not_of_service(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let stat = path.symlink_metadata().unwrap();
        if (stat.uid(), stat.gid()) != (USER, USER) {
            found.push(path.clone());
        }
        if stat.is_dir() {
            found.extend(not_of_service(&path));
        }
    }
    found
}

#[test]
fn a_repair_as_root_leaves_files_that_the_service_can_use() {
    if lacks("root", rustix::process::geteuid().is_root()) {
        return;
    }
    let mut env = env();
    let home = env.path("service");
    fs::set_permissions(home.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    give_to_service(&home);
    env.data = home.join("data");
    let mut ingest = Ingest::spawn(as_user(env.command(&["ingest", "--ack"])));
    ingest.feed(1..1301);
    ingest.take(1300);
    ingest.kill();
    env.run(&["replay", "repair"]).expect(0);
    assert_eq!(not_of_service(&home), Vec::<PathBuf>::new());
    for round in 2..5 {
        let first = round * 10_000;
        let mut ingest = Ingest::spawn(as_user(env.command(&["ingest", "--ack"])));
        ingest.feed(first..first + 1500);
        let (acknowledged, code, said) = ingest.end();
        assert_eq!((acknowledged.len(), code), (1500, Some(0)), "{said}");
    }
    assert_eq!(env.journaled_ids().len(), 1300 + 3 * 1500);
    env.verify();
}
