# OpenAI's API over a chat model: whole answers, streams, errors, clients that leave.
. "$(dirname "$0")/common.sh"
serve "$fixtures/golden/llm_chat/model" --served-model-name tiny
chat='"messages": [{"role": "user", "content": "The baker sells"}], "temperature": 0'
same "$(json /v1/chat/completions "{\"model\": \"tiny\", $chat, \"max_tokens\": 8}")" "200 application/json"
contains body '"object":"chat.completion"'
contains body '"finish_reason":"length"'
contains body '"completion_tokens":8'
text=$(sed -n 's/.*"content":"\([^"]*\)".*/\1/p' body)
[ -n "$text" ] || fail "no text in $(cat body)"

curl -sN -m 30 -D head -o body -H 'Content-Type: application/json' -d "{$chat, \"max_tokens\": 8, \"stream\": true, \"stream_options\": {\"include_usage\": true}}" "$url/v1/chat/completions"
contains head 'Content-Type: text/event-stream'
same "$(tail -n 2 body | head -n 1)" "data: [DONE]"
same "$(sed -n 's/.*"delta":{"content":"\([^"]*\)".*/\1/p' body | tr -d '\n')" "$text"
contains body '"usage":{"prompt_tokens":'
lacks body '"error"'

same "$(json /v1/completions '{"prompt": "The baker sells", "max_tokens": 4}')" "200 application/json"
contains body '"object":"text_completion"'
same "$(json /v1/chat/completions '{"messages": 5}')" "400 application/json"
contains body '"type": "invalid_request_error"'
same "$(json /v1/chat/completions 'no json')" "400 application/json"
same "$(curl -s -o body -w '%{http_code}' "$url/v1/models")" 200
contains body '"id": "tiny"'
same "$(json /invocations "{$chat}")" "200 application/json" # MLflow's own form: a list
contains body '[{"id": "'

# streams side by side tell what each would tell alone
seq 12 | xargs -P 12 -I{} sh -c 'curl -sN -m 60 -H "Content-Type: application/json" -d "$1" -o stream.{} "$2"/v1/chat/completions' sh "{$chat, \"max_tokens\": 8, \"stream\": true}" "$url"
for f in stream.*; do same "$(sed -n 's/.*"delta":{"content":"\([^"]*\)".*/\1/p' "$f" | tr -d '\n')" "$text"; done

# a client that leaves, then the end: nothing keeps the server
curl -sN -m 0.3 -H 'Content-Type: application/json' -d "{$chat, \"max_tokens\": 100000, \"stream\": true}" "$url/v1/chat/completions" >/dev/null
stop_server
same "$stopped" 0
finish
