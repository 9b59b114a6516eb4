# The way of the data: log and register, find by every URI, predict from JSON and CSV, describe; stdout is data alone.
. "$(dirname "$0")/common.sh"
ck=$fixtures/models/bert-seqcls
expect 0 "$mltf" models log -m "$ck" --name clf --task text-classification --experiment-name nlp --registered-model-name clf --alias champion
same "$(cat err)" "mltf: warning: Unable to find license information for this model. Please verify permissible usage for the model you are storing prior to use."
uri=$(sed -n 's/.*"model_uri": "\([^"]*\)".*/\1/p' out)
run=$(sed -n 's/.*"run_id": "\([^"]*\)".*/\1/p' out)
contains out '"registered_model_version": 1'
echo '{"inputs": ["hello world", "again"]}' >in.json
expect 0 "$mltf" models predict -m "$uri" -i in.json
cp out first
contains out '{"predictions": [{"label": '
for u in models:/clf/1 models:/clf@champion models:/clf/latest "runs:/$run/clf"; do
    expect 0 "$mltf" models predict -m "$u" -i in.json
    same "$(cat out)" "$(cat first)"
done
"$mltf" models predict -m models:/clf/1 <in.json >out 2>err || fail "predict from stdin: $(cat err)"
same "$(cat out)" "$(cat first)"
expect 0 "$mltf" models predict -m models:/clf/1 -i in.json -o answer.json
same "$(cat answer.json)" "$(cat first)"
# any stream will do: a pipe by its path, a named pipe, process substitution, an answer into a pipe
same "$("$mltf" models predict -m models:/clf/1 -i /dev/stdin <in.json)" "$(cat first)"
same "$(cat in.json | "$mltf" models predict -m models:/clf/1 -i /dev/stdin)" "$(cat first)"
same "$("$mltf" models predict -m models:/clf/1 -i <(cat in.json))" "$(cat first)"
mkfifo request answer
cat in.json >request &
cat answer >out &
"$mltf" models predict -m models:/clf/1 -i request -o answer || fail "predict between named pipes"
wait
same "$(cat out)" "$(cat first)"
[ -p answer ] || fail "a named pipe was replaced by a file"
printf 'text\nhello world\nagain\n' >in.csv
expect 0 "$mltf" models predict -m models:/clf/1 -i in.csv -t csv
same "$(cat out)" "$(cat first)"

expect 0 "$mltf" models describe -m models:/clf/1
contains out text-classification
expect 0 "$mltf" models describe -m models:/clf/1 --json
contains out '"task": "text-classification"'

expect 3 "$mltf" models predict -m models:/clf/7 -i in.json
contains err "Model Version (name=clf, version=7) not found"
expect 3 "$mltf" models predict -m no/such/place -i in.json
echo '{"inputs": "hello", "params": {"top_k": 1}}' >unused.json
expect 0 "$mltf" models predict -m models:/clf/1 -i unused.json
contains err "mltf: warning: \`params\` can only be specified at inference time if the model signature defines a params schema"
lacks out warning
echo 'not json' >bad.json
expect 2 "$mltf" models predict -m models:/clf/1 -i bad.json
[ -s out ] && fail "a failed predict wrote to stdout"
expect 2 "$mltf" models log -m "$ck" --name a/b --task text-classification
contains err "Invalid model name"
# a GGUF file is no checkpoint yet
printf 'GGUF....' >model.gguf
for command in "models log --name x --task text-generation" try; do
    expect 5 "$mltf" $command -m model.gguf
    contains err 'mltf convert model.gguf DIR'
done
finish
