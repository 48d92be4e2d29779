/** Opcodes of open directories: OPENDIR, READDIR, READDIRPLUS, FSYNCDIR and RELEASEDIR. */
import { FSYNC_FDATASYNC, Opcode, Size } from '../../contract/protocol.js';
import { DirectoryReply } from '../reply.js';
import { ARGUMENTS, type OpcodeTable, type Serve } from './opcode-handler.js';
import { replyEmpty, replyOpen } from './responder.js';

/** A listing is sent in answers of at most this many bytes, also where the kernel would take more. */
const MAX_LISTING_BYTES = 256 * 1024;

const opendir: Serve = (operations, responder, request, message) => {
  responder.settle(request, operations.opendir(request, request.nodeid, message.word(ARGUMENTS)), replyOpen);
};

/** READDIR, or READDIRPLUS where `plus` is true. */
function readdirWith(plus: boolean): Serve {
  return (operations, responder, request, message) => {
    const { nodeid } = request;
    const fh = message.ownHandle(ARGUMENTS);
    const offset = message.big(ARGUMENTS + 8);
    const size = Math.min(message.word(ARGUMENTS + 16), MAX_LISTING_BYTES);
    const { listings } = responder;
    const listing = new DirectoryReply(listings.take(Size.OUT_HEADER + size), size, plus);
    const result = plus
      ? operations.readdirplus(request, nodeid, fh, offset, listing)
      : operations.readdir(request, nodeid, fh, offset, listing);
    responder.settle(request, result, (to, of) => {
      to.send(of, listing.length, listing.buffer);
      listings.give(listing.buffer);
    });
  };
}

const fsyncdir: Serve = (operations, responder, request, message) => {
  const fh = message.ownHandle(ARGUMENTS);
  const datasync = (message.word(ARGUMENTS + 8) & FSYNC_FDATASYNC) !== 0;
  responder.settle(request, operations.fsyncdir(request, request.nodeid, fh, datasync), replyEmpty);
};

const releasedir: Serve = (operations, responder, request, message) => {
  const fh = message.ownHandle(ARGUMENTS);
  responder.settle(request, operations.releasedir(request, request.nodeid, fh), replyEmpty);
};

export const directoryOpcodes: OpcodeTable = {
  [Opcode.OPENDIR]: { argumentBytes: Size.OPEN_IN, serve: opendir },
  [Opcode.READDIR]: { argumentBytes: Size.READ_IN, serve: readdirWith(false) },
  [Opcode.READDIRPLUS]: { argumentBytes: Size.READ_IN, serve: readdirWith(true) },
  [Opcode.FSYNCDIR]: { argumentBytes: Size.FSYNC_IN, serve: fsyncdir },
  [Opcode.RELEASEDIR]: { argumentBytes: Size.RELEASE_IN, serve: releasedir },
};
