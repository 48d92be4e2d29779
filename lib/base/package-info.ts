/** The name, version and engines of this program, as package.json has them. */
import { readFileSync } from 'node:fs';
import { isRecord } from './json.js';
import { includedText } from './own-program.js';

export interface PackageInfo {
  readonly version: string;
  /** The oldest Node.js that will do, "20.19.0"; undefined if package.json does not say. */
  readonly oldestNode: string | undefined;
}

const UNKNOWN: PackageInfo = { version: 'unknown', oldestNode: undefined };

export function packageInfo(): PackageInfo {
  const included = includedText('package.json');
  if (included !== undefined) return infoOf(JSON.parse(included)) ?? UNKNOWN;
  // In the bundle this is in dist/bin, otherwise in dist/lib/base, and in a test in lib/base.
  for (const up of ['../../../package.json', '../../package.json']) {
    try {
      const info = infoOf(JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')));
      if (info !== undefined) return info;
    } catch {
      // It is not in this place: the other one is tried.
    }
  }
  return UNKNOWN;
}

/** Undefined: it is another program's. */
function infoOf(content: unknown): PackageInfo | undefined {
  if (!isRecord(content) || content.name !== 'nfs-fuse') return undefined;
  const node = isRecord(content.engines) ? String(content.engines.node) : '';
  return { version: String(content.version), oldestNode: /^>=\s*([\d.]+)$/.exec(node)?.[1] };
}
