//! A disk that runs full under the programs: they say so and go on; none is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Lab, lacks, lines};

/// A small ext4 of its own. Its blocks are smaller than a page of memory, as those of every small ext4 are: what is
/// mapped there may lie on no block when the disk is full.
struct Disk(PathBuf);

impl Disk {
    fn mount(lab: &Lab) -> Option<Self> {
        let (image, root) = (lab.path("image"), lab.path("disk"));
        fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
        fs::create_dir(&root).unwrap();
        let made = did("mkfs.ext4", &[Path::new("-q"), Path::new("-b"), Path::new("1024"), &image]);
        let mounted = made && did("mount", &[Path::new("-o"), Path::new("loop"), &image, &root]);
        (!lacks("mkfs.ext4, or the right to mount a loop device,", mounted)).then_some(Self(root))
    }

    fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        did("umount", &[&self.0]);
    }
}

fn did(program: &str, args: &[&Path]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_disk_that_runs_full_stops_no_program_and_loses_nothing() {
    // Faster than anybody looks at how much room there is.
    let mut lab = Lab::new().with("LENSLOG__STORAGE__STORAGE_CHECK_INTERVAL", "1000000");
    let Some(disk) = Disk::mount(&lab) else { return };
    lab.data = disk.0.join("data");
    // More than fits; the first ones are acknowledged.
    lab.ingest(&lines(0..30_000)).expect(3).says("the storage limit is exceeded");
    // Somebody else takes the rest.
    let path = lab.path("disk/filler");
    let mut filler = fs::File::create(path).unwrap();
    while std::io::Write::write_all(&mut filler, &[7; 1024]).is_ok() {}
    assert_eq!(disk.free_bytes(), 0);
    let journaled = lab.journaled_ids();
    assert!(!journaled.is_empty());
    // The database cannot be opened beside its log without room for the log's index; the journal can.
    let verified = lab.run(&["replay", "verify"]);
    assert!(verified.out.contains("journal    ok"), "{}{}", verified.out, verified.err);
    for args in [&["events", "--limit", "3"][..], &["status"], &["ingest"]] {
        assert!(lab.run(args).code.is_some(), "{args:?} was killed");
    }
    lab.run(&["replay", "rebuild"]).expect(2);

    // On a larger disk everything catches up.
    let copy = lab.copy();
    copy.ingest(&[]).expect(0);
    copy.verify();
    assert_eq!(copy.journaled_ids(), journaled);
    assert_eq!(copy.projected().row_ids(), journaled);
}

#[test]
fn whoever_reads_the_database_on_a_full_disk_is_not_killed() {
    let mut lab = Lab::new();
    let Some(disk) = Disk::mount(&lab) else { return };
    lab.data = disk.0.join("data");
    let mut recording = lab.record(&["--source", "test:"]);
    lab.ingest(&lines(0..500)).expect(0);
    // It leaves a log, and no index of it.
    recording.child.kill().unwrap();
    recording.child.wait().unwrap();
    assert!(lab.data.join("events.db-wal").metadata().unwrap().len() > 0);
    let filler = lab.path("disk/filler");
    let room = 600 << 10;
    fs::write(&filler, vec![7; (disk.free_bytes() - room) as usize]).unwrap();
    while disk.free_bytes() > 0 {
        let _ = fs::remove_file(lab.data.join("events.db-shm"));
        for args in [&["events", "--limit", "1"][..], &["replay", "verify"], &["status"]] {
            let ran = lab.run(args);
            assert!(
                ran.code.is_some(),
                "{args:?} was killed with {} bytes free",
                disk.free_bytes()
            );
        }
        // Less and less: the disk may be full at any point of what they do.
        let more = disk.free_bytes().min(16 << 10) as usize;
        let path = lab.path(&format!("disk/filler-{}", disk.free_bytes()));
        fs::write(path, vec![7; more]).unwrap_or_default();
    }
}
