/*
 * The loads of the benchmark: loops of system calls, timed here, so that what is measured is the file system
 * and not the program that calls it. Prints one line of JSON: {"seconds":…,"count":…,"bytes":…,
 * "cpuSeconds":…}, the last being user and system time of the load and the programs that it ran.
 * Files in a folder are named f0, f1, f2 …; every failure ends the program with a message and status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timing.h"

static void fail(const char *what, const char *path) {
  fprintf(stderr, "load: %s %s: %s\n", what, path, strerror(errno));
  exit(1);
}

static uint64_t next_random(uint64_t *state) { /* xorshift64* */
  *state ^= *state >> 12, *state ^= *state << 25, *state ^= *state >> 27;
  return *state * 0x2545F4914F6CDD1DULL;
}

/* Bytes that no layer can compress or find equal. */
static void *noise(size_t size, uint64_t seed) {
  uint64_t *buffer;
  if (posix_memalign((void **)&buffer, 4096, size + 8) != 0) fail("no memory for", "a buffer");
  for (size_t i = 0; i <= size / 8; i++) buffer[i] = next_random(&seed);
  return buffer;
}

static char *in(const char *folder, const char *format, ...) {
  static __thread char path[2][4096];
  static __thread int turn;
  char *result = path[turn ^= 1];
  int used = snprintf(result, 4096, "%s/", folder);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(result + used, 4096 - used, format, arguments);
  va_end(arguments);
  return result;
}

static void put(const char *path, const char *data, size_t size) {
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
  if (fd < 0) fail("open", path);
  if (size > 0 && write(fd, data, size) != (ssize_t)size) fail("write", path);
  if (close(fd) != 0) fail("close", path);
}

static long long slurp(const char *path, char *buffer, size_t size) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) fail("open", path);
  long long total = 0;
  ssize_t got;
  while ((got = read(fd, buffer, size)) > 0) {
    total += got;
    if ((size_t)got < size) break; /* a short read of a regular file is its end */
  }
  if (got < 0) fail("read", path);
  close(fd);
  return total;
}

static void make_folder(const char *path) {
  if (mkdir(path, 0755) != 0 && errno != EEXIST) fail("mkdir", path);
}

static void run_threads(int count, void *(*body)(void *), void *arguments, size_t size) {
  pthread_t threads[count];
  for (int i = 0; i < count; i++)
    if (pthread_create(&threads[i], NULL, body, (char *)arguments + i * size) != 0) fail("start", "a thread");
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

/* write FILE BYTES BLOCK: sequential, fsync and close included. */
static void do_write(char **a) {
  long long bytes = atoll(a[1]), done = 0;
  size_t block = atoll(a[2]);
  char *buffer = noise(block, 42);
  double start = begin();
  int fd = open(a[0], O_CREAT | O_WRONLY | O_TRUNC, 0644);
  if (fd < 0) fail("open", a[0]);
  for (; done < bytes; done += block)
    if (write(fd, buffer, block) != (ssize_t)block) fail("write", a[0]);
  if (fsync(fd) != 0) fail("fsync", a[0]);
  if (close(fd) != 0) fail("close", a[0]);
  report(now() - start, 1, done);
}

/* fill FILE BYTES BLOCK: zeros, on the disk when it ends. */
static void do_fill(char **a) {
  long long bytes = atoll(a[1]), done = 0;
  size_t block = atoll(a[2]);
  char *zeros = calloc(1, block);
  double start = begin();
  int fd = open(a[0], O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (fd < 0 || !zeros) fail("open", a[0]);
  for (; done < bytes; done += block)
    if (write(fd, zeros, block) != (ssize_t)block) fail("write", a[0]);
  if (fsync(fd) != 0 || close(fd) != 0) fail("fsync", a[0]);
  report(now() - start, 1, done);
}

/* read FILE BLOCK: sequential, to the end. */
static void do_read(char **a) {
  size_t block = atoll(a[1]);
  char *buffer = noise(block, 1);
  double start = begin();
  long long bytes = slurp(a[0], buffer, block);
  report(now() - start, 1, bytes);
}

struct random_job {
  const char *path;
  int writes;
  long operations;
  uint64_t seed;
};

static void *random_body(void *argument) {
  struct random_job *job = argument;
  char *buffer = noise(4096, job->seed);
  int fd = open(job->path, (job->writes ? O_WRONLY : O_RDONLY) | O_DIRECT);
  if (fd < 0) fail("open O_DIRECT", job->path);
  uint64_t blocks = lseek(fd, 0, SEEK_END) / 4096;
  for (long i = 0; i < job->operations; i++) {
    off_t offset = (off_t)(next_random(&job->seed) % blocks) * 4096;
    ssize_t moved = job->writes ? pwrite(fd, buffer, 4096, offset) : pread(fd, buffer, 4096, offset);
    if (moved != 4096) fail(job->writes ? "pwrite" : "pread", job->path);
  }
  if (job->writes && fsync(fd) != 0) fail("fsync", job->path);
  close(fd);
  return NULL;
}

/* random read|write FILE JOBS OPERATIONS: 4 KiB at random offsets, O_DIRECT, that many operations in all. */
static void do_random(char **a) {
  int jobs = atoi(a[2]);
  long each = atol(a[3]) / jobs;
  struct random_job job[jobs];
  for (int i = 0; i < jobs; i++)
    job[i] = (struct random_job){a[1], a[0][0] == 'w', each, 0x9E3779B97F4A7C15ULL * (i + 1)};
  double start = begin();
  run_threads(jobs, random_body, job, sizeof job[0]);
  report(now() - start, each * jobs, each * jobs * 4096LL);
}

/* create FOLDER COUNT SIZE */
static void do_create(char **a) {
  long count = atol(a[1]), size = atol(a[2]);
  char *data = noise(size, 7);
  make_folder(a[0]);
  double start = begin();
  for (long i = 0; i < count; i++) put(in(a[0], "f%ld", i), data, size);
  report(now() - start, count, count * (long long)size);
}

/* unlink FOLDER COUNT */
static void do_unlink(char **a) {
  long count = atol(a[1]);
  double start = begin();
  for (long i = 0; i < count; i++)
    if (unlink(in(a[0], "f%ld", i)) != 0) fail("unlink", in(a[0], "f%ld", i));
  report(now() - start, count, 0);
}

/* stat FOLDER COUNT WARMUPS PASSES: by name, without listing the folder. */
static void do_stat(char **a) {
  long count = atol(a[1]), warmups = atol(a[2]), passes = atol(a[3]);
  double start = begin();
  for (long pass = -warmups; pass < passes; pass++) {
    if (pass == 0) start = begin();
    for (long i = 0; i < count; i++) {
      struct stat status;
      if (stat(in(a[0], "f%ld", i), &status) != 0) fail("stat", in(a[0], "f%ld", i));
    }
  }
  report(now() - start, count * passes, 0);
}

/* open FOLDER COUNT WARMUPS PASSES: open, read, close. */
static void do_open(char **a) {
  long count = atol(a[1]), warmups = atol(a[2]), passes = atol(a[3]);
  long long bytes = 0;
  char *buffer = noise(65536, 1);
  double start = begin();
  for (long pass = -warmups; pass < passes; pass++) {
    if (pass == 0) start = begin(), bytes = 0;
    for (long i = 0; i < count; i++) bytes += slurp(in(a[0], "f%ld", i), buffer, 65536);
  }
  report(now() - start, count * passes, bytes);
}

struct reader {
  const char *folder;
  long first, step, count;
  long long bytes;
};

static void *reader_body(void *argument) {
  struct reader *reader = argument;
  char *buffer = noise(65536, 1);
  for (long i = reader->first; i < reader->count; i += reader->step)
    reader->bytes += slurp(in(reader->folder, "f%ld", i), buffer, 65536);
  return NULL;
}

/* parallel FOLDER COUNT READERS: open, read, close, each file by one of the readers. */
static void do_parallel(char **a) {
  long count = atol(a[1]);
  int readers = atoi(a[2]);
  struct reader reader[readers];
  long long bytes = 0;
  for (int i = 0; i < readers; i++) reader[i] = (struct reader){a[0], i, readers, count, 0};
  double start = begin();
  run_threads(readers, reader_body, reader, sizeof reader[0]);
  double seconds = now() - start;
  for (int i = 0; i < readers; i++) bytes += reader[i].bytes;
  report(seconds, count, bytes);
}

/*
 * tree FOLDER FOLDERS FILES MEAN LINKS: a tree of small files of different sizes, and symbolic links to some of
 * them in a folder of their own, which comes last by name: sshfs sets the times of what a link points to.
 */
static void do_tree(char **a) {
  long folders = atol(a[1]), files = atol(a[2]), mean = atol(a[3]), links = atol(a[4]);
  uint64_t seed = 99;
  char *data = noise(mean * 2 + 1, 3);
  make_folder(a[0]);
  for (long d = 0; d < folders; d++) make_folder(in(a[0], "d%ld", d));
  for (long i = 0; i < files; i++)
    put(in(a[0], "d%ld/f%ld", i % folders, i), data, next_random(&seed) % (mean * 2 + 1));
  if (links > 0) make_folder(in(a[0], "links"));
  for (long i = 0; i < links; i++)
    if (symlink(in("..", "d%ld/f%ld", i % folders, i), in(a[0], "links/l%ld", i)) != 0) fail("symlink", a[0]);
  report(0, files, 0);
}

/* time PROGRAM ARGUMENT…: runs a program that must succeed, its output thrown away. */
static void do_time(char **a) {
  double start = begin();
  pid_t child = fork();
  if (child == 0) {
    if (!freopen("/dev/null", "w", stdout)) _exit(126);
    execvp(a[0], a);
    fprintf(stderr, "load: %s: %s\n", a[0], strerror(errno));
    _exit(127);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child) fail("run", a[0]);
  double seconds = now() - start;
  if (status != 0) {
    fprintf(stderr, "load: %s ended with status %d\n", a[0], WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    exit(1);
  }
  report(seconds, 1, 0);
}

enum { CHURN_THREADS = 4, CHURN_FILES = 8 };

struct installer {
  const char *root;
  long first, packages, generation;
};

/* One package as package managers install it: unpacked under a temporary name, then renamed into place. */
static void install_package(const char *root, long number, long generation, const char *data) {
  char staging[4096], place[4096], old[4096];
  snprintf(staging, sizeof staging, "%s/node_modules/.p%ld-new", root, number);
  snprintf(place, sizeof place, "%s/node_modules/p%ld", root, number);
  snprintf(old, sizeof old, "%s/node_modules/.p%ld-old", root, number);
  make_folder(staging);
  make_folder(in(staging, "lib"));
  put(in(staging, "package.json"), data, 900);
  const struct timespec times[2] = {{499162500, 0}, {499162500, 0}}; /* as in npm's archives */
  for (long i = 0; i < CHURN_FILES; i++) {
    char *path = in(staging, "lib/f%ld.js", i);
    put(path, data, 500 + (number * 7 + i * 1303) % 8000);
    if (chmod(path, 0644) != 0) fail("chmod", path);
    if (utimensat(AT_FDCWD, path, times, 0) != 0) fail("utimensat", path);
  }
  struct stat status;
  if (generation > 0 && rename(place, old) != 0) fail("rename", place);
  if (generation == 0 && lstat(place, &status) == 0) fail("already there:", place);
  if (rename(staging, place) != 0) fail("rename", staging);
  if (generation == 0 && symlink(in("..", "p%ld/lib/f0.js", number), in(root, "node_modules/.bin/p%ld", number)))
    fail("symlink", place);
  if (generation == 0) return;
  for (long i = 0; i < CHURN_FILES; i++)
    if (unlink(in(old, "lib/f%ld.js", i)) != 0) fail("unlink in", old);
  if (rmdir(in(old, "lib")) != 0 || unlink(in(old, "package.json")) != 0 || rmdir(old) != 0) fail("remove", old);
}

static void *installer_body(void *argument) {
  struct installer *installer = argument;
  char *data = noise(16384, 5), *buffer = noise(65536, 1);
  for (long i = installer->first; i < installer->packages; i += CHURN_THREADS) {
    if (installer->generation == 1 && i % 3 != 0) continue;
    if (installer->generation < 2) install_package(installer->root, i, installer->generation, data);
    else slurp(in(installer->root, "node_modules/p%ld/package.json", i), buffer, 65536);
  }
  return NULL;
}

/* churn FOLDER PACKAGES: as an `npm install` does it: all installed, a third replaced, every manifest read. */
static void do_churn(char **a) {
  long packages = atol(a[1]);
  struct installer installer[CHURN_THREADS];
  char *data = noise(200 * packages, 5);
  double start = begin();
  make_folder(a[0]);
  make_folder(in(a[0], "node_modules"));
  make_folder(in(a[0], "node_modules/.bin"));
  for (long generation = 0; generation < 3; generation++) {
    for (int i = 0; i < CHURN_THREADS; i++) installer[i] = (struct installer){a[0], i, packages, generation};
    run_threads(CHURN_THREADS, installer_body, installer, sizeof installer[0]);
    put(in(a[0], "package-lock.json.new"), data, 200 * packages);
    char *temporary = in(a[0], "package-lock.json.new");
    if (rename(temporary, in(a[0], "package-lock.json")) != 0) fail("rename", temporary);
  }
  report(now() - start, packages, 0);
}

/* prime FOLDER COUNT: a little of everything, so that what serves FOLDER is no longer new to its work. */
static void do_prime(char **a) {
  long count = atol(a[1]);
  char *buffer = noise(1 << 20, 1);
  double start = begin();
  slurp(in(a[0], "big"), buffer, 1 << 20);
  for (int pass = 0; pass < 3; pass++) {
    for (long i = 0; i < count; i++) slurp(in(a[0], "small/f%ld", i), buffer, 65536);
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/made", a[0]);
    make_folder(folder);
    for (long i = 0; i < count; i++) put(in(folder, "f%ld", i), buffer, 1024);
    for (long i = 0; i < count; i++) unlink(in(folder, "f%ld", i));
    rmdir(folder);
  }
  report(now() - start, count, 0);
}

/* touch BYTES: a virtual machine has memory only once it was written to, and whoever is first waits for it. */
static void do_touch(char **a) {
  long long bytes = atoll(a[0]);
  double start = begin();
  char *memory = malloc(bytes);
  if (memory == NULL) fail("no memory for", "touching");
  for (long long at = 0; at < bytes; at += 4096) memory[at] = 1;
  report(now() - start, bytes / 4096, memory[0] ? bytes : 0);
}

static const struct {
  const char *name;
  int arguments;
  void (*run)(char **);
} LOADS[] = {
    {"write", 3, do_write},   {"read", 2, do_read},         {"random", 4, do_random}, {"create", 3, do_create},
    {"unlink", 2, do_unlink}, {"stat", 4, do_stat},         {"open", 4, do_open},     {"parallel", 3, do_parallel},
    {"tree", 5, do_tree},     {"time", 1, do_time},         {"churn", 2, do_churn},   {"prime", 2, do_prime},
    {"fill", 3, do_fill},     {"touch", 1, do_touch},
};

int main(int argc, char **argv) {
  for (size_t i = 0; i < sizeof LOADS / sizeof LOADS[0]; i++) {
    if (argc < 2 || strcmp(argv[1], LOADS[i].name) != 0) continue;
    if (argc - 2 < LOADS[i].arguments) break;
    LOADS[i].run(argv + 2);
    return 0;
  }
  fprintf(stderr, "usage: load LOAD ARGUMENT…; see the comments in load.c\n");
  return 2;
}
