/*
 * The bare NFS calls that some loads of load.c come down to, by libnfs, one after the other, without a file system above
 * them: what the server, the network and two wake-ups for each call take. Prints what load.c prints.
 *
 *   calls HOST NFS-PORT MOUNT-PORT FOLDER create COUNT SIZE   CREATE, and one WRITE that is on the disk when it is answered
 *   calls HOST NFS-PORT MOUNT-PORT FOLDER unlink COUNT        REMOVE
 *
 * Files are named f0, f1, f2 …; every failure ends the program with a message and status 1.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

#include "timing.h"

static void fail(const char *what, const char *why) {
  fprintf(stderr, "calls: %s: %s\n", what, why);
  exit(1);
}

/* One call: whether its reply is here, and what to keep of it. */
struct call {
  int done;
  const char *name;
  nfs_fh3 handle;
};

static void answered(struct call *call, int status, void *data) {
  if (status != RPC_STATUS_SUCCESS) fail(call->name, status == RPC_STATUS_ERROR && data ? data : "no answer");
  call->done = 1;
}

static void must(struct call *call, int status) {
  char text[32];
  if (status == 0) return;
  snprintf(text, sizeof text, "status %d", status);
  fail(call->name, text);
}

static void keep(struct call *call, const char *bytes, unsigned length) {
  call->handle.data.data_val = memcpy(realloc(call->handle.data.data_val, length), bytes, length);
  call->handle.data.data_len = length;
}

static void on_connected(struct rpc_context *rpc, int status, void *data, void *call) {
  (void)rpc;
  answered(call, status, data);
}

static void on_mounted(struct rpc_context *rpc, int status, void *data, void *call) {
  (void)rpc;
  answered(call, status, data);
  struct mountres3 *result = data;
  must(call, result->fhs_status);
  keep(call, result->mountres3_u.mountinfo.fhandle.fhandle3_val, result->mountres3_u.mountinfo.fhandle.fhandle3_len);
}

static void on_created(struct rpc_context *rpc, int status, void *data, void *call) {
  (void)rpc;
  answered(call, status, data);
  struct CREATE3res *result = data;
  must(call, result->status);
  post_op_fh3 *made = &result->CREATE3res_u.resok.obj;
  if (!made->handle_follows) fail("CREATE", "no file handle in the reply");
  keep(call, made->post_op_fh3_u.handle.data.data_val, made->post_op_fh3_u.handle.data.data_len);
}

static void on_written(struct rpc_context *rpc, int status, void *data, void *call) {
  (void)rpc;
  answered(call, status, data);
  struct WRITE3res *result = data;
  must(call, result->status);
  if (result->WRITE3res_u.resok.committed != FILE_SYNC) fail("WRITE", "not on stable storage");
}

static void on_removed(struct rpc_context *rpc, int status, void *data, void *call) {
  (void)rpc;
  answered(call, status, data);
  must(call, ((struct REMOVE3res *)data)->status);
}

static void wait_for(struct rpc_context *rpc, struct call *call, int queued) {
  if (queued != 0) fail(call->name, rpc_get_error(rpc));
  while (!call->done) {
    struct pollfd one = {.fd = rpc_get_fd(rpc), .events = rpc_which_events(rpc)};
    if (poll(&one, 1, -1) < 0) fail(call->name, "poll");
    if (rpc_service(rpc, one.revents) < 0) fail(call->name, rpc_get_error(rpc));
  }
  call->done = 0;
}

static struct rpc_context *connect_to(const char *host, const char *port, int program) {
  struct rpc_context *rpc = rpc_init_context();
  struct call call = {.name = "connect"};
  wait_for(rpc, &call, rpc_connect_port_async(rpc, host, atoi(port), program, 3, on_connected, &call));
  return rpc;
}

int main(int count_of, char **a) {
  if (count_of < 7) fail("usage", "calls HOST NFS-PORT MOUNT-PORT FOLDER create|unlink COUNT [SIZE]");
  struct call mounted = {.name = "MNT"};
  struct rpc_context *mount = connect_to(a[1], a[3], MOUNT_PROGRAM);
  wait_for(mount, &mounted, rpc_mount3_mnt_async(mount, on_mounted, a[4], &mounted));
  struct rpc_context *nfs = connect_to(a[1], a[2], NFS_PROGRAM);

  int creates = strcmp(a[5], "create") == 0;
  long count = atol(a[6]), size = creates && count_of > 7 ? atol(a[7]) : 0;
  char name[32], *data = calloc(1, size + 1);
  struct call made = {.name = "CREATE"}, written = {.name = "WRITE"}, removed = {.name = "REMOVE"};
  double start = begin();
  for (long i = 0; i < count; i++) {
    snprintf(name, sizeof name, "f%ld", i);
    if (!creates) {
      REMOVE3args gone = {.object = {.dir = mounted.handle, .name = name}};
      wait_for(nfs, &removed, rpc_nfs3_remove_async(nfs, on_removed, &gone, &removed));
      continue;
    }
    CREATE3args what = {.where = {.dir = mounted.handle, .name = name}, .how = {.mode = UNCHECKED}};
    what.how.createhow3_u.obj_attributes.mode.set_it = 1;
    what.how.createhow3_u.obj_attributes.mode.set_mode3_u.mode = 0644;
    wait_for(nfs, &made, rpc_nfs3_create_async(nfs, on_created, &what, &made));
    WRITE3args bytes = {.file = made.handle, .count = size, .stable = FILE_SYNC, .data = {size, data}};
    wait_for(nfs, &written, rpc_nfs3_write_async(nfs, on_written, &bytes, &written));
  }
  report(now() - start, count, count * (long long)size);
  return 0;
}
