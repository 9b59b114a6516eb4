#!/usr/bin/env bash
# Models that mltf saved, with every value of MLmodel, its signature and its examples replaced by unlikely ones:
# refused in words or answered, never a crash.
. "$(dirname "$0")/common.sh"
parity=$(dirname "$mltf")/parity
cat >signature.json <<'END'
{"inputs": "[{\"type\": \"string\", \"name\": \"a\"}, {\"type\": \"map\", \"values\": {\"type\": \"double\"}, \"name\": \"m\", \"required\": false}, {\"type\": \"array\", \"items\": {\"type\": \"object\", \"properties\": {\"x\": {\"type\": \"long\"}}}, \"name\": \"b\", \"required\": false}]",
 "outputs": "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float64\", \"shape\": [-1]}}]",
 "params": "[{\"name\": \"x\", \"default\": [1], \"shape\": [-1], \"type\": \"long\"}]"}
END
expect 0 "$mltf" models save -m "$fixtures/models/gpt2-base" --task text-generation -o plain --input-example '"a b"' \
    --input-example-params '{"max_new_tokens": 2}' --model-config '{"top_k": 3}' --prompt-template 'a {prompt} b'
expect 0 "$mltf" models save -m "$fixtures/models/gpt2-base" --task text-generation -o columns --signature @signature.json
expect 0 "$mltf" models save -m "$fixtures/models/bert-seqcls" --task text-classification -o labels
expect 0 "$mltf" models save -m "$fixtures/models/llama-base" --task llm/v1/chat -o chat
expect 0 "$mltf" models save -m "$fixtures/models/bert-base" --task llm/v1/embeddings --layout components -o parts
for d in plain columns labels chat parts; do
    expect 0 "$parity" --hostile "$d"
    contains out ' passed, 0 failed'
done
finish
