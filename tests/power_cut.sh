#!/usr/bin/env bash
# Real file systems, real power cuts: `tests/power_cut.sh PROGRAM [CUTS [SEED]]`
#
# The disk is an image file on an XFS with reflink, mounted through a loop device. `cp --reflink=always` of the image
# is, at any moment, an atomic copy of what had reached the disk: all that the kernel still held back is missing from
# it, as after a power cut. The copy is mounted, recovered and checked; then it is the disk for the next cut, so that
# recoveries of recoveries are tried too, and every fourth cut falls into the recovery itself.
#
# Checked after each cut: `lenslog ingest </dev/null` and `replay verify` exit with 0; every event that was
# acknowledged before the copy began is in the journal, with the seq it was acknowledged with; no event is in the
# journal, in events.json or in the database twice, and all three hold the same; every picture that an event names is whole.
#
# The seed repeats what is written and how long; the moments themselves are the machine's.
# LENSLOG_CUT_FS is the file system of the disk: ext4 (the default), xfs or btrfs. Needs root, xfsprogs, loop devices;
# sqlite3 if it is there. Exit code: 0 all is well, 1 something was lost, 77 this machine lacks something.
set -euo pipefail

program=$(realpath "$1")
cuts=${2:-100}
seed=${3:-$$}
RANDOM=$seed
fs=${LENSLOG_CUT_FS:-ext4}

lacking() { echo "lacking: $*"; exit 77; }
[ "$(id -u)" = 0 ] || lacking root
for tool in mkfs.xfs "mkfs.$fs" losetup mount; do
  command -v "$tool" >/dev/null || lacking "$tool"
done

work=$(mktemp -d)
host=$work/host disk=$work/disk data=$work/disk/data
mkdir "$host" "$disk"
writer=
# No configuration but its own.
unset "${!LENSLOG@}"
export HOME=$work
cd "$work"

# Ends what writes, as a power cut would: nothing of it may reach the copy that was made before.
silence() {
  [ -n "$writer" ] || return 0
  kill -KILL -- "-$writer" 2>/dev/null || true
  wait "$writer" 2>/dev/null || true
  writer=
}
# A process that was killed may hold the mount a moment longer.
unmount() {
  mountpoint -q "$1" || return 0
  for _ in 1 2 3 4 5 6 7 8 9 10; do umount "$1" 2>/dev/null && return 0; sleep 0.1; done
  umount -l "$1"
}
tidy() { silence; unmount "$disk"; unmount "$host"; rm -rf "$work"; }
trap tidy EXIT
trap 'echo "line $LINENO failed"' ERR
trap 'exit 1' INT TERM

truncate -s 8G "$work/host.img"
mkfs.xfs -q -m reflink=1 "$work/host.img"
mount -o loop "$work/host.img" "$host" 2>/dev/null || lacking "a loop device"

mount_disk() {
  local options=loop
  [ "$fs" = xfs ] && options=loop,nouuid
  mount -o "$options" "$host/disk.img" "$disk"
}
new_disk() {
  truncate -s 512M "$host/disk.img"
  case $fs in
    ext4) mkfs.ext4 -q "$host/disk.img" ;;
    *) "mkfs.$fs" -q -f "$host/disk.img" ;;
  esac
  mount_disk
  : >"$work/all"
}
# The power is cut here. What was acknowledged before is in $work/acknowledged.
cut_power() {
  cp "$work/out" "$work/acknowledged"
  cp --reflink=always "$host/disk.img" "$host/cut.img"
  silence
  unmount "$disk"
  mv "$host/cut.img" "$host/disk.img"
  mount_disk
}
fail() {
  echo "cut $cut ($kind), seed $seed: $*"
  tail -n 20 "$work/err" || true
  exit 1
}

# Lines for `lenslog ingest`, without an end, over five days; ids are never used twice.
lines() {
  awk -v cut="$cut" 'BEGIN {
    for (n = 1; ; n++) {
      printf "{\"event_id\":\"cut-%d-%d\",\"timestamp\":\"2026-03-%02dT12:00:00+01:00\",\"camera_id\":\"door\",", cut, n, 1 + n % 5
      printf "\"detected_objects\":[{\"label\":\"person\",\"confidence\":0.5}],\"metadata\":{\"n\":%d}}\n", n
      fflush()
    }
  }'
}
# One event after the other, each sent when the one before is acknowledged.
one_by_one() {
  coproc program { exec "$program" ingest --ack --data "$data"; }
  while read -r line <&3; do
    echo "$line" >&"${program[1]}"
    read -r acknowledged <&"${program[0]}" || break
    echo "$acknowledged"
  done 3< <(lines)
}
cat >"$work/lenslog.toml" <<'TOML'
[events]
deduplication_window = "1s"
max_event = "2s"
[cameras]
door = { source = "test:" }
yard = { source = "test:" }
TOML
write() {
  case $kind in
    flood) lines | "$program" ingest --ack --data "$data" ;;
    one_by_one) one_by_one ;;
    record) "$program" record --no-pace --data "$data" --config "$work/lenslog.toml" 2>&1 |
      sed -un 's/.* event="\{0,1\}\(evt_[0-9a-f-]*\)"\{0,1\} seq=\([1-9][0-9]*\).*/\1\t\2/p' ;;
  esac
}
start_to_write() {
  : >"$work/out"
  set -m
  write >"$work/out" 2>"$work/err" &
  set +m
  writer=$!
}
recover() { "$program" ingest --data "$data" </dev/null >"$work/out" 2>"$work/err"; }

pause() {
  # Pictures take their time.
  case $kind in record) sleep "$((RANDOM % 3)).$((RANDOM % 900 + 100))" ;; *) sleep "0.$((RANDOM % 900 + 100))" ;; esac
}
checked=0 beyond=0 recoveries=0 torn=0 pictures=0
new_disk
for cut in $(seq "$cuts"); do
  case $((RANDOM % 3)) in 0) kind=flood ;; 1) kind=one_by_one ;; 2) kind=record ;; esac
  start_to_write
  pause
  cut_power
  # A line that is cut was not read by anybody.
  [ -z "$(tail -c 1 "$work/acknowledged")" ] || sed -i '$d' "$work/acknowledged"
  cat "$work/acknowledged" >>"$work/all"
  checked=$((checked + $(wc -l <"$work/acknowledged")))
  if [ $((cut % 4)) = 0 ]; then
    set -m; recover & set +m
    writer=$!
    sleep "0.0$((RANDOM % 9))"
    cut_power
    recoveries=$((recoveries + 1))
  fi

  recover || fail "the recovery exits with $?"
  grep -q "recovered after" "$work/err" && torn=$((torn + 1))
  code=0
  "$program" replay verify --data "$data" >"$work/verified" 2>&1 || code=$?
  [ "$code" = 0 ] || { cat "$work/verified"; fail "replay verify exits with $code"; }

  "$program" replay export --data "$data" >"$work/exported" 2>"$work/err" || fail "export exits with $?"
  sed 's/^{"event_id":"\([^"]*\)".*"seq":\([0-9]*\)}$/\1\t\2/' "$work/exported" | sort >"$work/journaled"
  sort -u "$work/all" >"$work/wanted"
  lost=$(comm -23 "$work/wanted" "$work/journaled")
  [ -z "$lost" ] || fail "acknowledged and gone: $(echo "$lost" | head -n 5)"
  cut -f 1 "$work/journaled" >"$work/ids"
  [ -z "$(uniq -d "$work/ids")" ] || fail "journaled twice: $(uniq -d "$work/ids" | head -n 5)"
  # There may be no event yet, and no directory.
  { find "$data/events" -name events.json -exec cat {} + 2>/dev/null || true; } |
    sed 's/^{"event_id":"\([^"]*\)".*/\1/' | sort >"$work/lines"
  cmp -s "$work/lines" "$work/ids" || fail "events.json differs from the journal"
  if command -v sqlite3 >/dev/null; then
    sqlite3 "$data/events.db" 'SELECT event_id FROM events' | sort >"$work/rows"
    cmp -s "$work/rows" "$work/ids" || fail "events.db differs from the journal"
  fi
  while read -r path; do
    [ "$(tail -c 2 "$disk/$path" 2>/dev/null | od -An -tx1)" = " ff d9" ] || fail "no whole picture: $path"
    pictures=$((pictures + 1))
  done < <(sed -n 's/.*"image_path":"\([^"]*\)".*/\1/p' "$work/exported")

  beyond=$((beyond + $(wc -l <"$work/journaled") - $(wc -l <"$work/wanted")))
  cp "$work/journaled" "$work/all"
  if [ $((cut % 7)) = 0 ] || [ "$(df --output=pcent "$disk" | tr -dc 0-9)" -gt 50 ]; then
    unmount "$disk"
    new_disk
  fi
done
echo "$fs: $cuts cuts, $recoveries more in the recovery, $torn found a torn end;" \
  "$checked events acknowledged, none lost, $beyond more were kept, $pictures pictures looked at"
