#!/usr/bin/python3
"""A file system that passes everything through and fails where CONTROL says: fuse_faults.py ROOT MOUNT CONTROL.

CONTROL is a JSON file that is read again whenever it changes: {"eio_read": [["*/name", from, to], ...]}."""
import errno
import fnmatch
import json
import os
import sys

try:
    from fusepy import FUSE, FuseOSError, Operations
except ImportError:
    from fuse import FUSE, FuseOSError, Operations


class Faults(Operations):
    def __init__(self, root, control):
        self.root, self.control, self.seen, self.faults = root, control, None, {}

    def configured(self):
        stat = os.stat(self.control)
        if self.seen != (stat.st_mtime_ns, stat.st_ino):
            self.seen = (stat.st_mtime_ns, stat.st_ino)
            with open(self.control) as file:
                self.faults = json.load(file)
        return self.faults

    def at(self, path):
        return self.root + path

    def getattr(self, path, fh=None):
        stat = os.lstat(self.at(path))
        names = ("atime", "ctime", "gid", "mode", "mtime", "nlink", "size", "uid", "ino", "blocks")
        return {"st_" + name: getattr(stat, "st_" + name) for name in names}

    def readdir(self, path, fh):
        return [".", ".."] + os.listdir(self.at(path))

    def mkdir(self, path, mode):
        return os.mkdir(self.at(path), mode)

    def rmdir(self, path):
        return os.rmdir(self.at(path))

    def unlink(self, path):
        return os.unlink(self.at(path))

    def rename(self, old, new):
        return os.rename(self.at(old), self.at(new))

    def utimens(self, path, times=None):
        return os.utime(self.at(path), times)

    def chmod(self, path, mode):
        return os.chmod(self.at(path), mode)

    def statfs(self, path):
        stat = os.statvfs(self.at(path))
        names = ("bavail", "bfree", "blocks", "bsize", "favail", "ffree", "files", "flag", "frsize", "namemax")
        return {"f_" + name: getattr(stat, "f_" + name) for name in names}

    def open(self, path, flags):
        return os.open(self.at(path), flags & ~os.O_NOFOLLOW)

    def create(self, path, mode, fi=None):
        return os.open(self.at(path), os.O_RDWR | os.O_CREAT, mode)

    def read(self, path, size, offset, fh):
        for name, start, end in self.configured().get("eio_read", []):
            if fnmatch.fnmatch(path, name) and offset < end and offset + size > start:
                raise FuseOSError(errno.EIO)
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        return os.truncate(self.at(path), length)

    def flush(self, path, fh):
        return 0

    def release(self, path, fh):
        return os.close(fh)

    def fsync(self, path, datasync, fh):
        return os.fsync(fh)

    def fsyncdir(self, path, datasync, fh):
        return 0


if __name__ == "__main__":
    FUSE(Faults(sys.argv[1], sys.argv[3]), sys.argv[2], foreground=True, nothreads=True, use_ino=True)
