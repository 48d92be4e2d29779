/** The seal of file handles is SipHash-2-4, by the values that its authors and the first implementations give. */
import t from 'tap';
import { SipHash } from '../../lib/server/tree/siphash.js';

t.test('SipHash gives the published values for the key 00 01 … 0f and the messages 00 01 02 …', (t) => {
  const hash = new SipHash(Uint8Array.from({ length: 16 }, (_, i) => i));
  const message = new DataView(Uint8Array.from({ length: 64 }, (_, i) => i).buffer);
  const known = new Map([
    [0, '726fdb47dd0e0e31'],
    [1, '74f839c593dc67fd'],
    [8, '93f5f5799a932462'],
    [15, 'a129ca6149be45e5'],
    [63, '958a324ceb064572'],
  ]);
  for (const [length, value] of known) {
    hash.update(message, length);
    t.equal(((BigInt(hash.high) << 32n) | BigInt(hash.low)).toString(16), value, `${length} bytes`);
  }
  t.throws(() => new SipHash(new Uint8Array(15)), /a key has 16 bytes/);
  t.end();
});
