/** The descriptors that whoever runs the tests has left open, and that would change how the programs under test start. */
import { closeSync, readdirSync, readFileSync } from 'node:fs';

const STANDARD_STREAMS = 3;
const O_CLOEXEC = 0o2000000;

/**
 * Closes all but the standard streams that a program started from here would inherit, so that tests see the same wherever they
 * are run. A test that needs such a descriptor opens it itself.
 */
export function closeInherited() {
  for (const name of readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    if (fd >= STANDARD_STREAMS && isInheritable(fd)) closeSync(fd);
  }
}

function isInheritable(fd) {
  try {
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
  } catch (error) {
    // The descriptor of the listing itself is closed by now.
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}
