# The chart and the gateway on a real cluster: every shape that the chart can render, dry-run by the API
# server, deploy/e2e, and where the cluster is this script's own the load-test Job of deploy/k6-operator.
#
# The cluster comes from a script beside the repository (TIDEGATE_CLUSTER names its folder); one that is up
# already is used and stays up. To use any other: KUBECONFIG with TIDEGATE_CLUSTER_IMAGE, an image of this
# commit that its nodes have, and the suite's flags for it in TIDEGATE_CLUSTER_FLAGS.
# budget: 25 min
set -euo pipefail
# Stages before this one have built it so.
export PROFILE=dev
tools=${TIDEGATE_TOOLS:-$HOME/.cache/tidegate/tools}
export PATH=$PATH:$tools/bin

suite() {
  # Of Envoy Gateway's kinds, which the tools bring along.
  local crds=()
  [ ! -d "$tools/crds" ] || crds=(--crds "$tools/crds")
  helm/dry-run "${crds[@]}"
  deploy/e2e/run "$@"
}

missing=()
command -v nginx >/dev/null || missing+=(nginx-light)
command -v curl >/dev/null || missing+=(curl)
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  # With this run level nothing is started.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi

if [ -n "${TIDEGATE_CLUSTER_IMAGE:-}" ]; then
  : "${KUBECONFIG:?names the cluster that has $TIDEGATE_CLUSTER_IMAGE}"
  read -ra flags <<<"${TIDEGATE_CLUSTER_FLAGS:-}"
  suite --image "$TIDEGATE_CLUSTER_IMAGE" "${flags[@]}"
  exit
fi

cluster=${TIDEGATE_CLUSTER:-../shared/cluster}
for script in up.sh down.sh image.sh; do
  [ -x "$cluster/$script" ] || {
    echo "There is no $cluster/$script, which brings a cluster up. TIDEGATE_CLUSTER names another folder;"
    echo "with KUBECONFIG and TIDEGATE_CLUSTER_IMAGE the suite runs on a cluster that is there."
    exit 1
  }
done
[ -x target/release/tidegate ] || cargo build --release --locked

cache=${LC_CACHE:-$HOME/.cache/local-cluster}
export PATH=$cache/bin:$PATH
export KUBECONFIG=${LC_KUBECONFIG:-${LC_RUN:-/tmp/local-cluster}/kubeconfig}
# What takes long to build and nothing here needs is left out: metrics-server, and Helm if it is there.
helm=0
command -v helm >/dev/null || helm=1
# KEDA takes a quarter of an hour, so it has to be asked for, or to be there.
keda=0
[ -x "$cache/bin/keda" ] && keda=1
export LC_WITH_METRICS_SERVER=${LC_WITH_METRICS_SERVER:-0} LC_WITH_HELM=${LC_WITH_HELM:-$helm}
export LC_WITH_KEDA=${LC_WITH_KEDA:-$keda}
export LC_WITH_PROMETHEUS=${LC_WITH_PROMETHEUS:-$LC_WITH_KEDA}
# What is left out the report says. `no-rights` waits a minute and a half for the kubelet alone.
flags=(--without no-rights)
[ "$LC_WITH_KEDA$LC_WITH_PROMETHEUS" = 11 ] || flags+=(--without autoscale)
# Where the cluster itself has to be built first there is no time for those that wait longest.
[ -x "$cache/bin/traefik" ] || flags+=(--without second --without janitor)
if ! kubectl get --raw /readyz >/dev/null 2>&1; then
  # Also after the budget's TERM. What was cut off half-way is taken down as well.
  trap '"$cluster/down.sh"' EXIT
  trap 'exit 1' TERM INT
fi
"$cluster/up.sh"
tag=ci-$$
"$cluster/image.sh" "tidegate:$tag" target/release/tidegate
suite --image "localhost/tidegate:$tag" "${flags[@]}"

# Stage 74 has built it, where it has run.
[ -x target/k6 ] || (k6=$PWD/target/k6 && cd loadtest/xk6-sse && go build -o "$k6" ./cmd/k6)
"$cluster/image.sh" "tidegate-k6:$tag" target/k6
deploy/k6-operator/try job "localhost/tidegate-k6:$tag" "localhost/tidegate:$tag"
