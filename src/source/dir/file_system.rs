//! What can be expected of the file system that a folder is on: events of what others write, times that no sender sets.

use std::path::Path;

/// File systems of which the kernel sees every change, by the numbers of `statfs(2)`.
const LOCAL: [u64; 22] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0xF2F5_2010, // f2fs
    0x4D44,      // vfat
    0x2011_BAB0, // exfat
    0x7366_746E, // ntfs3
    0x5346_544E, // ntfs
    0x482B,      // hfs+
    0x3153_464A, // jfs
    0x5265_4973, // reiserfs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
    0x3434,      // nilfs2
    0x2405_1905, // ubifs
    0x72B6,      // jffs2
    0x9660,      // iso9660
    0x1501_3346, // udf
    0x7371_7368, // squashfs
    0xE0F5_E1E2, // erofs
];

/// What is behind the numbers of the others that are known: each has writers whose changes the kernel does not see.
const SHARED: [(u64, &str); 20] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0x6573_5546, "FUSE or virtiofs"),
    (0x0102_1997, "9P"),
    (0x786F_4256, "a VirtualBox share"),
    (0xBACB_ACBC, "a VMware share"),
    (0x7C7C_6673, "a Parallels share"),
    (OVERLAY, "overlay"),
    (0x6175_6673, "aufs"),
    (0xF15F, "eCryptfs"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
];

/// Changes below it are not seen, but this machine dates its files.
const OVERLAY: u64 = 0x794C_7630;

/// What can be expected of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// Why its folders are read again and again; `None` where the kernel reports every change.
    pub(super) polled_as: Option<&'static str>,
    /// Whether this machine's clock dates the last change of a file.
    pub(super) is_dated_here: bool,
}

impl FileSystem {
    /// That of a folder. One that cannot be asked is taken for a share.
    pub(super) fn of(folder: &Path) -> Self {
        // The type has another width and sign on each architecture: the low 32 bits are the number.
        rustix::fs::statfs(folder)
            .map_or(Self::UNKNOWN, |found| Self::of_number(found.f_type as u64 & 0xFFFF_FFFF))
    }

    const UNKNOWN: Self = Self { polled_as: Some("an unknown file system"), is_dated_here: false };

    fn of_number(number: u64) -> Self {
        if LOCAL.contains(&number) {
            return Self { polled_as: None, is_dated_here: true };
        }
        let name = SHARED.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
        Self { polled_as: name.or(Self::UNKNOWN.polled_as), is_dated_here: number == OVERLAY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_see_is_polled() {
        for (number, polled_as, is_dated_here) in [
            (0xEF53, None, true),
            (0xFE53_4D42, Some("SMB"), false),
            (0x6969, Some("NFS"), false),
            (0x6573_5546, Some("FUSE or virtiofs"), false),
            (OVERLAY, Some("overlay"), true),
            (0x1234_5678, Some("an unknown file system"), false),
        ] {
            assert_eq!(FileSystem::of_number(number), FileSystem { polled_as, is_dated_here });
        }
        assert!(LOCAL.iter().all(|local| SHARED.iter().all(|(shared, _)| local != shared)));
        // What every Linux has.
        assert_eq!(
            FileSystem::of(Path::new("/proc/self")).polled_as,
            Some("an unknown file system")
        );
        assert_eq!(FileSystem::of(Path::new("/no/such")), FileSystem::UNKNOWN);
    }
}
