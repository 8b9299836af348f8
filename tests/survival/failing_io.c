/* A disk that fails on demand: file operations below one folder are counted, and the k-th one fails or is the last;
   or they may write so many bytes and no more.

   Loaded with LD_PRELOAD, so that SQLite, Python and every library see the failure exactly as a broken disk shows it.
   Nothing happens before failing_io_arm. Only what a crash can leave half done is counted: opening, reading, writing,
   syncing, cutting, renaming, making and removing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[PATH_MAX];
static size_t folder_length = 0;
static long seen = 0, wanted = 0;
static int error_number = 0;
static long long space = -1;

/* error: the errno of the failing operation, or 0: the process ends there as if killed. bytes: how much files below may
   grow in all before the disk is full (-1: without end). */
void failing_io_arm(const char *below, long k, int error, long long bytes) {
    snprintf(folder, sizeof folder, "%s", below);
    folder_length = strlen(folder);
    seen = 0; wanted = k; error_number = error; space = bytes;
}

long failing_io_seen(void) { return seen; }

static int fails(void) {
    seen++;
    if (wanted == 0 || seen != wanted) return 0;
    if (error_number == 0) _exit(137);
    errno = error_number;
    return 1;
}

static int below(const char *path) { return folder_length && strncmp(path, folder, folder_length) == 0; }

static int handle_below(int handle) {
    char link[64], path[PATH_MAX];
    if (!folder_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

static int place_below(int handle, const char *path) {
    return path[0] == '/' ? below(path) : handle != AT_FDCWD && handle_below(handle);
}

/* True if the disk has no room for a file that shall reach up to `end`. */
static int full(int handle, long long end) {
    struct stat now;
    if (space < 0 || !handle_below(handle) || fstat(handle, &now) != 0 || end <= now.st_size) return 0;
    if (end - now.st_size > space) { errno = ENOSPC; return 1; }
    space -= end - now.st_size;
    return 0;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))
#define BY_HANDLE(type, name, parameters, handle, ...) \
    type name parameters { if (handle_below(handle) && fails()) return -1; return REAL(name)(__VA_ARGS__); }
#define BY_PATH(type, name, parameters, path, ...) \
    type name parameters { if (below(path) && fails()) return -1; return REAL(name)(__VA_ARGS__); }
#define BY_PLACE(type, name, parameters, handle, path, ...) \
    type name parameters { if (place_below(handle, path) && fails()) return -1; return REAL(name)(__VA_ARGS__); }

BY_HANDLE(ssize_t, read, (int h, void *b, size_t n), h, h, b, n)
BY_HANDLE(ssize_t, pread, (int h, void *b, size_t n, off_t o), h, h, b, n, o)
BY_HANDLE(ssize_t, pread64, (int h, void *b, size_t n, off64_t o), h, h, b, n, o)
#define GROWING(type, name, parameters, end, ...) \
    type name parameters { if ((handle_below(h) && fails()) || full(h, end)) return -1; return REAL(name)(__VA_ARGS__); }
GROWING(ssize_t, write, (int h, const void *b, size_t n), lseek(h, 0, SEEK_CUR) + (long long) n, h, b, n)
GROWING(ssize_t, pwrite, (int h, const void *b, size_t n, off_t o), o + (long long) n, h, b, n, o)
GROWING(ssize_t, pwrite64, (int h, const void *b, size_t n, off64_t o), o + (long long) n, h, b, n, o)
BY_HANDLE(int, fsync, (int h), h, h)
BY_HANDLE(int, fdatasync, (int h), h, h)
GROWING(int, ftruncate, (int h, off_t n), n, h, n)
GROWING(int, ftruncate64, (int h, off64_t n), n, h, n)
BY_PATH(int, unlink, (const char *p), p, p)
BY_PATH(int, mkdir, (const char *p, mode_t m), p, p, m)
BY_PATH(int, rmdir, (const char *p), p, p)
BY_PATH(int, rename, (const char *p, const char *q), q, p, q)
BY_PLACE(int, unlinkat, (int h, const char *p, int f), h, p, h, p, f)
BY_PLACE(int, renameat, (int h, const char *p, int g, const char *q), g, q, h, p, g, q)
BY_PLACE(int, mkdirat, (int h, const char *p, mode_t m), h, p, h, p, m)

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        if (below(path) && fails()) return -1; \
        return REAL(name)(path, flags, mode); }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name) \
    int name(int handle, const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        if (place_below(handle, path) && fails()) return -1; \
        return REAL(name)(handle, path, flags, mode); }
OPENING_AT(openat)
OPENING_AT(openat64)
