/*
 * sse PROGRAM ARGUMENT…: runs PROGRAM where ptrace(2) knows no extended processor state (NT_X86_XSTATE).
 *
 * User-mode Linux 6.1 keeps that state of its processes in less room than a processor with AMX needs (EFAULT, and it
 * panics at its first process), but takes SSE's alone where the host has nothing more to give. Its programs must then do
 * without AVX, whose registers do not survive a signal: guest.ts.
 */
#include <elf.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* Goes on if the loaded word is `value`, else `away` instructions further. */
#define MUST_BE(value, away) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, away)

int main(int argc, char **argv) {
  struct sock_filter filter[] = {
      LOAD(nr),      MUST_BE(SYS_ptrace, 5),
      LOAD(args[0]), MUST_BE(PTRACE_GETREGSET, 3),
      LOAD(args[2]), MUST_BE(NT_X86_XSTATE, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (argc < 2) {
    fprintf(stderr, "usage: sse PROGRAM ARGUMENT...\n");
    return 2;
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    perror("sse: seccomp");
    return 1;
  }
  execvp(argv[1], argv + 1);
  perror(argv[1]);
  return 1;
}
