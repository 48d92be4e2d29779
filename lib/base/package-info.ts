/** The name, version and engines of this program, as package.json has them. */
import { readFileSync } from 'node:fs';

export interface PackageInfo {
  readonly version: string;
  /** The oldest Node.js that will do, "20.19.0"; undefined if package.json does not say. */
  readonly oldestNode: string | undefined;
}

export function packageInfo(): PackageInfo {
  // Compiled, this file is in dist/lib/base; in a test it runs from lib/base.
  for (const up of ['../../../package.json', '../../package.json']) {
    try {
      const content: unknown = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'));
      if (!isRecord(content) || !('version' in content)) continue;
      const node = isRecord(content.engines) ? String(content.engines.node) : '';
      return { version: String(content.version), oldestNode: /^>=\s*([\d.]+)$/.exec(node)?.[1] };
    } catch {
      // It is not in this place: the other one is tried.
    }
  }
  return { version: 'unknown', oldestNode: undefined };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
