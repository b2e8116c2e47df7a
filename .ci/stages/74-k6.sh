# The load-test kit: k6 with its module, the module's tests, runs that have to fail, and some that have to pass.
# budget: 4 min
set -euo pipefail
for tool in go python3 curl shellcheck; do
  command -v "$tool" >/dev/null || { echo "$tool is missing"; exit 1; }
done
gateway=$PWD/target/release/tidegate
export K6=$PWD/target/k6
(
  cd loadtest/xk6-sse
  go build -o "$K6" ./cmd/k6
  go vet ./...
  go test -timeout 120s ./...
)
shellcheck --severity=warning --external-sources --source-path=SCRIPTDIR loadtest/kafka loadtest/k6/{all,bad-input,proxied,rolling-update,lib/rig.sh}
TIDEGATE=$gateway loadtest/k6/bad-input

# Two gateways on a real Kafka, and the report over the runs.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
TIDEGATE=$gateway PACE=0.1 SCALE=0.2 loadtest/k6/all --out "$work" broadcast rooms-1000-once reconnect-storm
sed -n '/^# /,/^## /p' "$work/REPORT.md"
