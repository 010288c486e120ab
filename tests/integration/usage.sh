# What people get wrong, and what scripts rely on: every command's options, exit codes, JSON; brokers and daemons that are away,
# mute or gone meanwhile; output that can't be written; pithd --check on files that mean harm.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
needs python3
plan 28
pith=$PITH_BUILD/pith
PITH_PLUGIN_PATH=$PITH_BUILD/plugins/.libs
HOME=$folder
export HOME PITH_PLUGIN_PATH
unset PITH_URL PITH_CA PITH_CERT PITH_KEY PITH_SOCKET PITH_SETTINGS
cd "$folder" || exit 1
commands=$("$pith" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')

run() { # EXIT-CODE ARGUMENT...: what it says is in out and err; why it is wrong in why
    wanted=$1
    shift
    timeout 300 "$pith" "$@" >out 2>err
    code=$?
    [ "$code" -eq "$wanted" ] && return 0
    { echo "exit code $code where $wanted was expected: pith $*" && cat out err; } >why
    return 1
}

says() { # PATTERN
    grep -q -- "$1" err && return 0
    { echo "\"$1\" is not in:" && cat err; } >why
    return 1
}

one_line() {
    [ "$(wc -l <err)" -eq 1 ] && return 0
    cp err why
    return 1
}

json() { # FILE [lines]: it is one JSON text, or one a line
    python3 - "$@" 2>why <<'END'
import json, sys
text = open(sys.argv[1]).read()
for part in text.splitlines() if len(sys.argv) > 2 else [text]:
    json.loads(part)
sys.exit(not text)
END
}

each() { # EXIT-CODE PATTERN ARGUMENT...: with every command, and the same of each
    code_of_each=$1
    pattern=$2
    shift 2
    for command in $commands; do
        run "$code_of_each" "$command" "$@" && grep -q -- "$pattern" out err || return 1
    done
}

# ---- the command line ----
[ "$(echo "$commands" | wc -w)" -ge 14 ] && each 2 "there is no option --nonsense" --nonsense
ok $? "every command refuses an option that it does not have" why
each 0 "^usage: pith" --help
ok $? "every command has a --help" why
each 2 "there is no option -x" -x
ok $? "and no short options that nobody told of" why
run 2 pusj && one_line && says 'did you mean "push"' && run 2 && grep -q '^usage' err && run 0 --version
ok $? "a command that there isn't gets a suggestion" why
run 2 run && says "MODEL is missing" && run 2 run model && says "INPUT is missing" && run 2 compare a && says "B is missing" &&
    run 2 convert a b c && says '"c" is one argument too many'
ok $? "what is missing or too much is named" why
for command in inspect "run x" bench eval "compare x" "compress -o y.onnx" "convert"; do
    # shellcheck disable=SC2086
    run 2 $command no-such-file.onnx || run 2 $command no-such-file.onnx out.onnx || break
    one_line || break
done
ok $? "a model that is not there is one sentence, and exit code 2" why
run 2 inspect /dev/null && one_line && run 2 inspect "$folder" && one_line && says "holds no manifest.json"
ok $? "so is what is no model" why
# A Relu whose node and output are named with escape sequences: what a terminal would obey is not printed.
python3 -c 'open("armed.onnx", "wb").write(bytes.fromhex("08084202100d3a540a280a01781206791b5b33316d1a156e1b5d303b70776e6564070a66616b65206c"
    "696e65220452656c751201675a0f0a0178120a0a08080112040a02080262140a06791b5b33316d120a0a08080112040a020802"))'
run 0 inspect armed.onnx && grep -q '?\[31m' out && ! grep -q "$(printf '[\033\007]')" out
ok $? "what a terminal would obey in a model's names is not printed" out

# ---- output ----
if [ -c /dev/full ]; then
    "$pith" plugins --json >/dev/full 2>err || code=$?
    [ "$code" -eq 1 ] && says "can't be written" && ! "$pith" --help >/dev/full 2>err && ! "$pith" inspect --help >/dev/full 2>err
    ok $? "output that can't be written is a failure" err
else
    ok 0 "output that can't be written is a failure # SKIP there is no /dev/full"
fi
run 0 keygen 'a "quoted" name' --json && json out && run 2 keygen "" && says "needs a name"
ok $? "keygen prints JSON, whatever the name" why
run 0 plugins --json && json out
ok $? "plugins prints JSON" why

# ---- brokers ----
for command in gc watch "push . --to gw/x --sign k"; do
    # shellcheck disable=SC2086
    run 2 $command --url mqtt://127.0.0.1:99999 && one_line && run 2 $command --url mqtt://127.0.0.1:x && one_line &&
        run 2 $command --url mqtt://:1883 && one_line || [ "$command" = "push . --to gw/x --sign k" ] || break
done
ok $? "a URL with a port that there isn't is refused" why
run 2 gc && one_line && says "no broker was named" && run 2 gc --url mqtt://127.0.0.1:1 --ca nowhere && says "nowhere" &&
    run 2 gc --url mqtt://127.0.0.1:1 --username a --password-file nowhere && says "nowhere" && run 2 gc --settings nowhere && says "nowhere"
ok $? "a setting that is missing, and a file that is not there, are named" why
printf 'url: mqtt://127.0.0.1:1\nurk: x\n' >settings.yaml
run 2 gc --settings settings.yaml && says 'settings.yaml:2:1: "urk"' && says 'did you mean "url"'
ok $? "a settings file's fault is told with its place" why
run 5 gc --url mqtt://127.0.0.1:1 && one_line && run 5 watch --url mqtt://no-such-host.invalid && one_line
ok $? "a broker that is away is exit code 5" why
python3 -c '
import socket, time
with socket.socket() as s:
    s.bind(("127.0.0.1", 0)); s.listen(5)
    print(s.getsockname()[1], flush=True)
    time.sleep(120)' >mute &
children="$children $!"
wait_for test -s mute
(
    timeout 300 "$pith" gc --url "mqtt://127.0.0.1:$(cat mute)" >mute.out 2>mute.err
    echo $? >mute.code
) &

broker_start home </dev/null
url=mqtt://127.0.0.1:$home_port
run 0 gc --dry-run --json --url "$url" && json out
ok $? "gc prints JSON" why
mkdir model
echo CAg6QQoSCgF4EgF5GgRyZWx1IgRSZWx1EgFnWhMKAXgSDgoMCAESCAoCCAEKAggEYhMKAXkSDgoMCAESCAoCCAEKAggEQgIQDQ== | base64 -d >model/relu.onnx
{ printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (262144, 4), }"
  head -c 4194304 /dev/urandom; } >model/x.npy
cat >model/manifest.json <<'END'
{ "model": "clipper", "version": "1.0.0", "graphs": {"relu": {"file": "relu.onnx"}},
  "input": {"type": "float32", "row": [4]}, "stages": [{"graph": "relu"}], "data": {"calibration": {"x": {"file": "x.npy"}}} }
END
run 0 convert model/relu.onnx converted.onnx --json && json out && run 0 inspect converted.onnx --json && json out
ok $? "convert and inspect print JSON" why

# ---- Ctrl-C ----
timeout -s INT 0.3 "$pith" push model --to gw/hub --sign release.key --wait 0 --url "$url" >out 2>err
left=$(ls -A | grep -c '^pith-')
run 0 push model --to gw/hub --sign release.key --wait 0 --json --url "$url" && json out && [ "$left" -eq 0 ]
ok $? "push that was interrupted goes on, and prints JSON" why
timeout -s INT 2 "$pith" push model --to gw/hub --sign release.key --wait 60 --url "$url" >out 2>err
[ $? -eq 124 ]
ok $? "and ends at once while it waits" err
mosquitto_pub -p "$home_port" -r -t pith/1/gw/hub/model/clipper/reported \
    -m '{"model":"clipper","version":"1.0.0","generation":9,"state":"active","reason":""}'
run 0 watch --gateway hub --count 1 --for 120 --json --url "$url" && json out lines
ok $? "watch prints JSON, an event a line" why
(
    while :; do
        mosquitto_pub -p "$home_port" -t pith/1/gw/hub/event/started -m '{"v":1,"kind":"started"}' 2>/dev/null
        sleep 0.1
    done
) &
telling=$!
children="$children $telling"
{
    timeout 180 "$pith" watch --url "$url"
    echo $? >status
} 2>err | head -n 1 >/dev/null
wait_for test -s status
kill $telling
[ "$(cat status)" = 1 ]
ok $? "watch ends when nobody reads it any more" status
listening=$(subscriptions home 'pith/1/gw/+/model/+/reported')
(
    wait_for subscribed home 'pith/1/gw/+/model/+/reported' "$listening"
    broker_stop home
) &
run 5 watch --url "$url" && one_line && says "was lost"
ok $? "a broker that goes away is exit code 5" why
wait $!

wait_for test -s mute.code
[ "$(cat mute.code)" -eq 5 ] && [ "$(wc -l <mute.err)" -eq 1 ]
ok $? "one that never says a word is given up in time" mute.err

# ---- the daemon ----
run 5 status --socket "$folder/none" && one_line && says "is pithd running" && run 5 telemetry --socket "$folder/none"
ok $? "a daemon that is away is exit code 5" why
config_write mqtt://127.0.0.1:1 </dev/null
pithd_start
socket=$folder/run/control.sock
run 0 status --json --socket "$socket" && json out && run 0 telemetry --json --socket "$socket" && json out
ok $? "status and telemetry print JSON" why
run 2 telemetry --period century --socket "$socket" && one_line && says "period"
ok $? "a period that there isn't is refused in one sentence" why
pithd_stop

# ---- pithd --check ----
python3 - <<'END'
import os
harm = {
    "deep": b"gateway: " + b"[" * 100000, "anchors": b"a: &a [x]\nb: [*a, *a]\n", "itself": b"gateway: &x [*x]\n",
    "nul": b"gateway: a\0b\n", "latin1": b"gateway: caf\xe9\n", "bytes": bytes(range(256)) * 40, "tabs": b"home:\n\turl: x\n",
    "two": b"gateway: a\n---\ngateway: b\n", "tag": b"gateway: !!python/object:os.system x\n", "merge": b"b: &b {url: x}\nhome: {<<: *b}\n",
    "large": b"gateway: " + b"a" * 5000000 + b"\n", "many": b"".join(b"k%d: 1\n" % i for i in range(100000)),
    "twice": b"gateway: a\ngateway: b\n", "empty": b"", "list": b"- a\n", "numbers": b"lanes: 1e400\ntelemetry: {commit_every: nan}\n",
    "types": b"gateway: [a]\nhome: x\npipelines: 3\n",
}
os.mkdir("harm")
for name, text in harm.items():
    with open("harm/%s.yaml" % name, "wb") as file:
        file.write(text)
os.mkfifo("harm/fifo.yaml")
os.symlink("loop.yaml", "harm/loop.yaml")
os.mkdir("harm/folder.yaml")
END
wrong=0
for file in harm/*.yaml; do
    timeout 120 "$pithd" --check --config "$file" >said 2>&1
    code=$?
    if [ "$code" -ne 78 ] || ! grep -q "^$file:" said || [ "$(wc -c <said)" -gt 60000 ]; then
        { echo "$file: exit code $code" && head -c 2000 said; } >why
        wrong=1
    fi
done
ok $wrong "pithd --check refuses each of $(ls harm | wc -l) files that mean harm, with its place" why
"$pithd" --nonsense >said 2>&1
[ $? -eq 2 ] && ! "$pithd" extra >said 2>&1 && grep -q extra said && ! "$pithd" --help >/dev/full 2>/dev/null
ok $? "pithd refuses a wrong command line" said
