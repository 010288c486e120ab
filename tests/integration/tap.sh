# Sourced by tests that are scripts: a private folder, TAP lines, and what a test can't do without.
#
#   . "$PITH_SOURCE/tests/integration/tap.sh"
#   needs_data; needs sqlite3 python3   # skips where something isn't there
#   plan 3
#   ok $? "a sentence" "$folder/file-to-show"
#
# What was started and is in $children is ended, and the folder removed, when the test ends.

folder=$(mktemp -d) || exit 1
children=
count=0

cleanup() {
    for pid in $children; do
        kill -CONT "$pid" 2>/dev/null
        kill "$pid" 2>/dev/null
    done
    wait
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

plan() {
    echo "1..$1"
}

ok() { # STATUS SENTENCE [FILE-TO-SHOW]
    count=$((count + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        if [ -n "$3" ] && [ -f "$3" ]; then
            tail -n 40 "$3" | cut -c 1-2000 | sed 's/^/# /'
        fi
    fi
}

skip_all() { # REASON
    echo "1..0 # SKIP $1"
    exit 0
}

needs() { # COMMAND...
    for needed in "$@"; do
        command -v "$needed" >/dev/null || skip_all "$needed is not installed"
    done
}

needs_data() {
    [ -d "$PITH_DATA/models" ] || skip_all "PITH_DATA names no folder with the test data"
}

# ONNX Runtime for Node.js, with a program of tests/tools/ort beside it: node "$tools/PROGRAM"
needs_onnxruntime() { # PROGRAM
    tools=$PITH_BUILD/tests/tools/ort
    . "$PITH_SOURCE/tools/onnxruntime.sh"
    (unset PITH_ONNXRUNTIME; fetch_onnxruntime "$PITH_SOURCE" "$tools") || skip_all "ONNX Runtime can't be had from npm"
    cp -f "$PITH_SOURCE/tests/tools/ort/$1" "$tools/$1"
    (cd "$tools" && node -e 'require("onnxruntime-node")') >/dev/null 2>&1 ||
        skip_all "onnxruntime-node does not run on this machine"
}
