/** Grants of locks that a server tells its client: what other folders may use. */

export { LockListener, type LockListenerOptions, startLockListener } from './lock-listener.js';
export { LockListenerError, type LockListenerProblem } from './lock-listener-error.js';
export { ownAddressTowards } from './own-address.js';
