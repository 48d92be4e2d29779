/** Failures as one process tells them to another, which does not read words that are for people. */
import { UserError } from '../../base/user-error.js';

/**
 * Failures by the remedy that the caller has. `temporary`: try again later. `missing`: there is no such export. `denied`: the server
 * refuses. `busy`: something is in use.
 */
export const FAILURE_KINDS = ['temporary', 'missing', 'denied', 'busy', 'other'] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** The kind of this name; `other` for what is none. */
export function failureKindIn(name: unknown): FailureKind {
  return FAILURE_KINDS.find((known) => known === name) ?? 'other';
}

/** A failure that another process has told. */
export class ToldFailure extends UserError {
  constructor(
    readonly kind: FailureKind,
    message: string,
    options?: ConstructorParameters<typeof UserError>[1],
  ) {
    super(message, options);
  }
}
