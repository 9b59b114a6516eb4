# Texts longer than the positions of a model: 400 with the numbers, and the server goes on.
. "$(dirname "$0")/common.sh"
long=$(printf 'the old stone mill and %.0s' $(seq 200))
serve "$fixtures/golden/text_classification/model"
same "$(json /invocations "{\"inputs\": \"$long\"}")" "400 application/json"
contains body "tokens is too long for this model, which has positions for 128"
same "$(json /invocations '{"inputs": "short"}')" "200 application/json"
stop_server
same "$stopped" 0
serve "$fixtures/golden/text_generation/model"
same "$(json /invocations "{\"inputs\": \"$long\"}")" "400 application/json"
contains body "tokens, and the model has positions for 320"
same "$(json /invocations '{"inputs": "short"}')" "200 application/json"
same "$(json /v1/completions "{\"prompt\": \"$long\"}")" "400 application/json"
contains body "maximum context length is 320 tokens"
same "$(json /v1/completions '{"prompt": "short", "max_tokens": 100000}')" "200 application/json"
stop_server
same "$stopped" 0
finish
