/** The removal of a folder on a server that wants to keep the driver at work for ever. */
import t from 'tap';
import { TreeRemoval } from '../../lib/csi/folders/tree-removal.js';
import { DOT, FileType, fileNameFromText, Status } from '../../lib/programs/nfs3/index.js';
import type { ExportAccess } from '../../lib/volume-parts/export-access.js';

const MOST_CALLS = 2_000;

/**
 * A server whose listings never end. `names`: those of a page; `removed`: its answer to REMOVE; `heard`: hears of each call.
 */
function endlessServer({
  names,
  removed,
  heard = () => {},
}: {
  readonly names: (page: number) => string[];
  readonly removed: Status;
  readonly heard?: (calls: number) => void;
}) {
  const counted = { calls: 0 };
  let pages = 0;
  const access = {
    listingBytes: 8192,
    async find() {
      return { handle: {}, attributes: { type: FileType.REG, fsid: 1n } };
    },
    async call({ name }: { readonly name: string }) {
      counted.calls += 1;
      heard(counted.calls);
      if (counted.calls > MOST_CALLS) throw new Error('it is asked for ever');
      if (name === 'REMOVE') return { status: removed };
      if (name === 'RMDIR') return { status: Status.NOTEMPTY };
      pages += 1;
      const entries = names(pages).map((text, at) => ({
        name: fileNameFromText(text),
        cookie: BigInt(pages * 100 + at + 1),
      }));
      return { status: Status.OK, entries, eof: false, cookieVerifier: Buffer.alloc(8) };
    },
  };
  return { counted, access: access as unknown as ExportAccess };
}

function removalFrom(access: ExportAccess, signal: AbortSignal): Promise<void> {
  const handle = {} as never;
  return new TreeRemoval(access, 1n, signal).remove({ parent: handle, name: fileNameFromText('x'), handle });
}

t.test('a listing of nothing but "." comes to an end', async (t) => {
  const { access, counted } = endlessServer({ names: () => [DOT], removed: Status.OK });
  await t.rejects(removalFrom(access, new AbortController().signal), { message: /comes to no end/ });
  t.ok(counted.calls < 100, String(counted.calls));
});

t.test('ever new names, all of them gone, come to an end', async (t) => {
  const { access, counted } = endlessServer({ names: (page) => [`name${page}`], removed: Status.NOENT });
  await t.rejects(removalFrom(access, new AbortController().signal), { message: /comes to no end/ });
  t.ok(counted.calls < 100, String(counted.calls));
});

t.test(
  'a server that makes files as fast as they are removed is left when nobody waits any more',
  async (t) => {
    const control = new AbortController();
    const { access, counted } = endlessServer({
      names: (page) => [`name${page}`],
      removed: Status.OK,
      heard: (calls) => calls === 500 && control.abort(),
    });
    await t.rejects(removalFrom(access, control.signal), { name: 'AbortError' });
    t.ok(counted.calls < 510, String(counted.calls));
  },
);
