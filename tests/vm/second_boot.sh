# Runs in the guest after the power was cut: what was acknowledged is there, and recording goes on.
lenslog --config /data/lenslog.toml record --duration 5s >/tmp/log 2>&1
echo "RECORD EXIT $?"
cat /tmp/log
lenslog --data /data/lenslog events --limit 1000 --format jsonl | sed 's/.*"event_id":"\([^"]*\)".*/FOUND \1/'
lenslog --data /data/lenslog replay cat --json | sed 's/.*"kind":"\([A-Za-z]*\)".*/KIND \1/' | sort | uniq -c
lenslog --data /data/lenslog replay verify >/tmp/verify 2>&1
echo "VERIFY EXIT $?"
cat /tmp/verify
