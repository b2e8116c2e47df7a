# lz4 payloads as other languages' libraries decode them.
# budget: 1 min
set -euo pipefail
for tool in python3 npm node go; do
  command -v "$tool" >/dev/null || { echo "$tool is missing"; exit 1; }
done
python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -qq; apt-get install -y -qq python3-venv; }
bash gateway/tests/decoders/run target/release/tidegate
