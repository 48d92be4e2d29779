/** Whether a mount of nfs-fuse has still a process that serves it. */
import { askMount, type MountEntry } from '../fuse/index.js';
import { reachMount } from '../mount/reach/mount-control.js';

/** Errors of a mount that is dead come at once; one that gives no answer is alive, and waits for its server. */
const ANSWER_MS = 2_000;

/** Whether no process serves the mount `entry` at `place` any more, and none will. Never waits for its server. */
export async function isDeadMount(entry: MountEntry, place: string): Promise<boolean> {
  const control = await reachMount(entry);
  control?.close();
  if (control !== undefined) return false;
  return (await askMount(place, ANSWER_MS)).state === 'dead';
}
