/**
 * Parts of a file that the local disk should have and does not: they were read before the server's clock was known to have left
 * the tick of the last change, or while too much waited for the disk. Owns their number, and when they are asked for once more:
 * some time after the file was closed.
 */
import type { Clock } from '../../base/clock.js';
import type { NfsTime } from '../../programs/nfs3/index.js';

/** Beyond this, the next who reads the file fills the gaps: data that is asked for twice costs the server as well. */
const MOST_BYTES = 16 * 1024 * 1024;
/** More than a tick of the server's clock: with fractions of a second, and of whole seconds. */
const TICK_MS = 50;
const WHOLE_SECOND_MS = 1_100;

interface Range {
  readonly offset: number;
  readonly length: number;
}

export class Unstored {
  #ranges: Range[] = [];
  #bytes = 0;

  add(offset: number, length: number): void {
    if (length <= 0 || this.#bytes + length > MOST_BYTES) return;
    this.#bytes += length;
    this.#ranges.push({ offset, length });
  }

  /**
   * The file is closed. When the server's clock has left the tick of `ctime`, calls `inTurn` for each part, with work that calls
   * `read` with it: parts that come faster than the disk takes them would not fit again. After a `read` that fails, the rest
   * is left to the next who reads the file.
   */
  closed(
    clock: Clock,
    ctime: NfsTime | undefined,
    inTurn: (work: () => Promise<void>) => Promise<void>,
    read: (offset: number, length: number) => Promise<void>,
  ): void {
    const ranges = this.#ranges;
    this.#ranges = [];
    this.#bytes = 0;
    if (ranges.length === 0 || ctime === undefined) return;
    const readAll = async (): Promise<void> => {
      let failed = false;
      for (const { offset, length } of ranges) {
        await inTurn(async () => {
          failed = true;
          await read(offset, length);
          failed = false;
        });
        if (failed) return;
      }
    };
    clock.after(ctime.nanoseconds === 0 ? WHOLE_SECOND_MS : TICK_MS, () => void readAll());
  }
}
