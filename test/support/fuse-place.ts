/** Starts test/support/memory-server.ts in a place: compiled, next to the copy of the product that is readable there. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import type { Place } from './places.js';
import { type Background, start, until } from './process.js';
import { projectRoot } from './project.js';

/** Compiles the program into the place; answers the command that runs it there, without arguments. */
export function compileServer(place: Place): string[] {
  const [node = process.execPath, product = ''] = place.product;
  const library = pathToFileURL(join(dirname(product), '../lib/fuse')).href;
  const folder = join(place.folder, 'memory-server');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  for (const name of ['memory-locks', 'memory-node', 'memory-fs', 'memory-server']) {
    const text = readFileSync(join(projectRoot, `test/support/${name}.ts`), 'utf8');
    const compiled = ts.transpileModule(text, {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    });
    writeFileSync(join(folder, `${name}.js`), compiled.outputText.replaceAll('../../lib/fuse', library));
  }
  return place.command([node, join(folder, 'memory-server.js')]);
}

/** Starts the compiled program and waits until it serves. Fails with what it said if it ends before. */
export async function startServer(command: readonly string[], args: readonly string[]): Promise<Background> {
  const server = start([...command, ...args]);
  await until('the memory file system is mounted', () => {
    if (server.outcome !== undefined) throw new Error(`the server ended: ${server.output}`);
    return server.output.includes('mounted ');
  });
  return server;
}
