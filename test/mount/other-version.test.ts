/** The advice to restart a mount that another version of the program serves. */
import t from 'tap';
import { otherVersion } from '../../lib/mount/keep/other-version.js';

t.test('a mount that another version serves is named, and no other one', async (t) => {
  t.equal(otherVersion('1.2.3', '1.2.3'), undefined);
  t.equal(otherVersion(undefined, '1.2.3'), undefined, 'an old process does not tell');
  t.equal(
    otherVersion('1.2.2', '1.2.3'),
    'served by version 1.2.2, and this is 1.2.3: nfs-fuse restart lets this one go on',
  );
  t.notMatch(otherVersion('\u001b[2J', '1.2.3'), /\u001b/, 'whoever serves it may be another user');
});
