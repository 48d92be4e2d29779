/**
 * The operations of a flavour of authentication that each call of a client goes through, like struct rpc_credops of
 * Linux. Each flavour has a file of its own. Owns no behaviour.
 */
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';

/** The numbers of the flavours (RFC 5531 8.2). */
export const AuthFlavor = { NONE: 0, SYS: 1, SHORT: 2, DH: 3, RPCSEC_GSS: 6 } as const;

/** An opaque_auth is at most this long (RFC 5531 8.2). */
export const MAX_AUTH_BYTES = 400;

/** The identity that calls are made with, in one flavour. It serves many calls. */
export interface Credential {
  /** See {@link AuthFlavor}. */
  readonly flavor: number;
  /** The body of the credential field. It is empty where the flavour writes another one for each call (RPCSEC_GSS). */
  readonly body: Uint8Array;
  readonly operations: CredentialOperations;
}

/**
 * A call as its flavour sees it, the same object from the first encoding to the reply. A flavour that has to remember
 * something of a call (RPCSEC_GSS: its sequence numbers) keeps it in a WeakMap by this object.
 */
export interface AuthenticatedCall {
  readonly credential: Credential;
}

/** Of a procedure, what a flavour needs to write the arguments. */
export interface ArgumentsEncoder<Arguments> {
  encodeArguments(writer: XdrWriter, args: Arguments): void;
}

/**
 * The work of a flavour for each call, in the order of these methods. All but {@link refresh} run for every call: they
 * are synchronous, and those of a flavour without protection allocate nothing.
 */
export interface CredentialOperations {
  /**
   * Makes the credential usable (RPCSEC_GSS: gets a context from the server). Undefined: it is usable now. Otherwise
   * the call is encoded once the promise has resolved, and fails with what it rejects with.
   */
  refresh(credential: Credential): Promise<void> | undefined;
  /** Writes credential and verifier, which end the header of a call. */
  marshal(writer: XdrWriter, call: AuthenticatedCall): void;
  /** Writes the arguments, protected as the flavour has it. Errors of `encodeArguments` come out as they are. */
  wrap<Arguments>(
    writer: XdrWriter,
    call: AuthenticatedCall,
    procedure: ArgumentsEncoder<Arguments>,
    args: Arguments,
  ): void;
  /**
   * Whether a call is encoded again, with the same XID, each time that it is sent again. RPCSEC_GSS needs it: a server
   * drops a sequence number that it has seen (RFC 2203 5.3.3.1). Otherwise the very same bytes go out, which a server's
   * duplicate request cache may compare. Encoding a call again throws nothing: what could fail has failed before.
   */
  readonly encodesAgain: boolean;
  /** Reads the verifier of an accepted reply. @throws XdrError for one that a true server would not send. */
  validate(reader: XdrReader, call: AuthenticatedCall): void;
  /** A reader of the plain result, given one of the protected result. @throws XdrError where the protection fails. */
  unwrap(reader: XdrReader, call: AuthenticatedCall): XdrReader;
}
