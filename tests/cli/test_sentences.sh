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
cp -r "$rank" tanh
sed -i '0,/{/s//{"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"},/' tanh/config.json
expect 0 "$mltf" models save -m "$rank" --task text-ranking -o rank-plain --model-config '{"function_to_apply": "none"}'
expect 0 "$mltf" models save -m tanh --task text-ranking -o rank-tanh
say rank-plain '{"inputs": {"query": "rain", "documents": ["sun"]}}'
plain=$(grep -o '"score": [-0-9.e]*' out | cut -d' ' -f2)
say rank-tanh '{"inputs": {"query": "rain", "documents": ["sun"]}}'
grep -o '"score": [-0-9.e]*' out | awk -v x="$plain" '{ t = exp(2 * x); d = $2 - (t - 1) / (t + 1); exit !(d < 1e-5 && d > -1e-5) }' ||
    fail "not the tanh of $plain: $(cat out)"

# an older folder: the model lies in 0_Transformer
mkdir -p old/0_Transformer old/1_Pooling
cp "$base"/* old/0_Transformer
echo '{"pooling_mode_mean_tokens": true}' >old/1_Pooling/config.json
echo '[{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]' >old/modules.json
"$mltf" models predict -m "$base" --task sentence-embedding -i <(echo '{"inputs": ["rain"]}') >want 2>err
expect 0 "$mltf" models predict -m old --task sentence-embedding -i <(echo '{"inputs": ["rain"]}')
same "$(cat out)" "$(cat want)"
echo '[{"path": "0_Words", "type": "sentence_transformers.models.StaticEmbedding"}]' >old/modules.json
expect 5 "$mltf" models predict -m old --task sentence-embedding -i <(echo '{"inputs": ["rain"]}')
contains err "names no Transformer"
finish

# a folder of sentence-transformers with T5 in it: the encoder alone; where it says no length, that of config.json
cp -r "$fixtures/models/t5-base" t5
rm t5/expected.*
mkdir t5/1_Pooling
echo '{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true}' >t5/1_Pooling/config.json
cat >t5/modules.json <<'END'
[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
 {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
END
expect 0 "$mltf" models save -m t5 --task sentence-embedding -o t5-embed
say t5-embed '{"inputs": ["rain", "the river"]}'
same "$(grep -o '\[[-0-9., e]*\]' out | wc -l)" 2
cp -r "$fixtures/models/llama-base" llama
cp -r t5/1_Pooling t5/modules.json llama
expect 0 "$mltf" models save -m llama --task sentence-embedding -o llama-embed
words=$(printf 'rain and %.0s' $(seq 200))
say llama-embed "{\"inputs\": [\"$words\", \"$words and more\"]}"
same "$(grep -o '\[[-0-9., e]*\]' out | sort -u | wc -l)" 1
