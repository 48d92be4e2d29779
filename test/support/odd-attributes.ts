/**
 * Habits of servers that make it hard to tell which of two replies is the later one. Each is a fault of the embedded
 * server that lasts until it is removed.
 */
import type {
  Fattr3,
  NfsTime,
  ProcedureName,
  WccAttributes,
  WccData,
} from '../../lib/programs/nfs3/index.js';
import type { EmbeddedServer } from '../../lib/server/index.js';

type Result = Readonly<Record<string, unknown>>;

/** The result with what `change` makes of every ctime and of everything from before a change. */
function altered(
  result: Result,
  ctime: (time: NfsTime) => NfsTime,
  before: (attributes: WccAttributes) => WccAttributes | undefined,
): Record<string, unknown> {
  const picture = (value: unknown): unknown => {
    const attributes = value as Fattr3 | undefined;
    return attributes && { ...attributes, ctime: ctime(attributes.ctime) };
  };
  const wcc = (value: unknown): WccData => {
    const data = value as WccData;
    const after = picture(data.after) as Fattr3 | undefined;
    return { before: data.before && before(data.before), after };
  };
  const changed: Record<string, unknown> = { ...result };
  for (const key of ['attributes', 'directoryAttributes'])
    if (changed[key] !== undefined) changed[key] = picture(changed[key]);
  for (const key of ['wcc', 'directoryWcc', 'fromWcc', 'toWcc'])
    if (changed[key] !== undefined) changed[key] = wcc(changed[key]);
  if (Array.isArray(changed.entries))
    changed.entries = (changed.entries as { attributes?: unknown }[]).map((entry) =>
      entry.attributes === undefined ? entry : { ...entry, attributes: picture(entry.attributes) },
    );
  return changed;
}

function lasting(server: EmbeddedServer, procedure: ProcedureName | undefined, alter: (r: Result) => Result) {
  server.faults.add({
    procedure,
    times: Number.POSITIVE_INFINITY,
    alter: (result) => ({ ...alter(result) }),
  });
}

const FILE_CHANGES: readonly ProcedureName[] = ['WRITE', 'COMMIT', 'SETATTR'];
const rounded = ({ seconds }: NfsTime): NfsTime => ({ seconds, nanoseconds: 0 });
const nothing = (): undefined => undefined;

/** Replies to changes of a file do not say how it looked before, and have whole seconds for a ctime. */
export function roundsChanges(server: EmbeddedServer): void {
  for (const procedure of FILE_CHANGES)
    lasting(server, procedure, (result) => altered(result, rounded, nothing));
}

/** No reply says how an object looked before. */
export function saysNothingOfBefore(server: EmbeddedServer): void {
  lasting(server, undefined, (result) => altered(result, (time) => time, nothing));
}

/** Every ctime is in whole seconds. */
export function hasWholeSeconds(server: EmbeddedServer): void {
  const before = (attributes: WccAttributes) => ({ ...attributes, ctime: rounded(attributes.ctime) });
  lasting(server, undefined, (result) => altered(result, rounded, before));
}

/**
 * The clock is stepped back by `seconds` now, and once more after each second, `steps` times in all: an object
 * that changes after a step gets an earlier ctime than one that changed before it.
 */
export function stepsBack(server: EmbeddedServer, seconds: number, steps = 1): void {
  const from = Date.now() / 1000;
  const at = (time: NfsTime): NfsTime => {
    const since = time.seconds + time.nanoseconds / 1e9 - from;
    const passed = since < 0 ? 0 : Math.min(steps, Math.floor(since) + 1);
    return { ...time, seconds: time.seconds - passed * seconds };
  };
  const before = (attributes: WccAttributes) => ({ ...attributes, ctime: at(attributes.ctime) });
  lasting(server, undefined, (result) => altered(result, at, before));
}
