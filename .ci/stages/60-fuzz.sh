# Every parser for a few seconds under libFuzzer, and 20,000 random inputs each.
# budget: 10 min
set -euo pipefail
command -v c++ >/dev/null || { apt-get update -qq; apt-get install -y -qq g++; }
bash gateway/fuzz/run 4
target/release/fuzz-random --count 20000 --threads 2
