/* A disk that fails on demand: file operations below one folder are counted, and the k-th one fails or is the last.

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
static int error_number = 0, lasting = 0;

/* error: the errno of a failing operation, or 0: the process ends there as if killed. stays: all later ones fail too. */
void failing_io_arm(const char *below, long k, int error, int stays) {
    snprintf(folder, sizeof folder, "%s", below);
    folder_length = strlen(folder);
    seen = 0; wanted = k; error_number = error; lasting = stays;
}

long failing_io_seen(void) { return seen; }

static int fails(void) {
    seen++;
    if (wanted == 0 || (lasting ? seen < wanted : seen != wanted)) return 0;
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
BY_HANDLE(ssize_t, write, (int h, const void *b, size_t n), h, h, b, n)
BY_HANDLE(ssize_t, pwrite, (int h, const void *b, size_t n, off_t o), h, h, b, n, o)
BY_HANDLE(ssize_t, pwrite64, (int h, const void *b, size_t n, off64_t o), h, h, b, n, o)
BY_HANDLE(int, fsync, (int h), h, h)
BY_HANDLE(int, fdatasync, (int h), h, h)
BY_HANDLE(int, ftruncate, (int h, off_t n), h, h, n)
BY_HANDLE(int, ftruncate64, (int h, off64_t n), h, h, n)
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
