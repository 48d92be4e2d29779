/** From the typed errors of all layers to what the user is told: what is wrong, and what to do. */
import { lackBehind } from '../../base/surroundings.js';
import { UserError } from '../../base/user-error.js';
import { ProgramNotRegisteredError } from '../../programs/portmap/index.js';
import { RpcTimeoutError } from '../../rpc/index.js';
import type { ClientConfig } from '../../vfs/config.js';
import { causes, codeOf, type Explainer, type ListExports, TEMPORARY_CODES } from './explainer.js';
import { explainFuse } from './fuse-failure.js';
import { explainLockManager } from './lock-failure.js';
import { explainMount3 } from './mount3-failure.js';
import { explainPortmap } from './portmap-failure.js';
import { explainRoot } from './root-failure.js';
import { explainRpc } from './rpc-failure.js';

/** Errors of the process itself: it lacks descriptors or a working directory. */
const explainLack: Explainer = (error) => {
  const lack = lackBehind(error);
  return lack && new UserError(lack.message, { remedy: lack.remedy, cause: error });
};

/** These look at the error itself. */
const OUTERMOST: readonly Explainer[] = [explainLack, explainFuse];
/** These look at each cause of the error, the outermost first. */
const FOR_CAUSES: readonly Explainer[] = [
  explainLockManager,
  explainMount3,
  explainPortmap,
  explainRpc,
  explainRoot,
];

/** Whether the same attempt may succeed a little later. */
export function isTemporary(error: unknown): boolean {
  for (const cause of causes(error)) {
    if (cause instanceof RpcTimeoutError || cause instanceof ProgramNotRegisteredError) return true;
    if (TEMPORARY_CODES.has(codeOf(cause) ?? '')) return true;
  }
  return false;
}

/** Turns a failure of connecting or mounting into one for the user. An error that no layer explains is a bug, and stays. */
export async function mountFailure(
  error: unknown,
  config: ClientConfig,
  listExports: ListExports,
): Promise<unknown> {
  if (error instanceof UserError) return error;
  const context = { config, listExports };
  for (const explain of OUTERMOST) {
    const failure = explain(error, context);
    if (failure !== undefined) return failure;
  }
  for (const cause of causes(error)) {
    for (const explain of FOR_CAUSES) {
      const failure = explain(cause, context);
      if (failure !== undefined) return failure;
    }
  }
  return error;
}
