/**
 * Statements of a file system about itself, beyond the operations that every one has. At INIT, the session asks the
 * kernel for the flags that follow from them (session/negotiate.ts). Owns no behaviour.
 */

/** The capabilities of a file system. They do not change while it is mounted. */
export interface FuseCapabilities {
  /**
   * fcntl(2) locks reach `getlk` and `setlk` (FUSE_POSIX_LOCKS). Otherwise the kernel keeps them itself, and they
   * exclude only programs of the same mount: what nfs(5) calls local_lock=posix.
   */
  readonly posixLocks: boolean;
  /** flock(2) locks reach `setlk` (FUSE_FLOCK_LOCKS). Otherwise the kernel keeps them: local_lock=flock. */
  readonly flockLocks: boolean;
  /** `readdirplus` is there (FUSE_DO_READDIRPLUS): the kernel decides for each READDIR which of the two it asks. */
  readonly readdirplus: boolean;
  /** `lookup` answers "." and "..", so that a mount can be exported again by NFS (FUSE_EXPORT_SUPPORT). */
  readonly lookupOfDots: boolean;
  /**
   * WRITE and SETATTR take set-user-id and set-group-id bits away (FUSE_HANDLE_KILLPRIV). Otherwise the kernel sends a
   * SETATTR of the mode before a write. It does so as the writer, who need not be the owner: the write can then fail
   * with EPERM.
   */
  readonly clearsSetIdBits: boolean;
  /** The kernel may keep the targets of symbolic links until an inode is invalidated (FUSE_CACHE_SYMLINKS). */
  readonly cachedSymlinks: boolean;
  /**
   * The mount may be idmapped by mount_setattr(2) (FUSE_ALLOW_IDMAP, Linux 6.12). From then on the kernel does not tell who asks,
   * idmapped or not, except where something is made: uid and gid of every other request are 2^32 - 1. It fails all requests of
   * a mount that has asked for this and has no default_permissions.
   */
  readonly idmappedMounts: boolean;
}
