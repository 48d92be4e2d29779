/** The header of a request, and the extensions at the end of one. */
import koffi from 'koffi';
import t from 'tap';
import { FuseRequest } from '../../lib/fuse/session/request.js';
import { RequestBuffer } from '../../lib/fuse/session/request-buffer.js';

const words = (...values: number[]) => Buffer.from(new Uint32Array(values).buffer);
/** struct fuse_supp_groups with one group. */
const groupsOf = (group: number) => words(16, 32, 1, group);

/** A request with a name of 5 bytes and these extensions behind it. */
function requestWith(extensions: Buffer, units = extensions.length / 8): FuseRequest {
  const message = new RequestBuffer(8192);
  const body = Buffer.concat([Buffer.from('name\0'), extensions]);
  message.bytes.set(body, 40);
  message.u32[0] = 40 + body.length;
  message.u32[9] = units;
  // An earlier, longer message has left these bytes.
  message.bytes.fill(0xff, 40 + body.length, 1000);
  return new FuseRequest(message);
}

t.test(
  'the group that the kernel names comes behind a name of any length, and behind other extensions',
  (t) => {
    t.equal(requestWith(Buffer.alloc(0)).directoryGroup, undefined);
    t.equal(requestWith(groupsOf(1234)).directoryGroup, 1234);
    t.equal(
      requestWith(Buffer.concat([words(24, 1, 0, 0, 0, 0), groupsOf(0xffff_fffe)])).directoryGroup,
      0xffff_fffe,
    );
    t.end();
  },
);

t.test('extensions that make no sense name no group', (t) => {
  t.equal(requestWith(words(0, 32, 1, 5)).directoryGroup, undefined, 'no size');
  t.equal(requestWith(words(16, 32, 0, 5)).directoryGroup, undefined, 'no groups');
  t.equal(requestWith(words(8, 32)).directoryGroup, undefined, 'cut off');
  t.equal(requestWith(words(0xffff_fff8, 7, 1, 5)).directoryGroup, undefined, 'a size beyond the end');
  t.equal(requestWith(words(16, 31, 1, 5), 0xffff).directoryGroup, undefined, 'longer than the message');
  t.end();
});

t.test('all pages of a buffer for requests are in memory before the kernel writes to it', (t) => {
  const mincore = koffi.load(null).func('int mincore(void *address, size_t length, _Out_ uint8_t *pages)');
  const page = 4096;
  const size = 1024 * page;
  const missing = (message: RequestBuffer): number => {
    const start = BigInt(koffi.address(message.bytes));
    const first = (start + BigInt(page - 1)) & ~BigInt(page - 1);
    const pages = new Uint8Array(size / page - 1);
    t.equal(mincore(first, size - page, pages), 0);
    return pages.filter((state) => (state & 1) === 0).length;
  };
  t.equal(missing(RequestBuffer.inMemory(size)), 0);
  t.ok(missing(new RequestBuffer(size)) > 0, 'which is not so by itself');
  t.end();
});
