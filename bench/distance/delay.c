/*
 * A relay that is nothing but distance: `delay PORT MICROSECONDS [everywhere]` passes connections on to PORT of
 * 127.0.0.1, and delays what goes either way by that long. Each piece of data leaves that long after it came, in order,
 * whatever else is on its way: there is no limit of bandwidth. Says the port that it listens on. Ends with its parent.
 *
 * Linux wakes a process up to 50 µs late for convenience, and later if others want the processor: it asks for neither.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256 * 1024)
#define MOST_PAIRS 512

typedef long long ns;

/* Data on its way, or with no length the end of it. */
struct piece {
  struct piece *next;
  ns due;
  size_t length, sent;
  char data[];
};

struct direction {
  int from, to;
  int ended;   /* no more comes from `from` */
  int blocked; /* `to` takes no more for now */
  struct piece *first, **last;
};

struct pair {
  struct direction there, back;
};

static struct pair *pairs[MOST_PAIRS];
static int pair_count;
static ns delay;
static char buffer[PIECE];

static ns now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void direct(struct direction *d, int from, int to) {
  memset(d, 0, sizeof *d);
  d->from = from;
  d->to = to;
  d->last = &d->first;
}

static void queue(struct direction *d, const char *data, size_t length) {
  struct piece *piece = malloc(sizeof *piece + length);
  if (!piece) fail("malloc");
  piece->next = NULL;
  piece->due = now() + delay;
  piece->length = length;
  piece->sent = 0;
  memcpy(piece->data, data, length);
  *d->last = piece;
  d->last = &piece->next;
}

/* Takes what has come. */
static int receive(struct direction *d) {
  ssize_t length = recv(d->from, buffer, sizeof buffer, MSG_DONTWAIT);
  if (length < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  if (length == 0) d->ended = 1;
  queue(d, buffer, length);
  return 0;
}

/* Sends what is due. */
static int deliver(struct direction *d) {
  struct piece *piece;
  d->blocked = 0;
  while ((piece = d->first) && piece->due <= now()) {
    if (piece->length == 0) {
      shutdown(d->to, SHUT_WR);
    } else {
      ssize_t sent = send(d->to, piece->data + piece->sent, piece->length - piece->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return -1;
      if (sent > 0) piece->sent += sent;
      if (piece->sent < piece->length) {
        d->blocked = 1;
        return 0;
      }
    }
    d->first = piece->next;
    if (!d->first) d->last = &d->first;
    free(piece);
  }
  return 0;
}

static void forget(struct direction *d) {
  while (d->first) {
    struct piece *piece = d->first;
    d->first = piece->next;
    free(piece);
  }
}

static int over(struct direction *d) {
  return d->ended && !d->first;
}

static void remove_pair(int index) {
  struct pair *p = pairs[index];
  forget(&p->there);
  forget(&p->back);
  close(p->there.from);
  close(p->there.to);
  free(p);
  pairs[index] = pairs[--pair_count];
}

static void add_pair(int listener, struct sockaddr_in *target) {
  int one = 1;
  int client = accept(listener, NULL, NULL);
  if (client < 0) return;
  int server = socket(AF_INET, SOCK_STREAM, 0);
  struct pair *p = malloc(sizeof *p);
  if (!p || server < 0 || pair_count == MOST_PAIRS || connect(server, (struct sockaddr *)target, sizeof *target) < 0) {
    free(p);
    close(client);
    if (server >= 0) close(server);
    return;
  }
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  direct(&p->there, client, server);
  direct(&p->back, server, client);
  pairs[pair_count++] = p;
}

static void wait_for(struct pollfd *polls, int count) {
  ns first = -1;
  for (int i = 0; i < pair_count; i++) {
    struct direction *both[] = {&pairs[i]->there, &pairs[i]->back};
    for (int k = 0; k < 2; k++) {
      struct piece *piece = both[k]->first;
      if (piece && !both[k]->blocked && (first < 0 || piece->due < first)) first = piece->due;
    }
  }
  ns left = first < 0 ? -1 : first - now();
  if (first >= 0 && left < 0) left = 0;
  struct timespec timeout = {left / 1000000000LL, left % 1000000000LL};
  if (ppoll(polls, count, first < 0 ? NULL : &timeout, NULL) < 0 && errno != EINTR) fail("ppoll");
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: delay PORT MICROSECONDS [everywhere]\n");
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_TIMERSLACK, 1);
  /* Only a privileged user may; without it the delay is less exact on a busy machine. */
  setpriority(PRIO_PROCESS, 0, -20);
  struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
  target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  delay = atoll(argv[2]) * 1000;
  struct sockaddr_in own = {.sin_family = AF_INET};
  own.sin_addr.s_addr = htonl(argc > 3 ? INADDR_ANY : INADDR_LOOPBACK);
  socklen_t size = sizeof own;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&own, size) < 0 || listen(listener, 64) < 0) fail("listen");
  if (getsockname(listener, (struct sockaddr *)&own, &size) < 0) fail("getsockname");
  printf("%d\n", ntohs(own.sin_port));
  fflush(stdout);
  static struct pollfd polls[1 + 2 * MOST_PAIRS];
  for (;;) {
    polls[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    int present = pair_count;
    for (int i = 0; i < present; i++) {
      struct pair *p = pairs[i];
      short client = (p->there.ended ? 0 : POLLIN) | (p->back.blocked ? POLLOUT : 0);
      short server = (p->back.ended ? 0 : POLLIN) | (p->there.blocked ? POLLOUT : 0);
      polls[1 + 2 * i] = (struct pollfd){.fd = client ? p->there.from : -1, .events = client};
      polls[2 + 2 * i] = (struct pollfd){.fd = server ? p->back.from : -1, .events = server};
    }
    wait_for(polls, 1 + 2 * present);
    /* From the last one down: one that is removed is replaced by the last, which has had its turn. */
    for (int i = present - 1; i >= 0; i--) {
      struct pair *p = pairs[i];
      short client = polls[1 + 2 * i].revents, server = polls[2 + 2 * i].revents;
      int broken = (client & (POLLERR | POLLNVAL)) || (server & (POLLERR | POLLNVAL));
      if (!broken && (client & (POLLIN | POLLHUP)) && !p->there.ended) broken = receive(&p->there) < 0;
      if (!broken && (server & (POLLIN | POLLHUP)) && !p->back.ended) broken = receive(&p->back) < 0;
      if (!broken) broken = deliver(&p->there) < 0 || deliver(&p->back) < 0;
      if (broken || (over(&p->there) && over(&p->back))) remove_pair(i);
    }
    if (polls[0].revents & POLLIN) add_pair(listener, &target);
  }
}
