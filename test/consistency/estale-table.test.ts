/**
 * The errors that an application sees when the server calls a file handle stale: for every procedure, once and for ever,
 * with NFS3ERR_STALE, with NFS3ERR_BADHANDLE, and with NFS3ERR_NOENT where nothing but the handle can be missing. The
 * table here is the one in docs/semantics.md.
 */
import { chmodSync, constants, readFileSync, truncateSync } from 'node:fs';
import t from 'tap';
import { type ErrorStatus, Status } from '../../lib/programs/nfs3/index.js';
import type { ActiveFault, Fault, ProcedureName } from '../../lib/server/index.js';
import { type Agent, errnoOf } from '../support/agent.js';
import { type EmbeddedMount, embeddedMount } from '../support/embedded-mount.js';
import { Mount } from '../support/mount.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_EXCL, O_APPEND } = constants;
const FINE = 'no error';
/** Calls that one system call may send in vain: two tries of the kernel, each repeated after one redrive. */
const MOST_CALLS = 4;

type Step = (agent: Agent) => Promise<unknown>;
interface Row {
  /** The operation's name in the documentation. */
  readonly operation: string;
  readonly procedure: ProcedureName;
  /** Whose handle is stale, relative to the row's folder; undefined: of whatever the procedure names. */
  readonly target: string | undefined;
  readonly forEver: string;
  /** Prepares the folder, on the mount; answers the operation, which can be repeated. */
  prepare(agent: Agent, folder: string, ground: EmbeddedMount): Promise<Step>;
}

let serial = 0;
const unique = (folder: string) => `${folder}/new${serial++}`;

function onPath(
  operation: string,
  procedure: ProcedureName,
  target: string | undefined,
  act: (agent: Agent, folder: string) => Promise<unknown>,
): Row {
  return {
    operation,
    procedure,
    target,
    forEver: 'ENOENT',
    prepare: async (_, folder) => (agent) => act(agent, folder),
  };
}

/** Another client changes the mode first, so that no right is remembered. */
function afterChmod(operation: string, act: (agent: Agent, folder: string) => Promise<unknown>): Row {
  return {
    ...onPath(operation, 'ACCESS', 'file', act),
    prepare: async (_, folder, ground) => (agent) => {
      chmodSync(ground.onServer(`${folder}/file`), 0o600 + (serial++ % 64));
      return act(agent, folder);
    },
  };
}

function onDescriptor(
  operation: string,
  procedure: ProcedureName,
  forEver: string,
  flags: number,
  act: (agent: Agent, fd: number) => Promise<unknown>,
): Row {
  return {
    operation,
    procedure,
    target: 'file',
    forEver,
    prepare: async (agent, folder) => {
      const fd = await agent.open(`${folder}/file`, flags);
      return (again) => act(again, fd);
    },
  };
}

const ROWS: readonly Row[] = [
  onPath('stat', 'GETATTR', 'file', (agent, folder) => agent.stat(`${folder}/file`)),
  onPath('a name in a directory', 'LOOKUP', '', (agent, folder) => agent.stat(`${folder}/file`)),
  afterChmod('open', async (agent, folder) => agent.closeFd(await agent.open(`${folder}/file`, O_RDONLY))),
  afterChmod('access', (agent, folder) => agent.access(`${folder}/file`, 4).then(granted)),
  onPath('chmod, chown, utimes', 'SETATTR', 'file', (agent, folder) => agent.chmod(`${folder}/file`, 0o600)),
  onPath('truncate', 'SETATTR', 'file', (agent, folder) => agent.truncate(`${folder}/file`, 3)),
  onPath('readlink', 'READLINK', 'symlink', (agent, folder) => agent.readlink(`${folder}/symlink`)),
  onPath('create', 'CREATE', '', async (agent, folder) =>
    agent.closeFd(await agent.open(unique(folder), O_CREAT | O_WRONLY)),
  ),
  // The mode goes to the server behind the answer: a file that has gone meanwhile is no failure of its close.
  {
    ...onPath('create with O_EXCL', 'SETATTR', undefined, async (agent, folder) =>
      agent.closeFd(await agent.open(unique(folder), O_CREAT | O_EXCL | O_WRONLY)),
    ),
    forEver: FINE,
  },
  onPath('mkdir', 'MKDIR', '', (agent, folder) => agent.mkdir(unique(folder))),
  onPath('symlink', 'SYMLINK', '', (agent, folder) => agent.symlink('target', unique(folder))),
  onPath('mknod', 'MKNOD', '', (agent, folder) => agent.mkfifo(unique(folder))),
  onPath('unlink', 'REMOVE', '', async (agent, folder) => {
    await agent.writeFile(`${folder}/gone`, '');
    await agent.unlink(`${folder}/gone`);
  }),
  onPath('rmdir', 'RMDIR', '', async (agent, folder) => {
    if (!(await agent.list(folder)).some((name) => name.toString() === 'gone')) {
      await agent.mkdir(`${folder}/gone`);
    }
    await agent.rmdir(`${folder}/gone`);
  }),
  onPath('rename, from a directory', 'RENAME', '', (agent, folder) =>
    agent.rename(`${folder}/file`, `${folder}/directory/file`),
  ),
  onPath('rename, to a directory', 'RENAME', 'directory', (agent, folder) =>
    agent.rename(`${folder}/file`, `${folder}/directory/file`),
  ),
  onPath('link, of a file', 'LINK', 'file', (agent, folder) => agent.link(`${folder}/file`, unique(folder))),
  onPath('link, in a directory', 'LINK', 'directory', (agent, folder) =>
    agent.link(`${folder}/file`, unique(`${folder}/directory`)),
  ),
  {
    ...onPath('statvfs', 'FSSTAT', 'file', (agent, folder) => agent.statvfs(`${folder}/file`)),
    forEver: FINE,
  },
  {
    operation: 'unlink of an open file (silly rename)',
    procedure: 'RENAME',
    target: '',
    forEver: 'ENOENT',
    prepare: async (agent, folder) => {
      await agent.open(`${folder}/file`, O_RDONLY);
      return (again) => again.unlink(`${folder}/file`);
    },
  },
  {
    operation: 'readdir',
    procedure: 'READDIRPLUS',
    target: '',
    forEver: 'EIO',
    prepare: async (_, folder) => (agent) => agent.list(folder),
  },
  onDescriptor('fstat', 'GETATTR', FINE, O_RDONLY, async (agent, fd) => {
    const { size } = await agent.fstat(fd);
    if (size !== 'content'.length) throw new Error(`fstat says ${size} bytes`);
  }),
  onDescriptor('fchmod, fchown, futimens', 'SETATTR', 'ESTALE', O_RDONLY, (agent, fd) =>
    agent.fchmod(fd, 0o600),
  ),
  onDescriptor('ftruncate', 'SETATTR', 'EIO', O_RDWR, (agent, fd) => agent.ftruncate(fd, 3)),
  {
    operation: 'read',
    procedure: 'READ',
    target: 'file',
    forEver: 'EIO',
    // Each time from another place, which has not been read ahead.
    prepare: async (agent, folder, ground) => {
      truncateSync(ground.onServer(`${folder}/file`), 1 << 30);
      const fd = await agent.open(`${folder}/file`, O_RDONLY);
      return (again) => again.pread(fd, 100, (serial++ % 128) << 23);
    },
  },
  onDescriptor('write; fsync or close', 'WRITE', 'EIO', O_RDWR, async (agent, fd) => {
    await agent.pwrite(fd, 'new', 0);
    await agent.fsync(fd);
  }),
  onDescriptor('write with O_APPEND', 'GETATTR', 'EIO', O_WRONLY | O_APPEND, async (agent, fd) =>
    agent.write(fd, 'more'),
  ),
  // Two pages are two WRITEs here, which need a COMMIT.
  onDescriptor('fsync', 'COMMIT', 'EIO', O_RDWR, async (agent, fd) => {
    await agent.pwrite(fd, Buffer.alloc(8192, 'x'), 0);
    await agent.fsync(fd);
  }),
];

function granted(may: boolean): void {
  // os.access returns no errno; the file's mode grants what was asked for.
  if (!may) throw new DeniedError();
}
class DeniedError extends Error {}

/** As errnoOf; os.access(3) answers no without an errno, and the one reason left is that there is no file. */
async function seen(call: Promise<unknown>): Promise<string> {
  try {
    return await errnoOf(call);
  } catch (error) {
    if (error instanceof DeniedError) return 'ENOENT';
    throw error;
  }
}

async function withFault<T>(
  { server }: EmbeddedMount,
  fault: Fault,
  act: (active: ActiveFault) => Promise<T>,
): Promise<T> {
  const active = server.faults.add(fault);
  try {
    return await act(active);
  } finally {
    active.remove();
  }
}

/** NFS3ERR_NOENT as well, unless the procedure has a name that may be missing. */
function statuses(procedure: ProcedureName): readonly ErrorStatus[] {
  const named = ['LOOKUP', 'REMOVE', 'RMDIR', 'RENAME'].includes(procedure);
  return named ? [Status.STALE, Status.BADHANDLE] : [Status.STALE, Status.BADHANDLE, Status.NOENT];
}

/** The result of each operation, in the words of the documentation. */
const measured: string[] = [];

t.test('the table', { timeout: 240_000 }, async (t) => {
  // Attributes are never trusted, so that each operation really asks.
  const ground = await embeddedMount(t, ['actimeo=0', 'wsize=4096']);
  const { agent } = ground;
  for (const [index, row] of ROWS.entries()) {
    await t.test(`${row.operation}: ${row.procedure}`, async (t) => {
      for (const status of statuses(row.procedure)) {
        const folder = `row${index}-${status}`;
        await agent.mkdir(folder);
        await agent.mkdir(`${folder}/directory`);
        await agent.symlink('target', `${folder}/symlink`);
        const { procedure, target } = row;
        const renew = () => agent.writeFile(`${folder}/file`, 'content');
        await renew();
        const act = await row.prepare(agent, folder, ground);
        const handle =
          target === undefined ? undefined : await ground.handleOf(`${folder}/${target}`.replace(/\/$/, ''));
        const once = await withFault(ground, { procedure, handle, status }, async (active) => {
          const errno = await seen(act(agent));
          t.equal(active.hits, 1, `${procedure} was answered with the status`);
          return errno;
        });
        t.equal(once, FINE, 'once: the application sees nothing of it');
        if (procedure === 'RENAME') {
          // It has been moved: make a file to move again.
          await renew();
          if (row.operation.includes('silly')) await agent.open(`${folder}/file`, O_RDONLY);
        }
        const forEver = await withFault(
          ground,
          { procedure, handle, status, times: Number.POSITIVE_INFINITY },
          async (active) => {
            const errno = await seen(act(agent));
            t.ok(active.hits > 0, `${procedure} was answered with the status`);
            t.ok(active.hits <= MOST_CALLS, `it ends: ${active.hits} calls`);
            return errno;
          },
        );
        t.equal(forEver, row.forEver, 'for ever');
        t.equal(await seen(act(agent)), FINE, 'when the server knows the handle again, so does the mount');
        if (status === Status.STALE) {
          const said = (errno: string) => (errno === FINE ? 'works' : errno);
          measured.push(`| ${row.operation} | ${procedure} | ${said(once)} | ${said(forEver)} |`);
        }
      }
    });
  }
  await agent.close();
});

t.test('docs/semantics.md has this table', async (t) => {
  const text = readFileSync(`${projectRoot}/docs/semantics.md`, 'utf8');
  // The formatter pads cells. Other tables have other columns.
  const lines = text.split('\n').map((line) => line.replace(/ +\|/g, ' |'));
  const table = lines.filter((line) => /^\| [^|]* \| [A-Z]+ \| [^|]* \| [^|]* \|$/.test(line));
  t.same(table, measured);
});

t.test('READDIR, where there is no READDIRPLUS', { timeout: 60_000 }, async (t) => {
  const ground = await embeddedMount(t, ['actimeo=0', 'nordirplus']);
  const { agent } = ground;
  await agent.mkdir('folder');
  await agent.writeFile('folder/file', '');
  const handle = await ground.handleOf('folder');
  const fault = { procedure: 'READDIR', handle, status: Status.STALE } as const;
  const once = await withFault(ground, fault, async ({ hits: _ }) => agent.list('folder'));
  t.same(once.map(String), ['file']);
  const forEver = { ...fault, times: Number.POSITIVE_INFINITY };
  // As after any change: the listing is a new one.
  await agent.writeFile('folder/file2', '');
  t.equal(await withFault(ground, forEver, () => errnoOf(agent.list('folder'))), 'EIO');
});

t.test('while mounting', { timeout: 60_000 }, async (t) => {
  const { server, source, place, mount } = await embeddedMount(t);
  t.equal(mount.outcome, undefined);
  for (const procedure of ['FSINFO', 'PATHCONF'] as const) {
    const fault = server.faults.add({ procedure, status: Status.STALE });
    const another = untilEnd(t, await Mount.start({ source, place }));
    t.equal(fault.hits, 1, `${procedure} was answered with the status`);
    t.equal(
      await another.mustRun(['ls', '-A']),
      '',
      `without ${procedure}, the mount works with what is usual`,
    );
    t.match(await another.unmount(), { status: 0 });
  }
  const fault = server.faults.add({ procedure: 'GETATTR', status: Status.STALE });
  await t.rejects(
    Mount.start({ source, place }),
    /stale/i,
    'a mount whose root is stale from the start fails, and says why',
  );
  t.equal(fault.hits, 1);
});
