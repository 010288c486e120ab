# Pipelines on a real broker: hot swap under a stream, bad payloads, feedback, fidelity; and what went over MQTT against
# its JSON Schema.
. "$PITH_SOURCE/tests/integration/broker.sh"
. "$PITH_SOURCE/tests/integration/pithd.sh"

program=$PITH_BUILD/tests/integration/test_pipelines
[ -x "$program" ] || skip_all "built without cmocka"

validate() { # SCHEMA FILE...
    python3 - "$@" <<'END'
import json, sys
from jsonschema import Draft202012Validator
validator = Draft202012Validator(json.load(open(sys.argv[1])))
for path in sys.argv[2:]:
    validator.validate(json.load(open(path)))
END
}

plan 4
broker_start home </dev/null
PITH_TEST_PORT=$home_port PITH_TEST_FOLDER=$folder CMOCKA_MESSAGE_OUTPUT=TAP \
    timeout 900 "$program" >"$folder/out" 2>"$folder/err"
code=$?
sed 's/^/# /' "$folder/out"
[ "$code" -eq 0 ] || sed 's/^/# /' "$folder/err"
ok "$code" "pipelines serve, swap, refuse, compare and count" "$folder/err"

for kind in result feedback telemetry; do
    if ! python3 -c 'import jsonschema' 2>/dev/null; then
        count=$((count + 1))
        echo "ok $count - $kind messages # SKIP python3-jsonschema is not installed"
        continue
    fi
    validate "$PITH_SOURCE/schemas/$kind.json" "$folder/$kind"-*.payload >"$folder/schema" 2>&1
    ok $? "$kind messages are as schemas/$kind.json says" "$folder/schema"
done
