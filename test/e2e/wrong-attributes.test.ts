/**
 * The server sends attributes of the root once that cannot be true. If the kernel is told a size beyond 2^63, or that a
 * directory is a file, it makes the inode bad for good; if that is the root, the whole mount is lost. hostile.test.ts has
 * other nonsense of servers.
 */
import t from 'tap';
import type { ProcedureName } from '../../lib/programs/nfs3/index.js';
import { type Fattr3, FileType } from '../../lib/programs/nfs3/index.js';
import { errnoOf } from '../support/agent.js';
import { embeddedMount } from '../support/embedded-mount.js';

/** The result with other attributes of the object, wherever the procedure has them. */
function withAttributes(result: Readonly<Record<string, unknown>>, change: Partial<Fattr3>) {
  const changed = (attributes: unknown) => attributes && { ...attributes, ...change };
  const { attributes, directoryAttributes, wcc } = result;
  return {
    ...result,
    ...(attributes === undefined ? {} : { attributes: changed(attributes) }),
    ...(directoryAttributes === undefined ? {} : { directoryAttributes: changed(directoryAttributes) }),
    ...(wcc === undefined ? {} : { wcc: { ...wcc, after: changed((wcc as { after?: unknown }).after) } }),
  };
}

const WRONG: readonly (readonly [string, Partial<Fattr3>])[] = [
  ['a size of 2^63', { size: 1n << 63n }],
  ['the greatest size', { size: (1n << 64n) - 1n }],
  ['the type of a file', { type: FileType.REG }],
  ['the type of a link', { type: FileType.LNK }],
  ['another fileid', { fileid: 4711n }],
];
const PROCEDURES: readonly ProcedureName[] = ['GETATTR', 'SETATTR', 'ACCESS', 'READDIR', 'READDIRPLUS'];

for (const options of [['actimeo=0'], []]) {
  t.test(`the root outlives wrong attributes ${options.join(',')}`, async (t) => {
    const { agent, server } = await embeddedMount(t, options);
    await agent.mkdir('folder');
    const handle = server.rootHandle;
    for (const [what, change] of WRONG) {
      for (const procedure of PROCEDURES) {
        const fault = server.faults.add({
          procedure,
          handle,
          alter: (result) => withAttributes(result, change),
        });
        // The results do not matter.
        for (let time = 0; time < 2; time++) {
          await errnoOf(agent.lstat('.'));
          await errnoOf(agent.chmod('.', 0o755));
          await errnoOf(agent.list('.'));
        }
        fault.remove();
        const after = [await errnoOf(agent.lstat('.')), await errnoOf(agent.chmod('.', 0o755))];
        after.push(await errnoOf(agent.list('.')), await errnoOf(agent.writeFile('folder/file', 'x')));
        const well = after.every((errno) => errno === 'no error');
        if (!well) t.fail(`${what} in the reply to ${procedure}: ${after.join(', ')}`);
      }
    }
    t.same((await agent.list('.')).map(String), ['folder']);
    t.equal((await agent.readFile('folder/file')).toString(), 'x');
  });
}
