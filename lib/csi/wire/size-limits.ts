/** How long fields of messages may be (CSI, "Size Limits"). Nobody who calls is refused for what an earlier driver has made longer. */

/** In bytes, of a text for which CSI says nothing else, such as the name or the id of a volume. */
export const MOST_TEXT_BYTES = 128;
/** In bytes, of the name of a node. */
export const MOST_NODE_ID_BYTES = 256;

/** As much of a text for people as fits. */
export function fittingText(text: string): string {
  return Buffer.byteLength(text) <= MOST_TEXT_BYTES ? text : cutText(text, MOST_TEXT_BYTES, '…');
}

/** The beginning of a text, by whole characters, with `end` behind it: at most so many bytes. */
export function cutText(text: string, mostBytes: number, end: string): string {
  let left = '';
  let bytes = Buffer.byteLength(end);
  // Half of a character would be no UTF-8.
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > mostBytes) break;
    left += character;
  }
  return left + end;
}
