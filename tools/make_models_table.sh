#!/usr/bin/env bash
# Write docs/models.md from what build/parity says: tools/make_models_table.sh FIXTURES... >docs/models.md
# Each argument is a folder of checkpoints with expected.json (recorded answers of transformers); a name that an earlier
# folder has is left out:
#   tools/make_models_table.sh ../shared/fixtures/models ../shared/fixtures/models-v5 tests/fixtures/models >docs/models.md
set -u
cd "$(dirname "$0")/.."
parity=${BUILD:-build}/parity
cat <<'HEAD'
# Model families

Made by `tools/make_models_table.sh` from recorded answers of transformers 4.57.6 (and 5.23 where the checkpoint says so):
every tensor, token list, generation and pipeline answer of a row was compared. "Greatest difference" is the largest
absolute difference of a compared number; each stayed within the bound that the reference's own float64 run suggests,
unless the row says otherwise.

| model_type | classes | stored dtype | checked | greatest difference |
| --- | --- | --- | --: | --: |
HEAD
declare -A seen
table=$(for folder in "$@"; do
    for d in "$folder"/*/; do
        name=$(basename "$d")
        case $folder$name in *v5*) name=v5-$name ;; esac
        [ "$name" = bert-rank ] && continue
        [ -f "$d/expected.json" ] && [ -z "${seen[$name]:-}" ] || continue
        seen[$name]=1
        last=$(timeout 120 "$parity" "${d%/}" 2>/dev/null </dev/null | tail -n 1)
        # of several, the one that is indented least is the model's own
        type=$(awk '/"model_type"/ {match($0, /^ */); if (!n || RLENGTH <= n) {n = RLENGTH; line = $0}} END {print line}' "$d/config.json" |
            sed -n 's/.*"model_type": *"\([^"]*\)".*/\1/p')
        class=$(tr -d '\n' <"$d/config.json" | sed -n 's/.*"architectures": *\[ *"\([^"]*\)".*/\1/p')
        dtype=$(sed -n 's/.*"stored_dtype": *"\([^"]*\)".*/\1/p' "$d/expected.json" | head -n 1)
        passed=$(sed -n 's/.*: \([0-9]*\) passed.*/\1/p' <<<"$last") failed=$(sed -n 's/.* \([0-9]*\) failed.*/\1/p' <<<"$last")
        diff=${last##*max abs diff }
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$type" "$class" "$dtype" "${passed:-0}" "${failed:-none}" "$diff"
    done
done | sort -t "$(printf '\t')" -k1,1 | awk -F '\t' '
    # one row a family; the media models wait for their issue
    function flush() { if (t != "") printf "| %s | %s | %s | %d%s | %s |\n", t, classes, dtypes, passed, failed ? " (" failed " differ)" : "", worst }
    $5 == "none" || $4 == 0 {next}
    $1 != t {flush(); t = $1; classes = dtypes = ""; passed = failed = 0; worst = 0}
    {
        if (index(classes, $2) == 0) classes = classes (classes ? ", " : "") $2
        if (index(dtypes, $3) == 0) dtypes = dtypes (dtypes ? ", " : "") $3
        passed += $4; failed += $5; if ($6 + 0 > worst + 0) worst = $6
    }
    END {flush()}')
echo "$table"
# model types: in the families' files, of models that hold a text model, those whose random checkpoints are compared
types=$(awk '/\.model_types =( \(|$)/ {p = 1} p {print} p && /NULL/ {p = 0}' src/arch/arch_*.c | grep -o '"[^"]*"' | tr -d '"' | sort -u)
wrappers=$(sed -n '/^} wrappers/,/^};/s/^    {"\([^"]*\)", .*/\1/p' src/arch/arch_wrapper.c)
fresh=$(sed -n 's/^    "\([a-z0-9_-]*\)": (.*/\1/p' tests/interop/check_fresh_checkpoints.py | sort)
listed() { paste -sd, | sed 's/,/, /g' | fold -s -w "$1" | sed 's/ *$//'; }
cat <<TAIL

Text models inside of models of images and text ($(paste -sd, <<<"$wrappers" | sed 's/,/, /g')) answer
text alone. Further names of families: $(comm -23 <(echo "$types") <(sed 's/^| \([^ ]*\) .*/\1/' <<<"$table" | cat - <(echo "$fresh") | sort -u) | listed 200).
Every model_type that is not named here is refused by name.
TAIL
cat <<'TAIL'

Further families and classes have no recording. `tests/interop/check_fresh_checkpoints.py` compares random checkpoints of these,
and of those above, with the library itself (all hidden states, answers, cached generation; other sizes and options every day):
TAIL
listed 118 <<<"$fresh"
cat <<'TAIL'

Packed weights of bitsandbytes (int8, nf4, fp4), GPTQ, AWQ, compressed-tensors (pack-, int-, float-quantized), fp8 with blocks
are computed in every family, MXFP4 in gpt_oss; `tests/fixtures/models/packed-*` has a checkpoint of each.

`mltf convert` makes checkpoints of GGUF files, of every type of block but NVFP4 and Q1_0. gpt-oss keeps its MXFP4 blocks; all else
becomes bf16, or the width that `--torch-dtype` says. What is not in a file is taken from what llama.cpp assumes (T5's greatest distance
of 128) or transformers does. Bamba and Falcon-H1 are refused. These architectures are known; `tests/interop/check_convert.py` writes a
random one of each, asks llama.cpp whether it reads the same from it, and converts it back:
TAIL
sed -n 's/^    {"\([a-z0-9_-]*\)", [a-zA-Z0-9_]*, "[^"]*", "[A-Za-z0-9_]*", rules.*/\1/p' src/convert/convert_*.c | sort -u | paste -sd, | sed 's/,/, /g' | fold -s -w 118 | sed 's/ *$//'
