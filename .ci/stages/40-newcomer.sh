# What the README's first screen says, as a newcomer would type it.
# budget: 7 min
set -euo pipefail
cargo build --release --locked
bash .ci/newcomer
