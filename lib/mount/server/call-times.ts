/** Times of a call by a command that only asks (check, exports): the call ends when its time is over. */

/** The timeout of a mount over UDP. */
const UDP_TIMEO_MS = 1_100;
/** With two retransmissions a call survives two lost datagrams. */
const LEAST_UDP_RETRANS = 2;

/**
 * How long a call waits, and how often it is sent, so that it takes at most `timeoutMs`. TCP itself repeats lost segments.
 * Over UDP the call is sent again like that of a mount (nfs(5): timeo=11), and RetransmissionPolicy doubles each wait.
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
