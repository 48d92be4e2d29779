/** Long work that lets other work of the process have its turn. */
import { setImmediate as turn } from 'node:timers/promises';

/** Some milliseconds of work on small things. */
const PIECE = 4096;

/** The items in pieces. Between two of them whatever else waits in the event loop is done. */
export async function* inPieces<Item>(items: Iterable<Item>, size = PIECE): AsyncGenerator<readonly Item[]> {
  let piece: Item[] = [];
  for (const item of items) {
    piece.push(item);
    if (piece.length < size) continue;
    yield piece;
    piece = [];
    await turn();
  }
  yield piece;
}
