/** A file system whose requests go through the hands of a test. */
import type { RequestContext } from '../../lib/fuse/contract/operations.js';
import type { MemoryFileSystem } from './memory-fs.js';

export interface InterceptedRequest {
  readonly method: string;
  readonly ctx: RequestContext;
  /** All arguments, `ctx` first. */
  readonly args: readonly unknown[];
  /** Has the file system answer. */
  readonly answer: () => unknown;
}

/** `fs`, with the answer that `handle` gives to each request. Methods without a caller, such as `forget`, are called as they are. */
export function intercepted(
  fs: MemoryFileSystem,
  handle: (request: InterceptedRequest) => unknown,
): MemoryFileSystem {
  return new Proxy(fs, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const [ctx] = args;
        const answer = (): unknown => value.apply(target, args) as unknown;
        return isContext(ctx) ? handle({ method: String(key), ctx, args, answer }) : answer();
      };
    },
  });
}

function isContext(value: unknown): value is RequestContext {
  return typeof value === 'object' && value !== null && 'onCancel' in value;
}
