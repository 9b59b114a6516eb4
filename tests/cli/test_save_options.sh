# What one may say when saving and loading, as the flavor's documentation promises it: each option shows in the files and in
# the answers, old spellings and old models work, and what cannot be done is refused with the reason.
. "$(dirname "$0")/common.sh"
gpt2=$fixtures/models/gpt2-base clf=$fixtures/models/bert-seqcls
save() { "$mltf" models save "$@" >out 2>err || fail "save $*: $(cat err)"; }
answer() { "$mltf" models predict -m "$@" 2>err || fail "predict -m $*: $(cat err)"; }

# environment: requirement files with constraints inside, conda, and only one of them
printf 'pandas>=2\n-c constraints.in\n' >reqs.txt
printf 'numpy<3\n' >constraints.in
save -m "$clf" -o pip --task text-classification --pip-requirements reqs.txt
contains pip/requirements.txt 'pandas>=2'
contains pip/requirements.txt '-c constraints.txt'
contains pip/constraints.txt 'numpy<3'
contains pip/conda.yaml '- pandas>=2'
for pair in "--pip-requirements x --extra-pip-requirements y" "--pip-requirements x --conda-env reqs.txt"; do
    # shellcheck disable=SC2086
    expect 2 "$mltf" models save -m "$clf" -o refused --task text-classification $pair
    contains err "Only one of"
done

# signature, metadata, code, card
printf 'print("never run")\n' >helper.py
printf -- '---\nlicense: mit\n---\n# About\n' >card.md
printf '{"inputs": "[{\\"type\\": \\"string\\", \\"name\\": \\"text\\"}]", "outputs": "[{\\"type\\": \\"string\\"}]"}' >signature.json
save -m "$clf" -o given --task text-classification --signature @signature.json --metadata '{"team": "river"}' --code-path helper.py --model-card card.md
contains given/MLmodel 'team: river'
contains given/MLmodel 'code: code'
same "$(cat given/code/helper.py)" "$(cat helper.py)"
contains given/model_card.md '# About'
contains given/model_card_data.yaml 'license: mit'
printf 'text\nhello\n' >in.csv
answer given -t csv -i in.csv >out
contains out '"label"'
echo '{"dataframe_records": [{"txet": "hello"}]}' >wrong.json
expect 2 "$mltf" models predict -m given -i wrong.json
contains err "Model is missing inputs ['text']"

# options: model_config (by its old name too) < defaults of the signature < the request
echo '{"inputs": "The river"}' >in.json
save -m "$gpt2" -o config --task text-generation --inference-config '{"max_new_tokens": 6, "do_sample": false, "return_full_text": false}'
contains config/MLmodel 'max_new_tokens: 6'
save -m "$gpt2" -o both --task text-generation --model-config '{"max_new_tokens": 9, "do_sample": false, "return_full_text": false}' \
    --input-example '"The river"' --input-example-params '{"max_new_tokens": 6}'
same "$(answer both -i in.json)" "$(answer config -i in.json)"
same "$(answer both -i in.json --params '{"max_new_tokens": 3}')" "$(answer config -i in.json --model-config '{"max_new_tokens": 3}')"
same "$(MLFLOW_PYFUNC_INFERENCE_CONFIG='{"max_new_tokens": 3}' answer config -i in.json)" "$(answer config -i in.json --model-config '{"max_new_tokens": 3}')"
expect 2 "$mltf" models predict -m both -i in.json --params '{"max_new_tokens": "x"}'
contains err "Can not safely convert"
answer config -i in.json --params '{"max_new_tokens": 3}' >ignored
contains err "Ignoring provided params"
same "$(cat ignored)" "$(answer config -i in.json)"
# a bare checkpoint has no signature that could say which params there are: it takes them
same "$(answer "$gpt2" -i in.json --params '{"max_new_tokens": 3, "do_sample": false, "return_full_text": false}')" \
    "$(answer config -i in.json --model-config '{"max_new_tokens": 3}')"
expect 2 "$mltf" models predict -m "$gpt2" -i in.json --params '{"max_new_tokens": "x"}'
contains err 'not valid for pipeline TextGenerationPipeline. `max_new_tokens` has to be an integer, but is "x"'
expect 2 "$mltf" models predict -m "$gpt2" -i in.json --params '{"max_new_tokens": 3'
contains err '`params` is not valid JSON'
expect 2 "$mltf" models predict -m "$gpt2" -i in.json --model-config '{"a":'
contains err "the model config is not valid JSON"
expect 2 "$mltf" models save -m "$gpt2" -o odd --task text-generation --signature '{"inputs": [{"type": "string"}]}'
contains err 'signature: "inputs" must be a text that holds a JSON list'

# config.json without `architectures`: the task tells the class, and a model that cannot do the task is refused at once
cp -r "$gpt2" nameless
sed -i '/"architectures"/,/\]/d' nameless/config.json
same "$(answer nameless --task text-generation -i in.json --params '{"max_new_tokens": 3, "do_sample": false}')" \
    "$(answer "$gpt2" -i in.json --params '{"max_new_tokens": 3, "do_sample": false}')"
expect 2 "$mltf" models predict -m nameless -i in.json
contains err "give one with --task"
expect 2 "$mltf" models save -m "$fixtures/models/bert-base" -o odd --task text2text-generation
contains err "a model of class BertModel does not generate text"

# generation_config.json with both lengths: max_new_tokens wins, but before 4.50 the pipeline's own default drops it
cp -r "$gpt2" lengths
greedy='{"do_sample": false}'
echo '{"max_new_tokens": 3, "max_length": 25}' >lengths/generation_config.json
same "$(answer lengths -i in.json --params "$greedy")" "$(answer "$gpt2" -i in.json --params '{"max_new_tokens": 3, "do_sample": false}')"
echo '{"max_new_tokens": 3, "max_length": 25, "transformers_version": "4.40.1"}' >lengths/generation_config.json
same "$(answer lengths -i in.json --params "$greedy")" "$(answer "$gpt2" -i in.json --params '{"max_new_tokens": null, "max_length": 25, "do_sample": false}')"

# labels may be numbers
cp -r "$clf" numbers
sed -i -E 's/^( *"[0-9]+": )"[^"]*"/\10/' numbers/config.json
answer numbers -i in.json >out
contains out '"label": 0,'

# convert says what a folder is not
mkdir empty
expect 3 "$mltf" convert empty converted
contains err 'holds no config.json'
expect 2 "$mltf" convert "$gpt2" converted
contains err 'is a checkpoint already'

# prompt template: the prompt is not part of the answer unless asked for
save -m "$gpt2" -o prompt --task text-generation --prompt-template 'Q: {prompt} A:' --model-config '{"max_new_tokens": 3, "do_sample": false}'
answer prompt -i in.json >out
lacks out 'Q:'
save -m "$gpt2" -o prompt-full --task text-generation --prompt-template 'Q: {prompt} A:' --model-config '{"max_new_tokens": 3, "do_sample": false, "return_full_text": true}'
answer prompt-full -i in.json >out
contains out 'Q: The river A:'
expect 2 "$mltf" models save -m "$gpt2" -o refused --task text-generation --prompt-template 'none'

# dtype: recorded, used at load, overridden at load
save -m "$clf" -o half --task text-classification --torch-dtype float16
contains half/MLmodel 'torch_dtype: float16'
for dtype in float32 bfloat16 torch.float16 float64; do answer half -i in.json --torch-dtype $dtype >out; done
expect 2 "$mltf" models predict -m half -i in.json --torch-dtype float99
contains err "The value 'float99' is not a valid torch.dtype"

# llm/v1: the native task stays beside it, and model_config holds the defaults of requests
save -m "$gpt2" -o completions --task llm/v1/completions --model-config '{"max_tokens": 3, "temperature": 0.0}'
contains completions/MLmodel 'inference_task: llm/v1/completions'
contains completions/MLmodel 'task: text-generation'
echo '{"prompt": "The river"}' >prompt.json
answer completions -i prompt.json >out
contains out '"completion_tokens": 3'
expect 4 "$mltf" models save -m "$clf" -o refused --task llm/v1/chat
contains err "the checkpoint lacks"

# checkpoints that are not whole, tasks that do not fit, code in the repository
mkdir incomplete && cp "$gpt2/model.safetensors" incomplete
expect 2 "$mltf" models save -m incomplete -o refused --task text-generation
contains err "does not contain a config.json file"
cp "$gpt2"/config.json incomplete
expect 2 "$mltf" models save -m incomplete -o refused --task text-generation
contains err "there are no tokenizer files"
expect 2 "$mltf" models save -m "$gpt2" -o refused --task no-such-task
[ -e refused ] && fail "a refused save left something behind"
mkdir remote && cp "$gpt2"/*.json "$gpt2"/model.safetensors remote && chmod u+w remote/config.json
sed -i 's/"model_type": "[^"]*"/"model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Own"}/' remote/config.json
save -m remote -o own --task text-generation
contains err "nothing in a model directory is ever executed"
expect 5 "$mltf" models predict -m own -i in.json
expect 0 "$mltf" models describe -m own --json # what the files say can be told
contains out '"unsupported": "model_type \"own\" needs code'
contains out '"task": "text-generation"'
expect 3 "$mltf" models describe -m nowhere
contains err 'could not open the model "nowhere"'

# old models: the weights in pipeline/ without a key that says so (before 2.4.1), options in a file of their own
cp -r "$fixtures/golden/text_generation/model" old && chmod -R u+w old && mv old/model old/pipeline && sed -i '/model_binary/d' old/MLmodel
same "$(answer old -i in.json)" "$(answer "$fixtures/golden/text_generation/model" -i in.json)"
cp -r config older
printf '{"max_new_tokens": 3, "do_sample": false, "return_full_text": false}' >older/components/inference_config.txt
same "$(answer older -i in.json)" "$(answer config -i in.json --model-config '{"max_new_tokens": 3}')"
answer older -i in.json >out
contains err "inference_config.txt\`\` is deprecated"

# places that cannot be read
for uri in s3://bucket/model mlflow-artifacts:/model dbfs:/model https://host/model; do
    expect 5 "$mltf" models predict -m $uri -i in.json
    contains err "only local files, runs:/ and models:/ URIs are supported"
done
MLFLOW_TRACKING_URI=http://host:5000 expect 5 "$mltf" models predict -m models:/m/1 -i in.json
contains err "only sqlite:///FILE stores are supported"
finish
