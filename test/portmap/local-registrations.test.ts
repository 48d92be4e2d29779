/** Registering with the port mapper of this host: nothing of somebody else's is replaced or removed, nothing of ours stays. */
import t, { type Test } from 'tap';
import { LocalRegistrations, PortmapUnreachableError } from '../../lib/programs/portmap/index.js';
import * as portmap from '../../lib/programs/portmap/procedures.js';
import { type Mapping, PORTMAP_V2, RPCBIND_V4, type RpcbEntry } from '../../lib/programs/portmap/types.js';
import { RpcServer } from '../../lib/rpc/server/server.js';
import { handle } from '../../lib/rpc/server/server-procedure.js';
import type { Program } from '../../lib/rpc/wire/procedure.js';
import { silentServer } from '../cli/support/silent-server.js';
import { freePorts } from '../support/ports.js';
import { untilEnd } from '../support/until-end.js';

const NFS: Program = { number: 100003, version: 3, name: 'NFS' };
const MOUNT: Program = { number: 100005, version: 3, name: 'MOUNT' };
const NLM: Program = { number: 100021, version: 4, name: 'NLM' };
const GROUPS = [[NFS, MOUNT], [NLM]];
const SERVER = { host: '127.0.0.1', port: 2049 };

/** A port mapper of this process. It does as rpcbind and portmap do, and refuses to set the programs in `refuses`. */
class PortMapper {
  entries: RpcbEntry[] = [];
  refuses: number[] = [];
  readonly at = { host: '127.0.0.1', port: 0 };

  readonly server = new RpcServer();

  static async start(t: Test, version: 2 | 4): Promise<PortMapper> {
    const mapper = new PortMapper();
    const server = untilEnd(t, mapper.server);
    if (version === 4) mapper.#offerRpcbind(server);
    else mapper.#offerPortmap(server);
    mapper.at.port = (await server.listen(mapper.at)).port;
    return mapper;
  }

  add(program: number, version: number, netid: string, address: string): void {
    this.entries.push({ program, version, netid, address, owner: 'other' });
  }

  get list(): string[] {
    return this.entries.map(({ program, version, netid, address }) =>
      [program, version, netid, address].join(' '),
    );
  }

  #set(entry: RpcbEntry): boolean {
    if (this.refuses.includes(entry.program)) return false;
    const found = this.entries.find((one) => isSame(one, entry) && one.netid === entry.netid);
    if (found !== undefined) return found.address === entry.address;
    this.entries.push(entry);
    return true;
  }

  #offerRpcbind(server: RpcServer): void {
    server.register(RPCBIND_V4, [
      handle(portmap.SET_V4, (entry) => this.#set(entry)),
      handle(portmap.UNSET_V4, (entry) => {
        this.entries = this.entries.filter((one) => !isSame(one, entry) || one.netid !== entry.netid);
        return true;
      }),
      handle(portmap.DUMP_V4, () => this.entries),
    ]);
  }

  #offerPortmap(server: RpcServer): void {
    const entryOf = ({ program, version, protocol, port }: Mapping): RpcbEntry => {
      const address = `0.0.0.0.${port >> 8}.${port & 255}`;
      return { program, version, netid: protocol === 6 ? 'tcp' : 'udp', address, owner: '' };
    };
    server.register(PORTMAP_V2, [
      handle(portmap.SET, (mapping) => this.#set(entryOf(mapping))),
      handle(portmap.UNSET, (mapping) => {
        this.entries = this.entries.filter((one) => !isSame(one, mapping));
        return true;
      }),
      handle(portmap.DUMP, () =>
        this.entries.map(({ program, version, netid, address }) => {
          const [high, low] = address.split('.').slice(-2).map(Number);
          return {
            program,
            version,
            protocol: netid === 'tcp' ? 6 : 17,
            port: (high ?? 0) * 256 + (low ?? 0),
          };
        }),
      ),
    ]);
  }
}

const isSame = (a: Pick<RpcbEntry, 'program' | 'version'>, b: Pick<RpcbEntry, 'program' | 'version'>) =>
  a.program === b.program && a.version === b.version;

async function registered(mapper: PortMapper, host = SERVER.host): Promise<LocalRegistrations> {
  const made = await LocalRegistrations.make(GROUPS, { host, port: SERVER.port }, mapper.at);
  if (made === undefined) throw new Error('the port mapper was not found');
  return made;
}

const names = (list: LocalRegistrations['made']) =>
  list.map(({ program, netid }) => `${program.name} ${netid}`);

t.test('programs are registered with their address, and removed', async (t) => {
  for (const version of [2, 4] as const) {
    const mapper = await PortMapper.start(t, version);
    mapper.add(100003, 4, 'tcp', '0.0.0.0.8.2');
    mapper.add(100024, 1, 'local', '/run/rpc.statd.sock');
    const [before] = [mapper.list];
    const registrations = await registered(mapper);
    const address = version === 4 ? '127.0.0.1.8.1' : '0.0.0.0.8.1';
    const ours = [`100003 3 tcp ${address}`, `100005 3 tcp ${address}`, `100021 4 tcp ${address}`];
    t.same(mapper.list, [...before, ...ours], `version ${version}`);
    t.same(names(registrations.made), ['NFS tcp', 'MOUNT tcp', 'NLM tcp']);
    t.same(registrations.refused, []);
    t.same(await registrations.remove(), []);
    t.same(mapper.list, before);
    t.same(registrations.made, []);
    t.same(await registrations.remove(), [], 'a second time there is nothing to do');
  }
});

t.test('a server on IPv6 is registered over tcp6, one on all addresses over both', async (t) => {
  const mapper = await PortMapper.start(t, 4);
  const six = await registered(mapper, '::1');
  t.same(mapper.list, ['100003 3 tcp6 ::1.8.1', '100005 3 tcp6 ::1.8.1', '100021 4 tcp6 ::1.8.1']);
  await six.remove();
  mapper.add(100021, 4, 'tcp', '0.0.0.0.9.9');
  const all = await registered(mapper, '::');
  t.same(names(all.made), ['NFS tcp', 'MOUNT tcp', 'NFS tcp6', 'MOUNT tcp6', 'NLM tcp6']);
  t.match(all.refused, [{ program: NLM, netid: 'tcp', taken: 0x909 }]);
  t.ok(mapper.list.includes('100005 3 tcp 0.0.0.0.8.1'));
  await all.remove();
  t.same(mapper.list, ['100021 4 tcp 0.0.0.0.9.9']);
  const old = await PortMapper.start(t, 2);
  t.same((await registered(old, '::1')).made, [], 'portmap version 2 knows nothing of IPv6');
  t.same(names((await registered(old, '::')).made), ['NFS tcp', 'MOUNT tcp', 'NLM tcp']);
});

t.test('where somebody else has one program of a group, no other one is registered', async (t) => {
  for (const version of [2, 4] as const) {
    for (const taken of [NFS, MOUNT]) {
      const mapper = await PortMapper.start(t, version);
      mapper.add(taken.number, 3, 'tcp', '0.0.0.0.8.9');
      const registrations = await registered(mapper);
      t.same(registrations.made, []);
      t.match(registrations.refused, [{ program: taken, taken: 0x809 }]);
      t.equal(mapper.list.length, 1);
      await registrations.remove();
      t.same(mapper.list, [`${taken.number} 3 tcp 0.0.0.0.8.9`]);
    }
  }
});

t.test('NFS and MOUNT are registered also where somebody else has NLM', async (t) => {
  const mapper = await PortMapper.start(t, 4);
  mapper.add(NLM.number, 4, 'tcp', '0.0.0.0.8.9');
  const registrations = await registered(mapper);
  t.same(names(registrations.made), ['NFS tcp', 'MOUNT tcp']);
  t.match(registrations.refused, [{ program: NLM, taken: 0x809 }]);
  await registrations.remove();
  t.same(mapper.list, ['100021 4 tcp 0.0.0.0.8.9']);
});

t.test('if the port mapper refuses a program, the others of its group are removed again', async (t) => {
  for (const version of [2, 4] as const) {
    const mapper = await PortMapper.start(t, version);
    mapper.refuses = [MOUNT.number];
    const registrations = await registered(mapper);
    t.same(mapper.list, []);
    t.same(registrations.made, []);
    t.match(registrations.refused, [{ program: MOUNT, taken: undefined }]);
  }
});

t.test('a registration that an earlier run has left is taken over, if its address proves it', async (t) => {
  const mapper = await PortMapper.start(t, 4);
  await registered(mapper);
  const registrations = await registered(mapper);
  t.same(names(registrations.made), ['NFS tcp', 'MOUNT tcp', 'NLM tcp']);
  await registrations.remove();
  t.same(mapper.list, []);
  mapper.add(NFS.number, 3, 'tcp', '127.0.0.2.8.1');
  t.match(
    (await registered(mapper)).refused,
    [{ program: NFS, taken: 2049 }],
    'the port alone proves nothing',
  );
  const old = await PortMapper.start(t, 2);
  old.add(NFS.number, 3, 'tcp', '0.0.0.0.8.1');
  const unproven = await registered(old);
  t.match(unproven.refused, [{ program: NFS, taken: 2049 }]);
  await unproven.remove();
  t.same(old.list, ['100003 3 tcp 0.0.0.0.8.1']);
});

t.test('a registration that has changed hands meanwhile stays', async (t) => {
  const mapper = await PortMapper.start(t, 4);
  const registrations = await registered(mapper);
  mapper.entries = [];
  mapper.add(NFS.number, 3, 'tcp', '127.0.0.1.9.9');
  mapper.add(NLM.number, 4, 'tcp', '127.0.0.2.8.1');
  t.same(await registrations.remove(), []);
  t.same(mapper.list, ['100003 3 tcp 127.0.0.1.9.9', '100021 4 tcp 127.0.0.2.8.1']);
});

/** A port mapper that lists servers of these programs at ports of this host. */
async function listing(
  t: Test,
  ports: readonly (readonly [Program, number])[],
  version: 2 | 4 = 4,
): Promise<PortMapper> {
  const mapper = await PortMapper.start(t, version);
  for (const [{ number, version: of }, port] of ports)
    mapper.add(number, of, 'tcp', `127.0.0.1.${port >> 8}.${port & 255}`);
  return mapper;
}

t.test('what a server has left that was killed is replaced, and nothing else', async (t) => {
  const [dead = 0, other = 0] = await freePorts(2);
  const left = await listing(t, [
    [NFS, dead],
    [MOUNT, dead],
    [NLM, dead],
  ]);
  const registrations = await registered(left);
  t.same(names(registrations.made), ['NFS tcp', 'MOUNT tcp', 'NLM tcp']);
  t.same(registrations.replaced, [{ host: '127.0.0.1', port: dead }]);
  const foreignLocks = await listing(t, [
    [NFS, dead],
    [MOUNT, dead],
    [NLM, other],
  ]);
  t.same(names((await registered(foreignLocks)).made), ['NFS tcp', 'MOUNT tcp']);
  const living = untilEnd(t, new RpcServer());
  const { port: alive } = await living.listen({ host: '127.0.0.1', port: 0 });
  for (const [what, mapper] of [
    [
      'one that listens',
      await listing(t, [
        [NFS, alive],
        [MOUNT, alive],
      ]),
    ],
    [
      'two servers',
      await listing(t, [
        [NFS, dead],
        [MOUNT, other],
      ]),
    ],
    ['half a server', await listing(t, [[NFS, dead]])],
    [
      'somebody at an address that nobody knows',
      await listing(
        t,
        [
          [NFS, dead],
          [MOUNT, dead],
        ],
        2,
      ),
    ],
  ] as const) {
    const before = mapper.list;
    const refused = await registered(mapper);
    t.same([refused.made, refused.replaced, mapper.list], [[], [], before], what);
  }
});

t.test('portmap version 2 is not asked to remove a program that somebody else offers over UDP', async (t) => {
  const mapper = await PortMapper.start(t, 2);
  mapper.add(NFS.number, 3, 'udp', '0.0.0.0.8.1');
  const registrations = await registered(mapper);
  t.same(names(await registrations.remove()), ['NFS tcp']);
  t.same(mapper.list, ['100003 3 udp 0.0.0.0.8.1', '100003 3 tcp 0.0.0.0.8.1']);
});

t.test('nothing is left where the port mapper has ended', async (t) => {
  const mapper = await PortMapper.start(t, 4);
  const registrations = await registered(mapper);
  await mapper.server.close(0);
  t.same(await registrations.remove(), []);
});

t.test('without a port mapper nothing is registered, and one that is silent is an error', async (t) => {
  const [port = 0] = await freePorts(1);
  t.equal(await LocalRegistrations.make(GROUPS, SERVER, { host: '127.0.0.1', port }), undefined);
  const { port: silent } = await silentServer(t);
  const asked = LocalRegistrations.make(GROUPS, SERVER, { host: '127.0.0.1', port: silent });
  await t.rejects(asked, PortmapUnreachableError);
  await t.rejects(asked, { message: /^the port mapper of this host cannot be asked: no answer/ });
});
