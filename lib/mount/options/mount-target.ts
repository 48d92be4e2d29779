/** Reads a mount target: `server:/export`, `[IPv6]:/export` or `nfs://server[:port]/export`. */
import { isIPv6 } from 'node:net';
import { UserError } from '../../base/user-error.js';

export interface MountTarget {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  /** Absolute, as bytes, without a slash at the end unless it is the root. */
  readonly exportPath: Buffer;
  /** The NFS port, if the target is a URL with a port. */
  readonly port: number | undefined;
  /** As mount tables show it: `server:/export`, an IPv6 address in brackets. */
  readonly source: string;
}

/** MNTPATHLEN of RFC 1813 5.1.3. */
const MAX_EXPORT_PATH = 1024;

/** The remedy for a target that is not UTF-8. */
export const AS_URL = 'Write nfs://server/export with %XX for each byte that is not.';
const SPELLING = 'Write server:/export, [IPv6 address]:/export, or nfs://server[:port]/export.';

/** Whether `text` is meant as a target and not as the name of a command. */
export function looksLikeTarget(text: string): boolean {
  return text.includes(':');
}

/** Reads a target. Throws UserError if it does not name a server and an absolute path on it. */
export function parseMountTarget(text: string): MountTarget {
  if (/^nfs:\/\//i.test(text)) return parseUrl(text);
  const wrong = (what: string) => new UserError(`"${text}" ${what}.`, { remedy: SPELLING });

  let host: string;
  let path: string;
  if (text.startsWith('[')) {
    const end = text.indexOf(']');
    if (end < 0) throw wrong('has no "]" behind the IPv6 address');
    host = text.slice(1, end);
    if (!isIPv6(host)) throw wrong(`names no IPv6 address between the brackets`);
    if (text.charAt(end + 1) !== ':') throw wrong('has no ":" between the server and the exported path');
    path = text.slice(end + 2);
  } else {
    const slash = text.indexOf(':/');
    const colon = slash >= 0 ? slash : text.indexOf(':');
    if (colon < 0) throw wrong('has no ":" between the server and the exported path');
    host = text.slice(0, colon);
    path = text.slice(colon + 1);
    if (host.includes(':')) {
      const address = isIPv6(host) ? host : '…';
      throw new UserError(`"${text}" has an IPv6 address without brackets.`, {
        remedy: `Write [${address}]:${path}`,
      });
    }
  }
  if (path.includes('\ufffd'))
    throw new UserError(`"${text}" is not valid UTF-8.`, {
      remedy: AS_URL,
    });
  return target(host, Buffer.from(path), undefined, wrong);
}

function parseUrl(text: string): MountTarget {
  const wrong = (what: string) => new UserError(`"${text}" ${what}.`, { remedy: SPELLING });
  const parts = /^nfs:\/\/(\[[^\]]*\]|[^/:?#]*)(?::([^/]*))?([^?#]*)([?#].*)?$/i.exec(text);
  if (parts === null) throw wrong('is not a URL of the form nfs://server[:port]/export');
  const [, authority = '', portText, path = '', rest] = parts;
  if (rest !== undefined) throw wrong('has something behind the path: mount options go with -o');
  if (authority.includes('@')) throw wrong('names a user: NFSv3 has no login');
  let host = authority;
  if (authority.startsWith('[')) {
    host = authority.slice(1, -1);
    if (!isIPv6(host)) throw wrong('names no IPv6 address between the brackets');
  }
  let port: number | undefined;
  if (portText !== undefined) {
    port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
    if (port < 1 || port > 65535) throw wrong('has a port that is not a number from 1 to 65535');
  }
  return target(host, percentDecode(path, wrong), port, wrong);
}

function target(
  host: string,
  rawPath: Buffer,
  port: number | undefined,
  wrong: (what: string) => UserError,
): MountTarget {
  if (host === '') throw wrong('names no server');
  // Programs that get the target as an argument would take it for one of their options.
  if (host.startsWith('-')) throw wrong('has a server whose name begins with "-"');
  if (/[\s/\0]/.test(host)) throw wrong(`has "${host}" where the server's name should be`);
  if (rawPath.length === 0) throw wrong('names no exported path');
  if (rawPath[0] !== 0x2f) throw wrong('has an exported path that does not begin with "/"');
  if (rawPath.includes(0)) throw wrong('has a NUL byte in the exported path');
  let end = rawPath.length;
  while (end > 1 && rawPath[end - 1] === 0x2f) end -= 1;
  const exportPath = Buffer.from(rawPath.subarray(0, end));
  if (exportPath.length > MAX_EXPORT_PATH)
    throw wrong(`has an exported path of ${exportPath.length} bytes; NFS allows ${MAX_EXPORT_PATH}`);
  const shownHost = host.includes(':') ? `[${host}]` : host;
  return { host, exportPath, port, source: `${shownHost}:${exportPath.toString('utf8')}` };
}

function percentDecode(text: string, wrong: (what: string) => UserError): Buffer {
  if (/%(?![0-9a-f]{2})/i.test(text)) throw wrong('has a "%" without two hexadecimal digits behind it');
  const pieces = text
    .split(/(%[0-9a-f]{2})/i)
    .map((piece) => (piece.startsWith('%') ? Buffer.from(piece.slice(1), 'hex') : Buffer.from(piece)));
  return Buffer.concat(pieces);
}
