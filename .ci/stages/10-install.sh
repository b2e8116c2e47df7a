# What the later stages need beyond the Rust toolchain: Java and Maven for the real Kafka, a real
# Redis and the certificates to test its TLS, real proxies, curl.
# budget: 2 min
set -euo pipefail
missing=()
command -v javac >/dev/null || missing+=(default-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v nginx >/dev/null || missing+=(nginx-light)
command -v haproxy >/dev/null || missing+=(haproxy)
command -v openssl >/dev/null || missing+=(openssl)
command -v curl >/dev/null || missing+=(curl)
command -v perl >/dev/null || missing+=(perl)
command -v make >/dev/null || missing+=(make)
command -v cc >/dev/null || missing+=(build-essential)
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi
rustup component add clippy rustfmt 2>/dev/null || true
cargo fmt --version
cargo clippy --version
java -version
# Not through head: whoever still writes when it has left is a failure here.
mvn --version
redis-server --version
