# Seeded sampling gives the same text with any number of threads, alone and in a batch, and in float32 at every tier of
# the CPU. (In bfloat16 tiers round sums in different orders, which may turn a draw.)
. "$(dirname "$0")/common.sh"
parity=$(dirname "$mltf")/parity
runs='{"inputs": [[20, 55, 81, 42]], "seed": 7, "kwargs": {"do_sample": true, "max_new_tokens": 24, "top_k": 0}}
{"inputs": [[20, 55, 81, 42]], "seed": 1099511627776, "kwargs": {"do_sample": true, "max_new_tokens": 24, "temperature": 1.7, "top_p": 0.9, "num_return_sequences": 3}}
{"inputs": [[20, 55, 81, 42]], "seed": 3, "kwargs": {"do_sample": true, "max_new_tokens": 16, "typical_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2}}
{"inputs": [[20, 55, 81, 42]], "seed": 4, "kwargs": {"do_sample": true, "num_beams": 3, "max_new_tokens": 16}}'
batched=$(printf '%s\n' "$runs" | sed 's/"inputs": \[\[20, 55, 81, 42\]\]/"inputs": [[9, 31], [20, 55, 81, 42], [77, 5, 5, 12, 60, 41, 3]]/')

# the sequences of the runs on stdin, one run a line
sequences() { "$parity" --generate "$model" "$dtype" | sed 's/.*"sequences": \(\[\[[^a-z]*\]\]\).*/\1/'; }

for model in "$fixtures/models/gpt2-base" "$fixtures/models/llama-base"; do
    for dtype in float32 bfloat16; do
        tiers="ref avx2 avx512 amx"
        [ $dtype = float32 ] || tiers=avx2
        want=$(printf '%s\n' "$runs" | MLTF_CPU=${tiers%% *} MLTF_NUM_THREADS=1 sequences)
        for tier in $tiers; do
            for threads in 1 2 5; do
                got=$(printf '%s\n' "$runs" | MLTF_CPU=$tier MLTF_NUM_THREADS=$threads sequences)
                [ "$got" = "$want" ] || fail "$(basename "$model") $dtype: tier $tier with $threads threads gives another text"
            done
        done
        got=$(printf '%s\n' "$batched" | MLTF_CPU=${tiers%% *} sequences)
        i=0
        while read -r line; do # every single run's sequences are among those of its batch
            i=$((i + 1))
            among=$(printf '%s\n' "$got" | sed -n "${i}p")
            inner=${line#\[}
            case $among in *"${inner%\]}"*) ;; *) fail "$(basename "$model") $dtype: run $i alone gives another text than in a batch" ;; esac
        done <<EOF
$want
EOF
    done
done
finish
