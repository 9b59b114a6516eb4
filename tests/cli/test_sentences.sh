# sentence-embedding, sentence-similarity and text-ranking through predict: shapes, order, rows, and what is refused.
. "$(dirname "$0")/common.sh"
base=$fixtures/models/bert-base rank=$fixtures/models/bert-rank
say() { # MODEL REQUEST: the answer in ./out
    printf '%s' "$2" >in.json
    expect 0 "$mltf" models predict -m "$1" -i in.json
}
expect 0 "$mltf" models save -m "$base" --task sentence-similarity -o similar
contains similar/MLmodel '"name": "source_sentence"'
say similar '{"inputs": {"source_sentence": "rain", "sentences": ["sun and wind", "rain"]}}'
awk -F'[][,]' '{ exit !($3 > 0.9999 && $2 < $3) }' out || fail "a sentence is not most like itself: $(cat out)"
first=$(sed 's/.*\[\(.*\)\].*/\1/' out)
say similar '{"dataframe_records": [{"source_sentence": "rain", "sentences": ["sun and wind", "rain"]}, {"source_sentence": "a", "sentences": ["b"]}]}'
contains out "[[$first], ["
echo '{"inputs": {"source_sentence": "rain", "sentences": "sun"}}' >in.json
expect 2 "$mltf" models predict -m similar -i in.json

expect 0 "$mltf" models save -m "$base" --task sentence-embedding -o embed --model-config '{"normalize": true, "dimensions": 4}'
say embed '{"inputs": ["rain", "sun", "wind"]}'
same "$(grep -o '\[[-0-9., e]*\]' out | wc -l)" 3
grep -o '\[[-0-9., e]*\]' out | tr -d '[]' | awk -F, '{ s = 0; for (i = 1; i <= NF; i++) s += $i * $i; if (NF != 4 || s < 0.999 || s > 1.001) exit 1 }' ||
    fail "not four numbers of length one: $(cat out)"

expect 0 "$mltf" models save -m "$rank" --task text-ranking -o rank --model-config '{"top_k": 2, "return_documents": true}'
say rank '{"inputs": {"query": "rain", "documents": ["sun", "it rains", "wind"]}}'
same "$(grep -o '"index"' out | wc -l)" 2
grep -o '"score": [0-9.]*' out | awk '{ if (NR > 1 && $2 > last) exit 1; last = $2 }' || fail "not the best first: $(cat out)"
contains out '"text": '
echo '{"inputs": {"query": "rain", "documents": ["sun"]}}' >in.json
expect 2 "$mltf" models predict -m "$fixtures/models/bert-seqcls" --task text-ranking -i in.json
contains err "ranking needs a model with one label"
finish
