#!/usr/bin/env bash
# Builds a program outside the workspace against the packaged crates: the first one of docs/EMBEDDING.md, then runs it.
#
#     engine/tests/packaged.sh [--offline]
#
# The crates are packaged without a registry, unpacked, and found by their paths.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

cd "$root"
CARGO_TARGET_DIR=$directory/target \
  cargo package "$@" --quiet --allow-dirty --no-verify -p lenslog-journal -p lenslog-engine
for crate in "$directory"/target/package/*.crate; do tar -xzf "$crate" -C "$directory"; done

mkdir -p "$directory/bank/src"
cat >"$directory/bank/Cargo.toml" <<'TOML'
[package]
name = "bank"
version = "0.1.0"
edition = "2024"

[dependencies]
lenslog-engine = "0.1.0"
lenslog-journal = "0.1.0"
tempfile = "3"

[dev-dependencies]
lenslog-engine = { version = "0.1.0", features = ["simulation"] }

[patch.crates-io]
lenslog-engine = { path = "../lenslog-engine-0.1.0" }
lenslog-journal = { path = "../lenslog-journal-0.1.0" }
TOML
# The versions that the workspace is tested with.
cp Cargo.lock "$directory/bank/Cargo.lock"
sed -n '/^```rust$/,/^```$/p;/^```$/q' docs/EMBEDDING.md | grep -v '^```' >"$directory/bank/src/main.rs"

cd "$directory/bank"
CARGO_TARGET_DIR=$directory/built cargo run "$@" --quiet
echo "bank: built against the packaged crates, and ran"
