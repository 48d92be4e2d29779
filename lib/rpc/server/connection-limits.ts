/**
 * Limits of a connection that brings no calls: how long it may stand idle, leave a record unfinished
 * or leave replies unread, and which connection has to go when there are too many. Owns the numbers and the judgement; the
 * connection tells what it is doing, the server acts.
 */

/** All in milliseconds. */
export interface ConnectionLimits {
  /** Without a call, after there was one. Linux's server ends connections after 6 minutes, and clients are used to it. */
  readonly idle: number;
  /** Without any call since it was made. */
  readonly firstCall: number;
  /** From the first byte of a call to its last one, while we read. */
  readonly record: number;
  /** Replies that wait for the client to read, none of which goes out. */
  readonly unread: number;
}

export const DEFAULT_LIMITS: ConnectionLimits = {
  idle: 6 * 60_000,
  firstCall: 60_000,
  record: 5 * 60_000,
  unread: 10 * 60_000,
};

/** The activity of a connection. Times are those of the server's clock. */
export interface ConnectionState {
  /** Calls are being carried out, or wait for it. */
  readonly busy: boolean;
  readonly everCalled: boolean;
  /** When the last whole call came, or the connection. */
  readonly heardAt: number;
  /** When the record began that has not come to its end; undefined: there is none, or we do not read. */
  readonly recordSince: number | undefined;
  /** Since when replies wait and none has gone out; undefined: none waits. */
  readonly unreadSince: number | undefined;
}

/** Whether the connection has cost enough. */
export function isOverdue(state: ConnectionState, limits: ConnectionLimits, now: number): boolean {
  const { busy, everCalled, heardAt, recordSince, unreadSince } = state;
  if (unreadSince !== undefined) return now - unreadSince > limits.unread;
  if (busy) return false;
  if (recordSince !== undefined) return now - recordSince > limits.record;
  return now - heardAt > (everCalled ? limits.idle : limits.firstCall);
}

/**
 * The one to end in favour of a new connection: of those without a call in hand one that never had any, else the one
 * that was silent for longest. Undefined: all are at work.
 */
export function mostDispensable<Connection extends { readonly state: ConnectionState }>(
  connections: Iterable<Connection>,
): Connection | undefined {
  let worst: Connection | undefined;
  let worstState: ConnectionState | undefined;
  for (const connection of connections) {
    const { state } = connection;
    if (state.busy) continue;
    const isWorse =
      worstState === undefined ||
      (state.everCalled === worstState.everCalled ? state.heardAt < worstState.heardAt : !state.everCalled);
    if (isWorse) [worst, worstState] = [connection, state];
  }
  return worst;
}
