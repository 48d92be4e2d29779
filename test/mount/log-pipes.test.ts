/** A log file that is a named pipe keeps no mount waiting. */
import { chmodSync, closeSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { LogFile, openLogFile } from '../../lib/mount/process/log-file.js';
import { publicFolder } from '../support/folders.js';
import { mustRun, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const O_NONBLOCK = 0o4000;
/** It has both ends, so that it waits for no writer. */
const READER = `
import os, sys
pipe = os.open(sys.argv[1], os.O_RDWR)
print('ready', flush=True)
while True: os.write(1, os.read(pipe, 4096))`;

const folder = untilEnd(t, publicFolder()).path;

t.test('a pipe that nobody reads is refused at once, and one with a reader gets the lines', async (t) => {
  const pipe = join(folder, 'pipe');
  await mustRun(['mkfifo', pipe]);
  t.throws(() => openLogFile(pipe), /is a named pipe that no program reads/);
  const reader = untilEnd(t, start(['python3', '-c', READER, pipe]));
  await until('the reader is there', () => reader.output.includes('ready'));
  const file = new LogFile(pipe);
  const [, flags = ''] =
    /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${file.descriptor}`, 'latin1')) ?? [];
  t.equal(Number.parseInt(flags, 8) & O_NONBLOCK, 0, 'a line that does not fit in yet is not dropped');
  file.sink('info', 'a line');
  await until('the line has come', () => reader.output.includes('info a line'));
  closeSync(file.descriptor);
});

t.test('a pipe in the place of a log that was moved away does not stop the mount', async (t) => {
  const path = join(folder, 'log');
  const file = new LogFile(path);
  renameSync(path, `${path}.1`);
  await mustRun(['mkfifo', path]);
  file.reopen({ streams: false });
  file.sink('info', 'goes on');
  closeSync(file.descriptor);
  const lines = readFileSync(`${path}.1`, 'utf8');
  t.match(lines, / error The log file .* is a named pipe that no program reads\.\n.* info goes on\n$/);
});

t.test('a pipe of another user in a folder that is open to all is refused', async (t) => {
  const shared = join(folder, 'shared');
  mkdirSync(shared);
  chmodSync(shared, 0o1777);
  const pipe = join(shared, 'theirs');
  await mustRun(['setpriv', '--reuid=65533', '--regid=65533', '--clear-groups', 'mkfifo', '-m', '666', pipe]);
  const reader = untilEnd(t, start(['python3', '-c', READER, pipe]));
  await until('the reader is there', () => reader.output.includes('ready'));
  t.throws(() => openLogFile(pipe), /belongs to another user|cannot be opened \(EACCES\)/);
});
