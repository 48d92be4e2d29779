/** Errors as the callers of volumes are told them: one paragraph. */
import { UserError } from '../base/user-error.js';

/** An error as one paragraph: what is wrong, and what to do. */
export function textOf(error: unknown): string {
  if (error instanceof UserError)
    return error.remedy === undefined ? error.message : `${error.message} ${error.remedy}`;
  return `Unexpected error: ${error instanceof Error ? error.message : String(error)}`;
}
