/**
 * Limits of a connection that brings no calls: how long it may stand idle, leave a record unfinished or leave replies
 * unread, and which connection is ended when there are too many. Owns the numbers and the decision: the connection
 * reports its activity, and the server acts.
 */

/** All in milliseconds. */
export interface ConnectionLimits {
  /**
   * Without a call, after there was one. Linux's server ends connections after 6 minutes, and clients are used to it.
   */
  readonly idle: number;
  /** Without any call since it was made. */
  readonly firstCall: number;
  /** From the first byte of a call to its last one, while we read. */
  readonly record: number;
  /** While replies wait for the client to read them, and none goes out. */
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
  /** When the unfinished record began. Undefined: there is none, or reading is paused. */
  readonly recordSince: number | undefined;
  /** The time since which replies wait and none has gone out. Undefined: none waits. */
  readonly unreadSince: number | undefined;
}

/** Whether the connection has exceeded a limit and has to end. */
export function isOverdue(state: ConnectionState, limits: ConnectionLimits, now: number): boolean {
  const { busy, everCalled, heardAt, recordSince, unreadSince } = state;
  if (unreadSince !== undefined) return now - unreadSince > limits.unread;
  if (busy) return false;
  if (recordSince !== undefined) return now - recordSince > limits.record;
  return now - heardAt > (everCalled ? limits.idle : limits.firstCall);
}

/**
 * The connection to end in favour of a new one: first one that never brought a call, otherwise the one that was silent
 * for longest. Connections with a call under way are never chosen. Undefined: all have one.
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
