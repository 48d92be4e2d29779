/** The command that waits for a mount whose command line its serving copy reads (plain-mount.ts). */
import { standardError } from '../../base/log.js';
import { ToldFailure } from '../../mount/failure/told-failure.js';
import { mountInBackground } from '../../mount/process/background.js';
import { findStarter, tellStarter } from '../../mount/process/starter.js';
import { fail } from '../failure-text.js';

/** Resolves with the exit status. Prints failures, and never throws them. */
export async function mountInCopy(args: readonly string[]): Promise<number> {
  findStarter();
  try {
    return await mountInBackground({
      args,
      returnOnRetry: false,
      logDescriptor: undefined,
      tell: standardError,
    });
  } catch (error) {
    if (error instanceof ToldFailure) tellStarter({ failed: error.kind });
    return fail(error);
  }
}
