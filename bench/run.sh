#!/usr/bin/env bash
# What `make bench` runs: the models, the Python environment of the peers, then all rows.
#   BENCH_ARGS   handed to bench/peers.py, for example "--only encode --threads 1"
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
make --no-print-directory -s "$build/bench/bench_model" "$build/bench/bench_json" "$build/bench/bench_tokenizers"
python=${BENCH_PYTHON:-$(sh tools/venv.sh bench)}
models=$(sh tools/models.sh)
# shellcheck disable=SC2086  # several arguments on purpose
exec "$python" bench/peers.py "$build" "$models" ${BENCH_ARGS:-}
