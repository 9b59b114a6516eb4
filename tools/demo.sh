#!/usr/bin/env bash
# The whole way once: a real language model from a GGUF file to an answer over HTTP, in a store that Python MLflow opens
# too; and an embedding model beside it. Says at each step what it does and how long that took.
#   DEMO_DIR   where the store and the models go (default: a new folder in the temporary directory)
set -euo pipefail
cd "$(dirname "$0")/.."
mltf=$PWD/${BUILD:-build}/mltf
dir=${DEMO_DIR:-$(mktemp -d "${TMPDIR:-/tmp}/mltf-demo.XXXXXX")}
mkdir -p "$dir"
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT

[ -t 1 ] && bold='\033[1m%s\033[0m' || bold=%s
step() { printf "\n$bold\n" "$1"; began=$(date +%s%N); }
took() { printf '  took %d.%03d s\n' $((($(date +%s%N) - began) / 1000000000)) $((($(date +%s%N) - began) / 1000000 % 1000)); }
show() { printf '  $ %s\n' "$*"; "$@"; }

step "1. Get two real models (all-MiniLM-L6-v2, 91 MB, and SmolLM2-135M-Instruct, 98 MB); cached for the next time"
models=$(sh tools/models.sh)
took

cd "$dir"
ln -sf "$mltf" mltf
export PATH="$dir:$PATH"
printf '\n  everything below happens in %s\n' "$dir"

step "2. Turn the GGUF file into a Hugging Face checkpoint"
rm -rf smollm2
show mltf convert "$models/smollm2.gguf" smollm2
took

step "3. Log it to an MLflow store and register it (sqlite:///mlflow.db, as MLflow does)"
show mltf models log -m smollm2 --name smollm2 --task llm/v1/chat --experiment-name demo \
    --registered-model-name smollm2 --alias champion
took

step "4. Ask it something, straight from the registry"
show mltf try -m models:/smollm2@champion --temperature 0 --max-tokens 40 "What is the capital of France?"
took

step "5. Serve it, and ask through the OpenAI API"
mltf models serve -m models:/smollm2@champion -p 0 2>serve.log &
server=$!
for _ in $(seq 200); do
    url=$(sed -n 's/.*\(http:[^ ]*\).*/\1/p' serve.log | head -n 1)
    [ -n "$url" ] && break
    kill -0 "$server" 2>/dev/null || { cat serve.log >&2; exit 1; }
    sleep 0.05
done
[ -n "$url" ] || { echo "the server did not start:" >&2; cat serve.log >&2; exit 1; }
echo "  serving on $url"
took

step "   POST /v1/chat/completions"
show curl -sS --fail-with-body "$url/v1/chat/completions" -H 'content-type: application/json' \
    -d '{"messages": [{"role": "user", "content": "Name three colours."}], "temperature": 0, "max_tokens": 40}'
echo
took

step "   POST /invocations, as MLflow's scoring server answers it"
show curl -sS --fail-with-body "$url/invocations" -H 'content-type: application/json' \
    -d '{"messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 40}'
echo
took
kill "$server" && wait "$server" 2>/dev/null || true
server=

step "6. A second model: sentence embeddings, logged and predicted with"
show mltf models log -m "$models/minilm" --name minilm --task llm/v1/embeddings --experiment-name demo --registered-model-name minilm
echo '{"input": ["a happy person", "a very glad human being"]}' >texts.json
show mltf models predict -m models:/minilm/1 -i texts.json -o vectors.json
cut -c1-160 vectors.json | sed 's/^/  /; s/$/ .../'
took

step "7. What the store holds"
show mltf doctor
printf '\nDone. The store is %s/mlflow.db; `mlflow ui --backend-store-uri sqlite:///%s/mlflow.db` shows it.\n' "$dir" "$dir"
