/** A directory of a million long names, on a mount whose JavaScript heap holds 200 MB: a listing takes bounded memory. */

import t from 'tap';
import type { Fattr3, FileHandle } from '../../lib/programs/nfs3/index.js';
import { fileNameFromText } from '../../lib/programs/nfs3/index.js';
import { type EmbeddedMount, embeddedMount, statsOf } from '../support/embedded-mount.js';
import { Mount } from '../support/mount.js';
import { python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const NAME_BYTES = 220;
const PER_REPLY = 2000;

interface Asked {
  readonly directory: FileHandle;
  readonly cookie: bigint;
}

/** The directory shows so many files that exist in its listing only; entry n has the cookie n + 1. */
async function makeHuge({ server, handleOf }: EmbeddedMount, name: string, count: number): Promise<void> {
  const directory = await handleOf(name);
  const padding = 'n'.repeat(NAME_BYTES - 8);
  for (const procedure of ['READDIR', 'READDIRPLUS'] as const) {
    let from = 0;
    server.faults.add({
      procedure,
      handle: directory,
      times: Number.POSITIVE_INFINITY,
      // One call at a time comes for one listing.
      when: (args) => {
        from = Number((args as Asked).cookie);
        return true;
      },
      alter: (result) => {
        const folder = result.directoryAttributes as Fattr3;
        const to = Math.min(count, from + PER_REPLY);
        const entries: unknown[] = [];
        for (let index = from; index < to; index++) {
          const fileid = BigInt(index) + 1_000_000n;
          entries.push({
            name: fileNameFromText(String(index).padStart(8, '0') + padding),
            fileid,
            cookie: BigInt(index + 1),
            handle: `handle${index}`,
            attributes: { ...folder, type: 1, mode: 0o644, nlink: 1, fileid },
          });
        }
        return { ...result, entries, eof: to === count };
      },
    });
  }
}

/** Entries, different ones, and those of the names that do not belong there. */
const COUNT_THEM = `
import os, sys
count = int(sys.argv[2])
seen = bytearray(count)
entries = strange = 0
for entry in os.scandir(sys.argv[1]):
    entries += 1
    number = int(entry.name[:8])
    if len(entry.name) != ${NAME_BYTES} or number >= count: strange += 1
    else: seen[number] = 1
print(entries, sum(seen), strange)
`;

/** With the limit of the heap, in MB: less than the entries took when all of them were kept. */
for (const [count, how, options, heap] of [
  [1_000_000, 'by their names', [], 200],
  [200_000, 'with their attributes', ['rdirplus=force'], 100],
] as const) {
  t.test(`${count} long names are listed ${how}, each once`, { timeout: 400_000 }, async (t) => {
    const ground = await embeddedMount(t);
    const { agent, source, place } = ground;
    await agent.mkdir('huge');
    await makeHuge(ground, 'huge', count);
    const env = { NODE_OPTIONS: `--max-old-space-size=${heap}` };
    const mount = untilEnd(t, await Mount.start({ source, place, env, options }));
    const counted = await mount.mustRun([python, '-c', COUNT_THEM, 'huge', String(count)], {
      timeoutMs: 380_000,
    });
    t.equal(counted.trim(), `${count} ${count} 0`);
    t.equal(mount.outcome, undefined, 'nfs-fuse lives');
    const { memory, inodes } = await statsOf(mount);
    const mib = (bytes: number): number => Math.round(bytes / (1024 * 1024));
    t.comment(
      `heap ${mib(memory.heapUsedBytes)} MiB, buffers ${mib(memory.arrayBuffersBytes)} MiB, ${inodes} inodes`,
    );
    t.ok(memory.arrayBuffersBytes < 128 * 1024 * 1024, `${mib(memory.arrayBuffersBytes)} MiB of buffers`);
    t.ok(inodes < 30_000, `${inodes} inodes`);
  });
}
