/**
 * The record of the export: its root, and the ports that NFS and the lock manager were found at. With it the next process needs
 * neither mountd nor a portmapper, which may be gone, or may refuse by now.
 */
import type { FileHandle } from '../../programs/nfs3/index.js';
import type { RecordMemory } from '../../records/index.js';
import type { KnownExport } from '../remote/export-session.js';
import { RecordKind, RecordReader, type RecordText } from './record-text.js';

/** Takes the place of what an earlier process has recorded. */
export function recordExport(
  memory: RecordMemory,
  text: RecordText,
  { root, port, lockPort }: KnownExport,
): void {
  const before = [...memory.records()].filter(({ kind }) => kind === RecordKind.EXPORT);
  const { bytes, length } = text
    .begin()
    .text(root)
    .u32(port)
    .u32(lockPort ?? 0);
  memory.put(RecordKind.EXPORT, [], bytes, length);
  for (const { ref } of before) memory.free(ref);
}

/** Undefined: no process has come so far as to record it. @throws RecordsError for records that are damaged */
export function recordedExport(memory: RecordMemory): KnownExport | undefined {
  for (const { kind, content } of memory.records()) {
    if (kind !== RecordKind.EXPORT) continue;
    const reader = new RecordReader(content);
    const root = reader.text() as FileHandle;
    const [port, lockPort] = [reader.u32(), reader.u32()] as const;
    return { root, port, lockPort: lockPort === 0 ? undefined : lockPort };
  }
  return undefined;
}
