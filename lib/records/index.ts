/** Records that outlive the process. */

export type { FoundRecord } from './chunk.js';
export { RecordMemory, type RecordRef } from './record-memory.js';
export { RecordsError, type RecordsFault } from './records-error.js';
