/** Facts that the server needs about a file system before it serves its objects, by its number of statfs(2). */

export interface FileSystemKind {
  /** Birth times and generations stay the same as long as the object does. */
  readonly isSteady: boolean;
  /**
   * Its files are the kernel's controls. Their content depends on the rights of the process that
   * opens the file, which is the server: through /proc/PID/uid_map a user could become root.
   */
  readonly isSwitches: boolean;
}

/**
 * overlayfs shows the birth time and the handle of the layer that an object is in. Both change when the object is
 * copied up for its first write, so that the inode number alone is its identity there.
 */
const OVERLAYFS = 0x794c7630n;

/**
 * proc, sysfs, cgroup (1 and 2), devpts, debugfs, tracefs, securityfs, configfs, bpf, binfmt_misc, efivarfs, pstore,
 * mqueue, nsfs, fusectl, selinuxfs.
 */
const SWITCHES: ReadonlySet<bigint> = new Set([
  ...[0x9fa0n, 0x62656572n, 0x27e0ebn, 0x63677270n, 0x1cd1n, 0x64626720n, 0x74726163n, 0x73636673n],
  ...[0x62656570n, 0xcafe4a11n, 0x42494e4dn, 0xde5e81e4n, 0x6165676cn, 0x19800202n, 0x6e736673n],
  ...[0x65735543n, 0xf97cff8cn],
]);

export function fileSystemKind(type: bigint): FileSystemKind {
  return { isSteady: type !== OVERLAYFS, isSwitches: SWITCHES.has(type) };
}
