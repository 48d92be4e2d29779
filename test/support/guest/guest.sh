#!/bin/bash
# Process 1 of a guest (guest.ts): user-mode Linux on the host's files, which it sees read-only. Runs what appears in the
# folder `folder=` of the kernel's command line: each command file on its own, so that a long one holds up no other.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 run /run
parameter() { sed -n "s/.* $1=\([^ ]*\).*/\1/p" /proc/cmdline; }
mount -t tmpfs -o mode=755 mnt /mnt
mkdir -p /mnt/control /mnt/nfs /mnt/modules/lib/modules /mnt/tmp
export TMPDIR=/mnt/tmp
mount -t hostfs -o "$(parameter folder)" control /mnt/control
cd /mnt/control || exit 1
# Names are looked up in a file only: there is nobody to ask, and who waits for an answer waits long.
hostname guest
printf '127.0.0.1 localhost\n%s guest\n%s host\n' "$(parameter address | cut -d/ -f1)" "$(parameter gateway)" > /run/hosts
echo 'hosts: files' > /run/nsswitch.conf
for file in hosts nsswitch.conf; do mount --bind "/run/$file" "/etc/$file"; done
ln -s "/usr/lib/uml/modules/$(uname -r)" /mnt/modules/lib/modules/
while read -r module; do
  # Words of their own: a module and its parameters.
  modprobe -d /mnt/modules $module || exit 1
done < modules
ip link set lo up
ip addr add "$(parameter address)" dev vec0
ip link set vec0 up
ip route add default via "$(parameter gateway)"
run() {
  (cd / && exec bash "/mnt/control/running-$1") < /dev/null > "output-$1" 2> "errors-$1"
  echo $? > "ended-$1"
  rm "running-$1"
  mv "ended-$1" "status-$1"
}
uname -r > new-ready
mv new-ready ready
until [ -f halt ]; do
  for command in command-*; do
    [ -f "$command" ] || continue
    number=${command#command-}
    mv "$command" "running-$number"
    run "$number" &
  done
  sleep 0.02
done
cd /
sync
umount -a -t nfs,fuse.nfs-fuse,ext4
halt -f -p
