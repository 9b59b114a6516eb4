#!/usr/bin/env bash
# Compare with the real Python libraries: tests/interop/run.sh [differential]
# Runs check_*.py (or differential_*.py) with the environment of tools/venv.sh; each exits 0 for "the same", 77 for
# "cannot run here". Last line: "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/../.."
python=$(sh tools/venv.sh) || { echo "the Python environment could not be made" >&2; echo "0 passed, 1 failed"; exit 1; }
MODELS=$(sh tools/models.sh) || { echo "the real models could not be fetched" >&2; echo "0 passed, 1 failed"; exit 1; }
export MODELS BUILD=${BUILD:-build} MLTF=$PWD/${BUILD:-build}/mltf
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false MLFLOW_DISABLE_TELEMETRY=true PYTHONWARNINGS=ignore
kind=check each=600
[ "${1:-}" = differential ] && kind=differential each=3600
passed=0 failed=0 skipped=0
for t in tests/interop/${kind}_*.py; do
    [ -f "$t" ] || continue
    began=$SECONDS
    timeout "${SECONDS_EACH:-$each}" "$python" "$t" >"${TMPDIR:-/tmp}/mltf-interop.$$" 2>&1
    case $? in
    0) echo "ok   $(basename "$t") ($((SECONDS - began)) s)"; passed=$((passed + 1)) ;;
    77) echo "skipped $(basename "$t"): $(tail -n 1 "${TMPDIR:-/tmp}/mltf-interop.$$")"; skipped=$((skipped + 1)) ;;
    *) echo "FAIL $(basename "$t")"; tail -n 25 "${TMPDIR:-/tmp}/mltf-interop.$$" | sed 's/^/    /'; failed=$((failed + 1)) ;;
    esac
done
rm -f "${TMPDIR:-/tmp}/mltf-interop.$$"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
