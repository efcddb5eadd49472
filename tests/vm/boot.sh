#!/usr/bin/env bash
# Boots Debian's kernel under QEMU, without KVM, with the kernel's virtual camera `vivid` as /dev/video0 and an ext4
# disk at /data, and runs one script in it. The power can be cut: QEMU is killed, and what the guest had not flushed
# is lost.
#
#   boot.sh --work DIR --disk IMAGE --script GUEST.sh [--cut-at WORDS] [--timeout SECONDS] PROGRAM…
#
# The guest's console is this script's standard output. PROGRAMs are found in the guest's /bin, with their libraries;
# the script runs under busybox. With --cut-at the power is cut as soon as the console shows a line of these WORDS.
# Exits 0 when the guest powered itself off or was cut at those words, else 1.
#
# Needs (Debian): qemu-system-x86 busybox-static cpio kmod e2fsprogs. The kernel's package is downloaded into DIR once.
set -euo pipefail

work='' disk='' script='' cut='' limit=300
while [ $# -gt 0 ]; do
  case $1 in
    --work) work=$2 ;; --disk) disk=$2 ;; --script) script=$2 ;; --cut-at) cut=$2 ;; --timeout) limit=$2 ;;
    --*) echo "boot.sh: there is no option $1" >&2; exit 2 ;;
    *) break ;;
  esac
  shift 2
done
if [ -z "$work" ] || [ -z "$disk" ] || [ -z "$script" ] || [ $# -eq 0 ]; then
  sed -n '2,13p' "$0" >&2
  exit 2
fi
mkdir -p "$work"

# The kernel, unpacked once; again when Debian has a newer one.
newest() {
  package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
  version=${package#linux-image-}
  kernel=$work/kernel-$version
}
unpack() {
  rm -rf "$kernel" && mkdir "$kernel"
  (cd "$kernel" && apt-get download "$package" >/dev/null 2>&1 && dpkg -x "$package"_*.deb . && rm "$package"_*.deb)
}
newest
if [ ! -e "$kernel/ready" ]; then
  # What the lists name may be there no longer.
  unpack || { apt-get update -qq && newest && unpack; }
  depmod -b "$kernel" "$version"
  touch "$kernel/ready"
fi

# What runs before the guest's script.
root=$work/root
rm -rf "$root" && mkdir -p "$root"/{bin,dev,proc,sys,tmp,data,modules}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$@" "$root/bin/"
cp "$script" "$root/guest.sh"
for library in $(ldd "$@" 2>/dev/null | grep -o '/[^ :]*' | sort -u); do
  mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
done
for module in vivid virtio_pci virtio_blk ext4; do
  modprobe -d "$kernel" -S "$version" --show-depends "$module" | awk '/^insmod/ {print $2}'
done | awk '!seen[$0]++' | while read -r module; do
  cp "$module" "$root/modules/"
  basename "$module" >>"$root/modules/order"
done
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
  options=
  [ "$module" = vivid.ko ] && options="n_devs=1 input_types=0"
  insmod "/modules/$module" $options
done </modules/order
mount -t ext4 /dev/vda /data
sh /guest.sh
umount /data
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd.gz"
if [ ! -f "$disk" ]; then
  truncate -s 256M "$disk" && mkfs.ext4 -q "$disk"
fi

console=$work/console
: >"$console"
timeout "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 768 -nographic -no-reboot -nic none \
  -drive "file=$disk,format=raw,if=virtio,cache=writeback" -kernel "$kernel/boot/vmlinuz-$version" \
  -initrd "$work/initrd.gz" -append "console=ttyS0 quiet panic=-1" </dev/null >"$console" 2>&1 &
qemu=$!
if [ -n "$cut" ]; then
  until grep -aqF -- "$cut" "$console"; do
    kill -0 "$qemu" 2>/dev/null || { cat "$console"; exit 1; }
    sleep 0.1
  done
  pkill -KILL -P "$qemu"
  wait "$qemu" || true
  cat "$console"
  exit 0
fi
code=0
wait "$qemu" || code=1
cat "$console"
exit "$code"
