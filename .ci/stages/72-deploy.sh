# The image's Dockerfile, the Compose stack, Kafka's resources and the rest of deploy/, as those read them
# that they are for. Nothing is built or started.
# budget: 2 min
set -euo pipefail
missing=()
command -v promtool >/dev/null || missing+=(prometheus)
command -v haproxy >/dev/null || missing+=(haproxy)
command -v shellcheck >/dev/null || missing+=(shellcheck)
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi
deploy/check/run target/release/tidegate
