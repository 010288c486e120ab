# What a real pithd publishes and answers, and what it takes, against the JSON Schemas that are installed.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"
. "$PITH_SOURCE/tests/integration/deploying.sh"
python3 -c 'import jsonschema' 2>/dev/null || skip_all "python3-jsonschema is not installed"
plan 10

cat >"$folder/validate.py" <<'END'
# validate.py SCHEMA[#/pointer]: each line of stdin is a document; one at least must come.
import json, pathlib, sys, warnings
warnings.simplefilter("ignore")  # RefResolver is old, and all that Debian 12 has
import jsonschema
name, _, pointer = sys.argv[2].partition("#")
folder = pathlib.Path(sys.argv[1])
base = (folder / name).resolve().as_uri()
resolver = jsonschema.RefResolver(base, json.loads((folder / name).read_text()))
count = 0
for line in sys.stdin:
    jsonschema.Draft202012Validator({"$ref": base + "#" + pointer}, resolver=resolver).validate(json.loads(line))
    count += 1
sys.exit(0 if count else "no document came")
END
valid() { # SCHEMA[#/pointer], documents on stdin
    python3 "$folder/validate.py" "$PITH_SOURCE/schemas" "$1" >>"$folder/why" 2>&1
}
seen() { # TOPIC-PATTERN: payloads of what was published there
    sed -n "s|^pith/1/gw/gw-test/$1 ||p" "$folder/messages"
}
kinds_seen() {
    [ "$(seen 'event/[a-z-]*' | grep -o '"kind":"[a-z-]*"' | sort -u | wc -l)" -ge "$1" ]
}

broker_start home </dev/null
mosquitto_sub -p "$home_port" -t 'pith/1/gw/gw-test/#' -v >"$folder/messages" 2>/dev/null &
children="$children $!"
config_write "mqtt://127.0.0.1:$home_port" <<END
groups: [beta]
compression: {when: always}
pipelines: {scale: {source: hub/scale, codec: json, model: kws}}
END
pithd_start
wait_for grep -q 'gw-test/info' "$folder/messages"
seen info | valid info.json
ok $? "info" "$folder/why"
seen availability | sed 's/.*/"&"/' | valid availability.json
ok $? "availability" "$folder/why"

make_model a kws 1.0 1 8 '"gates": {"min_fidelity": 0.9}'
push a kws
reports kws ' is active ' '"serving":true'
make_model b kws 1.1 2 8
push b kws
reports kws '^2 is active ' '"serving":true'
put_desired a kws
reports kws '"refused":'
printf 'nonsense' >"$folder/nonsense"
put gw/gw-test/model/other/desired "$folder/nonsense"
reports other ' is rejected '
seen 'model/[a-z]*/reported' | valid reported.json
ok $? "reported: on the way, active, refused and rejected" "$folder/why"

for document in a b; do
    cat "$folder/$document/desired" && echo
done >"$folder/documents"
valid envelope.json <"$folder/documents" &&
    python3 -c 'import base64, json, sys
for line in sys.stdin: print(base64.b64decode(json.loads(line)["payload"]).decode())' <"$folder/documents" | valid desired.json &&
    { cat "$folder/a/blob/$(cat "$folder/a/manifest")/0" && echo; } | valid manifest.json
ok $? "envelope, desired document and manifest" "$folder/why"

weigh() { # the subscription may be a moment later than what asked for it
    mosquitto_pub -p "$home_port" -q 1 -t hub/scale -m 1.5 && sleep 0.3
    grep -q 'result/scale' "$folder/messages"
}
wait_for weigh
mosquitto_pub -p "$home_port" -q 1 -t hub/scale -m '{"no": "number"}'
seen result/scale | valid result.json
ok $? "result" "$folder/why"

cp "$folder/pithd.yaml" "$folder/good.yaml"
echo 'log: loud' >>"$folder/pithd.yaml"
kill -HUP "$pithd_pid"
wait_for logged 'event=reload_refused'
cp "$folder/good.yaml" "$folder/pithd.yaml"
kill -HUP "$pithd_pid"
wait_for kinds_seen 5 # deployment, refused, payload-refused, reload-refused, reloaded
kinds=$?
seen 'event/[a-z-]*' | valid event.json && [ "$kinds" -eq 0 ]
ok $? "events of five kinds" "$folder/why"

# ---- calls ----
id=$(seen result/scale | head -n 1 | sed 's/.*"id":"\([^"]*\)".*/\1/')
answered() { # METHOD PARAMS
    call "{\"method\": \"$1\", \"params\": $2}" >"$folder/answer"
    echo "$1 $2" >>"$folder/why"
    cat "$folder/answer" >>"$folder/why"
    echo "{\"method\": \"$1\", \"params\": $2}" | valid control_request.json &&
        echo "$2" | valid "control_methods.json#/properties/$1/properties/params" &&
        valid control_answer.json <"$folder/answer" &&
        python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["result"]))' <"$folder/answer" |
        valid "control_methods.json#/properties/$1/properties/result"
}
answered status '{}' && answered describe '{}' && answered plugins '{}' && answered pipelines '{}' && answered deployments '{}' &&
    answered label "{\"pipeline\": \"scale\", \"label\": null, \"id\": \"$id\"}" && answered telemetry '{"period": "minute"}'
ok $? "requests and answers that ask" "$folder/why"
wait_for sh -c "sqlite3 -readonly '$folder/state/pith.db' 'SELECT trial_count FROM models WHERE model = \"kws\"' | grep -qx 0"
answered rollback '{"model": "kws", "reason": "a test"}' && reports kws ' is rolled-back ' &&
    wait_for answered activate '{"model": "kws", "version": "1.1"}' && answered reload '{}'
ok $? "requests and answers that change" "$folder/why"
for request in '{"method": "statu"}' '{"method": "cancel", "params": {"model": "kws"}}' '{"method": "activate"}' 'nonsense'; do
    call "$request"
done >"$folder/answers"
[ "$(grep -c '"ok":false' "$folder/answers")" -eq 4 ] && valid control_answer.json <"$folder/answers"
ok $? "answers that refuse" "$folder/answers"

pithd_stop # the running minute is published on the way out
wait_for grep -q 'gw-test/availability offline' "$folder/messages"
seen telemetry | valid telemetry.json && seen availability | sed 's/.*/"&"/' | valid availability.json
ok $? "telemetry, and the last availability" "$folder/why"
