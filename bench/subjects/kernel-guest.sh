#!/bin/bash
# Process 1 of the guest in which Linux's own NFS client is measured (kernel.ts): user-mode Linux on the host's files.
# Runs what appears in the folder `folder=` of the kernel's command line, one command file after the other.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 run /run
parameter() { sed -n "s/.*$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
mount -t tmpfs mnt /mnt
mkdir -p /mnt/control /mnt/nfs /mnt/modules/lib/modules
mount -t hostfs -o "$(parameter folder)" control /mnt/control
ln -s "/usr/lib/uml/modules/$(uname -r)" /mnt/modules/lib/modules/
for module in sunrpc lockd nfs nfsv3; do modprobe -d /mnt/modules "$module" || exit 1; done
ip link set lo up
ip addr add "$(parameter address)" dev vec0
ip link set vec0 up
cd /mnt/control || exit 1
uname -r > ready
until [ -f halt ]; do
  for command in command-*; do
    [ -f "$command" ] || continue
    number=${command#command-}
    bash "$command" > "output-$number" 2> "errors-$number"
    echo $? > "ended-$number"
    rm "$command"
    mv "ended-$number" "status-$number"
  done
  sleep 0.02
done
umount /mnt/nfs
halt -f -p
