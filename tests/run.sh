#!/usr/bin/env bash
# Run the test suite: tests/run.sh [BUILD] [GROUP ...]
#   groups: unit parity tokenizers templates checkpoints golden cli http examples (default: all)
# Every test is a command; the last line is "N passed, N failed, N skipped". A failing test's output is shown.
# A shell test exits with 77 to say that it cannot run, and why on its last line.
set -u
cd "$(dirname "$0")/.."
build=${1:-build}
shift || true
groups=${*:-unit parity tokenizers templates checkpoints golden cli http examples}
export BUILD=$build MLTF=$PWD/$build/mltf
limit=${SECONDS_EACH:-120}
results=$(mktemp)
trap 'rm -f "$results"' EXIT

one() { # LABEL COMMAND...
    local label=$1 out rc
    shift
    out=$(timeout "$limit" "$@" 2>&1 </dev/null)
    rc=$?
    if [ $rc = 0 ]; then
        echo "ok   $label" >>"$results"
    elif [ $rc = 77 ]; then
        echo "skipped $label: $(printf '%s' "$out" | grep -v '^parity ' | tail -n 1 | sed 's/^FAIL (first wrong tap) load //')" | tee -a "$results"
    else
        { echo "FAIL $label (exit status $rc)"; printf '%s\n' "$out" | tail -n "${LINES_EACH:-15}" | sed 's/^/    /'; } >&2
        echo "FAIL $label" >>"$results"
    fi
}
export -f one
export limit results

# two at a time: LABEL<TAB>COMMAND lines on standard input
batch() {
    xargs -d '\n' -r -n 1 -P "${JOBS:-$(nproc)}" bash -c 'one "${0%%$'"'\t'"'*}" bash -c "${0#*$'"'\t'"'}"'
}

# the small copies in tests/fixtures, and the full sets where they lie beside the project
sets() { # KIND
    local d
    for d in tests/fixtures ../shared/fixtures; do
        for k in "$@"; do [ -d "$d/$k" ] && find "$d/$k" -mindepth 1 -maxdepth 1 -type d | sort; done
    done
}
# where both exist the full set holds the small one
full_or_small() { # SMALL=1: only the small copies
    [ -n "${SMALL:-}" ] && { sets "$@" | grep "^tests/"; return; }
    local all
    all=$(sets "$@")
    if grep -q '^\.\./shared' <<<"$all"; then grep '^\.\./shared' <<<"$all"; else printf '%s\n' "$all"; fi
}

start=$SECONDS
for group in $groups; do
    case $group in
    unit)
        for t in "$build"/tests/unit/* "$build"/tests/kernels/*; do
            [ -x "$t" ] && [ ! -d "$t" ] && case $t in *.o | *.d) ;; *) printf '%s\t%s\n' "unit $(basename "$t")" "$t" ;; esac
        done | batch
        ;;
    parity)
        full_or_small models models-v5 | while read -r d; do
            [ -f "$d/expected.json" ] && printf '%s\t%s\n' "parity $(basename "$d")" "$build/parity $d"
        done | batch
        # every tier computes the same; the small set is enough to see it
        for tier in ref avx2 avx512; do
            sets models | grep '^tests/' | while read -r d; do
                [ -f "$d/expected.json" ] || continue
                printf '%s\t%s\n' "parity $(basename "$d") at tier $tier" "MLTF_CPU=$tier $build/parity $d"
            done
        done | batch
        sets models | grep '^tests/' | while read -r d; do
            [ -f "$d/expected.json" ] || continue
            printf '%s\t%s\n' "parity $(basename "$d") on one thread" "MLTF_NUM_THREADS=1 $build/parity $d"
        done | batch
        ;;
    tokenizers) full_or_small tokenizers | while read -r d; do
        printf '%s\t%s\n' "tokenizer $(basename "$d")" "$build/parity --tokenizer $d"
    done | batch ;;
    templates) one "chat templates" "$build/parity" --chat-template tests/fixtures/chat_templates ;;
    checkpoints)
        one "hostile checkpoints" "$build/parity" --checkpoint tests/fixtures/checkpoints
        # every family's config.json, and all files of three
        sets models | grep '^tests/' | while read -r d; do
            file=config.json
            case $d in */bert-qa | */llama-base | */t5-base) file= ;; esac
            printf '%s\t%s\n' "hostile settings of $(basename "$d")" "$build/parity --hostile $d $file"
        done | batch
        ;;
    golden)
        d=tests/fixtures/golden
        [ -z "${SMALL:-}" ] && [ -d ../shared/golden ] && d=../shared/golden
        find "$d" -mindepth 1 -maxdepth 1 -type d | sort | while read -r c; do
            [ -f "$c/recording.json" ] && printf '%s\t%s\n' "golden $(basename "$c")" "$build/parity --golden $c"
        done | batch
        ;;
    cli | http) for t in tests/"$group"/test_*.sh; do [ -f "$t" ] && one "$group $(basename "$t" .sh)" bash "$t"; done ;;
    examples) for t in tests/examples/test_*.sh; do [ -f "$t" ] && one "example $(basename "$t" .sh)" bash "$t"; done ;;
    *) echo "run.sh: there is no group \"$group\"" >&2; exit 2 ;;
    esac
done
passed=$(grep -c '^ok ' "$results")
failed=$(grep -c '^FAIL ' "$results")
skipped=$(grep -c '^skipped ' "$results")
echo "$((SECONDS - start)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
