/** The kinds of mount options: what each accepts as a value, and how it changes the draft of a mount. */
import { UserError } from '../../base/user-error.js';
import type { KernelFlag, SecurityLabels } from '../../fuse/index.js';
import type { ClientConfig } from '../../vfs/config.js';

/** The choices of the options that were read so far. Later options overwrite them. */
export interface Draft {
  client: { -readonly [Key in keyof Omit<ClientConfig, 'host' | 'exportPath'>]?: ClientConfig[Key] };
  fuse: {
    allowOther: boolean;
    defaultPermissions: boolean;
    noExec: boolean;
    debug: boolean;
    labels: SecurityLabels;
  };
  /** The flags asked of the kernel, ordered by the last mention of each. */
  flags: Map<KernelFlag, boolean>;
  /** The options change an existing mount. */
  remount: boolean;
  addressFamily: 4 | 6 | undefined;
  background: boolean;
  notes: string[];
}

export type MountOption =
  | { readonly value: 'none'; apply(draft: Draft): void }
  | { readonly value: 'optional'; apply(draft: Draft, value: string | undefined): void }
  | {
      readonly value: 'required';
      /** Names the value behind the `=` in messages: "seconds". */
      readonly hint: string;
      apply(draft: Draft, value: string, name: string): void;
    };

/** The client's part of a draft. */
export type Settings = Draft['client'];

/** A timer of Node holds at most 2^31 - 1 milliseconds. */
const MAX_TIMER_SECONDS = 2_147_483;

/** An option without a value that sets these fields of the client. */
export function flag(settings: Settings): MountOption {
  return { value: 'none', apply: (draft) => void Object.assign(draft.client, settings) };
}

/** An option without a value that sets these fields of the FUSE mount. */
export function fuseFlag(settings: Partial<Draft['fuse']>): MountOption {
  return { value: 'none', apply: (draft) => void Object.assign(draft.fuse, settings) };
}

/** mount(8) or fstab hand this option over. It has no meaning here. */
export const ignored: MountOption = { value: 'optional', apply() {} };

/** An option that fails with these sentences. */
export function refused(message: string, remedy: string): MountOption {
  return {
    value: 'optional',
    apply() {
      throw new UserError(message, { remedy });
    },
  };
}

/** A whole number within `range`. */
export function integer(
  range: { readonly min: number; readonly max: number; readonly unit: string },
  set: (settings: Settings, value: number) => void,
): MountOption {
  return {
    value: 'required',
    hint: range.unit,
    apply(draft, text, name) {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      if (!(value >= range.min && value <= range.max))
        throw new UserError(`${name}=${text} is not a number from ${range.min} to ${range.max}.`, {
          remedy: `${name} is a ${range.unit}.`,
        });
      set(draft.client, value);
    },
  };
}

/** One of several words. `otherwise` is appended to the message about any other word. */
export function choice(
  hint: string,
  choices: Readonly<Record<string, (draft: Draft) => void>>,
  otherwise = '',
): MountOption {
  return {
    value: 'required',
    hint,
    apply(draft, text, name) {
      const chosen = Object.hasOwn(choices, text) ? choices[text] : undefined;
      if (chosen === undefined)
        throw new UserError(`${name}=${text} is not one of ${Object.keys(choices).join(', ')}.${otherwise}`, {
          remedy: `Write ${name}=${hint}.`,
        });
      chosen(draft);
    },
  };
}

/** A length of time in whole seconds. */
export function seconds(set: (settings: Settings, milliseconds: number) => void): MountOption {
  return integer({ min: 0, max: MAX_TIMER_SECONDS, unit: 'number of seconds' }, (settings, value) =>
    set(settings, value * 1000),
  );
}

/** An option that has only one value here. `message` says why. */
export function onlyValue(value: string, message: string): MountOption {
  return choice(value, { [value]: () => {} }, ` ${message}`);
}

/** A flag of the kernel. Some flags also mean something to the client. */
export function kernelFlag(name: KernelFlag, wanted: boolean): MountOption {
  return {
    value: 'none',
    apply(draft) {
      draft.flags.delete(name);
      draft.flags.set(name, wanted);
      if (name === 'ro') draft.client.readOnly = wanted;
      if (name === 'sync') draft.client.sync = wanted;
      if (name === 'noexec') draft.fuse.noExec = wanted;
    },
  };
}
