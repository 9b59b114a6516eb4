# Clients that send a refused request again, as MLflow's and OpenAI's do: refused when full and when stopping, with Retry-After; computed once.
. "$(dirname "$0")/common.sh"
serve "$fixtures/golden/text_classification/model" --workers 1 --queue 1
metric() { curl -s "$url/metrics" | sed -n "s|^$1 ||p"; }
fill_up() { # one long request at work, then one that waits: no room for a third
    long=()
    for gauge in running queued; do
        curl -s -m 400 -o long -w '%{http_code}\n' -H 'Content-Type: application/json' --data-binary @texts "$url/invocations" >long.$gauge &
        long+=($!)
        for _ in $(seq 200); do
            [ "$(metric mltf_${gauge}_requests)" = 1 ] && continue 2
            sleep 0.01
        done
        fail "no request is $gauge"
    done
}
answered() {
    wait "${long[@]}"
    same "$(cat long.running long.queued | uniq)" 200
}
invocations() { metric "mltf_requests_total{route=\"/invocations\",status=\"$1\"}"; }
{
    printf '{"inputs": ["a"'
    yes ', "The miller sells bread by the river and the baker buys it in winter, the miller sells bread by the river and the baker buys it"' | head -n 6000
    printf ']}'
} >texts
ask='{"inputs": ["The baker sells bread"]}'
same "$(json /invocations "$ask")" "200 application/json"
mv body alone

fill_up
same "$(curl -s -D headers -o body -w '%{http_code}' -H 'Content-Type: application/json' -d "$ask" "$url/invocations")" 503
contains headers "Retry-After: 1"
contains body '"error_code": "TEMPORARILY_UNAVAILABLE"'
same "$(curl -s --retry 60 -o body -w '%{http_code}' -H 'Content-Type: application/json' -d "$ask" "$url/invocations")" 200
cmp body alone || fail "what the retry got is not what it gets alone"
answered
[ "$(invocations 503)" -ge 2 ] || fail "the retried request was not refused before"
same "$(invocations 200)" 4

# stopping: a connection that is there already is told so, what runs is finished
exec 3<>"/dev/tcp/127.0.0.1/${url##*:}"
printf 'GET /ping HTTP/1.1\r\nHost: x\r\n\r\n' >&3
IFS= read -r -t 10 first <&3
contains <(echo "$first") "200"
fill_up
kill -TERM "$pid"
for _ in $(seq 200); do
    curl -s -o body "$url/ping" || break # no new connections
    sleep 0.01
done
printf 'POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' "${#ask}" "$ask" >&3
timeout 20 cat <&3 >refused
contains refused "503 Service Unavailable"
contains refused "Retry-After: 1"
contains refused "Connection: close"
answered
wait "$pid"
same "$?" 0
pid=
finish
