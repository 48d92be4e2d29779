/**
 * How this program starts itself once more. Owns the difference between a script that Node runs and one executable file with
 * Node inside ("single executable application" in Node's documentation), whose arguments are all for the program.
 */

interface SingleFile {
  isSea(): boolean;
  getAsset(name: string, encoding: 'utf8'): string;
  getRawAsset(name: string): ArrayBuffer;
}

function singleFile(): SingleFile | undefined {
  // Node 20.19 has it; other engines that run this program may not.
  const sea = process.getBuiltinModule?.('node:sea') as SingleFile | undefined;
  return sea?.isSea() ? sea : undefined;
}

/** Whether this program is one file with Node inside. */
export function isSingleFile(): boolean {
  return singleFile() !== undefined;
}

/** The words that start this program; its arguments go behind them. */
export function ownProgram(): [string, ...string[]] {
  const [, entry] = process.argv;
  if (isSingleFile()) return [process.execPath];
  return [process.execPath, ...process.execArgv, ...(entry === undefined ? [] : [entry])];
}

/** A text that the build has put into the file. Undefined where this program is not one file. */
export function includedText(name: string): string | undefined {
  return singleFile()?.getAsset(name, 'utf8');
}

/**
 * Bytes that the build has put into the file. They may not be changed.
 * @throws Error where this program is not one file
 */
export function includedBytes(name: string): Uint8Array {
  const file = singleFile();
  if (file === undefined) throw new Error('This program is not a single file.');
  return new Uint8Array(file.getRawAsset(name));
}

/** The first argument by which one file knows that it is to do the work of a small program that otherwise is a script. */
export const HELPER = '--helper';

/** The words that have this file do the work of a helper. */
export function helperWords(name: string, argument: string): [string, ...string[]] {
  return [process.execPath, HELPER, name, argument];
}
