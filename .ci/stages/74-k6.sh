# The load-test kit: k6 with its module, the module's tests, runs that have to fail, and one that has to pass.
# budget: 3 min
set -euo pipefail
for tool in go python3 curl; do
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
TIDEGATE=$gateway loadtest/k6/bad-input

work=$(mktemp -d)
"$gateway" --public-addr 127.0.0.1:0 --admin-addr 127.0.0.1:0 --telemetry-log-format json 2>"$work/log" &
pid=$!
trap 'kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 100); do grep -q '"listening"' "$work/log" && break; sleep 0.1; done
address=$(sed -n '/"public"/ { s/.*"public":"\([^"]*\)".*/\1/p; q }' "$work/log")
URLS="http://${address:?the gateway does not listen: $(cat "$work/log")}" PIDS=$pid RESULTS=$work PACE=0.1 \
  "$K6" run --no-usage-report --address 127.0.0.1:0 -q loadtest/k6/scenarios/broadcast.js
