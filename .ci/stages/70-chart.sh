# The chart: linted, tested, rendered in every shape, its manifests and settings checked, packaged.
# budget: 3 min
set -euo pipefail
bash .ci/tools/install
bash helm/check
