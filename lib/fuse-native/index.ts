/** The second transport: libfuse 2.9 by the npm package fuse-native. */
export { mountFuseNative, type NativeMount, type NativeMountOptions } from './native-mount.js';
