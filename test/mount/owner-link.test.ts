/** The socket between `nfs-fuse exec` and a process that serves its mount, when `nfs-fuse exec` has ended. */
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { OwnerLink } from '../../lib/mount/process/owner-link.js';
import { publicFolder } from '../support/folders.js';
import { mustRun, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

t.test(
  'nothing is reported any more when the owner has ended, since the number may mean another file',
  async (t) => {
    const folder = untilEnd(t, publicFolder());
    const pipe = join(folder.path, 'pipe');
    await mustRun(['mkfifo', pipe]);
    const fd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    const owner = openSync(pipe, 'w');
    let ends = 0;
    const link = new OwnerLink(fd, () => {
      ends++;
    });
    t.equal(link.fd, fd);
    closeSync(owner);
    await until('the mount is asked to end', () => ends === 1);
    t.equal(link.fd, undefined);
    const files = Array.from({ length: 10 }, (_, at) => openSync(join(folder.path, `file${at}`), 'w'));
    t.ok(files.includes(fd), 'the number is used again');
    link.report({ type: 'over', status: 0 });
    for (const [at, file] of files.entries()) {
      closeSync(file);
      t.equal(readFileSync(join(folder.path, `file${at}`), 'utf8'), '');
    }
  },
);
