/** Records of a process that goes on to write them: a first look, before it hands them over. */
import { RecordMemory } from './record-memory.js';
import { RecordsError } from './records-error.js';

/** A record that the other process is writing at that moment looks damaged, and hardly ever again. */
const MOST_LOOKS = 10;

/**
 * As {@link RecordMemory.adopt}, while the other process writes. {@link RecordMemory.adoptAgain} is to be called when it has stopped.
 * @throws RecordsError
 */
export function adoptLiving(fd: number): RecordMemory {
  for (let looks = 1; ; looks++) {
    try {
      return RecordMemory.adopt(fd);
    } catch (error) {
      const mayPass = error instanceof RecordsError && error.fault === 'damaged';
      if (!mayPass || looks >= MOST_LOOKS) throw error;
    }
  }
}
