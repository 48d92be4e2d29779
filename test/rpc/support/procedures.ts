/** A program of our own, to call in tests. */

import { AUTH_NONE } from '../../../lib/rpc/auth/auth-none.js';
import type { CallOptions, Cancellation } from '../../../lib/rpc/client/rpc-caller.js';
import type { Procedure, Program } from '../../../lib/rpc/wire/procedure.js';

export const TEST_PROGRAM: Program = { number: 0x2000_0001, version: 1, name: 'TEST' };

/** Gives the number back. */
export const ECHO: Procedure<number, number> = {
  program: TEST_PROGRAM,
  number: 1,
  name: 'ECHO',
  encodeArguments: (writer, value) => writer.uint32(value),
  decodeArguments: (reader) => reader.uint32(),
  encodeResult: (writer, value) => writer.uint32(value),
  decodeResult: (reader) => reader.uint32(),
};

/** Gives data back. */
export const DATA: Procedure<Uint8Array, Buffer> = {
  program: TEST_PROGRAM,
  number: 2,
  name: 'DATA',
  encodeArguments: (writer, data) => writer.opaqueByReference(data),
  decodeArguments: (reader) => reader.opaque(1024 * 1024, 'data'),
  encodeResult: (writer, data) => writer.opaqueByReference(data),
  decodeResult: (reader) => reader.opaque(1024 * 1024, 'data'),
};

export const ANONYMOUS: CallOptions = { credential: AUTH_NONE };

/** A caller that can be made to stop waiting. */
export class TestCancellation implements Cancellation {
  cancelled = false;
  readonly #listeners: (() => void)[] = [];

  onCancel(listener: () => void): void {
    if (this.cancelled) listener();
    else this.#listeners.push(listener);
  }

  cancel(): void {
    this.cancelled = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }
}
