# Before each commit: formatting, lints, unit tests. Under two minutes once built.
quick:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --quiet -- -D warnings
    cargo test --workspace --lib --quiet

# Every test.
test:
    cargo test --workspace --no-fail-fast

# What CI runs.
ci:
    .ci/run

# The long campaigns of docs/RELIABILITY.md.
long:
    LENSLOG_ACCIDENTS=20000 LENSLOG_FLIPS=5000 cargo test --release -p lenslog-journal

# A program outside the workspace, against the packaged crates.
packaged:
    engine/tests/packaged.sh
