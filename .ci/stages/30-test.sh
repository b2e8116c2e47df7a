# The README's test command.
# budget: 8 min
set -euo pipefail
# Nothing is passed over because it is not installed.
export TIDEGATE_TEST_ALL=1
# Most of the time a test waits for something: more of them at a time than there are cores.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}
cargo test --locked
cargo test --locked -p tidegate-swarm -p tidegate-compare -p tidegate-e2e -p tidegate-faults -p tidegate-fuzz
