/** Failures of calls, as CSI names them: which code tells the caller what to do next. */
import { UserError } from '../../base/user-error.js';
import { kindOfFailure } from '../../mount/failure/failure-kind.js';
import type { FailureKind } from '../../mount/failure/told-failure.js';
import { type ErrorStatus, Status } from '../../programs/nfs3/index.js';
import { ServerRefusal } from '../../volume-parts/export-access.js';

/** The codes of gRPC that CSI uses. */
export const Code = {
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  INTERNAL: 13,
  UNAVAILABLE: 14,
} as const;
export type CodeName = keyof typeof Code;

/** A failure whose code is known. */
export class CsiError extends UserError {
  constructor(
    readonly code: CodeName,
    message: string,
    options: { readonly remedy?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, options);
    this.name = 'CsiError';
  }
}

/** Carries out a reading of the caller's words: what is wrong with them is the caller's fault. @throws CsiError */
export function reading<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (error instanceof CsiError || !(error instanceof UserError)) throw error;
    throw new CsiError('INVALID_ARGUMENT', error.message, { remedy: error.remedy, cause: error });
  }
}

/** The code for any failure. */
export function codeOfFailure(error: unknown): CodeName {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof CsiError) return cause.code;
    if (cause instanceof ServerRefusal) return OF_STATUS[cause.status] ?? 'INTERNAL';
  }
  return CODE_OF_KIND[kindOfFailure(error)];
}

const CODE_OF_KIND: Readonly<Record<FailureKind, CodeName>> = {
  temporary: 'UNAVAILABLE',
  missing: 'NOT_FOUND',
  denied: 'PERMISSION_DENIED',
  busy: 'FAILED_PRECONDITION',
  other: 'INTERNAL',
};

const OF_STATUS: Readonly<Partial<Record<ErrorStatus, CodeName>>> = {
  [Status.PERM]: 'PERMISSION_DENIED',
  [Status.ACCES]: 'PERMISSION_DENIED',
  [Status.ROFS]: 'PERMISSION_DENIED',
  [Status.NOENT]: 'NOT_FOUND',
  [Status.STALE]: 'UNAVAILABLE',
  [Status.NOTDIR]: 'FAILED_PRECONDITION',
  [Status.NOTEMPTY]: 'FAILED_PRECONDITION',
  [Status.NAMETOOLONG]: 'INVALID_ARGUMENT',
  [Status.INVAL]: 'INVALID_ARGUMENT',
  [Status.NOSPC]: 'RESOURCE_EXHAUSTED',
  [Status.DQUOT]: 'RESOURCE_EXHAUSTED',
};
