# Sourced by the shell tests: a folder of its own, and checks that show both sides.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mltf=${MLTF:-$root/build/mltf}
fixtures=$root/tests/fixtures
work=$(mktemp -d "${TMPDIR:-/tmp}/mltf-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
unset MLFLOW_TRACKING_URI MLFLOW_EXPERIMENT_NAME MLFLOW_RUN_ID
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }
# expect STATUS COMMAND...: the exit status; stdout and stderr are kept in out and err
expect() {
    local want=$1 got
    shift
    "$@" >out 2>err
    got=$?
    [ "$got" = "$want" ] || fail "$* exited with $got, expected $want: $(head -c 400 err)"
}
contains() { grep -qF -- "$2" "$1" || fail "$1 lacks \"$2\": $(head -c 400 "$1")"; }
lacks() { ! grep -qF -- "$2" "$1" || fail "$1 has \"$2\": $(head -c 400 "$1")"; }
same() { [ "$1" = "$2" ] || fail "got \"$1\", expected \"$2\""; }
skip() { echo "$*"; exit 77; }
finish() { [ "$failures" = 0 ]; exit; }
