# The alerts' cases, and a real Prometheus that answers every panel of the dashboards. What dashboards and
# alerts name is held against the gateway's own series by tests/it/dashboards.rs.
# budget: 2 min
set -euo pipefail
missing=()
command -v promtool >/dev/null || missing+=(prometheus)
command -v redis-cli >/dev/null || missing+=(redis-server redis-tools)
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi
promtool check rules dashboards/alerts.yaml
promtool test rules dashboards/alerts_test.yaml
# The stage before has built it.
K6=$PWD/target/k6 dashboards/prove target/release/tidegate
