/** Lengths of time as people write them: 90s, 30m, 12h, 7d, 2w. */
import { UserError } from '../base/user-error.js';

const UNITS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** The length of time in milliseconds. Throws UserError for any other text, also for a number without a unit. */
export function parseAge(text: string): number {
  const match = /^(\d{1,9})([smhdw])$/.exec(text);
  const unit = UNITS[match?.[2] ?? ''];
  if (match?.[1] === undefined || unit === undefined) {
    throw new UserError(`"${text}" is not a length of time.`, {
      remedy: 'Write a whole number and a unit: 90s, 30m, 12h, 7d, 2w.',
    });
  }
  return Number(match[1]) * unit;
}
