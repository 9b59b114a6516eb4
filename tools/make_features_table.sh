#!/usr/bin/env bash
# Write docs/features.md from test results: tools/make_features_table.sh GOLDEN [INTEROP] >docs/features.md
# GOLDEN: a folder of recorded cases of Python MLflow, each with recording.json. INTEROP: what tests/interop/run.sh printed.
set -u
cd "$(dirname "$0")/.."
golden=${1:?give the folder of recorded cases}
interop=${2:-}
parity=${BUILD:-build}/parity
cat <<'HEAD'
# What Python MLflow does, and mltf

Made by `tools/make_features_table.sh` from test results: `build/parity --golden` replays recordings of Python MLflow 3.17.2
with transformers 4.57.6 (saving, loading, predicting, HTTP) and compares every file, answer and error. "Meant" counts what
differs as [differences.md](differences.md) says, with its ids; "unlike" would be failures. [promises.md](promises.md) takes
the documentation of the flavor line by line.

| feature | compared | same | meant | unlike |
| --- | --: | --: | --- | --: |
HEAD
for d in "$golden"/*/; do
    [ -f "$d/recording.json" ] || continue
    out=$(timeout 300 "$parity" --golden "${d%/}" 2>/dev/null </dev/null)
    last=$(tail -n 1 <<<"$out")
    passed=$(sed -n 's/.*: \([0-9]*\) passed.*/\1/p' <<<"$last") failed=$(sed -n 's/.* \([0-9]*\) failed.*/\1/p' <<<"$last")
    [ "$((${passed:-0} + ${failed:-0}))" -gt 0 ] || continue
    listed=$(sed -n 's/^\([0-9]*\) differ as listed in [^:]*: \(.*\)/\1 \2/p' <<<"$out")
    n=${listed%% *}
    ids=$(sed 's/([0-9]*)//g; s/  */ /g; s/ *$//' <<<"${listed#* }")
    name=$(basename "$d" | tr _ ' ')
    printf '| %s | %d | %d | %s | %d |\n' "$name" $((passed + failed + ${n:-0})) "$passed" "${n:+$n: $ids}" "${failed:-0}"
done
cat <<'MORE'

Sound and picture cases are compared as far as saving goes; their pipelines come later.

## Tasks

Every example of these pages runs in `tests/cli/test_docs.sh`: a command line, a C program, `curl`.

MORE
for page in docs/tasks/*.md; do
    printf -- '- [%s](tasks/%s): %s\n' "$(sed -n '1s/^# //p' "$page")" "$(basename "$page")" "$(sed -n 3p "$page" | sed 's/\. .*/./')"
done
[ -n "$interop" ] || exit 0
cat <<'LIVE'

## With the real libraries

`make test-interop` runs these against Python MLflow, transformers and OpenAI's client: what mltf saves and logs, Python loads and
predicts with equally, and the reverse.

| check | outcome |
| --- | --- |
LIVE
sed -n 's/^ok   \([^ ]*\) .*/| `\1` | passed |/p; s/^FAIL \([^ ]*\).*/| `\1` | failed |/p; s/^skipped \([^:]*\): \(.*\)/| `\1` | skipped: \2 |/p' "$interop"
