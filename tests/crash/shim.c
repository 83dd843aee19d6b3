/* A disk and a clock that misbehave on order, put before the C library of a dynamic binary by
 * LD_PRELOAD. It counts the writes (SHIM_OP=write) or syncs (sync) of files whose path holds
 * SHIM_PATH, and at the SHIM_AT-th does SHIM_DO; "5+" means the fifth and every later one.
 *
 *   fail:ERRNO   nothing is done, the call fails
 *   torn:ERRNO   half of a write is done, the next call fails
 *   short        half of a write is done and said
 *   kill-before  kill-half  kill-after    the process is killed there
 *   wait:FILE    the call waits until FILE is there; FILE.waits tells that it does
 *   lie          a sync is not done and said to be
 *
 * SHIM_MARK names a file into which each good sync writes how long the synced file is then.
 * SHIM_CLOCK names a file with seconds by which the wall clock is wrong, if it is there.
 * SHIM_OP=pad counts the writes at a place (`pwrite`) instead.
 * Calls are made directly, so that nothing has to be looked up in the library behind. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;
static atomic_int failing;

static int matches(int fd) {
    const char *want = getenv("SHIM_PATH");
    if (!want) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, path, sizeof path - 1);
    if (got <= 0) return 0;
    path[got] = 0;
    size_t len = strlen(want);
    if (len && want[len - 1] == '$') {
        len--;
        return (size_t)got >= len && !strncmp(path + got - len, want, len);
    }
    return strstr(path, want) != NULL;
}

/* What is to be done to this call; NULL for nothing. */
static const char *order(const char *op, int fd) {
    const char *want = getenv("SHIM_OP"), *at = getenv("SHIM_AT");
    if (!want || !at || strcmp(want, op) || !matches(fd)) return NULL;
    long now = atomic_fetch_add(&calls, 1) + 1, then = atol(at);
    int on = strchr(at, '+') != NULL;
    return now == then || (on && now > then) ? getenv("SHIM_DO") : NULL;
}

static void die(void) { syscall(SYS_kill, syscall(SYS_getpid), SIGKILL); }

static void wait_for(const char *file) {
    char mark[4096];
    snprintf(mark, sizeof mark, "%s.waits", file);
    int fd = syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT, 0600);
    if (fd >= 0) syscall(SYS_close, fd);
    struct timespec moment = {0, 2000000};
    while (syscall(SYS_faccessat, AT_FDCWD, file, F_OK)) syscall(SYS_nanosleep, &moment, NULL);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (atomic_load(&failing) && matches(fd)) {
        errno = atomic_load(&failing);
        return -1;
    }
    const char *what = order("write", fd);
    if (!what) return syscall(SYS_write, fd, bytes, count);
    if (!strncmp(what, "fail:", 5)) {
        errno = atoi(what + 5);
        return -1;
    }
    if (!strncmp(what, "torn:", 5)) {
        atomic_store(&failing, atoi(what + 5));
        return syscall(SYS_write, fd, bytes, count / 2);
    }
    if (!strcmp(what, "short")) return syscall(SYS_write, fd, bytes, count > 1 ? count / 2 : count);
    if (!strcmp(what, "kill-before")) die();
    if (!strcmp(what, "kill-half")) {
        syscall(SYS_write, fd, bytes, count / 2);
        die();
    }
    if (!strncmp(what, "wait:", 5)) wait_for(what + 5);
    ssize_t done = syscall(SYS_write, fd, bytes, count);
    if (!strcmp(what, "kill-after")) die();
    return done;
}

/* Padding is laid by these: SHIM_OP=pad. */
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) {
    const char *what = order("pad", fd);
    if (!what) return syscall(SYS_pwrite64, fd, bytes, count, at);
    if (!strncmp(what, "fail:", 5)) {
        errno = atoi(what + 5);
        return -1;
    }
    if (!strcmp(what, "kill-before")) die();
    if (!strcmp(what, "kill-half")) {
        syscall(SYS_pwrite64, fd, bytes, count / 2, at);
        die();
    }
    return syscall(SYS_pwrite64, fd, bytes, count, at);
}

static int marked(int done, int fd) {
    const char *mark = getenv("SHIM_MARK");
    struct stat about;
    if (done || !mark || !matches(fd) || fstat(fd, &about)) return done;
    /* Behind its records a journal is padded with empty lines. */
    long long end = about.st_size;
    char block[4096];
    while (end > 0) {
        long long from = end > (long long)sizeof block ? end - (long long)sizeof block : 0;
        if (syscall(SYS_pread64, fd, block, end - from, from) != end - from) break;
        while (end > from && block[end - from - 1] == '\n') end--;
        if (end > from) break;
    }
    end += end < about.st_size;
    char text[32];
    int length = snprintf(text, sizeof text, "%020lld", end);
    int file = syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT, 0600);
    if (file >= 0) {
        syscall(SYS_write, file, text, length);
        syscall(SYS_close, file);
    }
    return done;
}

static int sync_by(long number, int fd) {
    const char *what = order("sync", fd);
    if (!what) return marked(syscall(number, fd), fd);
    if (!strncmp(what, "fail:", 5)) {
        errno = atoi(what + 5);
        return -1;
    }
    if (!strcmp(what, "lie")) return 0;
    if (!strcmp(what, "kill-before")) die();
    if (!strncmp(what, "wait:", 5)) wait_for(what + 5);
    int done = marked(syscall(number, fd), fd);
    if (!strcmp(what, "kill-after")) die();
    return done;
}

int fsync(int fd) { return sync_by(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("SHIM_CLOCK");
    if (done || clock != CLOCK_REALTIME || !path) return done;
    int kept = errno, fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        char text[32] = {0};
        if (syscall(SYS_read, fd, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
        syscall(SYS_close, fd);
    }
    errno = kept;
    return done;
}
