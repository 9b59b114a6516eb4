# Every example in docs/tasks/*.md runs as it stands: ```sh blocks in the shell, with `mltf` on the PATH and $CHECKPOINT as
# the page's first lines say; ```c blocks are compiled against the library and run; where a ```json block follows, its
# keys must be in the answer. The server of a `models serve ... &` line is stopped at the end of its page. The tests that
# docs/promises.md names must be there.
. "$(dirname "$0")/common.sh"
mkdir bin
ln -s "$mltf" bin/mltf
export PATH="$work/bin:$PATH"
listening() { # the port that serve.log names
    local i
    for i in $(seq 200); do
        sed -n 's|.* on http://[^ ]*:\([0-9]*\) .*|\1|p' serve.log 2>/dev/null | grep . && return
        sleep 0.05
    done
    echo "the server did not start: $(cat serve.log)" >&2
    return 1
}
export -f listening
stop() { # FILE...: of process ids; the shell's own kill, as a small system has no other
    local pid
    for pid in $(cat "$@" 2>/dev/null); do kill "$pid" 2>/dev/null; done
}
trap 'stop "$work"/*/pids; rm -rf "$work"' EXIT
trap 'exit 1' TERM INT
pages=0 blocks=0
for page in "$root"/docs/tasks/*.md; do
    name=$(basename "$page" .md)
    CHECKPOINT=$fixtures/models/$(sed -n 's/.*checkpoint of these examples: `\([^`]*\)`.*/\1/p' "$page")
    export CHECKPOINT
    [ -f "$CHECKPOINT/config.json" ] || { fail "$name names no checkpoint of tests/fixtures/models"; continue; }
    mkdir "$work/$name" && cd "$work/$name" || exit 1
    awk -v RS='\n```' 'NR % 2 == 0 {kind = $1; sub(/^[a-z]*\n/, ""); n++; print > (sprintf("%02d.", n) kind)}' "$page"
    for block in [0-9][0-9].sh [0-9][0-9].c [0-9][0-9].json; do [ -f "$block" ] && echo "$block"; done | sort >order
    pages=$((pages + 1))
    while read -r block; do
        blocks=$((blocks + 1))
        case $block in
        *.sh)
            # a server in the background takes a free port instead of the page's, must be up before the next line,
            # and must not hold our output open
            sed -E 's/^(mltf models serve .*) -p [0-9]+ &$/\1 -p 0 >serve.out 2>serve.log \& echo $! >>pids; port=$(listening)/; s/localhost:[0-9]+/localhost:$port/' "$block" >run.sh
            timeout 60 bash -e run.sh >answer 2>errors </dev/null || fail "$name, $block: $(tail -n 3 errors)"
            ;;
        *.c)
            # shellcheck disable=SC2046
            ${CC:-gcc} -std=c11 -I"$root/include" "$block" "$root/${BUILD:-build}/libmltf.a" -o program ${SANITIZE:-} \
                $(pkg-config --libs yaml-0.1 libpcre2-8 libevent libevent_pthreads libcurl openssl zlib sqlite3) -lm -ldl -pthread 2>errors &&
                timeout 60 ./program >answer 2>errors || fail "$name, $block: $(tail -n 3 errors)"
            ;;
        *.json)
            for key in $(grep -o '"[a-z_]*":' "$block" | sort -u); do
                grep -q -- "$key" answer || fail "$name, $block: the answer lacks $key: $(head -c 300 answer)"
            done
            ;;
        esac
    done <order
    stop pids
    cd "$work" || exit 1
done
echo "$pages pages, $blocks blocks"
[ "$pages" -gt 0 ] || fail "no pages"
for path in $(grep -o '`tests/[^`]*`' "$root/docs/promises.md" | tr -d '`'); do
    [ -e "$root/$path" ] || fail "docs/promises.md names $path, which is not there"
done
finish
