/** Lines of JSON that another process has written. It may have died in the middle of one. */

/** Undefined: it is none. */
export function parsedLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
