/** NFS version 3 on the wire (RFC 1813): everything another folder may use. */
export * from './attributes.js';
export * from './constants.js';
export * from './directory-procedures.js';
export * from './file-handle.js';
export * from './file-name.js';
export * from './file-procedures.js';
export * from './filesystem-procedures.js';
export * from './name-procedures.js';
export * from './odd-values.js';
export type { Result } from './status.js';
