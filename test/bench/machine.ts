/** A machine, for reports that no machine has made. */
export const MACHINE = {
  cpus: 2,
  model: 'CPU',
  memoryMiB: 4096,
  kernel: '6',
  node: '20',
  server: 'nfs-ganesha',
  load: 0,
};
