/**
 * Faults on demand: a test says what the server does wrong, with which calls, and how often. Owns the rules. The
 * dispatcher asks which of them apply to a call, and carries them out.
 */
import type { ErrorStatus, FileHandle, ProcedureName } from '../programs/nfs3/index.js';
import { LOCK_CALLS, type LockCallName, type LockStatus } from '../programs/nlm4/index.js';

/** Procedures of NFS and of NLM. */
export type FaultyProcedure = ProcedureName | LockCallName;

export interface Fault {
  /** All procedures when left out. */
  readonly procedure?: FaultyProcedure | undefined;
  /** Only calls that have this handle among their arguments. */
  readonly handle?: FileHandle | undefined;
  /** Only calls whose arguments this accepts. */
  readonly when?: ((args: unknown) => boolean) | undefined;
  /** How many calls it applies to; 1 by default. */
  readonly times?: number | undefined;
  /** The call waits for this before anything else happens. */
  readonly wait?: Promise<unknown> | (() => Promise<unknown>) | undefined;
  /** 'call': not carried out and not answered. 'reply': carried out, not answered. 'connection': carried out, reset. */
  readonly lose?: 'call' | 'reply' | 'connection' | undefined;
  /** Answered without carrying the call out; for procedures of NFS. */
  readonly status?: ErrorStatus | undefined;
  /** The same for those of NLM. */
  readonly lockStatus?: LockStatus | undefined;
  /** Leave out attributes (also those from before the operation), or handles, wherever the protocol allows it. */
  readonly omitAttributes?: boolean | undefined;
  readonly omitHandles?: boolean | undefined;
  /** Replaces the result that would be sent. */
  readonly alter?: ((result: Readonly<Record<string, unknown>>) => Record<string, unknown>) | undefined;
}

/** A fault in force. */
export interface ActiveFault {
  /** Calls it was applied to. */
  readonly hits: number;
  remove(): void;
}

interface Rule extends ActiveFault {
  readonly fault: Fault;
  left: number;
  hits: number;
}

export class Faults {
  /** The most bytes that one WRITE or READ moves, for short writes and short reads. */
  maxWrite: number | undefined;
  maxRead: number | undefined;
  #rules: Rule[] = [];

  add(fault: Fault): ActiveFault {
    const rule: Rule = {
      fault,
      left: fault.times ?? 1,
      hits: 0,
      remove: () => {
        this.#rules = this.#rules.filter((other) => other !== rule);
      },
    };
    this.#rules = [...this.#rules, rule];
    return rule;
  }

  /** Removes all faults. */
  clear(): void {
    this.#rules = [];
    this.maxWrite = undefined;
    this.maxRead = undefined;
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /** The faults for this call, each counted as applied. */
  take(procedure: FaultyProcedure, args: unknown): readonly Fault[] {
    const taken: Fault[] = [];
    for (const rule of this.#rules) {
      const { fault } = rule;
      if (fault.procedure !== undefined && fault.procedure !== procedure) continue;
      if ((isLockCall(procedure) ? fault.status : fault.lockStatus) !== undefined) continue;
      if (fault.handle !== undefined && !mentions(args, fault.handle)) continue;
      if (fault.when !== undefined && !fault.when(args)) continue;
      rule.hits += 1;
      rule.left -= 1;
      if (rule.left <= 0) rule.remove();
      taken.push(fault);
    }
    return taken;
  }
}

function isLockCall(procedure: FaultyProcedure): boolean {
  return (LOCK_CALLS as readonly string[]).includes(procedure);
}

function mentions(value: unknown, handle: FileHandle): boolean {
  if (value === handle) return true;
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false;
  return Object.values(value).some((field) => mentions(field, handle));
}

type Body = Record<string, unknown>;
const ATTRIBUTE_FIELDS = ['attributes', 'directoryAttributes'];
const WCC_FIELDS = ['wcc', 'directoryWcc', 'fromWcc', 'toWcc'];

/** The result without its optional parts. The attributes of GETATTR and the handle of LOOKUP are not optional. */
export function omit(procedure: FaultyProcedure, result: Body, fault: Fault): Body {
  const reply = { ...result };
  if (fault.omitAttributes === true && procedure !== 'GETATTR') {
    for (const field of ATTRIBUTE_FIELDS) if (field in reply) reply[field] = undefined;
    for (const field of WCC_FIELDS)
      if (field in reply) reply[field] = { before: undefined, after: undefined };
  }
  if (fault.omitHandles === true && procedure !== 'LOOKUP' && 'object' in reply) reply.object = undefined;
  if (Array.isArray(reply.entries) && procedure === 'READDIRPLUS') {
    reply.entries = reply.entries.map((entry: Body) => ({
      ...entry,
      ...(fault.omitAttributes === true ? { attributes: undefined } : {}),
      ...(fault.omitHandles === true ? { handle: undefined } : {}),
    }));
  }
  return reply;
}
