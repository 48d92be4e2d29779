/** ONC RPC version 2 (RFC 5531): what other folders may use. */

export { type Clock, systemClock, type Timer } from '../base/clock.js';
export { AUTH_NONE } from './auth/auth-none.js';
export * from './auth/auth-sys.js';
export * from './auth/credential.js';
export type { ClientCounters, ProcedureCounts } from './client/call-counters.js';
export { RpcClient, type RpcClientOptions } from './client/client.js';
export type { Recovery } from './client/retransmission.js';
export type { CallOptions, Cancellation, RpcCaller } from './client/rpc-caller.js';
export { RpcService, type ServiceAddress, type ServiceOptions } from './client/service.js';
export * from './rpc-errors.js';
export { RpcServer, type RpcServerOptions, type ServerCounters } from './server/server.js';
export {
  type CallVerdict,
  type Handler,
  type Hook,
  handle,
  type ObservedCall,
  type ServerCall,
  type ServerHooks,
  type ServerProcedure,
} from './server/server-procedure.js';
export { AcceptStat, type ReplyFailure } from './wire/message.js';
export { type Procedure, type Program, voidCodec } from './wire/procedure.js';
