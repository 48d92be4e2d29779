/** The times of a call of the commands that only ask (check, exports): an answer is waited for, but not for ever. */

/** Of a mount over UDP. */
const UDP_TIMEO_MS = 1_100;
/** Two losses in a row are survived. */
const LEAST_UDP_RETRANS = 2;

/**
 * How long a call waits, and how often it is sent meanwhile. TCP repeats by itself; a datagram that was lost is sent
 * again, as a mount does it (nfs(5): timeo=11 for UDP), but within the limit. RetransmissionPolicy doubles each wait.
 */
export function callTimes(
  proto: 'tcp' | 'udp',
  timeoutMs: number,
): { readonly timeo: number; readonly retrans: number } {
  if (proto === 'tcp') return { timeo: tenths(timeoutMs), retrans: 0 };
  const retrans = Math.max(LEAST_UDP_RETRANS, Math.ceil(Math.log2(timeoutMs / UDP_TIMEO_MS)));
  return { timeo: tenths(timeoutMs / 2 ** retrans), retrans };
}

function tenths(milliseconds: number): number {
  return Math.max(1, Math.round(milliseconds / 100));
}
