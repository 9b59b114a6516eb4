# /invocations and what is around it, as MLflow's scoring server answers (recorded with MLflow 3.17).
. "$(dirname "$0")/common.sh"
serve "$fixtures/golden/text_classification/model"
sentence='The small river runs past the old stone mill and under the wooden bridge.'
want='{"predictions": \[{"label": "cheerful", "score": 0.82045*}]}'
like() { case $(cat body) in $1) ;; *) fail "$2: got $(cat body), expected $1" ;; esac; }

same "$(json /invocations "{\"inputs\": \"$sentence\"}")" "200 application/json"; like "$want" inputs
same "$(json /invocations "{\"dataframe_split\": {\"columns\": [\"text\"], \"data\": [[\"$sentence\"]]}}")" "200 application/json"; like "$want" dataframe_split
same "$(json /invocations "{\"dataframe_records\": [{\"text\": \"$sentence\"}]}")" "200 application/json"; like "$want" dataframe_records
same "$(json /invocations "{\"instances\": [\"$sentence\"]}")" "200 application/json"; like "$want" instances
printf 'text\n%s\n' "$sentence" >in.csv
same "$(curl -s -o body -w '%{http_code}' -H 'Content-Type: text/csv' --data-binary @in.csv "$url/invocations")" 200; like "$want" csv
same "$(json /invocations 'no json')" "400 application/json"; like '{"error_code": "BAD_REQUEST", "message": "Invalid input. Ensure that input is a valid JSON formatted string.*' "no json"
same "$(json /invocations '[1]')" "400 application/json"
same "$(json /invocations '{}')" "400 application/json"
same "$(curl -s -o body -w '%{http_code} %{content_type}' -H 'Content-Type: application/json; charset=latin-1' -d '{}' "$url/invocations")" "415 text/plain; charset=utf-8"
same "$(cat body)" "The scoring server only supports UTF-8"
same "$(curl -s -o body -w '%{http_code}' -H 'Content-Type: text/plain' -d hello "$url/invocations")" 415
contains body "Got 'text/plain'."
same "$(curl -s -o body -w '%{http_code}' -H 'Content-Type: application/vnd.apache.parquet' -d PAR1 "$url/invocations")" 415
contains body "send text/csv or application/json"
same "$(curl -s -o body -w '%{http_code} %{content_type}' "$url/invocations")" "405 application/json"
same "$(cat body)" '{"detail":"Method Not Allowed"}'
same "$(curl -s -o body -w '%{http_code} %{content_type}' "$url/nowhere")" "404 application/json"
same "$(cat body)" '{"detail":"Not Found"}'
same "$(curl -s "$url/version")" 3.17.2
same "$(curl -s -w '%{http_code}' "$url/ping" | tail -n 1)" 200
# the answer of the command is the answer of the server
echo "{\"inputs\": [\"$sentence\", \"no\"]}" >in.json
json /invocations "$(cat in.json)" >/dev/null
expect 0 "$mltf" models predict -m "$fixtures/golden/text_classification/model" -i in.json
same "$(cat body)" "$(cat out)"
# many at once
seq 60 | xargs -P 16 -I{} curl -s -m 60 -H 'Content-Type: application/json' -d '{"inputs": "request {}"}' -o answer.{} -w '%{http_code}\n' "$url/invocations" >codes
same "$(sort -u codes)" 200
same "$(wc -l <codes)" 60
curl -s "$url/metrics" >metrics
contains metrics 'mltf_requests_total{route="/invocations",status="200"} 66'
stop_server
same "$stopped" 0
same "$(cat server.out)" ""
finish
