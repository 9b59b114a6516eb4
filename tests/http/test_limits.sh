# Limits, and the end: large bodies, broken requests, a busy address, drain.
. "$(dirname "$0")/common.sh"
model=$fixtures/golden/text_classification/model
serve "$model" --max-body-mb 1
head -c 1500000 /dev/zero | tr '\0' 'a' >large
same "$(curl -s -o body -w '%{http_code}' -H 'Content-Type: application/json' -H 'Expect:' --data-binary @large "$url/invocations")" 413
same "$(curl -s -o body -w '%{http_code}' -H "X: $(head -c 70000 /dev/zero | tr '\0' 'a')" "$url/ping")" 400
same "$(curl -s -o body -w '%{http_code}' -X PROPFIND "$url/ping")" 501
same "$(curl -s -o body -w '%{http_code}' "$url/ping")" 200
port=${url##*:}
expect 9 "$mltf" models serve -m "$model" -p "$port"
contains err "could not listen on"
expect 2 "$mltf" models serve -m "$model" -p 70000
stop_server
same "$stopped" 0
expect 3 "$mltf" models serve -m no/such/model -p 0
finish
