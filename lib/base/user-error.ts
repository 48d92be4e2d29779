/** The error that the command line shows to its user: the fault, and the remedy. */

/** `message` says what is wrong, `remedy` what to do; both are whole sentences without the program's name. */
export class UserError extends Error {
  readonly remedy: string | undefined;
  readonly exitStatus: number;

  constructor(
    message: string,
    options: {
      readonly remedy?: string | undefined;
      readonly exitStatus?: number;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'UserError';
    this.remedy = options.remedy;
    this.exitStatus = options.exitStatus ?? 1;
  }
}
