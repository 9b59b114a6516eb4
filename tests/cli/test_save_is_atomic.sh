# kill -9 at any time during save and log leaves no half model: the directory is missing or whole, and the next
# save works. A full disk gives one clear error and leaves nothing.
. "$(dirname "$0")/common.sh"
ck=$fixtures/models/gpt2-base
cp -r "$ck" ck && chmod -R u+w ck
# big enough that a kill lands inside the copy: a checkpoint of many files
for i in $(seq 400); do head -c 20000 /dev/urandom >"ck/extra-$i.txt"; done
began=$(date +%s%N)
expect 0 "$mltf" models save -m ck -o model --task text-generation
whole_ms=$((($(date +%s%N) - began) / 1000000 + 1))
whole=0 none=0
for i in $(seq 12); do # from the start to a little past the end
    rm -rf model
    "$mltf" models save -m ck -o model --task text-generation >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '%d.%03d' $((whole_ms * i / 10000)) $((whole_ms * i / 10 % 1000)))"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    if [ -d model ]; then
        whole=$((whole + 1))
        [ -f model/MLmodel ] && [ -f model/requirements.txt ] && [ -f model/model/model.safetensors ] || fail "a half model: $(ls model)"
    else
        none=$((none + 1))
    fi
done
echo "killed 12 times: $whole whole, $none absent"
rm -rf model
expect 0 "$mltf" models save -m ck -o model --task text-generation
left=$(find . -maxdepth 1 -name '.*mltf-tmp*' | wc -l)
same "$left" 0
# asked to stop, it takes back what it began at once
for sig in INT TERM HUP; do
    rm -rf model
    "$mltf" models save -m ck -o model --task text-generation >/dev/null 2>&1 &
    pid=$!
    sleep "$(printf '0.%03d' $((whole_ms / 2 % 1000)))"
    kill -$sig $pid 2>/dev/null
    wait $pid 2>/dev/null
    same "$(find . -maxdepth 1 -name '.*mltf-tmp*' | wc -l)" 0
    [ ! -d model ] || [ -f model/MLmodel ] || fail "half a model after SIG$sig"
done
[ -d model ] || expect 0 "$mltf" models save -m ck -o model --task text-generation
# into a directory that is not empty
expect 7 "$mltf" models save -m ck -o model --task text-generation
contains err "already exists and is not empty"
# the store after a killed log still opens and can be logged to
for i in 1 2 3; do
    "$mltf" models log -m ck --name m --task text-generation >/dev/null 2>&1 &
    pid=$!
    sleep 0.0$((i * 2))
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
done
expect 0 "$mltf" models log -m ck --name m --task text-generation --registered-model-name r
expect 0 "$mltf" models describe -m models:/r/1

if [ "$(id -u)" = 0 ] && mkdir small && mount -t tmpfs -o size=64k tmpfs small 2>/dev/null; then
    "$mltf" models save -m "$ck" -o small/model --task text-generation >out 2>err && fail "saved on a full disk"
    contains err "o space left on device"
    same "$(find small -mindepth 1 | wc -l)" 0
    umount small
else
    echo "the full-disk case needs root and tmpfs: left out"
fi
finish
