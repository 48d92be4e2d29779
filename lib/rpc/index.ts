/** ONC RPC version 2 (RFC 5531): what other folders may use. */
export type { CallOptions, Cancellation, RpcCaller } from './caller.js';
export { RpcClient, type RpcClientOptions } from './client.js';
export { type Clock, systemClock, type Timer } from './clock.js';
export type { ClientCounters, ProcedureCounters } from './counters.js';
export * from './credential.js';
export * from './errors.js';
export { AcceptStat, type ReplyFailure } from './message.js';
export { type Procedure, type Program, voidCodec } from './procedure.js';
export type { Recovery } from './retransmission.js';
export { RpcServer, type RpcServerOptions, type ServerCounters } from './server.js';
export {
  type Handler,
  type Hook,
  handle,
  type ObservedCall,
  type ServerCall,
  type ServerHooks,
  type ServerProcedure,
  type Verdict,
} from './server-procedure.js';
