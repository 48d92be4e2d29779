/** A page of docs whose commands are run: its blocks of code, and how a block becomes a script for a server of the test. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MountSource } from '../../support/mount.js';
import { projectRoot } from '../../support/project.js';

export class Page {
  readonly #blocks: readonly { readonly language: string; readonly text: string }[];
  readonly #tried = new Set<string>();

  constructor(name: string) {
    const text = readFileSync(join(projectRoot, 'docs', name), 'utf8');
    this.#blocks = [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = '', body = '']) => ({
      language,
      text: body,
    }));
  }

  /** The one block of this language that has `text` in it. It counts as tried. */
  take(language: string, text: string): string {
    const found = this.#blocks.filter((block) => block.language === language && block.text.includes(text));
    const [block] = found;
    if (block === undefined || found.length > 1)
      throw new Error(`${found.length} blocks of ${language} have ${JSON.stringify(text)}`);
    this.#tried.add(block.text);
    return block.text;
  }

  /** The blocks of this language that nobody has taken. */
  untried(language: string): string[] {
    return this.#blocks
      .filter((block) => block.language === language && !this.#tried.has(block.text))
      .map(({ text }) => text);
  }
}

/** A text of the page with the server of the test in place of `server`. The rest of a command line stays as it is. */
export function onServer(text: string, { host, mountOptions }: MountSource): string {
  const separate = mountOptions.map((option) => `-o ${option}`).join(' ');
  return text
    .replaceAll('-o device=server:/export', `-o device=${host}:/export ${separate}`)
    .replaceAll('-o device=:/export', `-o device=:/export ${separate}`)
    .replaceAll('addr=server', `addr=${host}`)
    .replaceAll(/(?<!=)\bserver:\/export/g, `-o ${mountOptions.join(',')} ${host}:/export`);
}

/**
 * Makes a folder of commands that go before those of the machine. `as`: the words that each name stands for. The containers that an
 * engine runs get the network of the host, where the test's servers are.
 */
export function commandsOf(folder: string, as: Readonly<Record<string, readonly string[]>>): string {
  const path = join(folder, 'commands');
  mkdirSync(path);
  for (const [name, words] of Object.entries(as)) {
    const quoted = words.map((word) => `'${word}'`).join(' ');
    const network = 'case $1 in run | build) verb=$1; shift; set -- "$verb" --network=host "$@" ;; esac';
    const isEngine = name === 'podman' || name === 'docker';
    writeFileSync(join(path, name), `#!/bin/sh\n${isEngine ? network : ''}\nexec ${quoted} "$@"\n`);
    chmodSync(join(path, name), 0o755);
  }
  return path;
}
