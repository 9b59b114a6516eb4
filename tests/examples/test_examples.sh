# The example programs of examples/ run and answer; log_and_register's model is classify's.
. "$(dirname "$0")/../cli/common.sh"
bin=$root/${BUILD:-build}/examples
expect 0 "$bin/log_and_register" "$fixtures/models/bert-seqcls" text-classification clf
contains out '"registered_model_version": 1'
expect 0 "$bin/classify" models:/clf@champion "hello world"
contains out '{"predictions": [{"label": '
expect 2 "$bin/classify" models:/clf@nobody x
expect 0 "$bin/log_and_register" "$fixtures/models/llama-base" llm/v1/chat talk
expect 0 "$bin/chat" models:/talk@champion "hello"
[ -s out ] || fail "the chat answered nothing"
finish
