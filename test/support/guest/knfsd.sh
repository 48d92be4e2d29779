#!/bin/bash
# Starts Linux's own NFS server in a guest (knfsd.ts), for NFSv3 over TCP and UDP, with rpcbind.
# usage: knfsd.sh PROGRAMS OPTIONS GRACE [statd]
# PROGRAMS: the folder of exportfs, rpc.mountd and rpc.nfsd; OPTIONS: exports(5); GRACE: seconds, at least 10, in which only
# old locks are given back, or 0: none. Without statd a client has to lock by NM_LOCK, and LOCK gets no answer.
# Exports the disk /dev/ubda as /mnt/export. A second disk, /dev/ubdb, is mounted in it as /mnt/export/nested.
set -eu
programs=$1 options=$2 grace=$3
mkdir -p /mnt/state /run/rpcbind /mnt/export
mount -t tmpfs -o mode=755 state /var/lib/nfs
mkdir -p /var/lib/nfs/sm /var/lib/nfs/sm.bak /var/lib/nfs/rpc_pipefs /var/lib/nfs/v4recovery
touch /var/lib/nfs/etab /var/lib/nfs/rmtab /var/lib/nfs/state
mount -t nfsd nfsd /proc/fs/nfsd
# NFSv3's locks wait for the end of this period, too, although version 4 is off.
if [ "$grace" != 0 ]; then
  echo "$grace" > /proc/fs/nfsd/nfsv4leasetime
  echo "$grace" > /proc/fs/nfsd/nfsv4gracetime
fi
# The guest's writes are in the image at once. The host is not going to crash, so that nobody need wait for its disk.
mount -t ext4 -o nobarrier /dev/ubda /mnt/export
if [ -d /mnt/export/lost+found ]; then rmdir /mnt/export/lost+found; fi
if [ -b /dev/ubdb ]; then
  mkdir -p /mnt/export/nested
  mount -t ext4 -o nobarrier /dev/ubdb /mnt/export/nested
  if [ -d /mnt/export/nested/lost+found ]; then rmdir /mnt/export/nested/lost+found; fi
fi
# The machine's configuration is not the guest's. (Debian's has manage-gids=y: groups are then the server's affair alone.)
if [ -e /etc/nfs.conf ]; then mount --bind /dev/null /etc/nfs.conf; fi
rpcbind -w
until rpcinfo -p localhost > /dev/null 2>&1; do sleep 0.05; done
if [ "${4:-}" = statd ]; then rpc.statd --no-notify; fi
"$programs/exportfs" -i -o "$options" '*:/mnt/export'
"$programs/rpc.mountd" -p 20048
"$programs/rpc.nfsd" --no-nfs-version 4 --tcp --udp 8
if [ "$grace" = 0 ]; then
  echo Y > /proc/fs/nfsd/v4_end_grace
  echo Y > /proc/fs/lockd/nlm_end_grace
fi
until rpcinfo -t localhost nfs 3 > /dev/null 2>&1 && rpcinfo -t localhost mountd 3 > /dev/null 2>&1; do sleep 0.05; done
