# Sourced by the HTTP tests: serve MODEL [OPTION…] starts a server and sets $url, $pid; it is stopped at the end.
. "$(dirname "${BASH_SOURCE[0]}")/../cli/common.sh"
command -v curl >/dev/null || skip "curl is not installed"
pid=
serve() {
    : >server.log # nothing of the server before it
    "$mltf" models serve -m "$@" -p 0 >server.out 2>server.log &
    pid=$!
    for _ in $(seq 200); do
        url=$(sed -n 's/.*serving .* on \(http[^ ]*\).*/\1/p' server.log)
        [ -n "$url" ] && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "the server did not start: $(cat server.log)"
    exit 1
}
stop_server() { # its exit status in $stopped
    kill -TERM "$pid" 2>/dev/null
    wait "$pid"
    stopped=$?
    pid=
}
trap '[ -n "$pid" ] && kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
json() { curl -s -m 120 -o body -w '%{http_code} %{content_type}' -H 'Content-Type: application/json' -d "$2" "$url$1"; } # PATH BODY: status, the body in ./body
