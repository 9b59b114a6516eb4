# models evaluate and models compare: right metrics for answers that are known, logged to a run, and mistakes named.
. "$(dirname "$0")/common.sh"
clf=$fixtures/models/bert-seqcls gpt2=$fixtures/models/gpt2-base t5=$fixtures/models/t5-base
value() { sed -n "s|.*\"$1\": \([-0-9.e]*\).*|\1|p" out | head -n 1; }
near() { # NAME WANT: a metric of the report in ./out
    awk -v x="$(value "$1")" -v y="$2" 'BEGIN { d = x - y; exit !(x != "" && d < 1e-4 * (y + 1) && -d < 1e-4 * (y + 1)) }' ||
        fail "$1 is $(value "$1"), expected $2: $(head -c 300 out)"
}

# labels: what the model says, and for two rows of six something else
printf 'text\nwhat a day\nit rained again\nthe boats\n"one, two"\nnothing\nlast\n' >texts.csv
expect 0 "$mltf" models predict -m "$clf" --task text-classification -i texts.csv -t csv
grep -o '"label": "[^"]*"' out | cut -d'"' -f4 >labels
paste -d, <(printf 'text\nwhat a day\nit rained again\nthe boats\n"one, two"\nnothing\nlast\n') <(echo label; sed '2s/.*/other/;5s/.*/other/' labels) >data.csv
expect 0 "$mltf" models evaluate -m "$clf" --task text-classification --data data.csv --experiment-name tests --run-name first --json
near accuracy_score 0.6666666667
near recall_score 0.6666666667
contains out '"run_id"'
if command -v sqlite3 >/dev/null; then
    same "$(sqlite3 mlflow.db "select printf('%.4f', value) from latest_metrics where key = 'accuracy_score'")" 0.6667
    same "$(sqlite3 mlflow.db "select name || ' ' || status from runs")" "first FINISHED"
fi
rm -f mlflow.db
expect 0 "$mltf" models evaluate -m "$clf" --task text-classification --data data.csv --no-log --batch 1 --json
near accuracy_score 0.6666666667
[ -e mlflow.db ] && fail "--no-log made a store"
expect 0 "$mltf" models evaluate -m "$clf" --task text-classification --data data.csv --no-log
contains out accuracy_score

# texts: the model's own answers are all right; the target has another name
for text in "a b c" "the river"; do
    echo "{\"inputs\": \"$text\"}" >one.json
    expect 0 "$mltf" models predict -m "$t5" --task text2text-generation -i one.json --model-config '{"max_new_tokens": 8}'
    sed -n "s/.*\[\(\".*\"\)\].*/{\"text\": \"$text\", \"answer\": \1}/p" out >>data.jsonl
done
same "$(grep -c answer data.jsonl)" 2
expect 0 "$mltf" models evaluate -m "$t5" --task text2text-generation --data data.jsonl --target answer --model-config '{"max_new_tokens": 8}' --no-log --json
near exact_match/v1 1
contains out '"rougeL/v1/mean"'
contains out '"rougeLsum/v1/mean"'
contains out '"bleu/v1/mean"'

# perplexity, as torch computes it in double precision
printf 'The old ferryman said that the river had never been so high. Rain fell for nine days, and the bridge was gone.\n' >text.txt
expect 0 "$mltf" models evaluate -m "$gpt2" --task text-generation --text text.txt --no-log --json
near perplexity 5341.3669
near nll_per_token 8.5832369

# embeddings: the more alike, the higher the number
printf '{"a": "rain", "b": "rain", "score": 5}\n{"a": "rain", "b": "the boats go", "score": 1}\n' >pairs.jsonl
expect 0 "$mltf" models evaluate -m "$fixtures/models/bert-base" --task feature-extraction --data pairs.jsonl --no-log --json
near spearman 1

# two models side by side
expect 0 "$mltf" models compare "$clf" "$clf" --task text-classification --data data.csv
contains out "same answers"
same "$(awk '/^same answers/ { print $3 } /^accuracy_score/ { print $4 }' out | tr '\n' ' ')" "+0 1 "
expect 0 "$mltf" models compare "$gpt2" "$gpt2" --task text-generation --text text.txt
contains out perplexity

expect 2 "$mltf" models evaluate -m "$clf" --task text-classification
expect 2 "$mltf" models evaluate -m "$clf" --task text-classification --data data.csv --text text.txt
expect 2 "$mltf" models evaluate -m "$clf" --task text-classification --data texts.csv --no-log
contains err "say which column"
expect 2 "$mltf" models evaluate -m "$clf" --task text-classification --data data.csv --target nowhere --no-log
contains err 'no column "nowhere"'
expect 2 "$mltf" models evaluate -m "$clf" --task text-classification --text text.txt --no-log
contains err "perplexity needs a causal language model"
echo '{"text": "x", "label"' >broken.jsonl
"$mltf" models evaluate -m "$clf" --task text-classification --data broken.jsonl --no-log >out 2>err && fail "broken rows were taken"
contains err 'line 1 of "broken.jsonl"'
expect 3 "$mltf" models evaluate -m "$clf" --task text-classification --data missing.csv --no-log
expect 2 "$mltf" models compare "$clf" --task text-classification --data data.csv
finish
