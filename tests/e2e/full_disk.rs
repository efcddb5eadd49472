//! A disk that runs full under the programs: they say so and go on; none is killed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::disk::Disk;
use crate::harness::{TestEnv, lines};

/// A small ext4 of its own. Its blocks are smaller than a page of memory, as those of every small ext4 are: what is
/// mapped there may lie on no block when the disk is full.
fn ext4() -> Option<Disk> {
    Disk::new("ext4", 24 << 20, &["-b", "1024"], "")
}

/// Locks a file on another disk that has the inode number of this one.
fn lock_namesake(file: &Path, elsewhere: &Disk) -> fs::File {
    let wanted = file.metadata().unwrap().ino();
    loop {
        let made = tempfile::NamedTempFile::new_in(&elsewhere.point).unwrap();
        let (made, _) = made.keep().unwrap();
        if made.metadata().unwrap().ino() == wanted {
            rustix::fs::fcntl_lock(&made, rustix::fs::FlockOperation::LockShared).unwrap();
            return made;
        }
    }
}

#[test]
fn a_disk_that_runs_full_stops_no_program_and_loses_nothing() {
    // Faster than anybody looks at how much room there is.
    let mut env = TestEnv::new().with("LENSLOG__STORAGE__STORAGE_CHECK_INTERVAL", "1000000");
    let Some(disk) = ext4() else { return };
    env.data = disk.point.join("data");
    // More than fits; the first ones are acknowledged.
    env.ingest(&lines(0..30_000)).expect(3).says("the storage limit is exceeded");
    // Another program takes the rest.
    let path = disk.point.join("filler");
    let mut filler = fs::File::create(path).unwrap();
    while std::io::Write::write_all(&mut filler, &[7; 1024]).is_ok() {}
    assert_eq!(disk.free_bytes(), 0);
    let journaled = env.journaled_ids();
    assert!(!journaled.is_empty());
    let Some(elsewhere) = ext4() else { return };
    let _locked = lock_namesake(&env.data.join("events.db-shm"), &elsewhere);
    env.verify_without_room();
    for args in [&["events", "--limit", "3"][..], &["status"], &["ingest"]] {
        assert!(env.run(args).code.is_some(), "{args:?} was killed");
    }
    env.run(&["replay", "rebuild"]).expect(3);

    // On a larger disk everything catches up.
    let copy = env.copy();
    copy.ingest(&[]).expect(0);
    copy.verify();
    assert_eq!(copy.journaled_ids(), journaled);
    assert_eq!(copy.projected().row_ids(), journaled);
}

#[test]
fn the_database_is_read_however_full_the_disk_is() {
    let mut env = TestEnv::new();
    let Some(disk) = ext4() else { return };
    env.data = disk.point.join("data");
    let mut recording = env.record(&["--source", "test:"]);
    env.ingest(&lines(0..500)).expect(0);
    // It leaves a log, and no index of it.
    recording.child.kill().unwrap();
    recording.child.wait().unwrap();
    assert!(env.data.join("events.db-wal").metadata().unwrap().len() > 0);
    let filler = disk.point.join("filler");
    let room = 600 << 10;
    fs::write(&filler, vec![7; (disk.free_bytes() - room) as usize]).unwrap();
    while disk.free_bytes() > 0 {
        let _ = fs::remove_file(env.data.join("events.db-shm"));
        assert!(env.run(&["status"]).code.is_some(), "status was killed");
        let ran = env.run(&["events", "--limit", "1"]);
        assert_eq!(ran.code, Some(0), "{} free: {}", disk.free_bytes(), ran.err);
        env.verify_without_room();
        // Less and less: the disk may be full at any point of what they do.
        let more = disk.free_bytes().min(16 << 10) as usize;
        let path = disk.point.join(format!("filler-{}", disk.free_bytes()));
        fs::write(path, vec![7; more]).unwrap_or_default();
    }
}

#[test]
fn a_btrfs_that_runs_full_under_cameras_and_ingest_kills_nobody() {
    // It writes elsewhere than over what it has, also what is mapped into memory.
    let Some(disk) = Disk::new("btrfs", 128 << 20, &[], "") else { return };
    let mut env = TestEnv::new().with("LENSLOG__STORAGE__STORAGE_CHECK_INTERVAL", "1000000");
    env.data = disk.point.join("data");
    fs::create_dir(&env.data).unwrap();
    let config = env.path("lenslog.toml");
    let text = "[cameras.one]\nsource = \"test:\"\n[cameras.two]\nsource = \"test:\"\n";
    fs::write(&config, text).unwrap();
    let env = env.with("LENSLOG_CONFIG", config.to_str().unwrap());
    let recording = env.record(&["--no-pace"]);
    let ingested = env.ingest(&lines(0..150_000));
    assert!(ingested.code.is_some(), "ingest was killed");
    let ran = recording.ended();
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(env.run(&["replay", "verify"]).code.is_some(), "verify was killed");
    let copy = env.copy();
    copy.ingest(&[]).expect(0);
    copy.verify();
}
