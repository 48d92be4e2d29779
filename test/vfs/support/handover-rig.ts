/** Processes that serve one mount, one after the other, over one server. */
import { RecordMemory } from '../../../lib/records/index.js';
import { Handover } from '../../../lib/vfs/handover/handover.js';
import { takeUpMount } from '../../../lib/vfs/handover/take-up.js';
import { Rig, type RigOptions, settled } from './rig.js';

export interface Successive {
  readonly rig: Rig;
  readonly memory: RecordMemory;
}

/** A mount whose next process finds records of it. Without `copies`, there is no memory for data. */
export function firstProcess(options: RigOptions = {}, copies = true): Successive {
  const memory = RecordMemory.create();
  if (memory === undefined) throw new Error('this machine gives no memory that can be shared');
  memory.setFacts({});
  if (!copies) Object.assign(memory, { takeBlock: () => undefined });
  const records = new Handover({ memory, isTakeover: false });
  return { rig: new Rig({ ...options, records }), memory };
}

/** The process dies now: the next one goes on with its mount. */
export async function nextProcess(
  { rig, memory }: Successive,
  options: RigOptions = {},
): Promise<Successive> {
  const adopted = RecordMemory.adopt(memory.fd);
  const records = new Handover({ memory: adopted, isTakeover: true });
  const next = new Rig({ ...options, server: rig.server, records });
  const { files, directories, silly, credentials } = next;
  await takeUpMount(next.vfs, records, { files, directories, silly, credentials, locks: undefined });
  await settled();
  return { rig: next, memory: adopted };
}
