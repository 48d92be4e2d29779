/** Numbers of devices as the FUSE protocol carries them. */

/** The kernel's new_encode_dev: minor's low byte, 12 bits of major, the rest of minor. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** Both halves of what {@link encodeDevice} makes. */
export function decodeDevice(device: number): { major: number; minor: number } {
  return { major: (device >>> 8) & 0xfff, minor: (device & 0xff) | ((device >>> 12) & 0xfff00) };
}
