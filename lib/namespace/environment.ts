/**
 * The environment of the command. Node knows variables as text: what was not UTF-8 has become U+FFFD there, and would
 * reach the command so. It is left out.
 */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';

/** The names, in Node's words, of the variables whose name or value is not UTF-8. */
export function variablesNotUtf8(): string[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync('/proc/self/environ');
  } catch {
    // U+FFFD itself cannot be told from what has become it.
    return Object.keys(process.env).filter((name) => process.env[name]?.includes('\ufffd'));
  }
  // Latin-1 keeps every byte as one character.
  const wrong = bytes
    .toString('latin1')
    .split('\0')
    .map((text) => Buffer.from(text, 'latin1'))
    .filter((one) => !isUtf8(one))
    .map((one) => String(one).split('=', 1)[0] ?? '');
  return [...new Set(wrong)];
}

/** What is {@link variablesNotUtf8} is not in it. */
export function environmentInUtf8(): NodeJS.ProcessEnv {
  const wrong = new Set(variablesNotUtf8());
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !wrong.has(name)));
}
