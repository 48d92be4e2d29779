/**
 * The processor for which a single file is made: that of the node program that goes into it. Owns what differs for another one
 * than this machine's: the native half of koffi, and the node that can make the blob.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Node's names, by e_machine of elf(5). */
const PROCESSORS = new Map([
  [0x3e, 'x64'],
  [0xb7, 'arm64'],
]);
const ELF_HEADER_BYTES = 20;
const E_MACHINE = 18;
/** The source of a node is named in the program. */
const RELEASE = /nodejs\.org\/download\/release\/(v\d+\.\d+\.\d+)\//;

export class ProcessorError extends Error {}

/** Node's name of the processor of a program. @throws ProcessorError for files that are no programs of a known one */
export function processorOf(file) {
  const header = beginningOf(file);
  const name = PROCESSORS.get(header.readUInt16LE(E_MACHINE));
  if (header.toString('latin1', 1, 4) === 'ELF' && name !== undefined) return name;
  throw new ProcessorError(`${file} is no node program for ${[...PROCESSORS.values()].join(' or ')}.`);
}

function beginningOf(file) {
  const header = Buffer.alloc(ELF_HEADER_BYTES);
  try {
    const fd = openSync(file, 'r');
    readSync(fd, header, 0, ELF_HEADER_BYTES, 0);
    closeSync(fd);
  } catch (error) {
    throw new ProcessorError(`${file} cannot be read (${error.code}).`);
  }
  return header;
}

/**
 * A blob is only for the version of node that made it. Checks that this node can make it for one that does not run here.
 * @throws ProcessorError if it cannot
 */
export function checkSameVersion(file) {
  const version = RELEASE.exec(readFileSync(file, 'latin1'))?.[1];
  if (version === process.version) return;
  throw new ProcessorError(
    `${file} is Node ${version ?? 'of a version that it does not tell'}, for another processor. ` +
      `Run npm run package with that version, or name Node ${process.version} for that processor.`,
  );
}

/**
 * The native half of koffi for a processor: of this project's modules, or from npm, into the folder `work`, as package-lock.json
 * has it. @throws ProcessorError if it cannot be had
 */
export function nativeOfKoffi(root, processor, work) {
  const name = `@koromix/koffi-linux-${processor}`;
  const inside = join(`linux_${processor}`, 'koffi.node');
  const own = join(root, 'node_modules', name, inside);
  if (statSync(own, { throwIfNoEntry: false }) !== undefined) return own;
  if (processor === process.arch)
    throw new ProcessorError(`${own} is missing: run npm ci on a machine with glibc.`);
  const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages[
    `node_modules/${name}`
  ];
  if (locked === undefined) throw new ProcessorError(`package-lock.json has no ${name}.`);
  const run = (command, args) => {
    const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: work, encoding: 'utf8' });
    if (status !== 0)
      throw new ProcessorError(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr}`);
    return stdout;
  };
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--silent', `${name}@${locked.version}`]));
  const archive = join(work, packed.filename);
  const [kind = '', sum] = locked.integrity.split('-');
  if (createHash(kind).update(readFileSync(archive)).digest('base64') !== sum)
    throw new ProcessorError(
      `${name}@${locked.version} from npm is not the one that package-lock.json names.`,
    );
  run('tar', ['-xzf', archive, join('package', inside)]);
  return join(work, 'package', inside);
}
