#!/bin/sh
# Make (once) the Python environment that tests and benches compare with, and print its python.
# Cached outside the tree, one for each version of the list below; CI and a developer share it.
#   tools/venv.sh          real MLflow, transformers, torch (CPU)
#   tools/venv.sh bench    the same with onnxruntime and llama-cpp-python (which is compiled: minutes)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${MLTF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mltf}
list=$here/../tests/interop/requirements.txt
id=$(cat "$list" "$here/venv.sh" | cksum | cut -d' ' -f1)
venv=$cache/venv-$id

pip_install() { "$venv.new/bin/pip" install -q --disable-pip-version-check "$@" >&2; }
if [ ! -x "$venv/bin/python" ]; then
    mkdir -p "$cache"
    rm -rf "$venv.new"
    echo "making the Python environment for comparisons in $venv (some minutes, once)" >&2
    python3 -m venv "$venv.new"
    # torch first and alone: with it there, nothing asks for the builds with CUDA
    pip_install "$(grep '^torch==' "$list")"
    pip_install -r "$list"
    # the scripts inside name the folder they were made in; python itself is a link and does not mind the move
    mv "$venv.new" "$venv"
fi
if [ "${1:-}" = bench ] && [ ! -f "$venv/bench.done" ]; then
    "$venv/bin/python" -m pip install -q --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 llama-cpp-python==0.3.36 >&2
    touch "$venv/bench.done"
fi
echo "$venv/bin/python"
