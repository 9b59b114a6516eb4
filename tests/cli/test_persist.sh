# models persist: a model kept by reference gets its weights from the Hugging Face cache, and predicts as before.
. "$(dirname "$0")/common.sh"
commit=0123456789abcdef0123456789abcdef01234567
export HF_HOME=$work/hf
snapshot=$HF_HOME/hub/models--acme--tiny/snapshots/$commit
mkdir -p "$snapshot" "$HF_HOME/hub/models--acme--tiny/refs"
cp "$fixtures"/models/gpt2-base/*.json "$fixtures"/models/gpt2-base/model.safetensors "$snapshot"
rm -f "$snapshot/expected.json"
printf %s $commit >"$HF_HOME/hub/models--acme--tiny/refs/main"
printf -- '---\nlicense: mit\n---\n# Tiny\n' >"$snapshot/README.md"

expect 0 "$mltf" models save -m acme/tiny --task text-generation --model-config '{"max_new_tokens": 6, "do_sample": false}' --no-save-pretrained -o saved
[ -s err ] && fail "a card with a licence still gave: $(cat err)"
[ -e saved/model ] && fail "a reference has weights"
contains saved/MLmodel "source_model_revision: $commit"
echo '{"inputs": "The river"}' >in.json
expect 0 "$mltf" models predict -m saved -i in.json
cp out first

expect 0 "$mltf" models persist -m saved
[ -f saved/model/model.safetensors ] || fail "no weights were written"
[ -d saved/components/tokenizer ] || fail "no tokenizer was written"
contains saved/MLmodel "model_binary: model"
lacks saved/MLmodel source_model_revision
mv "$HF_HOME" elsewhere
expect 0 "$mltf" models predict -m saved -i in.json
same "$(cat out)" "$(cat first)"
cp saved/MLmodel before
expect 0 "$mltf" models persist -m saved
cmp -s before saved/MLmodel || fail "a second persist changed the model"
mv elsewhere "$HF_HOME"

# a logged one, through the store
expect 0 "$mltf" models log -m acme/tiny --task text-generation --name tiny --model-config '{"max_new_tokens": 6, "do_sample": false}' --no-save-pretrained --registered-model-name tiny
expect 0 "$mltf" models persist -m models:/tiny/1
rm -rf "$HF_HOME"
expect 0 "$mltf" models predict -m models:/tiny/1 -i in.json
same "$(cat out)" "$(cat first)"

expect 3 "$mltf" models persist -m nowhere
"$mltf" models persist >out 2>err && fail "persist without a model"
finish
