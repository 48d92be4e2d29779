/** A flavour of authentication in the client: when its operations run, and what of a call they change on the wire. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import type { AuthenticatedCall, Credential, CredentialOperations } from '../../lib/rpc/auth/credential.js';
import { RpcCancelledError, RpcClosedError, RpcGarbageError } from '../../lib/rpc/rpc-errors.js';
import { XdrError } from '../../lib/xdr/xdr-error.js';
import { XdrReader } from '../../lib/xdr/xdr-reader.js';
import { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { turnUntil } from './support/manual-clock.js';
import { ECHO, TestCancellation } from './support/procedures.js';
import { setting } from './support/setting.js';
import { type WireCall, words } from './support/wire-server.js';

const FLAVOR = 6;
const KEY = 0x5a5a_5a5a;

/**
 * A toy with the shape of RPCSEC_GSS: each encoding of a call has a sequence number of its own, in the credential and
 * before the arguments. The verifier of the reply and the result repeat it, and all is hidden by a key.
 */
class ToyFlavor implements CredentialOperations {
  readonly encodesAgain = true;
  refreshed: Promise<void> | undefined;
  #sequence = 0;
  readonly #used = new WeakMap<AuthenticatedCall, number[]>();

  readonly credential: Credential = { flavor: FLAVOR, body: new Uint8Array(0), operations: this };

  /** Lets calls wait until the function that it returns is called. */
  startRefresh(): () => void {
    let finish = (): void => {};
    this.refreshed = new Promise((resolve) => {
      finish = resolve;
    });
    return finish;
  }

  refresh(): Promise<void> | undefined {
    return this.refreshed;
  }

  marshal(writer: XdrWriter, call: AuthenticatedCall): void {
    this.#sequence += 1;
    this.#used.set(call, [...(this.#used.get(call) ?? []), this.#sequence]);
    writer.uint32(FLAVOR);
    writer.opaque(words(this.#sequence));
    writer.uint32(FLAVOR);
    writer.opaque(words(this.#sequence ^ KEY));
  }

  wrap<Arguments>(
    writer: XdrWriter,
    _call: AuthenticatedCall,
    procedure: { encodeArguments(writer: XdrWriter, args: Arguments): void },
    args: Arguments,
  ): void {
    const plain = new XdrWriter();
    procedure.encodeArguments(plain, args);
    writer.opaque(Buffer.concat([words(this.#sequence), hidden(plain.toBuffer())]));
  }

  validate(reader: XdrReader, call: AuthenticatedCall): void {
    const flavor = reader.uint32();
    const body = reader.opaque(400, 'verifier');
    const sequence = flavor === FLAVOR && body.length === 4 ? body.readInt32BE(0) ^ KEY : 0;
    if (!this.#used.get(call)?.includes(sequence)) throw new XdrError('the verifier is not for this call');
  }

  unwrap(reader: XdrReader): XdrReader {
    return new XdrReader(hidden(reader.opaque(1024, 'result')));
  }
}

function hidden(bytes: Buffer): Buffer {
  return Buffer.from(bytes.map((byte) => byte ^ 0xa5));
}

/** The server's view of a call of {@link ToyFlavor}. */
function parsed(call: WireCall): { sequence: number; verifier: number; wrapped: number; value: number } {
  const reader = new XdrReader(call.bytes, 24);
  reader.uint32();
  const sequence = reader.opaque(400, 'credential').readUInt32BE(0);
  reader.uint32();
  const verifier = reader.opaque(400, 'verifier').readInt32BE(0) ^ KEY;
  const wrapped = reader.opaque(400, 'arguments');
  reader.expectEnd();
  return {
    sequence,
    verifier,
    wrapped: wrapped.readUInt32BE(0),
    value: hidden(wrapped.subarray(4)).readUInt32BE(0),
  };
}

/** Answers ECHO as the flavour has it, with the verifier for `sequence`. */
function answer(call: WireCall, sequence = parsed(call).sequence): void {
  const header = words(call.xid, 1, 0, FLAVOR, 4, sequence ^ KEY, 0);
  call.connection.record(header, words(4), hidden(words(parsed(call).value)));
}

t.test('a flavour writes credential and verifier, and hides arguments and results', async (t) => {
  const { server, client } = await setting(t);
  const { credential } = new ToyFlavor();
  server.onCall = (call) => answer(call);
  t.equal(await client.call(ECHO, 77, { credential }), 77);
  t.equal(await client.call(ECHO, 78, { credential }), 78);
  t.same(server.calls.map(parsed), [
    { sequence: 1, verifier: 1, wrapped: 1, value: 77 },
    { sequence: 2, verifier: 2, wrapped: 2, value: 78 },
  ]);
});

t.test(
  'a call sent again is encoded again with the same XID, and the reply to either is taken',
  async (t) => {
    for (const answered of [1, 2]) {
      const { server, client } = await setting(t);
      const { credential } = new ToyFlavor();
      server.onCall = (call) => {
        if (server.connections.length === 1) call.connection.socket.resetAndDestroy();
        else answer(call, answered);
      };
      t.equal(await client.call(ECHO, 5, { credential }), 5);
      const [first, second] = server.calls;
      t.equal(second?.xid, first?.xid);
      t.same(server.calls.map(parsed), [
        { sequence: 1, verifier: 1, wrapped: 1, value: 5 },
        { sequence: 2, verifier: 2, wrapped: 2, value: 5 },
      ]);
    }
  },
);

t.test('a reply with the verifier of another call is no answer', async (t) => {
  const { server, client, clock, log } = await setting(t);
  const { credential } = new ToyFlavor();
  server.onCall = (call) => answer(call, 99);
  let failure: unknown;
  client.call(ECHO, 5, { credential }).catch((error: unknown) => {
    failure = error;
  });
  await turnUntil(clock, 50, () => failure !== undefined);
  t.type(failure, RpcGarbageError);
  t.match(failure, { message: /verifier is not for this call/ });
  t.ok(server.connections.length > 1, 'each connection that brought one was ended');
  t.match(log, [/without a proper header/]);
});

t.test('a call waits until its credential is refreshed', async (t) => {
  const { server, client } = await setting(t);
  const flavor = new ToyFlavor();
  const finishRefresh = flavor.startRefresh();
  server.onCall = (call) => answer(call);
  const result = client.call(ECHO, 1, flavor);
  await nextTurn();
  t.equal(client.outstanding, 1);
  t.equal(server.connections.length, 0, 'nothing is sent before');
  finishRefresh();
  t.equal(await result, 1);
  t.equal(client.outstanding, 0);
});

t.test('a call fails with the error of its refresh, and sends nothing', async (t) => {
  const { server, client } = await setting(t);
  const flavor = new ToyFlavor();
  flavor.refreshed = Promise.reject(new Error('no ticket'));
  await t.rejects(client.call(ECHO, 1, flavor), { message: 'no ticket' });
  t.equal(client.outstanding, 0);
  t.equal(server.connections.length, 0);
});

t.test('a call that waits for a refresh ends when it is interrupted or the client is closed', async (t) => {
  const { server, client } = await setting(t);
  const flavor = new ToyFlavor();
  const finishRefresh = flavor.startRefresh();
  const cancellation = new TestCancellation();
  const interrupted = client.call(ECHO, 1, { credential: flavor.credential, cancellation });
  const closed = client.call(ECHO, 2, flavor);
  cancellation.cancel();
  await t.rejects(interrupted, RpcCancelledError);
  client.close();
  await t.rejects(closed, RpcClosedError);
  t.equal(client.outstanding, 0);
  finishRefresh();
  await nextTurn();
  t.equal(server.connections.length, 0, 'neither is sent afterwards');
});
