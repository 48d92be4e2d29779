/** The changes of the matrix (changes.py) in families, for a table that a reader can take in. */
import type { PassRecord } from './linux-record.js';
import type { Outcomes } from './program.js';

const FAMILIES: Readonly<Record<string, readonly string[]>> = {
  'A file is written to, cut or rewritten': [
    ...['append', 'append-pages', 'shrink', 'same-size', 'rewrite', 'dir-append', 'link-append'],
  ],
  'Another file gets its name': [
    ...['replace', 'replace-same-size', 'replace-links', 'recreate', 'rename-over', 'rotate', 'swap'],
    ...['to-directory', 'to-link', 'dir-replace-file', 'link-replace', 'link-to-file'],
  ],
  'Mode, owner, number of links': [
    ...['chmod-grant', 'chmod-refuse', 'chmod-exec', 'chown', 'link', 'unlink-other-name'],
    ...['dir-grant', 'dir-refuse', 'dir-chown'],
  ],
  'A name is removed or renamed': [
    ...['unlink', 'rename', 'rename-into', 'dir-unlink', 'dir-rename-file', 'dir-move-out'],
    ...['link-unlink', 'link-rename', 'link-dangling'],
  ],
  'A new name': [
    ...['create', 'mkdir', 'symlink', 'link-here', 'rename-here', 'link-arrives', 'dir-create', 'dir-mkdir'],
  ],
  'A directory is removed, renamed, replaced': [
    ...['rmdir', 'dir-to-file', 'dir-to-link', 'dir-rename', 'dir-swap', 'dir-replace', 'dir-recreate'],
  ],
  'A symbolic link gets another target': ['retarget', 'link-recreate'],
};

/** Whether a combination, `prepare/change/act`, is about one of the changes. */
const isOf = (changes: readonly string[]) => (name: string) => changes.includes(name.split('/')[1] ?? '');

/** Lines `| family | combinations | ours differ | Linux differs |`, and one of all. */
export function familyTable(truth: Outcomes, ours: Outcomes, { late }: PassRecord): string[] {
  const row = (family: string, names: readonly string[]) => {
    const different = names.filter((name) => ours.get(name) !== truth.get(name)).length;
    const linux = names.filter((name) => late.has(name)).length;
    return `| ${family} | ${names.length} | ${different} | ${linux} |`;
  };
  const all = [...truth.keys()];
  const rows = Object.entries(FAMILIES).map(([family, changes]) => row(family, all.filter(isOf(changes))));
  const rest = all.filter((name) => !Object.values(FAMILIES).some((changes) => isOf(changes)(name)));
  if (rest.length > 0) throw new Error(`of no family: ${rest[0]}`);
  return [...rows, row('all', all)];
}
