# The alerts: their rules, and the cases in which they fire and stay quiet. What dashboards and alerts name
# is held against the gateway's own series by tests/it/dashboards.rs.
# budget: 1 min
set -euo pipefail
command -v promtool >/dev/null || {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq prometheus
}
promtool check rules dashboards/alerts.yaml
promtool test rules dashboards/alerts_test.yaml
