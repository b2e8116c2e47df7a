# The client module and the console in a real Chromium.
# budget: 3 min
set -euo pipefail
command -v chromium >/dev/null || {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
}
bash gateway/tests/browser/run target/release/tidegate
