# Every subcommand has help on stdout with status 0, and mistakes are told on stderr with status 2.
. "$(dirname "$0")/common.sh"
expect 0 "$mltf" --help
contains out "models predict"
for c in "models log" "models save" "models evaluate" "models compare" "models persist" "models predict" "models serve" "models describe" try convert doctor version; do
    # shellcheck disable=SC2086
    expect 0 "$mltf" $c --help
    contains out "usage: mltf $c"
    # shellcheck disable=SC2086
    expect 2 "$mltf" $c --no-such-option
    contains err 'there is no option "--no-such-option"'
    [ -s out ] && fail "$c wrote to stdout: $(head -c 100 out)"
done
expect 2 "$mltf"
expect 2 "$mltf" nonsense
contains err 'there is no command "nonsense"'
expect 2 "$mltf" models predict
contains err "give the model with -m"
expect 2 "$mltf" models predict -m x -t yaml
expect 2 "$mltf" models serve -m x -p seventy
contains err 'is not a whole number'
MLTF_PORT=seventy expect 2 "$mltf" models serve -m x
contains err 'MLTF_PORT: "seventy" is not a whole number'
expect 0 "$mltf" --version
contains out "mltf "
finish
