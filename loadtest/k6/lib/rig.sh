# shellcheck shell=bash
# What the scripts of this folder share: gateways of their own on loopback, and k6 on them. To be sourced.
: "${TIDEGATE:?the gateway to test}" "${K6:?the k6 that loadtest/xk6-sse builds}"
work=$(mktemp -d)

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# launch NAME PORT ADMIN FLAGS…: a gateway, ready; its process is `pid`, its log $work/NAME.log.
launch() {
  local name=$1 port=$2 admin=$3
  shift 3
  "$TIDEGATE" --public-addr "127.0.0.1:$port" --admin-addr "127.0.0.1:$admin" "$@" >>"$work/$name.log" 2>&1 &
  pid=$!
  for _ in $(seq 300); do
    curl -sf -m 1 -o /dev/null "127.0.0.1:$admin/readyz" && return
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null
  echo "gateway $name is not ready: $(tail -n 5 "$work/$name.log")" >&2
  return 1
}

# k6 on a script, without its own API and without telling anybody.
# shellcheck disable=SC2034 # for those that source this
k6_run=("$K6" run --no-usage-report --address 127.0.0.1:0 -q)
