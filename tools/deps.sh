#!/bin/sh
# Install the system packages that a make target needs, where apt can; elsewhere name what is missing.
# Usage: tools/deps.sh [build|test|fuzz|bench|demo ...]      (nothing is done when all are there)
set -eu
build="gcc make pkg-config libc6-dev libyaml-dev libpcre2-dev libevent-dev libcurl4-openssl-dev libssl-dev zlib1g-dev libsqlite3-dev"
want=$build
for what in "$@"; do
    case $what in
        build) ;;
        test) want="$want libcmocka-dev curl" ;;
        fuzz) want="$want clang libclang-rt-14-dev" ;;
        demo) want="$want curl python3 python3-pip python3-venv unzip" ;;
        bench) want="$want wrk" ;;
        *) echo "deps.sh: no set of packages called \"$what\"" >&2; exit 2 ;;
    esac
done

missing=
if command -v dpkg-query >/dev/null 2>&1; then
    for p in $want; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
    done
else
    for m in yaml-0.1 libpcre2-8 libevent libcurl openssl zlib sqlite3; do
        pkg-config --exists "$m" 2>/dev/null || missing="$missing $m"
    done
fi
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "these are missing (pkg-config names):$missing" >&2
    echo "install their development packages with this system's package manager, then run make again" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "missing packages:$missing; run as root: apt-get install$missing" >&2; exit 1; }
    sudo=sudo
fi
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends --no-upgrade $missing >/dev/null
