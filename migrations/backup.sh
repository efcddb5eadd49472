#!/bin/sh
# Writes events.db as SQL text, beside a running recorder too, and checks that the text gives the same rows again.
#
#   backup.sh [DATABASE [DIRECTORY]]        default: data/events.db into the current directory
#
# Restore: sqlite3 events.db <events-….sql     The journal is backed up by `replay backup DIR`.
set -eu

database=${1:-data/events.db}
directory=${2:-.}

fail() {
    echo "backup.sh: $1" >&2
    exit 1
}

command -v sqlite3 >/dev/null || fail "sqlite3 is not installed (apt install sqlite3)"
[ -f "$database" ] || fail "there is no database $database"
mkdir -p "$directory"

# In UTC, so that names sort in the order they were made.
target=$directory/events-$(date -u +%Y%m%dT%H%M%SZ).sql
partial=$target.partial
restored=$(mktemp -d)
trap 'rm -rf "$partial" "$restored"' EXIT
trap 'exit 1' HUP INT TERM

# .dump reads in one transaction: what is written meanwhile is not in it. A lock is waited for.
sqlite3 -bail -cmd '.timeout 10000' "$database" .dump >"$partial" ||
    fail "cannot read $database; see what sqlite3 said"

# A dump that was cut off, or of a damaged database, ends in ROLLBACK, or in nothing.
[ "$(tail -n 1 "$partial")" = 'COMMIT;' ] || fail "the dump of $database is not whole; is the database damaged?"
sqlite3 -bail "$restored/events.db" <"$partial" || fail "the dump of $database cannot be read back"
rows=$(sqlite3 -bail "$restored/events.db" 'SELECT count(*) FROM events' 2>/dev/null) ||
    fail "there are no events in the dump of $database; is it the recorder's?"
check=$(sqlite3 -bail "$restored/events.db" 'PRAGMA integrity_check')
[ "$check" = ok ] || fail "what the dump gives is damaged: $check"

# Whole and on the disk before it has its name.
sync "$partial" 2>/dev/null || sync
mv "$partial" "$target"
echo "$target: $rows events"
