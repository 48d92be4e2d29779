/** Names on their way through fuse-native, which has strings only: every byte survives, or the name is refused. */
import koffi from 'koffi';
import { Errno, FuseError } from '../fuse/contract/errno.js';

export interface NameCodec {
  /** Mount options of libfuse that go with it. */
  readonly options: readonly string[];
  /** The bytes of a name or link target that a program gave. @throws FuseError EILSEQ where they are not known. */
  bytes(text: string): Buffer;
  /** The string with which programs see exactly `bytes`. Undefined: there is none. */
  text(bytes: Uint8Array): string | undefined;
}

/**
 * libfuse translates: it takes the bytes of programs for ISO-8859-1, and turns them into UTF-8 for us. So each
 * character of our strings is one byte.
 */
export const EVERY_BYTE: NameCodec = {
  options: ['modules=iconv', 'from_code=UTF-8', 'to_code=ISO-8859-1'],
  bytes: (text) => Buffer.from(text, 'latin1'),
  text: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'),
};

/** Without that translation, only names that are valid UTF-8 work. Other bytes arrive as U+FFFD. */
export const UTF8_ONLY: NameCodec = {
  options: [],
  bytes(text) {
    if (text.includes('\ufffd')) throw new FuseError(Errno.EILSEQ, 'a name that is not UTF-8');
    return Buffer.from(text, 'utf8');
  },
  text(bytes) {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const text = buffer.toString('utf8');
    return text.includes('\ufffd') || !Buffer.from(text, 'utf8').equals(buffer) ? undefined : text;
  },
};

/** {@link EVERY_BYTE} where this machine's C library can convert, otherwise {@link UTF8_ONLY}. */
export function chooseCodec(): NameCodec {
  const libc = koffi.load(null);
  const open = libc.func('intptr_t iconv_open(const char *to, const char *from)');
  const close = libc.func('int iconv_close(intptr_t descriptor)');
  const converts = (to: string, from: string): boolean => {
    const descriptor = open(to, from) as number | bigint;
    if (BigInt(descriptor) === -1n) return false;
    close(descriptor);
    return true;
  };
  return converts('ISO-8859-1', 'UTF-8') && converts('UTF-8', 'ISO-8859-1') ? EVERY_BYTE : UTF8_ONLY;
}
