/**
 * A connection breaks, the call is repeated on a new one, and the server meets the first copy only later, past its
 * duplicate request cache. Data that was written and acknowledged meanwhile stays.
 */
import { constants, readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { until } from '../support/process.js';
import { CallTable, RecordSplitter, type WireRecord } from '../support/record-stream.js';
import { untilEnd } from '../support/until-end.js';
import { type RoughServer, roughEmbedded, roughGanesha } from './rough-mount.js';

const { O_CREAT, O_RDWR, O_TRUNC } = constants;

/** A relay that passes everything on, and keeps the calls. */
async function listening(t: Test, upstream: number): Promise<{ port: number; calls: WireRecord[] }> {
  const calls: WireRecord[] = [];
  const sockets = new Set<net.Socket>();
  const relay = net.createServer({ noDelay: true }, (client) => {
    const server = net.connect({ host: '127.0.0.1', port: upstream, noDelay: true });
    const splitter = new RecordSplitter();
    const table = new CallTable();
    client.on('data', (bytes: Buffer) => {
      for (const record of splitter.push(Buffer.from(bytes))) calls.push(table.call(record));
    });
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => sockets.delete(from));
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    relay.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (relay.address() as net.AddressInfo).port, calls };
}

/** Sends `record` to the server from a port of its own, and waits for the reply. */
async function sendAgain(port: number, record: WireRecord): Promise<void> {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
  const splitter = new RecordSplitter();
  let answers = 0;
  socket.on('data', (bytes: Buffer) => {
    answers += splitter.push(Buffer.from(bytes)).length;
  });
  socket.write(record.bytes);
  await until('the late copy is answered', () => answers > 0);
  socket.destroy();
}

for (const [name, start] of [
  ['nfs-ganesha', roughGanesha],
  ['the embedded server', roughEmbedded],
] as const) {
  t.test(name, { timeout: 120_000 }, async (t) => {
    const server: RoughServer = untilEnd(t, await start());
    const { port, calls } = await listening(t, server.port);
    const mountPort = server.mountPort === server.port ? port : server.mountPort;
    const mountOptions = [`port=${port}`, `mountport=${mountPort}`, 'nolock'];
    const source = { host: '127.0.0.1', exportPath: server.exportPath, mountOptions };
    const place = untilEnd(t, await openPlace('root'));
    const mount = untilEnd(t, await Mount.start({ source, place }));
    const fs = await mount.agent();
    /** The calls that truncate, among those that `operation` sends. */
    const truncating = async (operation: () => Promise<unknown>): Promise<WireRecord[]> => {
      const from = calls.length;
      await operation();
      return calls
        .slice(from)
        .filter(({ procedure }) => procedure === 'NFS.SETATTR' || procedure === 'NFS.CREATE');
    };
    const content = (file: string) => readFileSync(join(server.directory, file)).toString();

    await fs.writeFile('file', 'what is there before');
    const fd = await fs.open('file', O_RDWR);
    const cut = await truncating(() => fs.ftruncate(fd, 0));
    await fs.pwrite(fd, 'written after ftruncate', 0);
    await fs.fsync(fd);
    const emptied = await truncating(async () => fs.closeFd(await fs.open('file', O_RDWR | O_TRUNC)));
    await fs.pwrite(fd, 'written after O_TRUNC', 0);
    await fs.fsync(fd);
    for (const record of [...cut, ...emptied]) await sendAgain(server.port, record);
    t.ok(cut.length > 0 && emptied.length > 0);
    t.equal(content('file'), 'written after O_TRUNC');
    t.equal((await fs.readFile('file')).toString(), 'written after O_TRUNC');

    let made = -1;
    const created = await truncating(async () => {
      made = await fs.open('new', O_RDWR | O_CREAT | O_TRUNC);
    });
    await fs.pwrite(made, 'written after creat', 0);
    await fs.fsync(made);
    for (const record of created) await sendAgain(server.port, record);
    t.ok(created.length > 0);
    t.equal(content('new'), 'written after creat');
  });
}
