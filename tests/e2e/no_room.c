// Stands between a program and the C library and says ENOSPC, as a file system without room does.
//
// Counted is every call that needs room below $NO_ROOM_BELOW: a new name, a write behind the end of a file, a longer
// file. $NO_ROOM_CONTROL names a file of six numbers, shared with the test: how many calls were
// counted; from which on they fail; until which (exclusive); how many have failed; whether every write needs room, as
// on a file system that never overwrites; the error, where it is another than ENOSPC. So room is made while the program runs.
//
// Build: cc -shared -fPIC -O1 -o no_room.so no_room.c -ldl

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

struct control {
    _Atomic uint64_t counted, from, until, failed, overwriting_needs_room, error;
};

static struct control *control;
static const char *below;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("NO_ROOM_CONTROL");
    below = getenv("NO_ROOM_BELOW");
    if (!path || !below) return;
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) abort();
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) abort();
    close(fd);
}

// Counts a call. 1: it fails, and errno says why.
static int fails(void) {
    uint64_t number = atomic_fetch_add(&control->counted, 1);
    if (number < control->from || number >= control->until) return 0;
    atomic_fetch_add(&control->failed, 1);
    errno = control->error ? (int)control->error : ENOSPC;
    return 1;
}

static int is_below(const char *path) {
    size_t length = below ? strlen(below) : 0;
    return control && strncmp(path, below, length) == 0 && (path[length] == '/' || !path[length]);
}

// The path of a name relative to an open directory; relative to the working one it stands as it is.
static const char *absolute(int directory, const char *path, char *buffer) {
    if (path[0] == '/') return path;
    char link[64];
    if (directory == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, buffer, PATH_MAX);
    if (length < 0) return path;
    snprintf(buffer + length, PATH_MAX, "/%s", path);
    return buffer;
}

// A name in a directory that is named by its descriptor, as the control socket's is.
static const char *resolved(const char *path, char *buffer) {
    const char *name = strrchr(path, '/');
    if (strncmp(path, "/proc/self/fd/", 14) != 0 || name - path >= PATH_MAX) return path;
    char parent[PATH_MAX];
    memcpy(parent, path, name - path);
    parent[name - path] = 0;
    if (!realpath(parent, buffer)) return path;
    snprintf(buffer + strlen(buffer), PATH_MAX, "%s", name);
    return buffer;
}

static int name_needs_room(int directory, const char *path) {
    char buffer[2 * PATH_MAX + 2], other[2 * PATH_MAX + 2];
    struct stat stat;
    int saved = errno;
    int needs = is_below(resolved(absolute(directory, path, buffer), other)) &&
                fstatat(directory, path, &stat, AT_SYMLINK_NOFOLLOW) != 0;
    errno = saved;
    return needs;
}

static int is_file_below(int fd) {
    char link[64], path[PATH_MAX + 1];
    if (!control) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int saved = errno;
    ssize_t length = readlink(link, path, PATH_MAX);
    errno = saved;
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

// Whether a write needs room. `offset` < 0: where the file stands.
static int write_needs_room(int fd, off_t offset, size_t length) {
    if (length == 0 || !is_file_below(fd)) return 0;
    if (control->overwriting_needs_room) return 1;
    struct stat stat;
    if (fstat(fd, &stat) != 0) return 0;
    if (offset < 0) {
        int flags = fcntl(fd, F_GETFL);
        offset = flags & O_APPEND ? stat.st_size : lseek(fd, 0, SEEK_CUR);
    }
    return offset + (off_t)length > stat.st_size;
}

// The first write that finds no room writes what still fits, as on a real disk.
#define SHORT_OR_FULL(fd, offset, length)                                                        \
    if (write_needs_room(fd, offset, length) && fails()) {                                       \
        if (atomic_load(&control->failed) != 1 || (length) < 2) return -1;                       \
        length /= 2;                                                                             \
    }

ssize_t write(int fd, const void *bytes, size_t length) {
    SHORT_OR_FULL(fd, -1, length)
    return REAL(write)(fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    SHORT_OR_FULL(fd, offset, length)
    return REAL(pwrite)(fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    SHORT_OR_FULL(fd, offset, length)
    return REAL(pwrite64)(fd, bytes, length, offset);
}

static size_t total(const struct iovec *parts, int count) {
    size_t length = 0;
    for (int part = 0; part < count; part++) length += parts[part].iov_len;
    return length;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (write_needs_room(fd, -1, total(parts, count)) && fails()) return -1;
    return REAL(writev)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    if (write_needs_room(fd, offset, total(parts, count)) && fails()) return -1;
    return REAL(pwritev)(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    if (write_needs_room(fd, offset, total(parts, count)) && fails()) return -1;
    return REAL(pwritev64)(fd, parts, count, offset);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    if (write_needs_room(out, to ? *to : -1, length) && fails()) return -1;
    return REAL(copy_file_range)(in, from, out, to, length, flags);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t length) {
    if (write_needs_room(out, -1, length) && fails()) return -1;
    return REAL(sendfile)(out, in, offset, length);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t length) {
    if (write_needs_room(out, -1, length) && fails()) return -1;
    return REAL(sendfile64)(out, in, offset, length);
}

static int length_needs_room(int fd, off_t length) {
    struct stat stat;
    return is_file_below(fd) && fstat(fd, &stat) == 0 && length > stat.st_size;
}

int ftruncate(int fd, off_t length) {
    if (length_needs_room(fd, length) && fails()) return -1;
    return REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    if (length_needs_room(fd, length) && fails()) return -1;
    return REAL(ftruncate64)(fd, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (is_file_below(fd) && fails()) return -1;
    return REAL(fallocate)(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    if (is_file_below(fd) && fails()) return -1;
    return REAL(fallocate64)(fd, mode, offset, length);
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    if (is_file_below(fd) && fails()) return errno;
    return REAL(posix_fallocate)(fd, offset, length);
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    if (is_file_below(fd) && fails()) return errno;
    return REAL(posix_fallocate64)(fd, offset, length);
}

#define OPEN(name, directory, call)                                                              \
    mode_t mode = 0;                                                                             \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                       \
        va_list rest;                                                                            \
        va_start(rest, flags);                                                                   \
        mode = va_arg(rest, mode_t);                                                             \
        va_end(rest);                                                                            \
    }                                                                                            \
    if (flags & O_CREAT && name_needs_room(directory, path) && fails()) return -1;               \
    return call;

int open(const char *path, int flags, ...) {
    OPEN(open, AT_FDCWD, REAL(open)(path, flags, mode))
}

int open64(const char *path, int flags, ...) {
    OPEN(open64, AT_FDCWD, REAL(open64)(path, flags, mode))
}

int openat(int directory, const char *path, int flags, ...) {
    OPEN(openat, directory, REAL(openat)(directory, path, flags, mode))
}

int openat64(int directory, const char *path, int flags, ...) {
    OPEN(openat64, directory, REAL(openat64)(directory, path, flags, mode))
}

int mkdir(const char *path, mode_t mode) {
    if (name_needs_room(AT_FDCWD, path) && fails()) return -1;
    return REAL(mkdir)(path, mode);
}

int mkdirat(int directory, const char *path, mode_t mode) {
    if (name_needs_room(directory, path) && fails()) return -1;
    return REAL(mkdirat)(directory, path, mode);
}

int rename(const char *from, const char *to) {
    if (name_needs_room(AT_FDCWD, to) && fails()) return -1;
    return REAL(rename)(from, to);
}

int renameat(int from_directory, const char *from, int directory, const char *to) {
    if (name_needs_room(directory, to) && fails()) return -1;
    return REAL(renameat)(from_directory, from, directory, to);
}

int renameat2(int from_directory, const char *from, int directory, const char *to, unsigned flags) {
    if (name_needs_room(directory, to) && fails()) return -1;
    return REAL(renameat2)(from_directory, from, directory, to, flags);
}

int link(const char *from, const char *to) {
    if (name_needs_room(AT_FDCWD, to) && fails()) return -1;
    return REAL(link)(from, to);
}

int linkat(int from_directory, const char *from, int directory, const char *to, int flags) {
    if (name_needs_room(directory, to) && fails()) return -1;
    return REAL(linkat)(from_directory, from, directory, to, flags);
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
    const struct sockaddr_un *local = (const struct sockaddr_un *)address;
    if (address->sa_family == AF_UNIX && local->sun_path[0] && name_needs_room(AT_FDCWD, local->sun_path) && fails())
        return -1;
    return REAL(bind)(fd, address, length);
}
