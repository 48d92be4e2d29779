import t from 'tap';
import { BufferPool } from '../../../lib/vfs/memory/buffer-pool.js';

t.test('a write buffer is used again, but not one that a reader may look at', (t) => {
  const pool = new BufferPool(4096, 2);
  const first = pool.take();
  pool.give(first);
  t.equal(pool.take(), first);
  pool.beginReading();
  pool.give(first);
  pool.endReading();
  t.not(pool.take(), first);
  pool.give(Buffer.alloc(10));
  t.equal(pool.take().length, 4096, 'only whole buffers come back');
  t.end();
});
