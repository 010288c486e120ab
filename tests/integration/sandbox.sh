# pith-worker's walls, each tried from inside by a job that misbehaves (tests/tools/test_job.c).
. "$PITH_SOURCE/tests/integration/tap.sh"
worker=$PITH_BUILD/tests/tools/test_worker
sanitized=
grep -q '^#define PITH_SANITIZED' "$PITH_BUILD/config.h" && sanitized=1

# run VERSION [OPTION...]: leaves the exit code in $code and what the worker said in $said.
run() {
    version=$1
    shift
    job=$folder/$version
    mkdir -p "$job/original"
    printf 'graph' >"$job/original/g.onnx"
    printf '{"model": "m", "version": "%s", "graphs": {"g": {}}}' "$version" >"$job/manifest.json"
    mkdir -p "$folder/plugins"
    timeout 600 "$worker" --job "$job" --plugins "$folder/plugins" --memory 268435456 --file 1048576 --seconds 30 "$@" \
        3>"$job/said" 2>"$job/log" </dev/null
    code=$?
    said=$(cat "$job/said")
}

result() { # STATUS SENTENCE
    echo "exit code $code; said: $said" >>"$job/log"
    ok "$1" "$2" "$job/log"
}

# Killed by the filter (31 is SIGSYS), or refused with an errno under sanitizers.
refused_call() {
    run "$1"
    if [ -n "$sanitized" ]; then
        [ "$code" -eq 1 ] && echo "$said" | grep -q 'refused: Permission denied'
    else
        [ "$code" -eq 159 ]
    fi
    result $? "$2"
}

plan $((15 - ${sanitized:-0}))

run ok
[ "$code" -eq 0 ] && [ -s "$job/result.json" ] && [ -s "$job/variant/g.onnx.zst" ]
result $? "a job that behaves leaves its result"

run slow-1 --idle
[ "$code" -eq 0 ] && [ "$(echo "$said" | wc -l)" -eq 3 ] &&
    echo "$said" | head -1 | grep -q '^{"done_ratio":0.1[0-9]*,"state":"vetting","text":"as asked"}$'
result $? "progress is one JSON line each, at idle priority too"

refused_call socket "a socket is refused"
refused_call fork "a child process is refused"
refused_call exec "another program is refused"
refused_call signal "a signal to another process is refused"
refused_call ptrace "tracing is refused"

if grep -q sandbox_without_landlock "$folder/ok/log"; then
    count=$((count + 1))
    echo "ok $count - a file outside can't be written # SKIP this kernel has no Landlock"
    count=$((count + 1))
    echo "ok $count - a file outside can't be read # SKIP this kernel has no Landlock"
else
    run write-outside
    [ "$code" -eq 1 ] && echo "$said" | grep -q 'refused: Permission denied' && [ ! -e /tmp/pith-written-outside ]
    result $? "a file outside can't be written"
    run read-outside
    [ "$code" -eq 1 ] && echo "$said" | grep -q 'refused: Permission denied'
    result $? "a file outside can't be read"
fi

if [ -z "$sanitized" ]; then # the limit is address space, which sanitizers reserve by the terabyte
    run memory
    [ "$code" -eq 1 ] && echo "$said" | grep -q '"code":-12' && echo "$said" | grep -q 'out of memory after'
    result $? "memory ends at its limit"
fi

run cpu --seconds 1
[ "$code" -ge 128 ]
result $? "CPU time ends at its limit"

run crash
[ "$code" -ne 0 ] && [ "$code" -ne 2 ] && [ ! -e "$job/result.json" ]
result $? "a crash ends the worker alone"

run ok-parent --parent 1
[ "$code" -eq 3 ] && echo "$said" | grep -q 'has ended'
result $? "a worker whose parent has gone does not begin"

run ok --memory nonsense
[ "$code" -eq 2 ] && grep -q 'no number' "$job/log"
result $? "a bad option is named"

"$worker" --job "$folder/nothing-here" --plugins "$folder/plugins" >"$folder/nothing" 2>&1 3>&-
code=$?
said=$(cat "$folder/nothing")
job=$folder/ok
[ "$code" -eq 3 ] && echo "$said" | grep -q 'No such file'
result $? "a job folder that is not there is named"
