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
same "$(json /v1/completions '{"prompt": "a", "suffix": "b"}')" "400 application/json" # no tokens for filling in
contains body "'suffix' is not supported by this model"
same "$(json /v1/chat/completions "{$chat, \"response_format\": {\"type\": \"regex\", \"regex\": \"a\"}}")" "400 application/json"
contains body 'needs \"pattern\", a text'

# a reply that was begun: the template leaves the last message open, and only what follows is the answer
begun='"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "The baker"}], "temperature": 0, "max_tokens": 4'
tokens() { json /v1/chat/completions "{$begun$1}" >status; same "$(cat status)" "200 application/json"; sed -n 's/.*"prompt_tokens":\([0-9]*\).*/\1/p' body; }
whole=$(tokens ''); open=$(tokens ', "continue_final_message": true'); plain=$(tokens ', "add_generation_prompt": false')
[ "$open" -lt "$plain" ] && [ "$plain" -lt "$whole" ] || fail "prompts of $open, $plain and $whole tokens"
same "$(json /v1/chat/completions "{$begun, \"continue_final_message\": true, \"add_generation_prompt\": true}")" "400 application/json"
contains body 'are not compatible'

# streams side by side tell what each would tell alone
seq 12 | xargs -P 12 -I{} sh -c 'curl -sN -m 60 -H "Content-Type: application/json" -d "$1" -o stream.{} "$2"/v1/chat/completions' sh "{$chat, \"max_tokens\": 8, \"stream\": true}" "$url"
for f in stream.*; do same "$(sed -n 's/.*"delta":{"content":"\([^"]*\)".*/\1/p' "$f" | tr -d '\n')" "$text"; done

# a client that leaves, then the end: nothing keeps the server
curl -sN -m 0.3 -H 'Content-Type: application/json' -d "{$chat, \"max_tokens\": 100000, \"stream\": true}" "$url/v1/chat/completions" >/dev/null
stop_server
same "$stopped" 0

# filling in the middle: what one would ask for in one text
cp -rL "$fixtures/models/gpt2-base" infill
# the bytes 0, 1 and 2 give up their tokens
for pair in Ā=prefix ā=suffix Ă=middle; do
    name="<fim_${pair#*=}>" id=$(sed -n "s/^ *\"${pair%=*}\": \([0-9]*\),*$/\1/p" infill/tokenizer.json)
    sed -i "s/^\( *\)\"${pair%=*}\": $id/\1\"$name\": $id/; s/\"added_tokens\": \[/&{\"id\": $id, \"content\": \"$name\", \"special\": true},/" infill/tokenizer.json
done
serve infill --task text-generation
same "$(json /v1/completions '{"prompt": "<fim_prefix>The <fim_suffix> boat<fim_middle>", "max_tokens": 6, "temperature": 0}')" "200 application/json"
want=$(sed 's/.*"choices"//' body)
same "$(json /v1/completions '{"prompt": "The ", "suffix": " boat", "max_tokens": 6, "temperature": 0}')" "200 application/json"
same "$(sed 's/.*"choices"//' body)" "$want"
lacks body '"prompt_tokens":0,'
same "$(json /v1/completions '{"prompt": [5, 6], "suffix": " boat"}')" "400 application/json"
same "$(json /v1/completions '{"prompt": "a", "suffix": 5}')" "400 application/json"
stop_server
finish
