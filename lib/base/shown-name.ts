/** Names as people are shown them. A server may send any bytes in a name, and a terminal obeys some of them. */

/**
 * Control characters (among them the line feed, which would forge a line, and the escape character), and those that turn
 * the direction of the text around or break lines in Unicode (UAX #9, U+2028, U+2029).
 */
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** `name` on one line, without anything that a terminal or a log would take for more than text. */
export function shownName(name: string): string {
  return name.replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`;
  });
}

/** JSON text that is safe for a terminal, too: characters that JSON.stringify leaves as they are become \uNNNN. */
export function shownJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${hex(character.charCodeAt(0), 4)}`,
  );
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}
