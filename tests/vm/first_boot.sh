# Runs in the guest: records from the camera, takes the camera away and gives it back, and waits for the power to go.
cat >/data/lenslog.toml <<'CONFIG'
[storage]
data_dir = "/data/lenslog"
max_storage_gb = 0.2
[cameras.door]
source = "v4l2:/dev/video0"
fps = 5
# The camera's picture stands still by itself.
controls = { horizontal_movement = 5 }
[motion]
learning_frames = 5
[events]
deduplication_window = "1s"
max_event = "2s"
CONFIG
sync
events() { lenslog --data /data/lenslog events --limit 1000 --format jsonl 2>/dev/null | wc -l; }
kinds() { lenslog --data /data/lenslog replay cat --json 2>/dev/null | grep -c "\"kind\":\"$1\""; }
# Until something holds; at most as long as this script may run.
until_holds() { until "$@"; do usleep 200000; done; }

lenslog --config /data/lenslog.toml record >/tmp/log 2>&1 &
at_least_events() { [ "$(events)" -ge "$1" ]; }
has_kind() { [ "$(kinds "$1")" -ge 1 ]; }
until_holds at_least_events 2
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
until_holds has_kind CameraLost
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
until_holds has_kind CameraFound
before=$(events)
until_holds at_least_events $((before + 2))
grep -a "the camera is open" /tmp/log
lenslog --data /data/lenslog events --limit 1000 --format jsonl | sed 's/.*"event_id":"\([^"]*\)".*/ACKNOWLEDGED \1/'
echo "CUT THE POWER NOW"
until_holds false
