/** Which ends of a mount are failures, and which reason is told. */
import t from 'tap';
import { type MountEnd, outcomeOf } from '../../lib/mount/serve/outcome.js';

const IN_ORDER: MountEnd = {
  end: 'unmounted',
  forced: false,
  lastError: undefined,
  untold: 0,
  untoldIsFailure: false,
  lost: undefined,
};
const outcome = (facts: Partial<MountEnd>) => outcomeOf({ ...IN_ORDER, ...facts });

t.test('a mount that was unmounted and written back has succeeded', async (t) => {
  t.strictSame(outcome({}), { status: 0, message: undefined, lost: undefined, untold: 0 });
});

t.test('an end that nobody asked for is a failure', async (t) => {
  t.match(outcome({ end: 'aborted' }), { status: 1, message: 'The FUSE connection was aborted.' });
  t.match(outcome({ end: new Error('Internal error: x') }), { status: 1, message: 'Internal error: x' });
});

t.test('an error during the end is a failure, and it is the reason that is told', async (t) => {
  t.match(outcome({ lastError: 'EIO' }), { status: 1, message: 'EIO' });
  t.match(outcome({ end: 'aborted', forced: true, lastError: 'EIO' }), { status: 1, message: 'EIO' });
});

t.test('an end by force is a failure, whatever the kernel calls it', async (t) => {
  t.match(outcome({ forced: true }), { status: 1, message: 'The mount was ended by force.' });
  t.match(outcome({ forced: true, end: 'aborted' }), {
    status: 1,
    message: 'The FUSE connection was aborted.',
  });
});

t.test(
  'earlier losses are told in any case, but are a failure only for a mount of one command',
  async (t) => {
    t.match(outcome({ untold: 2 }), { status: 0, untold: 2 });
    t.match(outcome({ untold: 2, untoldIsFailure: true }), {
      status: 1,
      message: 'Not everything could be written back.',
      untold: 2,
    });
    t.match(outcome({ untold: 0, untoldIsFailure: true }), { status: 0 });
  },
);
