/** The memory that this process may have at most: what the machine has, or what its container leaves it. */
import { totalmem } from 'node:os';

/** In bytes. A limit of a control group that this process cannot see does not count. */
export function memoryLimit(): number {
  const machine = totalmem();
  // Without a limit, the kernel reports 0 or far more than any machine has.
  const group = process.constrainedMemory();
  return group > 0 && group < machine ? group : machine;
}
