#!/usr/bin/env bash
# Run each fuzzer for a while on its corpus: fuzz/run.sh [NAME ...]   SECONDS_EACH=60
# New inputs that reach new code are kept in build-fuzz/corpus, crashes in build-fuzz/crashes.
set -u
cd "$(dirname "$0")/.."
build=${BUILD:-build-fuzz}
bad=0
for f in "$build"/fuzz/fuzz_*; do
    [ -x "$f" ] && [ ! -d "$f" ] && [[ $f != *.o && $f != *.d ]] || continue
    name=$(basename "$f" | sed 's/^fuzz_//')
    [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
    mkdir -p "$build/corpus/$name" "$build/crashes/$name" fuzz/corpus/"$name"
    echo "== $name"
    "$f" -max_total_time="${SECONDS_EACH:-60}" -rss_limit_mb=2048 -timeout=10 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="$build/crashes/$name/" "$build/corpus/$name" fuzz/corpus/"$name" || bad=$((bad + 1))
done
[ $bad = 0 ] && echo "no crashes" || echo "$bad fuzzers found something: see $build/crashes"
[ $bad = 0 ]
