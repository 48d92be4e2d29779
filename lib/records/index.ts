/** Records that outlive the process. */

export { adoptLiving } from './living-records.js';
export { type KeptRecord, RecordMemory, type RecordRef } from './record-memory.js';
export { RecordsError, type RecordsFault } from './records-error.js';
export { type SharedBuffer, SharedBuffers } from './shared-buffers.js';
