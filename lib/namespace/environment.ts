/**
 * The environment of the command. Node knows variables as text: bytes that are not UTF-8 have become U+FFFD there, and the
 * command would get them so. Such variables are left out.
 */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';

/** The variables whose name or value is not UTF-8, by the names that Node gives them. */
export function variablesNotUtf8(): string[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync('/proc/self/environ');
  } catch {
    // Here a variable that really contains U+FFFD looks like one that is not UTF-8.
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

/** The environment without the variables of {@link variablesNotUtf8}. */
export function environmentInUtf8(): NodeJS.ProcessEnv {
  const wrong = new Set(variablesNotUtf8());
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !wrong.has(name)));
}
