/** The examples of docs/containers.md: what can be said of them without docker and Kubernetes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse, parseAllDocuments } from 'yaml';
import { nfsFuse } from '../cli/product.js';
import { projectRoot } from '../support/project.js';

const text = readFileSync(join(projectRoot, 'docs/containers.md'), 'utf8');

function blocks(language: string): string[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .filter(([, name]) => name === language)
    .map(([, , body = '']) => body);
}

t.test('the YAML is YAML', async (t) => {
  const yaml = blocks('yaml');
  t.not(yaml.length, 0);
  for (const block of yaml) {
    for (const { errors } of parseAllDocuments(block)) t.same(errors, []);
    const { services, kind } = parse(block) as { services?: object; kind?: string };
    t.ok(services !== undefined || kind === 'Pod', 'of compose or Kubernetes');
  }
});

t.test('every nfs-fuse command that is shown exists', async (t) => {
  const help = (await nfsFuse(['--help'])).stdout;
  const shown = [...text.matchAll(/nfs-fuse(?:", "| )(mount|umount|check|exec|stats|[a-z]+(?= server:))/g)];
  const commands = new Set(shown.map(([, command = '']) => command));
  t.ok(commands.has('mount') && commands.has('exec') && commands.has('check'));
  for (const command of commands) t.match(help, new RegExp(`^ *nfs-fuse ${command}\\b`, 'm'), command);
});
