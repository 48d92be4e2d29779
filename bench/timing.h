/* How the loads are timed, and what they say at their end: {"seconds":…,"count":…,"bytes":…,"cpuSeconds":…} */
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu(void) {
  double seconds = 0;
  for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
    struct rusage used;
    getrusage(who, &used);
    seconds += used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
  }
  return seconds;
}

static double cpu_before;

/* The time at which what is measured begins. */
static double begin(void) {
  cpu_before = cpu();
  return now();
}

static void report(double seconds, long long count, long long bytes) {
  const char *format = "{\"seconds\":%.9f,\"count\":%lld,\"bytes\":%lld,\"cpuSeconds\":%.6f}\n";
  printf(format, seconds, count, bytes, cpu() - cpu_before);
}
