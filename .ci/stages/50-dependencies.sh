# Licences, bans and sources of all dependencies.
# budget: 3 min
set -euo pipefail
tools="$HOME/.cache/tidegate/tools"
if ! [ -x "$tools/bin/cargo-deny" ]; then
  cargo install --quiet --locked --root "$tools" cargo-deny
fi
"$tools/bin/cargo-deny" --config .deny.toml check bans licenses sources
