/** Splits the text of `-o` into names and values, with the quoting of mount(8) and the escapes of libfuse. */
import { UserError } from '../../base/user-error.js';

export interface ListedOption {
  readonly name: string;
  /** Undefined: there is no `=`. Empty: nothing is behind the `=`. */
  readonly value: string | undefined;
}

/**
 * Splits a list of options at its commas, except between double quotes (mount(8)) and behind a backslash (libfuse). Quotes
 * are removed, and a backslash means the character behind it. Empty options are skipped.
 * Throws UserError for a quote that is never closed.
 */
export function splitOptionList(text: string): ListedOption[] {
  const options: ListedOption[] = [];
  let name: string | undefined;
  let part = '';
  let quoted = false;

  const finish = () => {
    if (name !== undefined) options.push({ name: name.trim(), value: part });
    else if (part.trim() !== '') options.push({ name: part.trim(), value: undefined });
    name = undefined;
    part = '';
  };

  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index);
    if (character === '\\' && index + 1 < text.length) {
      index += 1;
      part += text.charAt(index);
    } else if (character === '"') {
      quoted = !quoted;
    } else if (character === ',' && !quoted) {
      finish();
    } else if (character === '=' && name === undefined && !quoted) {
      name = part;
      part = '';
    } else {
      part += character;
    }
  }
  if (quoted)
    throw new UserError(`The mount options contain a quote that is never closed: ${text}`, {
      remedy: 'Close it, or write \\" for a quote that is meant as such.',
    });
  finish();
  return options;
}
