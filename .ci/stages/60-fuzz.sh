# Every parser for a few seconds under libFuzzer, guided by coverage.
# budget: 3 min
set -euo pipefail
command -v c++ >/dev/null || { apt-get update -qq; apt-get install -y -qq g++; }
bash gateway/fuzz/run 2
bash gateway/fuzz/run-fails
