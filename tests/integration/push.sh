# pith push, gc and watch against a real broker; gateways are played by mosquitto_pub.
. "$PITH_SOURCE/tests/integration/broker.sh"

pith=$PITH_BUILD/pith
onnx=CAg6QQoSCgF4EgF5GgRyZWx1IgRSZWx1EgFnWhMKAXgSDgoMCAESCAoCCAEKAggEYhMKAXkSDgoMCAESCAoCCAEKAggEQgIQDQ== # Relu of 4

run() { # EXIT-CODE ARGUMENT...: runs pith; what it says is in $folder/out and $folder/err
    wanted=$1
    shift
    "$pith" "$@" >"$folder/out" 2>"$folder/err"
    code=$?
    [ "$code" -eq "$wanted" ] && return 0
    {
        echo "exit code $code where $wanted was expected: pith $*"
        cat "$folder/out" "$folder/err"
    } >"$folder/why"
    return 1
}

says() { # FILE PATTERN
    grep -q -- "$2" "$folder/$1" && return 0
    { echo "\"$2\" is not in:" && cat "$folder/$1"; } >"$folder/why"
    return 1
}

one_line() { # what went wrong is one sentence
    [ "$(wc -l <"$folder/err")" -eq 1 ] && return 0
    cp "$folder/err" "$folder/why"
    return 1
}

sub() {
    mosquitto_sub -h 127.0.0.1 -p "$home_port" "$@"
}

pub() {
    mosquitto_pub -h 127.0.0.1 -p "$home_port" "$@"
}

chunks_on_broker() { # retained messages come in the order that they are asked for: the last one is not a chunk's
    pub -r -t test/last -m last
    sub -t 'pith/1/blob/+/+' -t test/last -F %t >"$folder/chunks" 2>/dev/null &
    counting=$!
    wait_for grep -q '^test/last$' "$folder/chunks"
    kill $counting
    wait $counting 2>/dev/null
    grep -c '^pith/1/blob/' "$folder/chunks"
}

write_model() { # FOLDER VERSION MIB-OF-DATA
    mkdir -p "$1"
    echo "$onnx" | base64 -d >"$1/relu.onnx"
    rows=$(($3 * 65536))
    { printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': ($rows, 4), }"
      head -c $((rows * 16)) /dev/urandom; } >"$1/x.npy"
    cat >"$1/manifest.json" <<JSON
{ "model": "clipper", "version": "$2", "graphs": {"relu": {"file": "relu.onnx"}},
  "input": {"type": "float32", "row": [4]}, "stages": [{"graph": "relu"}],
  "data": {"calibration": {"x": {"file": "x.npy"}}} }
JSON
}

# Plays a gateway: says STATE for each generation of the desired document that comes, or for one that is further by FURTHER.
play_gateway() { # NAME TARGET STATE REASON [FURTHER]: answers what is desired of TARGET
    mkfifo "$folder/$1.fifo"
    mosquitto_sub -h 127.0.0.1 -p "$home_port" -t "pith/1/$2/model/clipper/desired" -F %p >"$folder/$1.fifo" 2>/dev/null &
    children="$children $!"
    while read -r document; do # ends with the subscriber
        generation=$(printf '%s' "$document" | sed 's/.*"payload":"\([^"]*\)".*/\1/' | base64 -d |
            sed 's/.*"generation":\([0-9]*\).*/\1/')
        generation=$((generation + ${5:-0}))
        pub -r -t "pith/1/gw/$1/model/clipper/reported" \
            -m "{\"model\":\"clipper\",\"version\":\"1.0.0\",\"generation\":$generation,\"state\":\"$3\",\"reason\":\"$4\"}"
    done <"$folder/$1.fifo" >/dev/null 2>&1 &
}

plan 28
broker_start home </dev/null
PITH_URL=mqtt://127.0.0.1:$home_port HOME=$folder
export PITH_URL HOME
cd "$folder" || exit 1
write_model model 1.0.0 1

run 0 keygen release && [ "$(stat -c %a release.key)" = 600 ]
ok $? "keygen makes a key that only its owner reads" "$folder/why"

run 2 keygen release && one_line && says err "never overwritten"
ok $? "keygen overwrites no key" "$folder/why"

run 0 push model --to gw/hub --sign release.key --wait 0 && says out "19 of them new" && [ "$(chunks_on_broker)" -eq 19 ]
ok $? "push uploads every chunk and publishes the signed document" "$folder/why"

run 0 push model --to gw/hub --sign release.key --wait 0 && says out ", 0 of them new" && says out "generation 2 "
ok $? "push a second time uploads nothing, and is one generation further" "$folder/why"

blob=$(sub -t 'pith/1/blob/+/9' -F %t -C 1 -W 60 | cut -d/ -f4)
for chunk in 16 15 14 13 12 11; do # what an upload that was cut leaves is the first chunks
    pub -r -n -t "pith/1/blob/$blob/$chunk"
done
run 0 push model --to gw/hub --sign release.key --wait 0 && says out ", 6 of them new" && [ "$(chunks_on_broker)" -eq 19 ]
ok $? "push goes on where a cut upload stopped" "$folder/why"

write_model large 2.0.0 3
"$pith" push large --to gw/hub --sign release.key --wait 0 >/dev/null 2>&1 &
pushing=$!
sub -t 'pith/1/blob/+/18' -C 1 -W 60 >/dev/null 2>&1
# libtool's wrapper becomes the program itself, so this is its process.
kill -KILL $pushing 2>/dev/null
wait $pushing 2>/dev/null
# On a fast machine the first push may have been done before it was killed: then nothing is new.
run 0 push large --to gw/hub --sign release.key --wait 0 && sent=$(sed 's/.* \([0-9]*\) of them new/\1/; q' out) &&
    [ "$sent" -le 33 ]
status=$?
[ $status -eq 0 ] || cp out "$folder/why" 2>/dev/null
ok $status "push that was killed goes on where it stopped" "$folder/why"

# gc: the data of the first model are named no more
run 0 gc --dry-run && says out "would be removed" && before=$(chunks_on_broker) && run 0 gc && says out "1[0-9] chunks removed" &&
    [ "$(chunks_on_broker)" -lt "$before" ] && run 0 push large --to gw/hub --sign release.key --wait 0 && says out ", 0 of them new"
ok $? "gc removes what no document names, and nothing else" "$folder/why"

run 2 push nowhere --to gw/hub --sign release.key && one_line && says err "nowhere: No such file or directory"
ok $? "push of a folder that is not there is refused in one sentence" "$folder/why"

mkdir empty
run 2 push empty --to gw/hub --sign release.key && one_line && says err "holds no manifest.json"
ok $? "push of a folder without a manifest is refused in one sentence" "$folder/why"

write_model broken 1.0.0 1
head -c 40 model/relu.onnx >broken/relu.onnx
run 2 push broken --to gw/hub --sign release.key && one_line && says err "broken"
ok $? "push of a broken graph is refused before anything is uploaded" "$folder/why"

write_model outside 1.0.0 1
sed -i 's|"relu.onnx"|"../model/relu.onnx"|' outside/manifest.json
run 2 push outside --to gw/hub --sign release.key && one_line && says err "must be a path within the model's folder"
ok $? "push takes no file from outside the model's folder" "$folder/why"

run 2 push model --to hub --sign release.key && one_line && says err "must be gw/NAME or group/NAME"
ok $? "push wants to know to whom" "$folder/why"

chmod 644 release.pub
run 2 push model --to gw/hub --sign release.pub && one_line && says err "run chmod 600 on it"
ok $? "push signs with no key that others can read" "$folder/why"

run 5 push model --to gw/hub --sign release.key --url mqtt://127.0.0.1:1 && one_line && says err "can't be reached"
ok $? "a broker that is away is told in one sentence, with its own exit code" "$folder/why"

run 2 push model --to gw/hub --sign release.key --url http://x && one_line && says err "no broker's URL"
ok $? "a URL of another kind is refused in one sentence" "$folder/why"

# ---- outcomes ----
pub -r -t pith/1/gw/hub/availability -m online
pub -r -t pith/1/gw/hub/info -m '{"groups":["beta"]}'
pub -r -t pith/1/gw/far/info -m '{"groups":["other"]}'
run 4 push model --to gw/hub --sign release.key --wait 1 && says out "no outcome yet"
ok $? "a gateway that says nothing is a time-out" "$folder/why"

play_gateway hub group/beta active ""
run 0 push model --to group/beta --sign release.key --wait 180 && says out "^hub  *active" && ! says out "^far"
ok $? "push to a group waits for its gateways alone, and ends well when they are active" "$folder/why"

play_gateway attic gw/attic rejected "signed by key 0123456789abcdef, which is not trusted here"
run 0 keygen stranger && run 3 push model --to gw/attic --sign stranger.key --wait 180 && says out "^attic  *rejected .*not trusted here"
ok $? "a key that the gateway doesn't trust is refused, with its own exit code" "$folder/why"

play_gateway crypt gw/crypt active "" 1
run 1 push model --to gw/crypt --sign release.key --wait 180 && says out "^crypt  *superseded  *a later generation came after it"
ok $? "push does not wait for what a later one has replaced" "$folder/why"

pub -r -t pith/1/gw/loft/model/clipper/reported -m '{"model":"clipper","version":"9","generation":9,"state":"active","reason":""}'
(
    mosquitto_sub -h 127.0.0.1 -p "$home_port" -t pith/1/gw/loft/model/clipper/desired -C 1 >/dev/null 2>&1
    pub -r -t pith/1/gw/loft/availability -m online
    sleep 0.3
    pub -r -t pith/1/gw/loft/model/clipper/reported -m '{"model":"clipper","version":"9","generation":9,"state":"active",
        "reason":"","refused":{"generation":3,"reason":"generation 3 is older than 9"}}'
) &
children="$children $!"
run 3 push model --to gw/loft --sign release.key --generation 3 --wait 180 && says out "^loft  *rejected .*generation 3 is older than 9"
ok $? "what is older than what a gateway has is refused by it, not replaced" "$folder/why"

run 0 watch --gateway attic --count 1 --for 120 && says out "attic  *clipper  *rejected"
ok $? "watch shows what gateways have said" "$folder/why"

# ---- a broker that speaks MQTT 3.1.1 alone ----
old_port=$(free_port)
"$PITH_BUILD/tests/tools/old_broker" "$old_port" "$home_port" >"$folder/versions" &
children="$children $!"
wait_for listens "$old_port"
old=mqtt://127.0.0.1:$old_port
write_model newer 3.0.0 1
run 0 push newer --to group/old --sign release.key --wait 0 --url "$old" && says out "generation 1 " && one_line && says err "3.1.1" &&
    [ "$(tr '\n' ' ' <"$folder/versions")" = "connect 5 connect 4 " ]
ok $? "push speaks 3.1.1 to a broker that refuses 5, and says what that lacks" "$folder/why"
run 0 push newer --to group/old --sign release.key --wait 0 && says out ", 0 of them new" && says out "generation 2 "
ok $? "what it uploaded there is whole" "$folder/why"
play_gateway cellar gw/cellar active ""
run 0 push newer --to gw/cellar --sign release.key --wait 180 --url "$old" && says out "^cellar  *active"
ok $? "and gateways are waited for" "$folder/why"
run 0 gc --url "$old" && says err "3.1.1" && run 0 gc --dry-run --url "$old" && ! says err "3.1.1"
ok $? "gc works there too" "$folder/why"
run 3 gc --dry-run --url "$old" --mqtt 5 && one_line && says err "does not speak MQTT 5"
ok $? "unless 5 is insisted on" "$folder/why"
: >"$folder/versions"
run 0 watch --gateway cellar --count 1 --for 120 --url "$old" --mqtt 3.1.1 && says out "cellar  *clipper  *active" &&
    [ "$(tr '\n' ' ' <"$folder/versions")" = "connect 4 " ] && run 2 watch --url "$old" --mqtt 4 && says err "none of auto"
ok $? "and 3.1.1 can be asked for at once" "$folder/why"

# ---- documents as their schemas say ----
if python3 -c 'import jsonschema' 2>/dev/null; then
    sub -t pith/1/gw/attic/model/clipper/desired -C 1 -W 60 >desired.envelope
    python3 - "$PITH_SOURCE/schemas" >"$folder/why" 2>&1 <<'PYTHON'
import base64, json, os, sys
from jsonschema import Draft202012Validator, RefResolver
folder = sys.argv[1]
schemas = {n: json.load(open(os.path.join(folder, n))) for n in os.listdir(folder) if n.endswith('.json')}
def errors(name, document):
    resolver = RefResolver(base_uri=name, referrer=schemas[name], store=schemas)
    return [e.message for e in Draft202012Validator(schemas[name], resolver=resolver).iter_errors(document)]
def want(name, document, good):
    found = errors(name, document)
    if bool(found) == good:
        sys.exit("%s: %s: %s" % (name, json.dumps(document), found or "is not refused"))
for name in schemas:
    Draft202012Validator.check_schema(schemas[name])
envelope = json.load(open('desired.envelope'))
desired = json.loads(base64.b64decode(envelope['payload']))
manifest = json.load(open('model/manifest.json'))
want('envelope.json', envelope, True)
want('desired.json', desired, True)
want('manifest.json', manifest, True)
want('desired.json', {'model': 'a', 'generation': 1, 'absent': True}, True)
want('envelope.json', dict(envelope, v=2), False)
want('desired.json', dict(desired, generation=0), False)
want('desired.json', {'model': 'a', 'generation': 1}, False)
want('desired.json', dict(desired, absent=True), False)
for change in ({'stages': []}, {'model': '../x'}, {'stages': [{'window': {'size': 0}}]}, {'stages': [{'graph': 'a', 'map': 'x'}]},
               {'graphs': {}}, {'input': {'type': 'string'}}, {'labels': ['a', 'a']}, {'gates': {'watch': 'soon'}}, {'more': 1}):
    want('manifest.json', dict(manifest, **change), False)
PYTHON
    ok $? "documents are as their schemas say, and wrong ones are not" "$folder/why"
else
    count=$((count + 1))
    echo "ok $count - documents are as their schemas say, and wrong ones are not # SKIP python3-jsonschema is not installed"
fi
