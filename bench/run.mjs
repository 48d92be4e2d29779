/** `npm run bench`: sees that everything is there that the benchmark and its peers need, and runs it (main.ts). */
import { DISK, SERVER_AND_MOUNT, startMeasurement } from './starter.mjs';

/** Packages of the peers; the benchmark does without peers that cannot be installed. */
const PEERS = {
  sshfs: 'sshfs',
  'openssh-server': 'sshd',
  'openssh-client': 'ssh',
  'libnfs-utils': 'nfs-cat',
  'libnfs-dev': '/usr/include/nfsc/libnfs-raw.h',
  // The kernel's client.
  'user-mode-linux': 'linux.uml',
  'nfs-common': 'mount.nfs',
  kmod: 'modprobe',
};

await startMeasurement({
  name: 'bench',
  main: 'bench/main.ts',
  needed: { ...SERVER_AND_MOUNT, ...DISK, passwd: 'useradd', git: 'git', iproute2: 'ip' },
  wanted: PEERS,
  measures: !process.argv.slice(2).some((arg) => /^(--(help|from)\b|-h$)/.test(arg)),
  // No copy of the disk's mount keeps its loop device busy.
  privateMounts: true,
  privateNetwork: true,
});
