import type { Test } from 'tap';
import type { Procedure } from '../../../lib/rpc/wire/procedure.js';
import { XdrReader } from '../../../lib/xdr/xdr-reader.js';
import { XdrWriter } from '../../../lib/xdr/xdr-writer.js';

/** The bytes of a procedure's result. */
export function resultBytes<Arguments, Result>(
  procedure: Procedure<Arguments, Result>,
  value: Result,
): Buffer {
  const writer = new XdrWriter();
  procedure.encodeResult(writer, value);
  return writer.toBuffer();
}

/** Arguments and result go through their codecs and come back the same, with no byte left over. */
export function roundTrip<Arguments, Result>(
  t: Test,
  procedure: Procedure<Arguments, Result>,
  args: Arguments,
  value: Result,
): void {
  const call = new XdrWriter();
  procedure.encodeArguments(call, args);
  const callReader = new XdrReader(call.toBuffer());
  t.same(procedure.decodeArguments(callReader), args, `${procedure.name} arguments`);
  callReader.expectEnd();
  const reader = new XdrReader(resultBytes(procedure, value));
  t.same(procedure.decodeResult(reader), value, `${procedure.name} result`);
  reader.expectEnd();
}
