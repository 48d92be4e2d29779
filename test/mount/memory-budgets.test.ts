/** How much memory a mount takes for data, by the memory limit of its container. */
import t from 'tap';
import { memoryBudgets } from '../../lib/mount/options/memory-budgets.js';
import { DEFAULT_CONFIG } from '../../lib/vfs/config.js';

const MIB = 1024 * 1024;

t.test('a gibibyte and more leave the usual budgets', async (t) => {
  const { readAhead, writeBehind } = DEFAULT_CONFIG;
  for (const limit of [1024 * MIB, 64 * 1024 * MIB]) t.same(memoryBudgets(limit), { readAhead, writeBehind });
});

t.test('less memory leaves an eighth for writing and a sixteenth for reading', async (t) => {
  t.same(memoryBudgets(256 * MIB), { readAhead: 16 * MIB, writeBehind: 32 * MIB });
});

t.test('no limit leaves less than the largest WRITE', async (t) => {
  t.same(memoryBudgets(MIB), { readAhead: MIB, writeBehind: MIB });
});
